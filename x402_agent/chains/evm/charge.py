"""What an `upto` payment really moved, by the chain alone: None is the answer to every doubt, and keeps the ceiling counted.

The seller's receipt names a transaction to look at. It is believed when it is x402's own proxy called with our nonce, our
deadline, our payee and our facilitator, when it succeeded at or below the finalised block, and when its one Transfer from
us to the payee is as large as its call says. A nonce is used once, so no other transaction can be the charge (V7, V8, V9).

Source: x402UptoPermit2Proxy `settle(((token,amount),nonce,deadline), amount, owner, (to,facilitator,validAfter), signature)`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NodeError, SettingsError
from ..rpc import alike
from . import permit2
from .eip3009 import address_bytes
from .fate import is_used
from .reads import TRANSFER, TXID, called, settled
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Offer, Terms
    from ...steps import Steps
    from .reads import Mined

__all__ = ["charged"]

_SETTLE = bytes.fromhex("ff11e7b4")
_AMOUNT = 4  # which word of the call says how much


def charged(offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
    """Atomic units that `transaction` moved for this payment, None when that is not shown.

    `node` is one URL or several with `|` between them: what frees money, all of them must say alike (C2).
    """
    if offer.scheme != "upto" or not TXID(transaction):
        return None
    return (yield from alike(_one(offer, terms, transaction, url) for url in node.split("|")))


def _one(offer: Offer, terms: Terms, transaction: str, url: str) -> Steps[int | None]:
    try:
        asked = Node(offer.network, url)
        found = yield from settled(asked, transaction)
        if found is None:
            return None
        mined, block = found
        to, call = yield from called(asked, transaction)
        amount = _amount(offer, terms, to, call)
        if amount is None or amount != _moved(offer, terms, mined):
            return None
        return amount if (yield from is_used(asked, offer, terms, block)) else None
    except (NodeError, SettingsError):
        return None


def _amount(offer: Offer, terms: Terms, to: str, call: bytes) -> int | None:
    """What a call to the proxy settles, None unless it settles this very payment."""
    words = [call[at : at + 32] for at in range(4, 4 + 9 * 32, 32)]
    wanted = (
        address_bytes(offer.asset.address),
        offer.amount,
        bytes.fromhex(terms.nonce[2:]),
        terms.valid_before,
        words[_AMOUNT],
        address_bytes(terms.payer),
        address_bytes(offer.pay_to),
        address_bytes(offer.facilitator),
        terms.valid_after,
    )
    ours = [each.to_bytes(32, "big") if isinstance(each, int) else each.rjust(32, b"\0") for each in wanted]
    if to != permit2.SPENDERS["upto"].lower() or call[:4] != _SETTLE or words != ours:
        return None
    amount = int.from_bytes(words[_AMOUNT])
    return amount if amount <= offer.amount else None


def _moved(offer: Offer, terms: Terms, mined: Mined) -> int | None:
    """The value of the one Transfer of this token from the payer to the payee, None when there is none or more."""
    token = "0x" + address_bytes(offer.asset.address).hex()
    payer, payee = ("0x" + address_bytes(each).hex().rjust(64, "0") for each in (terms.payer, offer.pay_to))
    found = [log for log in mined.logs if log.address == token and log.topics == (TRANSFER, payer, payee)]
    return int.from_bytes(found[0].data) if len(found) == 1 and len(found[0].data) == 32 else None
