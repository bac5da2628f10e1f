"""What an agent may know: its own payments, what they count, what came of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import LedgerError
from .nouns import own_scope, payment_out

if TYPE_CHECKING:
    from .frames import Fields
    from .session import Session

__all__ = ["OPS", "nothing"]


def _list(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    prefix, ledger = told.text("payment_id", 64), session.payer.ledger
    found = [hold for hold in ledger.of_agent(session.agent.name, prefix) if hold.state != "RESERVED"]
    if prefix and not found:
        raise nothing(prefix)
    kept = {one for by_key in ledger.live().run().goods.values() for one in by_key.values()}
    return {"payments": [{
        "payment_id": hold.payment_id, "state": hold.state, "method": hold.ask.method, "url": hold.ask.url,
        "host": hold.ask.host, "has_body": hold.ask.has_body, "goods": hold.payment_id in kept,
    } for hold in found[:1000]]}  # fmt: skip


def _state(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    return {"state": session.payer.ledger.payment(session.own(told).payment_id).state}


def _counted(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    scope = own_scope(told.text("scope", 256), session.agent.name)
    return {"micros": str(session.payer.ledger.counted(scope))}


def _receipt(session: Session, told: Fields, _: bytes) -> None:
    """What the seller signed for it: kept as evidence, judged when somebody looks."""
    session.payer.ledger.testify(session.own(told).payment_id, "receipt", told.text("text", 8 * 1024)).run()


def _log(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    found = session.payer.ledger.payments(
        agent=session.agent.name, today=bool(told.flag("today")), host=told.text("host"),
        in_doubt=bool(told.flag("in_doubt")), limit=told.whole("limit", 500),
    )  # fmt: skip
    return {"payments": [payment_out(one) for one in found]}


def _payment(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    prefix, ledger = told.text("payment_id", 64), session.payer.ledger
    found = ledger.of_agent(session.agent.name, prefix, closed=True) if len(prefix) >= 4 else []
    if len(found) != 1:
        raise nothing(prefix)
    return {"payment": payment_out(ledger.payment(found[0].payment_id))}


def _events(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    payment_id, ledger = session.own(told).payment_id, session.payer.ledger
    found = ledger.events(payment_id)[-500:]
    back = [{"transaction": one.transaction, "amount": str(one.amount), "at": one.at} for one in ledger.refunds(payment_id)]
    return {"events": [{"seq": one.seq, "from": one.from_state, "state": one.state, "at": one.at, "data": one.data} for one in found],
            "refunds": back[-500:]}  # fmt: skip


OPS = {"open": _list, "state": _state, "counted": _counted, "receipt": _receipt, "log": _log, "payment": _payment, "events": _events}


def nothing(payment_id: str) -> LedgerError:
    """The error for a payment that is not this agent's, or nobody's."""
    shown = payment_id[:16] if payment_id.isalnum() else "?"
    return LedgerError(f"no payment of yours begins with {shown}", rule="an agent sees its own payments only", hint="they are in x402-agent log")
