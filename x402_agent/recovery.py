"""What became of an open payment: the chain is asked first, then the same proof is shown again, and nothing is signed anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import PaymentError
from .fetch import fetch
from .steps import Fetch

if TYPE_CHECKING:
    from .ledger import Payment
    from .model import Hold
    from .payer import Payer
    from .steps import Steps

__all__ = ["Resumed", "fate", "resume"]


@dataclass(frozen=True)
class Resumed:
    """One open payment, before and after: ledger states, and in words what was learnt."""

    payment_id: str
    before: str
    after: str
    note: str


def fate(payer: Payer, hold: Hold) -> Steps[str]:
    """settled, dead or unknown. Without a node, or before the proof could be dead, nobody is asked."""
    node = payer.settings.nodes.get(hold.offer.network.id)
    chain = payer.chains.get(hold.offer.network.namespace)
    if not node or chain is None or payer.clock() <= hold.terms.valid_before:
        return "unknown"
    return (yield from chain.fate(hold.offer, hold.terms, node))


def resume(payer: Payer, payment_id: str | None) -> list[Resumed]:
    """Every open payment, or the one whose id starts with `payment_id`."""
    payer.ledger.recover()
    rows = payer.ledger.open_payments()
    if payment_id:
        rows = [row for row in rows if row.payment_id.startswith(payment_id)]
    return [_one(payer, row) for row in rows]


def _one(payer: Payer, row: Payment) -> Resumed:
    before = row.state
    hold = payer.ledger.reopen(row.payment_id)
    if hold is None:
        return Resumed(row.payment_id, before, before, "its owner is still at work")
    verdict = _ask(payer, hold)
    if verdict == "dead":
        payer.ledger.close(hold, "DEAD", note="unused on chain past its expiry").run()
        return _after(payer, row, "never arrived; the hold is released")
    if verdict == "settled":
        payer.ledger.close(hold, "CONFIRMED", note="found on chain").run()
    if row.has_body:
        return _after(payer, row, "waits until you repeat the request: its body is not kept")
    try:
        status = _show(payer, row)
    except PaymentError as why:
        return _after(payer, row, why.what)
    except Exception as why:  # the network's own words, and only their kind
        return _after(payer, row, f"no answer: {type(why).__name__}")
    words = "spent, receipt found" if status < 400 else f"the seller answered {status} to the same proof"
    return _after(payer, row, words if verdict != "settled" else f"settled on chain; {words}")


def _ask(payer: Payer, hold: Hold) -> str:
    """The chain's word now, driven here: Fetch is the only step that it takes."""
    node = payer.settings.nodes.get(hold.offer.network.id)
    chain = payer.chains.get(hold.offer.network.namespace)
    if not node or chain is None:
        return "unknown"
    steps = chain.fate(hold.offer, hold.terms, node)
    value: Any = None
    while True:
        try:
            step = steps.send(value)
        except StopIteration as done:
            return str(done.value)
        assert isinstance(step, Fetch)
        value = fetch(step)


def _show(payer: Payer, row: Payment) -> int:
    """Repeat the Ask: the conversation finds the open payment and shows the same proof."""
    extensions: dict[str, Any] = {"payment": {"key": row.caller_key}} if getattr(row, "caller_key", "") else {}
    with payer.client(follow_redirects=False) as client:
        status: int = client.request(row.method, row.url, extensions=extensions).status_code
    return status


def _after(payer: Payer, row: Payment, note: str) -> Resumed:
    payer.ledger.flush()
    now = payer.ledger.payment(row.payment_id)
    return Resumed(row.payment_id, row.state, now.state if now else row.state, note)


