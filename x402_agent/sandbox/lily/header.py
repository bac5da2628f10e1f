"""What `X-402-Payment` shows: read as published, and what a strict seller has against it.

Published readers split at every `;` and `=`, so a value ends at a second `=`; keys are in any case; without a wallet there is nothing;
amount is 0, currency USDC and the time now where they are left out. `wrong` names what such a reader lets pass in silence.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

__all__ = ["NAME", "SIGNED", "Shown", "micros", "read"]

NAME = "x-402-payment"
SIGNED = "; signature="
_LONGEST = 1_000  # characters
_SHAPES = {
    "session": re.compile(r"[0-9a-f]{64}").fullmatch,
    "proof": re.compile(r"[1-9A-HJ-NP-Za-km-z]{64,90}").fullmatch,
    "wallet": re.compile(r"[1-9A-HJ-NP-Za-km-z]{32,44}").fullmatch,
    "amount": re.compile(r"[0-9]{1,12}(\.[0-9]{1,20})?").fullmatch,
    "currency": re.compile(r"USDC|SOL").fullmatch,
    "timestamp": re.compile(r"[0-9]{1,16}").fullmatch,
    "signature": re.compile(r"[1-9A-HJ-NP-Za-km-z]{64,90}").fullmatch,
}


class Shown(NamedTuple):
    """`amount` in millionths of a dollar, `timestamp` in milliseconds (0: none); `signed` is the text that `signature` is for."""

    wallet: str
    session: str = ""
    proof: str = ""
    amount: int = 0
    currency: str = "USDC"
    timestamp: int = 0
    signature: str = ""
    signed: str = ""
    wrong: str = ""


def micros(text: str) -> int:
    """A plain decimal in millionths, the nearest: a client that reckons in floats writes 0.30000000000000004."""
    return int((Decimal(text) * 10**6).to_integral_value())


def read(text: str) -> Shown | None:
    """What a header shows; None where it shows nothing, as one without a wallet does."""
    found: dict[str, str] = {}
    wrong = "the header is too long" if len(text) > _LONGEST else ""
    for part in text[:_LONGEST].split(";"):
        name, *values = part.split("=")
        key = name.strip().lower()
        if not values:
            wrong = wrong or ("a part of the header has no value" if key else "")
            continue
        wrong = wrong or ("a value holds =" if len(values) > 1 else "a key stands twice" if key in found else "")
        found[key] = values[0].strip()
    if not found.get("wallet"):
        return None
    for key, value in found.items():
        shape = _SHAPES.get(key)
        if not wrong and (shape is None or not shape(value)):
            wrong = f"{key if shape else 'a key'} is not one of ours"
    signed = text.removesuffix(SIGNED + found.get("signature", ""))
    good = {key: value for key, value in found.items() if key in _SHAPES and _SHAPES[key](value)}
    return Shown(
        good.get("wallet", ""), good.get("session", ""), good.get("proof", ""), micros(good.get("amount", "0")), good.get("currency", "USDC"),
        int(good.get("timestamp", "0")), good.get("signature", ""), signed if signed != text else "", wrong,
    )  # fmt: skip
