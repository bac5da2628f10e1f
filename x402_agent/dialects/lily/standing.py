"""Our standing authorisation at a seller: what its row says that may be spent binds beside policy, since the seller will hold us to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model import Limit
from ...secret import plain
from ..x402.passed import Passed
from .desk import amount_in, rows_of, text_in, time_in
from .header import EXACT, plainly

if TYPE_CHECKING:
    from decimal import Decimal

    from ...model import Ask
    from ...steps import Steps
    from .. import strict
    from .desk import Desk

__all__ = ["AUTHORISATIONS", "limits"]

AUTHORISATIONS = "x402_payment_authorizations"
_WINDOWS = ("day", "month")


def limits(account: str, price: Decimal, ask: Ask, desk: Desk, now: float, *, ahead: bool) -> Steps[tuple[Limit, ...]]:
    """Ceilings over time of the whole origin, by our rows that are active and (unix seconds) not over. `ahead`: the service wants an authorisation. Raises Passed for a call
    that costs more than one request may, and where one is wanted and none of ours is active."""  # fmt: skip
    if not desk.serves or not account:
        return ()
    got = yield from desk.ask("GET", AUTHORISATIONS, {"wallet_address": account, "service_id": desk.service_id})
    rows = rows_of(got) if got.status == 200 else ()  # who has no such table, or shows it to nobody, says so
    if rows is None or not 200 <= got.status < 500 or got.status == 429:
        raise _no(f"your authorisations there cannot be read just now ({AUTHORISATIONS}), so nobody knows what they allow")
    mine = [each for each in rows if text_in(each, "wallet_address") == account and text_in(each, "service_id") == desk.service_id]
    active = [each for each in mine if _status(each, now) == "active"]
    if ahead and not active:
        raise _no(f"it wants an authorisation, and yours there is {plain(_status(mine[0], now), 20) if mine else 'none'}: it would take the money and refuse the call")
    found: list[Limit] = []
    for row in active:
        most = _most(row, "request")
        if most is not None and price > most:
            raise _no(f"one call costs {plainly(price)}, and your authorisation there allows {plainly(most)} for a request")
        found += [_limit(ask.origin, window, most) for window in _WINDOWS if (most := _most(row, window)) is not None]
    return tuple(found)


def _status(row: strict.Document, now: float) -> str:
    said, ends = text_in(row, "status"), time_in(row, "expires_at")
    return "expired" if said == "active" and ends is not None and ends <= now else said


def _most(row: strict.Document, window: str) -> Decimal | None:
    """What may be spent in a window, None where the row does not say. Raises Passed for what is no plain number."""
    name = f"spending_limit_per_{window}"
    if row.fields.get(name) is None:
        return None
    found = amount_in(row, name)
    if found is None:
        raise _no(f"{name} of your authorisation there is no plain number of dollars (P3, P4, P5)")
    return found


def _limit(origin: str, window: str, most: Decimal) -> Limit:
    return Limit(f"origin:{origin}", window, int(EXACT.multiply(most, 10**6)), f"spending_limit_per_{window} of your authorisation at {origin} (Lily)",  # type: ignore[arg-type]
                 "a wider authorisation, where you gave this one")  # fmt: skip


def _no(reason: str) -> Passed:
    return Passed(reason, broken=False)
