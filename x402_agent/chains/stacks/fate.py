"""What became of a payment on Stacks. A transaction never expires: only its account nonce, once spent, ends it (b11).

`settled`: the transaction that spent our account nonce is ours and succeeded. `dead`: every node shows, below enough blocks, that
it was ours and was aborted (its fee is gone: `failed` where we have broadcast it), or that another one has spent that nonce. All else is `unknown`: a mempool that
dropped it, a node that has never heard of it, a nonce that is not spent yet.

It is found by its id, which the ledger knows from our own bytes, else in the account's history by its nonce, which also finds one
that a sponsor has signed. Either way what it does is compared with what was signed, so no id is believed by itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import NodeError, SigningFailed
from ..rpc import verdict
from .api import Node, history, spent_below, tip, transaction
from .signing import FIRST, does, own

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps
    from .api import Seen

__all__ = ["BURIED", "FINAL", "fate", "is_ours", "spent"]

FINAL = 6  # blocks above one that is believed to stay
BURIED = 100  # above one that frees money: some twenty minutes, two blocks of Bitcoin
_TXID = re.compile(r"[0-9a-f]{64}").fullmatch


def is_ours(seen: Seen, offer: Offer, terms: Terms) -> bool:
    """Whether this is the very payment: our account and nonce, and the id of our bytes or what was signed."""
    if seen.sender != own(terms.payer, offer.network) or seen.nonce != terms.anchor.number:
        return False
    return seen.txid == "0x" + terms.proved or seen.does == does(offer, terms)


def fate(offer: Offer, terms: Terms, node: str) -> Steps[str]:
    """`settled`, `dead`, `failed` or `unknown`, by one URL or several with `|` between them; another chain is not believed.

    One node's word is enough for `settled`, which keeps money counted; the others free it, so all must say them (C2).
    """
    try:
        own(terms.payer, offer.network)
        return (yield from verdict(Node, offer.network, node, lambda asked: _one(asked, offer, terms)))
    except (SigningFailed, ValueError):
        return "unknown"


def spent(asked: Node, offer: Offer, terms: Terms) -> Steps[Seen | None]:
    """What has spent our account nonce, by one node: ours or another, in a block that stands. None while nothing has. Raises NodeError."""
    account, number = own(terms.payer, offer.network), terms.anchor.number
    if (yield from spent_below(asked, account)) <= number:
        return None
    seen: Seen | None = (yield from transaction(asked, "0x" + terms.proved)) if _TXID(terms.proved) else None
    if seen is None or not seen.status or not is_ours(seen, offer, terms):
        found = yield from history(asked, account, number)
        seen = found and (yield from transaction(asked, found.txid))  # a list may tell less of each
    return seen if seen is not None and seen.status else None


def _one(asked: Node, offer: Offer, terms: Terms) -> Steps[str]:
    account, number = own(terms.payer, offer.network), terms.anchor.number
    try:
        seen = yield from spent(asked, offer, terms)
        if seen is None:
            return "unknown"
        ours = is_ours(seen, offer, terms)
        if ours and seen.status == "success":
            return "settled" if offer.method != FIRST or seen.moved(offer, account) else "unknown"
        told = ours or (seen.does is not None and (seen.sender, seen.nonce) == (account, number))
        if not told or (yield from tip(asked)) < seen.height + BURIED:
            return "unknown"
        return "failed" if ours and offer.method == FIRST else "dead"
    except NodeError:
        return "unknown"
