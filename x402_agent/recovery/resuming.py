"""What became of an open payment: the chain is asked first, then the same proof is shown again, and nothing is signed anew."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import LedgerError, NodeError, PaymentError, PaymentInDoubt, SettingsError
from ..flow import FREES
from ..model import FOREVER, Money
from ..transport.fetch import drive
from . import receipts
from .lanes import side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..ledger import Payment
    from ..model import Hold
    from ..payer import Payer
    from ..steps import Steps

__all__ = ["Resumed", "fate", "in_words", "refund", "resume"]


@dataclass(frozen=True)
class Resumed:
    """One open payment, before and after: ledger states, in words what was learnt, and what a person can do now."""

    payment_id: str
    before: str
    after: str
    note: str
    todo: str = ""


def fate(payer: Payer, hold: Hold) -> Steps[str]:
    """settled, dead or unknown. Without a node, or before the proof could be dead, nobody is asked."""
    node = payer.settings.nodes.get(hold.offer.network.id)
    chain = payer.chains.get(hold.offer.network.namespace)
    may_be_dead = hold.terms.valid_before == FOREVER or payer.clock() > hold.terms.valid_before
    if not node or chain is None or not may_be_dead:
        return "unknown"
    word = yield from chain.fate(hold.offer, hold.terms, node)
    if word == "unknown" and (why := cancelled(payer, hold)):
        raise PaymentInDoubt(why, rule="what is being cancelled is not shown to its seller again",
                             hint=f"x402-agent resume {hold.payment_id[:8]}", payment_id=hold.payment_id)  # fmt: skip
    return word


def cancelled(payer: Payer, hold: Hold) -> str:
    """That a person has put a transaction which moves nothing in the place of this payment, in words, or ""."""
    if hold.terms.anchor.number < 0:
        return ""
    rows = payer.ledger.replacements(hold.offer.network.id, hold.terms.payer, hold.terms.anchor.number)
    last = next((row.txid for row in rows if row.kind == "cancel"), "")
    return f"it is being cancelled by {last}; the hold is freed once the chain shows that as final" if last else ""


def resume(payer: Payer, payment_id: str | None, output: Path | None = None) -> list[Resumed]:
    """Every open payment, or the one whose id starts with `payment_id`; then, where a node is set, what ceilings were
    charged and what the chain shows of payments that so far only their seller calls settled. Raises LedgerError for
    an unknown id.

    Goods that come are kept for the next identical request, or written to the new file `output` (one payment only).
    Several origins are settled side by side (see lanes.py); the answer is in order all the same. What fails is told in its own line.
    """
    from . import again  # which leads conversations, as we do not

    if output is not None and output.exists():
        raise SettingsError(f"{output} exists and is never overwritten", rule="--output", hint="another name")
    payer.ledger.recover()
    whole = payer.ledger.payment(payment_id).payment_id if payment_id else ""
    kept = [] if output is None else again.handed(payer, whole, output)
    found = [Resumed(*each) for each in kept]
    found += _each(payer, _one, [(hold, output) for hold in payer.ledger.open_payments() if whole in ("", hold.payment_id)])
    found += _each(payer, _true_up, [each for each in payer.ledger.uncharged() if whole in ("", each[0].payment_id)])
    return found + _each(payer, _confirm, payer.ledger.claimed(whole) if payer.settings.nodes else [])


def _each(payer: Payer, work: Callable[..., Resumed | None], rows: Sequence[tuple[Any, ...]]) -> list[Resumed]:
    """`work` of each row, which begins with its Hold; what is new. Raises LedgerError."""

    def one(row: tuple[Any, ...]) -> Resumed | None:
        try:
            return work(payer, *row)
        except LedgerError:
            raise
        except Exception as why:
            return _after(payer, row[0], in_words(why))

    return [each for each in side_by_side(one, rows, lambda row: row[0].ask.origin) if each is not None]


def in_words(why: Exception) -> str:
    """Why a payment could not be asked about or shown, in words: the network's own may quote anything, so only their kind is told."""
    return why.what if isinstance(why, PaymentError) else f"no answer: {type(why).__name__}"


