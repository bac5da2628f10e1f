"""What a client may know of money: its own payments, the limits that they count against, the accounts that pay."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from anyio import to_thread

from ..errors import SettingsError
from ..ledger.states import UNDER_WAY
from ..policy import dollars
from . import told
from .results import Payment, Room, Spending

if TYPE_CHECKING:
    from ..ledger import Payment as Row
    from .purchases import Purchases

__all__ = ["own", "spending"]

PERIODS = ("today", "month", "all")
_MANY = 10_000
LAST = 10


async def spending(made: Purchases, period: str) -> Spending:
    """What this client spent; raises SettingsError for another period, LedgerError."""
    if period not in PERIODS:
        raise SettingsError("spending is told of another period", rule="period", hint=", ".join(PERIODS))
    return await to_thread.run_sync(lambda: _spending(made, period))


def own(made: Purchases, *, today: bool = False) -> list[Row]:
    """The client's payments, newest first: those that count for its name, behind a signer those of its agent."""
    payer = made.payer
    if payer.settings.signer is not None:
        return list(payer.ledger.payments(today=today))
    names = ",".join(dict.fromkeys(filter(None, (payer.settings.agent, made.web.name))))
    return list(payer.ledger.payments(today=today, agent=names, limit=_MANY))


def _spending(made: Purchases, period: str) -> Spending:
    month = time.strftime("%Y-%m", time.gmtime(made.payer.clock()))
    rows = [each for each in own(made, today=period == "today") if period != "month" or each.day.startswith(month)]
    counted = [each for each in rows if each.outcome != "released"]
    doubt = [each for each in counted if each.outcome != "spent"]
    return Spending(period, dollars(sum(each.micros for each in counted)), dollars(sum(each.micros for each in doubt)), len(counted),
                    _rooms(made), tuple(_line(each, made) for each in rows[:LAST]))  # fmt: skip


def _line(one: Row, made: Purchases) -> Payment:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(one.created_at))
    money = told.amount(one.money, sandbox=made.payer.sandboxed) if one.money else None
    word = "under way" if one.state in UNDER_WAY else one.outcome
    return Payment(one.payment_id, at, word, f"{money.amount} {money.asset}" if money else "", told.bare(one.host))


def _rooms(made: Purchases) -> tuple[Room, ...]:
    """Limits over time of all payments and of this client's name. Those of others are not its business."""
    payer, scopes = made.payer, ("all", f"agent:{made.web.name}")
    if payer.settings.signer is not None:
        return ()  # they are the signer's
    limits = [limit for scope, rule in payer.policy.every().items() if scope in scopes for limit in rule.limits]
    realm = "sandbox" if payer.sandboxed else "test" if payer.policy.only_tests() else "real"
    rooms = payer.ledger.spent(limits, realm=realm)
    return tuple(Room(f"{_unit(each.limit.unit)} of {each.limit.scope} in this {each.limit.window}", _much(each.limit.unit, each.limit.most),
                      _much(each.limit.unit, each.left)) for each in rooms)  # fmt: skip


def _unit(unit: str) -> str:
    return {"micros": "dollars", "payments": "payments"}.get(unit, "units")


def _much(unit: str, count: int) -> str:
    return dollars(count) if unit == "micros" else str(count)
