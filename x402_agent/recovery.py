"""What became of an open payment: the chain is asked first, then the same proof is shown again, and nothing is signed anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import receipts
from .errors import PaymentError
from .fetch import drive
from .flow import show_again
from .model import Money

if TYPE_CHECKING:
    from .model import Hold
    from .payer import Payer
    from .steps import Reply, Steps

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
    """Every open payment, or the one whose id starts with `payment_id`; then, where a node is set, what ceilings were
    charged and what the chain shows of payments that so far only their seller calls settled. Raises LedgerError for
    an unknown id."""  # fmt: skip
    payer.ledger.recover()
    whole = payer.ledger.payment(payment_id).payment_id if payment_id else ""
    found = [_one(payer, hold) for hold in payer.ledger.open_payments() if whole in ("", hold.payment_id)]
    spent = [each for each in payer.ledger.uncharged() if whole in ("", each[0].payment_id)]
    found += [each for each in (_true_up(payer, *one) for one in spent) if each is not None]
    if not payer.settings.nodes:
        return found
    claimed = (_confirm(payer, *one) for one in payer.ledger.claimed(whole))
    return found + [each for each in claimed if each is not None]


def _one(payer: Payer, hold: Hold) -> Resumed:
    if hold.state == "QUARANTINE":
        return _after(payer, hold, "its row was damaged: nothing is shown, and it stays counted")
    verdict = _ask(payer, hold)
    if verdict == "dead":
        payer.ledger.close(hold, "DEAD", note="unused on chain past its expiry").run()
        return _after(payer, hold, "never arrived; the hold is released")
    if hold.ask.has_body:
        return _after(payer, hold, "waits until you repeat the request: its body is not kept")
    try:
        words = _show(payer, hold)
    except Exception as why:  # the network's own words may quote anything: only their kind is shown
        words = why.what if isinstance(why, PaymentError) else f"no answer: {type(why).__name__}"
    if verdict == "settled":
        payer.ledger.close(hold, "CONFIRMED", note="found on chain").run()
        words = f"settled on chain; {words}"
    return _after(payer, hold, words)


def _true_up(payer: Payer, hold: Hold, transaction: str) -> Resumed | None:
    """Give back what a spent ceiling did not cost, when the chain shows it; None when there is nothing new (V7)."""
    offer = hold.offer
    node, chain = payer.settings.nodes.get(offer.network.id), payer.chains.get(offer.network.namespace)
    if not node or chain is None:
        return None
    moved = drive(chain.charged(offer, hold.terms, transaction, node))
    if moved is not None:
        payer.ledger.true_up(hold.payment_id, moved)
        left = Money(moved, offer.asset).text
        return _after(payer, hold, f"charged {left} of at most {offer.money}, found on chain")
    if hold.state == "CLAIMED" and drive(chain.fate(offer, hold.terms, node)) == "dead":
        payer.ledger.close(hold, "DEAD", note="unused on chain past its expiry").run()
        return _after(payer, hold, "nothing was charged; the hold is released")
    return None


def _confirm(payer: Payer, hold: Hold, transaction: str, note: str) -> Resumed | None:
    """What the seller calls settled, by the chain; None when there is nothing new."""
    seen = receipts.look(payer, hold, transaction)
    if seen is None or seen == ("CLAIMED", note):
        return None
    payer.ledger.close(hold, seen[0], note=seen[1]).run()
    return _after(payer, hold, seen[1])


def _ask(payer: Payer, hold: Hold) -> str:
    """The chain's word now."""
    node = payer.settings.nodes.get(hold.offer.network.id)
    chain = payer.chains.get(hold.offer.network.namespace)
    if not node or chain is None:
        return "unknown"
    return drive(chain.fate(hold.offer, hold.terms, node))


def _show(payer: Payer, hold: Hold) -> str:
    """Show the same proof again, to the very Ask of the row."""
    from .kit import Kit

    class Again(Kit):
        __slots__ = ()

        def conversation(self) -> Steps[Reply]:
            return show_again(hold, self)

    with payer.talking(lambda ask: Again(payer, ask)) as client:
        status = client.request(hold.ask.method, hold.ask.url, follow_redirects=False).status_code
    return "spent, receipt found" if status < 400 else f"the seller answered {status} to the same proof"


def _after(payer: Payer, hold: Hold, note: str) -> Resumed:
    payer.ledger.flush()
    return Resumed(hold.payment_id, hold.state, payer.ledger.payment(hold.payment_id).state, note)