def _one(payer: Payer, hold: Hold, output: Path | None) -> Resumed:
    from . import again

    if hold.state == "QUARANTINE":
        return _after(payer, hold, "its row was damaged: nothing is shown, and it stays counted")
    verdict = _ask(payer, hold)
    if verdict in FREES:
        state, note = FREES[verdict]
        payer.ledger.close(hold, state, note=note).run()
        return _after(payer, hold, "never arrived; the hold is released" if state == "DEAD" else f"{note}; only its fee stays counted")
    if verdict != "settled" and (why := cancelled(payer, hold)):
        return _after(payer, hold, why)
    try:
        words = again.show(payer, hold, output)
    except Exception as why:
        words = in_words(why)
    if verdict == "settled":
        payer.ledger.close(hold, "CONFIRMED", note="found on chain").run()
        words = f"settled on chain; {words}"
    if second := _witness(payer, hold):
        words = f"{words}; {second}"
    return _after(payer, hold, words)


def _witness(payer: Payer, hold: Hold) -> str:
    """What the seller's own history says of a payment that is paid and not delivered, in words: it decides nothing."""
    asks = next((getattr(each, "witness", None) for each in payer.dialects if each.name == hold.offer.dialect), None)
    payer.ledger.flush()
    now = payer.ledger.payment(hold.payment_id)
    if asks is None or now.delivered:
        return ""
    chain: Any = payer.chains[hold.offer.network.namespace]
    try:
        signer = payer.signer(hold.offer.network.namespace, hold.terms.payer)
        words: str = drive(asks(hold, now.transaction, lambda message: chain.sign_in(message, signer), payer.clock()))
    except PaymentError:
        return ""
    return words


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


def refund(payer: Payer, payment_id: str, transaction: str) -> int:
    """Link a transaction that brought money back to the payment that it gives back. -> atomic units. No budget grows by it.

    Raises LedgerError (nothing spent, known elsewhere, too much), NodeError when no node shows it final and ours.
    """
    hold = payer.ledger.spent_hold(payer.ledger.payment(payment_id).payment_id)
    offer = hold.offer
    node, chain = payer.settings.nodes.get(offer.network.id), payer.chains.get(offer.network.namespace)
    moved = drive(chain.returned(offer, hold.terms, transaction, node)) if node and chain else None
    if moved is None:
        raise NodeError(
            f"no final transfer from {offer.pay_to} back to {hold.terms.payer} is shown by this transaction",
            rule="a refund is credited only from the chain (V11)",
            hint="a young transaction needs some minutes" if node else f"X402_AGENT_NODES='{offer.network.name}=https://…'",
        )
    payer.ledger.refunded(hold.payment_id, transaction, moved)
    return moved


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


def _after(payer: Payer, hold: Hold, note: str) -> Resumed:
    payer.ledger.flush()
    now = payer.ledger.payment(hold.payment_id)
    return Resumed(hold.payment_id, hold.state, now.state, note, "" if now.delivered else _todo(payer, hold, now))


def _todo(payer: Payer, hold: Hold, now: Payment) -> str:
    """What a person can do about a payment that is still open."""
    name, ends = hold.payment_id[:8], hold.terms.valid_before
    if now.outcome == "spent":
        return f"paid and not delivered: repeat the request, which shows the same proof, or x402-agent claim {name}"
    if now.outcome == "released":
        return ""
    if now.state == "QUARANTINE":
        return f"ask the seller, then x402-agent ledger decide {name} --paid (or --not-paid)"
    network = hold.offer.network
    if network.id not in payer.settings.nodes:
        return f"name a node, so that the chain can be asked: X402_AGENT_NODES={network.name}=https://…"
    if ends == FOREVER:
        return f"it may settle until the chain shows its end; repeat the request, or x402-agent resume {name} asks the chain again"
    if payer.clock() <= ends:
        until = time.strftime("%H:%M:%SZ", time.gmtime(ends))
        return f"it may settle until {until}; repeat the request, or x402-agent resume {name} after that"
    return f"x402-agent resume {name} asks the chain again: a final block past its end decides"
