"""What the transaction that a seller names shows, of a payment or of a refund. It frees nothing and counts nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import NodeError, SettingsError, SigningFailed
from ...model import Money
from .api import Node, Seen, tip, transaction
from .fate import FINAL, is_ours
from .payloads import Transfer
from .signing import own

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps

__all__ = ["lookup", "returned"]

_TXID = re.compile(r"(0x)?[0-9a-fA-F]{64}").fullmatch


def lookup(offer: Offer, terms: Terms, named: str, node: str) -> Steps[str]:
    """`paid`, `pending`, `missing`, `another`, `unnamed` or `unknown`; `node` is one URL or several with `|` between them."""
    if not _TXID(named):
        return "unnamed"
    try:
        asked = Node(offer.network, node)
        seen = yield from transaction(asked, "0x" + named.removeprefix("0x").lower())
        if seen is None:
            return "missing"
        if not is_ours(seen, offer, terms) or seen.status == "abort":
            return "another"
        final = bool(seen.status) and (yield from tip(asked)) >= seen.height + FINAL
    except (NodeError, SettingsError, SigningFailed, ValueError):
        return "unknown"
    return "paid" if final else "pending"


def returned(offer: Offer, terms: Terms, named: str, node: str) -> Steps[int | None]:
    """Atomic units that this transaction brought back from the payee to us, None in any doubt: all nodes must show it (C2)."""
    if not _TXID(named):
        return None
    found: set[int | None] = set()
    try:
        for each in Node(offer.network, node).each():
            seen = yield from transaction(each, "0x" + named.removeprefix("0x").lower())
            final = seen is not None and seen.status == "success" and (yield from tip(each)) >= seen.height + FINAL
            found.add(_back(seen, offer, own(terms.payer, offer.network)) if seen is not None and final else None)
    except (NodeError, SettingsError, ValueError):
        return None
    return found.pop() if len(found) == 1 else None


def _back(seen: Seen, offer: Offer, us: str) -> int | None:
    if seen.sender != offer.pay_to or seen.does is None:
        return None
    if isinstance(seen.does, Transfer):
        return seen.does.amount if offer.asset.native and seen.does.recipient == us else None
    call = seen.does
    if call.contract != offer.asset.address or call.function != "transfer" or len(call.arguments) != 4:
        return None
    amount, sender, recipient, _ = (each.value for each in call.arguments)
    fine = (sender, recipient) == (offer.pay_to, us) and isinstance(amount, int)
    return Money(amount, offer.asset).amount if fine else None
