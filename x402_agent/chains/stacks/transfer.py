"""Paying first: a transaction of our own, broadcast by us, whose id is what the seller is shown (method `transfer`).

STX, a SIP-010 token, or a call of the seller's contract. What is signed, its terms and its fate are those of every payment on
Stacks; here its bytes are handed to nodes, always the same ones, until a block that stands shows that they did what they say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...steps import ON_CHAIN
from ..doors import Stands
from .api import Node, Seen, submit, tip, transaction
from .fate import is_ours, spent
from .signing import own

if TYPE_CHECKING:
    from ...model import Offer, Proof, Terms
    from ...steps import Steps

__all__ = ["broadcast"]

PATIENCE = ON_CHAIN


def broadcast(offer: Offer, terms: Terms, proof: Proof, node: str) -> Steps[Proof]:
    """Hand over the same bytes until they stand in a block with as many confirmations as the network's row wants.

    Returns only when the seller can see the money: the proof, which names the id of the form that a block holds, its fee raised
    or not. Raises NodeError for one that was mined and aborted, or whose account nonce
    another has spent; PaymentInDoubt when PATIENCE ends first. What a node says to a broadcast, and that a mempool has dropped
    it, proves nothing (C5, b11).
    """
    asked, terms = Node(offer.network, node), replace(terms, proved=proof.txid)
    stands = Stands("0x" + proof.txid)

    def look() -> Steps[tuple[bool, Proof | None]]:
        seen = yield from spent(asked, offer, terms)
        if seen is None:
            yield from stands.nowhere()
            return False, None
        yield from stands.block(seen.height, seen.fee, failed=_failed(seen, offer, terms), txid=seen.txid)
        shown = seen.moved(offer, own(terms.payer, offer.network))  # its events show it (C4)
        if not shown or (yield from tip(asked)) - seen.height + 1 < offer.network.confirmations:
            return True, None
        return True, replace(proof, payload={**proof.payload, "transaction": seen.txid}, txid=seen.txid[2:])

    def hand() -> Steps[None]:
        stands.words = ""
        stands.words = yield from _told(asked, proof.txid)
        yield from submit(asked, bytes.fromhex(proof.payload["raw"]))

    return (yield from stands.followed(look, hand, PATIENCE))


def _failed(seen: Seen, offer: Offer, terms: Terms) -> str:
    """How what has our account nonce is no payment of ours: another's, or aborted; else ""."""
    if not is_ours(seen, offer, terms):
        return f"has spent account nonce {terms.anchor.number}"
    return f"aborted ({seen.word})" if seen.status == "abort" else ""


def _told(asked: Node, txid: str) -> Steps[str]:
    """What a node says of one that is in no block, for people."""
    seen = yield from transaction(asked, "0x" + txid)
    return "" if seen is None or seen.word == "pending" else f"a node calls it {seen.word}"
