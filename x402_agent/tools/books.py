"""What a client may know of money: its own payments, the limits that they count against, the accounts that pay."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from .. import assets
from ..errors import LedgerError, PaymentError, SettingsError
from ..ledger.states import UNDER_WAY, UNSENT, means
from ..model import Limit, Money
from ..policy import dollars
from ..transport.fetch import drive_async
from . import told
from .fence import fence
from .results import Account, Holdings, Payment, Room, Settled, Spending, Why

if TYPE_CHECKING:
    from ..ledger import Payment as Row
    from ..model import Network, Unit, Window
    from ..payer import Payer
    from .purchases import Purchases

__all__ = ["balance", "resume", "spending", "why"]

PERIODS: dict[str, Window] = {"today": "day", "month": "month", "all": "total"}
LAST = 10
PATIENCE = 60.0  # seconds after which no further payment is begun with
_NEXT = {
    "in_doubt": "resume, or the same call again: the same proof is shown, nothing is paid twice",
    "refused": "resume: the money stays counted until the chain shows that it cannot move",
    "spent": "nothing to do; within ten minutes the same call gives what was bought",
    "released": "nothing is counted; the same call may be made again",
}


async def spending(made: Purchases, period: str) -> Spending:
    """What this client spent; raises SettingsError for another period, LedgerError."""
    if period not in PERIODS:
        raise SettingsError("spending is told of another period", rule="period", hint=", ".join(PERIODS))
    return await to_thread.run_sync(lambda: _spending(made, period))


def _names(made: Purchases) -> str:
    """By whose name the client's payments stand in the ledger; behind a signer that is the signer's to know."""
    own = made.payer.settings
    return "" if own.signer is not None else ",".join(dict.fromkeys(filter(None, (own.agent, made.web.name))))


def _own(made: Purchases, **which: Any) -> list[Row]:
    """The client's payments, newest first."""
    names, ledger = _names(made), _ledger(made)
    return list(ledger.payments(**which, agent=names) if names else ledger.payments(**which))


def _ledger(made: Purchases) -> Any:
    """The ledger, or what a signer tells of its own."""
    return made.payer.ledger


def _spending(made: Purchases, period: str) -> Spending:
    since = {"today": "%Y-%m-%d", "month": "%Y-%m", "all": ""}[period]
    begins = time.strftime(since, time.gmtime(made.payer.clock()))
    last = [each for each in _own(made, limit=500) if each.day.startswith(begins)]
    if _names(made):
        spent, count = (_counted(made, PERIODS[period], unit) for unit in ("micros", "payments"))
    else:
        kept = [each for each in last if each.outcome != "released"]
        spent, count = sum(each.micros for each in kept), len(kept)
    doubt = sum(each.micros for each in _own(made, in_doubt=True, limit=500) if each.day.startswith(begins))
    return Spending(period, dollars(spent), dollars(doubt), count, _rooms(made), tuple(_line(each, made) for each in last[:LAST]))


def _counted(made: Purchases, window: Window, unit: Unit) -> int:
    """What the ledger counts for the client's name."""
    limit = Limit(f"agent:{made.web.name}", window, 0, unit=unit)
    realms = ("sandbox",) if made.payer.sandboxed else ("real", "test")
    return sum(made.payer.ledger.spent([limit], realm=realm)[0].spent for realm in realms)


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def _line(one: Row, made: Purchases) -> Payment:
    money = told.amount(one.money, sandbox=made.payer.sandboxed) if one.money else None
    word = "under way" if one.state in UNDER_WAY else one.outcome
    return Payment(one.payment_id, _clock(one.created_at), word, f"{money.amount} {money.asset}" if money else "", told.bare(one.host))


def _rooms(made: Purchases) -> tuple[Room, ...]:
    """Limits over time of all payments and of this client's name. Those of others are not its business."""
    payer, scopes = made.payer, ("all", f"agent:{made.web.name}")
    if payer.settings.signer is not None:
        return ()  # they are the signer's
    limits = [limit for scope, rule in payer.policy.every().items() if scope in scopes for limit in rule.limits]
    limits = [replace(limit, scope=scopes[1]) if limit.scope == "each:agent" else limit for limit in limits]
    realm = "sandbox" if payer.sandboxed else "test" if payer.policy.only_tests() else "real"
    rooms = payer.ledger.spent(limits, realm=realm)
    return tuple(Room(f"{_unit(each.limit.unit)} of {each.limit.scope} in this {each.limit.window}", _much(each.limit.unit, each.limit.most),
                      _much(each.limit.unit, each.left)) for each in rooms)  # fmt: skip


