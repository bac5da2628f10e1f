"""How an entry asks for a token of TRON: `exact_permit`, or `exact` by TRON's own Permit2.

Of `paymentPermitContext` only `kind` and `paymentId` are the seller's to say. Its nonce and window are proposals that published
facilitators do not compare; ours are signed (D7, D8, D13).
"""

from __future__ import annotations

import json
from typing import Any

from .passed import Passed, broken, show
from .told import Told, Way

__all__ = ["tron"]

_ZERO = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"


def tron(told: Told) -> Way:
    """PaymentPermit or Permit2; raises Passed for any other way, EIP-3009 with the reason."""
    if told.version != 2:
        raise Passed("TRON is paid by x402 version 2 only (A7)", broken=False)
    if told.scheme == "exact_permit":
        return _permit(told)
    method = told.extra.get("assetTransferMethod")
    if told.scheme == "exact" and method == "permit2":
        return Way("permit2")
    if told.scheme == "exact" and method in (None, "eip3009"):
        what = f"{told.asset.symbol} on {told.asset.network.name} has no EIP-3009: such a signature never settles (A7)"
        raise Passed(what, broken=False)
    raise Passed(f"assetTransferMethod {show(method)} is not one we sign for {told.scheme} on TRON (A7)", broken=False)


def _permit(told: Told) -> Way:
    """The fee counts with the amount; without one anybody may settle."""
    context = told.extensions.get("paymentPermitContext")
    meta = context.get("meta") if isinstance(context, dict) else None
    if not isinstance(meta, dict):
        raise broken("extensions.paymentPermitContext.meta is missing (W4)")
    kind, payment_id = meta.get("kind"), meta.get("paymentId")
    if kind != "PAYMENT_ONLY":
        raise Passed(f"a permit of kind {show(kind)} is not one we sign (A7)", broken=False)
    if not isinstance(payment_id, str) or not _is_id(payment_id):
        raise broken(f"paymentId {show(payment_id)} is not 16 bytes of hex (W4)")
    fee = told.extra.get("fee")
    if fee is not None and not isinstance(fee, dict):
        raise broken(f"fee {show(fee)} is not an object (W4)")
    asked: dict[str, Any] = fee or {}
    amount, caller = _amount(asked.get("feeAmount", "0")), _address(asked, "caller")
    details = {"feeTo": _address(asked, "feeTo") or _ZERO, "paymentId": payment_id.lower()}
    fees = (("facilitator", amount),) if amount else ()
    return Way("payment-permit", "" if caller == _ZERO else caller, amount, json.dumps(details, separators=(",", ":")), fees)


def _is_id(text: str) -> bool:
    digits = text[2:].lower()
    return text[:2] == "0x" and len(digits) == 32 and not digits.strip("0123456789abcdef")


def _are_digits(text: str) -> bool:
    return 0 < len(text) <= 78 and text.isascii() and text.isdigit()


def _amount(value: object) -> int:
    """Atomic units, 0 allowed; raises Passed (rows P2 to P7)."""
    made = value if type(value) is int else int(value) if isinstance(value, str) and _are_digits(value) else -1
    if not 0 <= made < 1 << 256:
        raise broken(f"feeAmount {show(value)} is not a whole number of atomic units (P4)")
    return made


def _address(fee: dict[str, Any], field: str) -> str:
    """An address that may be left out; its checksum is the chain's to judge. Raises Passed (R2)."""
    found = fee.get(field)
    if found is None or found == "":
        return ""
    if not isinstance(found, str) or len(found) != 34 or not found.isascii() or not found.isalnum():
        raise broken(f"{field} {show(found)} is not an address (R2)")
    return found
