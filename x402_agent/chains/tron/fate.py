"""What became of a permit, by a node's word. Doubt is an answer: anything odd or unreachable is `unknown`.

`settled`: PaymentPermit or Permit2 says that the nonce is used, in the newest state. `dead`: in the *solid* state, whose newest
block is past validBefore, the nonce is unused; the contract then rejects it for ever. Our own clock has no say (T10).
A URL can stand for several machines that are not level, and TRON answers for no block by number: so a minute more must have
passed on the chain than the permit lived.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NodeError, SettingsError
from ..rpc import alike, verdict
from . import permit, permit2
from .reads import TXID, moved, solid, transaction, used
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps

__all__ = ["LAG", "fate", "lookup", "returned"]

LAG = 60  # seconds


def _contract(offer: Offer) -> str:
    table = permit2.CONTRACTS if offer.method == permit2.METHOD else permit.CONTRACTS
    return table[offer.network.id]


def fate(offer: Offer, terms: Terms, node: str) -> Steps[str]:
    """`settled`, `dead` or `unknown`, by one URL or several with `|` between them; another chain is not believed (rpc.verdict)."""
    return (yield from verdict(Node, offer.network, node, lambda one: _one(one, offer, terms)))


def _one(asked: Node, offer: Offer, terms: Terms) -> Steps[str]:
    contract = _contract(offer)
    try:
        if (yield from used(asked, contract, terms.payer, terms.nonce)):
            return "settled"
        if (yield from solid(asked))[1] <= terms.valid_before + LAG:
            return "unknown"
        gone = not (yield from used(asked, contract, terms.payer, terms.nonce, solid=True))
    except NodeError:
        return "unknown"
    return "dead" if gone else "settled"


def lookup(offer: Offer, terms: Terms, named: str, node: str) -> Steps[str]:
    """What the transaction that a seller names shows: `paid` (solid, ours), `pending` (in a block), `missing`, `another`,
    `unnamed` or `unknown`. It frees nothing and counts nothing. `node` is one URL or several, of which one must answer."""
    found = TXID(named)
    if not found:
        return "unnamed"
    txid = found[1].lower()
    try:
        asked = Node(offer.network, node)
        mined = yield from transaction(asked, txid)
        if mined is None:
            return "missing"
        ours = mined.ok and offer.amount in moved(mined, offer.asset.address, terms.payer, offer.pay_to)
        if not ours or not (yield from used(asked, _contract(offer), terms.payer, terms.nonce)):
            return "another"
        final = yield from transaction(asked, txid, solid=True)
    except (NodeError, SettingsError):
        return "unknown"
    return "paid" if final is not None and final.logs == mined.logs and final.ok else "pending"


def returned(offer: Offer, terms: Terms, named: str, node: str) -> Steps[int | None]:
    """Atomic units that a solid transaction moved from the payee back to the payer, None when that is not shown (V11)."""
    found = TXID(named)
    if not found:
        return None
    return (yield from alike(_back(offer, terms, found[1].lower(), url) for url in node.split("|")))


def _back(offer: Offer, terms: Terms, txid: str, url: str) -> Steps[int | None]:
    try:
        mined = yield from transaction(Node(offer.network, url), txid, solid=True)
    except (NodeError, SettingsError):
        return None
    if mined is None or not mined.ok:
        return None
    return sum(moved(mined, offer.asset.address, offer.pay_to, terms.payer)) or None