def _unit(unit: str) -> str:
    return {"micros": "dollars", "payments": "payments"}.get(unit, "units")


def _much(unit: str, count: int) -> str:
    return dollars(count) if unit == "micros" else str(count)


async def why(made: Purchases, payment_id: object) -> Why:
    """One payment of the client's own; raises LedgerError for none."""
    return await to_thread.run_sync(lambda: _why(made, payment_id))


def _why(made: Purchases, payment_id: object) -> Why:
    payer, one = made.payer, _mine(made, payment_id)
    events = payer.ledger.events(one.payment_id)
    notes = "\n".join(filter(None, (str(each.data.get("note") or "") for each in events)))
    moves = tuple(f"{_clock(each.at // 1000)} {each.from_state or 'new'} -> {each.state}" for each in events)
    shown = told.amount(one.money, sandbox=payer.sandboxed) if one.money else None
    origin = one.url.partition("?")[0]
    return Why(one.payment_id, one.outcome, means(one.state, delivered=one.delivered), shown, told.bare(f"{one.method} {origin}"), one.pay_to, one.status,
               told.transaction(one.transaction), moves, f"why {one.anew}: that payment took its place" if one.anew else _NEXT[one.outcome], fence(one.host, notes, told.HEAD) if notes else None)  # fmt: skip


def _mine(made: Purchases, payment_id: object) -> Row:
    """The client's own payment of this id, or of one that begins so; another's does not exist for it."""
    names = _names(made)
    with suppress(LedgerError):
        found = made.payer.ledger.payment(payment_id if isinstance(payment_id, str) and len(payment_id) <= 64 else "")
        if not names or found.agent == names:
            return found
    raise LedgerError("no payment of yours has this id", rule="payment_id", hint="spending names the last ones")


async def resume(made: Purchases) -> Settled:
    """What is open of the client's own, settled as far as it goes; raises LedgerError."""
    return await to_thread.run_sync(lambda: _resume(made))


def _resume(made: Purchases) -> Settled:
    lines, notes, end = [], [], time.monotonic() + PATIENCE
    for payment_id in _open(made):
        if time.monotonic() >= end:
            break
        for each in made.payer.resume(payment_id):
            lines.append(f"{each.payment_id} {each.before} -> {each.after}")
            notes.append(f"{each.payment_id}: {told.bare(each.note, made.payer)}")
    return Settled(tuple(lines), len(_open(made)), fence("the sellers and the ledger", "\n".join(notes)) if notes else None)


def _open(made: Purchases) -> list[str]:
    """What is open of the client's own, oldest first."""
    names, ledger = _names(made), _ledger(made)
    if not names:
        return [each.text("payment_id") for each in ledger.open_payments()]
    return [each.payment_id for each in ledger.of_agent(names) if each.state not in UNSENT]


async def balance(made: Purchases) -> Holdings:
    """The accounts that pay, and what nodes say of them."""
    payer = made.payer
    if payer.settings.signer is not None:
        return Holdings(note="the accounts are the signer's, who does not tell what they have")
    found = []
    for namespace in payer.chains:
        if address := payer.wallet.address(namespace):
            known = {payer.box.network} if payer.box is not None else set(payer.settings.nodes)
            networks = [each for each in assets.networks() if each.namespace == namespace and each.id in known]
            found += [await _account(payer, where, address) for where in networks] or [Account(namespace, address)]
    return Holdings(tuple(found), "" if any(each.has for each in found) else "what they have is known where a node is set")


async def _account(payer: Payer, where: Network, address: str) -> Account:
    has, node = [], payer.settings.nodes.get(where.id, "")
    chain: Any = payer.chains[where.namespace]
    for asset in assets.assets():
        if asset.network is not where or asset.native:
            continue
        units = None
        if payer.box is not None and asset == payer.box.ground.asset:
            units = payer.box.balance(address)
        elif node and hasattr(chain, "balance"):
            with suppress(PaymentError):
                units = await drive_async(chain.balance(asset, _spelt(address, where), node))
        if units:
            has.append(told.amount(Money(units, asset), sandbox=payer.sandboxed))
    return Account(where.name, _spelt(address, where), tuple(has))


def _spelt(address: str, where: Network) -> str:
    """An account as this network writes it: Stacks' testnet has another spelling of the same key's address."""
    if where.namespace != "stacks":
        return address
    from ..chains.stacks.signing import own as spelt

    return spelt(address, where)
