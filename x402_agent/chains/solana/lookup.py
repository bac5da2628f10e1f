"""What a transaction that somebody names shows, of a payment or of money that came back. It frees nothing and counts nothing.

`paid`: finalised, not failed, and the very message that we signed. `pending`: the same, not final (V9). `missing`: the node knows
no such transaction (V1). `another`: it is there, and it is not this payment. `unnamed`: no transaction id was named.
`unknown`: the node gives no answer that can be used.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...encodings import unbase58
from ...errors import NodeError, SettingsError
from ..rpc import alike
from .message import itself, message
from .reads import CONFIRMED, FINALIZED, found
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps

__all__ = ["lookup", "returned"]

_SIGNATURE = re.compile("[1-9A-HJ-NP-Za-km-z]{64,88}").fullmatch


def _named(transaction: str) -> bool:
    return bool(_SIGNATURE(transaction)) and len(unbase58(transaction)) == 64


def lookup(offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
    """One of the words above; `node` is one URL or several with `|` between them, of which one must answer."""
    if not _named(transaction):
        return "unnamed"
    try:
        asked = Node(offer.network, node)
        shown, word = (yield from found(asked, transaction, FINALIZED)), "paid"
        if shown is None:
            shown, word = (yield from found(asked, transaction, CONFIRMED)), "pending"
    except (NodeError, SettingsError):
        return "unknown"
    if shown is None:
        return "missing"
    return "another" if shown.failed or shown.message != message(offer, terms) else word


def returned(offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
    """Atomic units that `transaction` moved from the payee back to the payer, None when that is not shown final (V11).

    `node` is one URL or several with `|` between them: all must say alike (C2).
    """
    if not _named(transaction):
        return None
    return (yield from alike(_back(offer, terms, transaction, url) for url in node.split("|")))


def _back(offer: Offer, terms: Terms, transaction: str, url: str) -> Steps[int | None]:
    try:
        shown = yield from found(Node(offer.network, url), transaction, FINALIZED)
    except (NodeError, SettingsError):
        return None
    if shown is None or shown.failed:
        return None
    rows = [each for each in shown.moved if each.mint == ("" if offer.asset.native else offer.asset.address)]
    came = sum(each.after - each.before for each in rows if each.owner == terms.payer)
    went = sum(each.before - each.after for each in rows if offer.pay_to == (each.account if itself(offer) else each.owner))
    return min(came, went) if came > 0 and went > 0 else None
