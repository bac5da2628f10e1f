"""What became of an authorisation, by a node's word. Doubt is an answer: anything odd or unreachable is `unknown`.

`settled`: the token (EIP-3009) or Permit2 says that the nonce is used, at the newest block. `dead`: at a *finalised* block
whose time is past validBefore, or Permit2's deadline, the nonce is unused; both then reject it for ever. Our own clock has
no say (rows T10, a10).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NodeError
from ..rpc import verdict
from . import permit2
from .reads import authorization_state, final, permit2_nonce
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps

__all__ = ["fate", "is_used"]


def fate(offer: Offer, terms: Terms, node: str) -> Steps[str]:
    """`settled`, `dead` or `unknown`, by one URL or several with `|` between them; another chain is not believed (rpc.verdict)."""
    return (yield from verdict(Node, offer.network, node, lambda one: _one(one, offer, terms)))


def _one(asked: Node, offer: Offer, terms: Terms) -> Steps[str]:
    try:
        if (yield from is_used(asked, offer, terms)):
            return "settled"
        block = yield from final(asked)
        if block is None or block[1] <= terms.valid_before:
            return "unknown"
        used = yield from is_used(asked, offer, terms, block[0])
    except NodeError:
        return "unknown"
    return "settled" if used else "dead"


def is_used(node: Node, offer: Offer, terms: Terms, block: str = "latest") -> Steps[bool]:
    """Whether the nonce of an authorisation is used at a block; raises NodeError."""
    if offer.method == permit2.METHOD:
        return (yield from permit2_nonce(node, permit2.PERMIT2, terms.payer, terms.nonce, block))
    return (yield from authorization_state(node, offer.asset.address, terms.payer, terms.nonce, block))
