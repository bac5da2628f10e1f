"""Signing in to the API that settings name, and what its history says we have paid: a second witness, which pays and frees nothing.

The message is the API's one form, with a time of ours; it names no domain, so it goes to that API alone and to nobody who asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...secret import plain
from .desk import fields_of
from .till import ours, token_in

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...model import Hold
    from ...steps import Steps
    from .desk import Desk

__all__ = ["MESSAGE", "witness"]

MESSAGE = "x402Pay Login\nTimestamp: {}"
PAGE = 20
PAGES = 5


def witness(hold: Hold, txid: str, desk: Desk, sign: Callable[[str], str], now: float) -> Steps[str]:
    """What the seller's own history says of a payment of ours, in words; "" where it says nothing. `sign` gives r, s and v in hex."""
    address = ours(hold.terms.payer, hold.offer.network)
    stamp = int(now * 1000)
    message = MESSAGE.format(stamp)
    got = yield from desk.ask("POST", "/auth/login", {"address": address, "signature": sign(message), "message": message, "timestamp": stamp})
    token = token_in(fields_of(got).get("token")) if got.status == 200 else ""
    for page in range(PAGES if token else 0):
        got = yield from desk.ask("GET", f"/payments/history?limit={PAGE}&offset={page * PAGE}", bearer=token)
        rows = fields_of(got).get("payments") if got.status == 200 else None
        listed = [each for each in rows[:PAGE] if isinstance(each, dict)] if isinstance(rows, list) else []
        found = next((each for each in listed if _is_it(each, txid, address)), None)
        if found is not None:
            word, content = (plain(str(found.get(name, "")), 60) for name in ("status", "contentId"))
            other = "" if content == hold.offer.wire[1] or not hold.offer.wire[1] else ", which is not what was asked for"
            return f"its seller's own history has it as {word or 'paid'} for {content or 'something'}{other}"
        if len(listed) < PAGE:
            return "its seller's own history does not have it" if isinstance(rows, list) else ""
    return ""


def _is_it(row: dict[str, Any], txid: str, address: str) -> bool:
    """Whether a row is about this very transaction: others' rows are nothing to us."""
    return str(row.get("txId")).lower() == txid.lower() and row.get("payer", address) == address
