"""What the transaction that a seller names shows of a payment. It frees nothing and counts nothing: it is what `why` tells.

`paid`: in a finalised block the token's own Transfer moved what was signed, from us to the payee, and for EIP-3009 its
AuthorizationUsed carries our nonce (V8). `pending`: the same in a block that is not final (V9). `missing`: the node knows
no such transaction (V1). `another`: it is there, and it is not this payment. `unnamed`: no transaction id was named.
`unknown`: the node gives no answer that can be used.

Source: ERC-20 Transfer; EIP-3009 `AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce)`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ...errors import NodeError, SettingsError
from . import permit2
from .eip3009 import address_bytes
from .fate import is_used
from .reads import TRANSFER, final, receipt
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps
    from .reads import Mined

__all__ = ["lookup"]

_USED = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"  # AuthorizationUsed(address,bytes32)
_TXID = re.compile(r"0x[0-9a-fA-F]{64}").fullmatch


def lookup(offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
    """One of the words above; `node` is one URL or several with `|` between them, of which one must answer."""
    if not _TXID(transaction):
        return "unnamed"
    try:
        asked = Node(offer.network, node)
        mined = yield from receipt(asked, transaction)
        if mined is None:
            return "missing"
        if not mined.ok or not _moves(offer, terms, mined):
            return "another"
        if offer.method == permit2.METHOD and not (yield from is_used(asked, offer, terms)):
            return "another"
        block = yield from final(asked)
    except (NodeError, SettingsError):
        return "unknown"
    return "paid" if block is not None and mined.block <= int(block[0], 16) else "pending"


def _moves(offer: Offer, terms: Terms, mined: Mined) -> bool:
    """Whether the token's logs say that what was signed went from us to the payee, by our nonce where they tell one."""
    token = "0x" + address_bytes(offer.asset.address).hex()
    payer, payee = ("0x" + address_bytes(each).hex().rjust(64, "0") for each in (terms.payer, offer.pay_to))
    logs = [log for log in mined.logs if log.address == token]
    value = offer.amount.to_bytes(32, "big")
    moved = any(log.topics == (TRANSFER, payer, payee) and log.data == value for log in logs)
    if offer.method == permit2.METHOD:
        return moved
    return moved and any(log.topics == (_USED, payer, terms.nonce.lower()) for log in logs)
