"""What a transaction brought back to the payer, by the chain alone: final, successful, this token, from the payee to us."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NodeError, SettingsError
from ..rpc import alike
from .eip3009 import address_bytes
from .reads import TRANSFER, TXID, settled
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps

__all__ = ["returned"]


def returned(offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
    """Atomic units that `transaction` moved from the payee back to the payer, None when that is not shown (V11).

    `node` is one URL or several with `|` between them: all must say alike (C2).
    """
    if not TXID(transaction):
        return None
    return (yield from alike(_one(offer, terms, transaction, url) for url in node.split("|")))


def _one(offer: Offer, terms: Terms, transaction: str, url: str) -> Steps[int | None]:
    try:
        found = yield from settled(Node(offer.network, url), transaction)
    except (NodeError, SettingsError):
        return None
    if found is None:
        return None
    token = "0x" + address_bytes(offer.asset.address).hex()
    payee, payer = ("0x" + address_bytes(each).hex().rjust(64, "0") for each in (offer.pay_to, terms.payer))
    logs = [each for each in found[0].logs if each.address == token and each.topics == (TRANSFER, payee, payer)]
    return sum(int.from_bytes(each.data) for each in logs if len(each.data) == 32) or None
