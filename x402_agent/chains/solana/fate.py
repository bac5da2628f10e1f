"""What became of a proof, by the history of our own account: its id may be the facilitator's signature, not ours (C11).

The account is that of the token, for SOL the payer himself.

`settled`: a confirmed transaction that did not fail carries the very message that we signed. `failed`: a finalised one did, whose
fee is ours. `dead`: a finalised block is past
the last height of its blockhash, the node takes that blockhash in no block any more, knows its history back to before
we signed, and shows it whole, without our message (b10, C14). Anything odd, cut or unreachable is `unknown`, and so is every
proof with a blockhash of the seller's that is not found: nobody that we asked has said when it ends (C12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NodeError
from ..rpc import verdict
from .message import METHOD, anchored, detail, holder, message
from .reads import FINALIZED, PAGE, PROCESSED, expired, final, first_slot, found, history
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps
    from .message import Anchored

__all__ = ["MARGIN", "PAGES", "fate"]

MARGIN = 32  # blocks past the last height of a blockhash
PAGES = 100  # of a history that are read: 20,000 transactions of one account
_LOOKS = 500  # transactions that are fetched because they may be ours
_BEFORE = 3600  # seconds before we signed: with a seller's blockhash nothing is freed, so our own clock may end the search


def fate(offer: Offer, terms: Terms, node: str) -> Steps[str]:
    """`settled`, `dead`, `failed` or `unknown`, by one URL or several with `|` between them; another chain is not believed (rpc.verdict)."""
    return (yield from verdict(Node, offer.network, node, lambda one: _one(one, offer, terms)))


def _one(node: Node, offer: Offer, terms: Terms) -> Steps[str]:
    signed = anchored(terms.anchor)
    try:
        end = yield from final(node)
        over = yield from _over(node, terms, signed, end.slot, end.height)
        if word := (yield from _word(node, offer, terms, signed, end.slot)):
            return word
        whole = over and (yield from first_slot(node)) <= signed.slot
    except NodeError:
        return "unknown"
    return "dead" if whole else "unknown"


def _over(node: Node, terms: Terms, signed: Anchored, slot: int, height: int) -> Steps[bool]:
    """Whether no block will ever take the blockhash: by its height, and by what the node says now of the hash itself.

    The height was said before we signed, perhaps by another node; a lie then must not free anything now.
    """
    if not signed.slot or slot <= signed.slot or height <= signed.last + MARGIN:
        return False
    hash_text = terms.anchor.text.partition(":")[0]
    newest = yield from expired(node, hash_text, PROCESSED, slot)
    return newest and (yield from expired(node, hash_text, FINALIZED, slot))


def _word(node: Node, offer: Offer, terms: Terms, signed: Anchored, slot: int) -> Steps[str]:
    """`settled` or `failed` where our message is in the history, else ""; raises NodeError when it cannot be read back to where we
    signed. What failed under our own fee in a block up to `slot`, which is final, is never run again.

    Nodes say memos as `[32] text`. Our own tells which transaction may be ours; a seller's, which may hold anything, does not.
    """
    account = holder(offer, terms.payer)
    wanted, memo = message(offer, terms), "" if detail(offer, "memo") else terms.nonce[2:34]
    before, looks = "", 0
    for _ in range(PAGES):
        page = yield from history(node, account, before, slot)
        for seen in page:
            if seen.slot < signed.slot or (not signed.slot and 0 < seen.time < terms.valid_after - _BEFORE):
                return ""
            if (seen.failed and (offer.method != METHOD or seen.slot > slot)) or (memo and seen.memo is not None and memo not in seen.memo):
                continue
            looks += 1
            shown = yield from found(node, seen.signature)
            if shown is None or looks > _LOOKS:
                raise NodeError(f"{node!r} does not show what its history names", rule="Solana JSON-RPC", hint="name another node: X402_AGENT_NODES")
            if shown.message == wanted:
                if shown.failed != seen.failed:
                    raise NodeError(f"{node!r} says of one transaction that it failed and that it did not", rule="Solana JSON-RPC", hint="name another node: X402_AGENT_NODES")
                return "failed" if seen.failed else "settled"
        if not page:  # a page that is merely short may be a node's own limit
            return ""
        before = page[-1].signature
    raise NodeError(f"{node!r} shows more than {PAGES * PAGE} transactions since", rule="Solana JSON-RPC")

