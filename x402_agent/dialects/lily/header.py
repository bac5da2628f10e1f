"""The one header of Lily, X-402-Payment: who pays, and by what. Published servers cut it at `;` and `=`, so no value may hold either."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

from ...errors import ChallengeInvalid
from ...secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EXACT", "HEADER", "NAMES", "at", "calls", "number", "parts", "plainly", "written"]

HEADER = "x-402-payment"
NAMES = ("session", "proof", "wallet", "amount", "currency", "timestamp", "signature")  # in this order
_VALUE = re.compile(r"[0-9A-Za-z._:+/-]{1,256}").fullmatch
EXACT = Context(prec=80)  # no product of two such numbers is rounded
_MANY = 10**9
_NUMBER = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,18})?").fullmatch


def written(said: Mapping[str, str]) -> str:
    """The header's value; what is "" is left out. Raises ChallengeInvalid for a value that a server would cut in two."""
    if any(value and not _VALUE(value) for value in said.values()) or said.keys() - set(NAMES):
        raise ChallengeInvalid("a value of the payment header would be cut in two", rule="no `;`, `=` or space in X-402-Payment (Lily)")
    return "; ".join(f"{name}={said[name]}" for name in NAMES if said.get(name))


def parts(text: str) -> dict[str, str]:
    """What `written` wrote, by its names."""
    return dict(each.split("=", 1) for each in text.split("; ") if "=" in each)


def at(text: str, milliseconds: int) -> Secret:
    """The same header, said at another time; what was signed with the old one is left out."""
    said = parts(text)
    said.pop("signature", None)
    return Secret(written({**said, "timestamp": str(milliseconds)}))


def number(text: str) -> Decimal | None:
    """A plain decimal number, of 12 and 18 digits at most; None for an exponent, a sign, and what is none."""
    return Decimal(text) if _NUMBER(text) and text.isascii() else None


def plainly(amount: Decimal) -> str:
    """`0.01`: without an exponent, and without zeros that say nothing."""
    return f"{amount.normalize(EXACT):f}"


def calls(amount: Decimal, price: Decimal) -> int:
    """How many calls an amount pays; a billion, where it is more."""
    return min(int(Fraction(amount) // Fraction(price)), _MANY) if price else 0
