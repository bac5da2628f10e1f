"""Paying first: a transaction of our own, broadcast by us, whose id is what the seller is shown (method `transfer`).

STX, a SIP-010 token, or a call of the seller's contract. What is signed, its terms and its fate are those of every payment on
Stacks; here its bytes are handed to nodes, always the same ones, until a block that stands shows that they did what they say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import NodeError, PaymentInDoubt
from ...steps import ON_CHAIN, Progress, Sleep
from .api import Node, Seen, submit, tip, transaction
from .fate import is_ours, spent
from .signing import own

if TYPE_CHECKING:
    from ...model import Offer, Proof, Terms
    from ...steps import Steps

__all__ = ["broadcast"]

PATIENCE = ON_CHAIN
_AGAIN = 15.0  # seconds after which the same bytes are handed over once more


def broadcast(offer: Offer, terms: Terms, proof: Proof, node: str) -> Steps[Proof]:
    """Hand over the same bytes until they stand in a block with as many confirmations as the network's row wants.

    Returns only when the seller can see the money: the proof, which names the id of the form that a block holds, its fee raised
    or not. Raises NodeError for one that was mined and aborted, or whose account nonce
    another has spent; PaymentInDoubt when PATIENCE ends first. What a node says to a broadcast, and that a mempool has dropped
    it, proves nothing (C5, b11).
    """
    asked, terms = Node(offer.network, node), replace(terms, proved=proof.txid)
    raw = bytes.fromhex(proof.payload["raw"])
    waited, sent, pause, words, stands = 0.0, -_AGAIN, 0.25, "", ""
    while waited < PATIENCE:
        try:
            seen = yield from spent(asked, offer, terms)
            stands = yield from _progress(stands, seen)
            if seen is not None and _stands(seen, offer, terms):
                if (yield from tip(asked)) - seen.height + 1 >= offer.network.confirmations:
                    return replace(proof, payload={**proof.payload, "transaction": seen.txid}, txid=seen.txid[2:])
            elif seen is None and waited - sent >= _AGAIN:
                sent, words = waited, ""
                words = yield from _told(asked, proof.txid)
                yield from submit(asked, raw)
                if not stands:
                    stands = "SEEN"
                    yield Progress("SEEN", f"0x{proof.txid} was taken by a node")
        except _Failed:
            raise
        except NodeError as why:
            words = why.what
        yield Sleep(pause)
        waited += pause
        pause = min(pause * 2, 4.0)
    raise PaymentInDoubt(f"0x{proof.txid} is in no block that stands after {PATIENCE:.0f} s{': ' + words if words else ''}",
                         rule="the same bytes go out again, never others (C5)")  # fmt: skip


def _progress(stands: str, seen: Seen | None) -> Steps[str]:
    """How far it has come since `stands`, told once."""
    if seen is None:
        if stands == "MINED":
            yield Progress("INFLIGHT", "no longer in a block")
        return "INFLIGHT" if stands == "MINED" else stands
    if stands != "MINED":
        failed = "" if seen.status == "success" else ", where it failed"
        yield Progress("MINED", f"{seen.txid} in block {seen.height}{failed}", seen.fee)
    return "MINED"


class _Failed(NodeError):
    """A block holds what ends it, and nothing has moved."""


def _stands(seen: Seen, offer: Offer, terms: Terms) -> bool:
    """Whether this is our payment, its events shown (C4). Raises _Failed for one that was aborted, or another's transaction."""
    if not is_ours(seen, offer, terms):
        raise _Failed(f"{seen.txid} has spent account nonce {terms.anchor.number}", rule="only what is final ends it")
    if seen.status == "abort":
        raise _Failed(f"{seen.txid} was mined in block {seen.height} and aborted ({seen.word})", rule="only what is final ends it")
    return seen.moved(offer, own(terms.payer, offer.network))


def _told(asked: Node, txid: str) -> Steps[str]:
    """What a node says of one that is in no block, for people."""
    seen = yield from transaction(asked, "0x" + txid)
    return "" if seen is None or seen.word == "pending" else f"a node calls it {seen.word}"
