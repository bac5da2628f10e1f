"""What may take the place of a transaction of ours that no block takes: the same one at a higher fee, or one that moves nothing.

Both have its account nonce, so of all forms one at most can ever stand in a block. One that moves nothing is a token's `transfer`
from us to ourselves, which every SIP-010 token refuses, under Deny and without a post-condition: whatever its contract does,
nothing leaves. (A transfer of STX to oneself is taken by no node.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ... import assets
from ...encodings import unc32_address
from ...errors import SigningFailed
from ..replaced import Spent
from ..rpc import alike
from .api import Node, fee, submit, tip
from .fate import BURIED, is_ours, spent
from .payloads import sip010_transfer
from .ready import CEILING
from .signing import checked, fee_of, own, unsigned
from .transaction import Spending, Transaction

if TYPE_CHECKING:
    from ...model import ChainRules, Network, Offer, Terms
    from ...steps import Steps
    from .. import Signer

__all__ = ["again", "most", "offered", "outbid", "signed", "who_spent"]


def most(rules: ChainRules) -> int:
    """The most that one transaction may offer by itself, in microSTX."""
    return rules.fees.get("stacks", CEILING)


def signed(offer: Offer, terms: Terms, signer: Signer, units: int, *, cancel: bool) -> tuple[str, bytes]:
    """Id and bytes of the transaction that offers `units` microSTX. Raises SigningFailed."""
    made = _bare(offer, terms, units, cancel=cancel).signed(lambda digest: checked(signer.sign_digest("stacks", digest)))
    return made.txid, made.wire()


def _bare(offer: Offer, terms: Terms, units: int, *, cancel: bool) -> Transaction:
    if cancel:
        made = _nothing(offer, terms)
    elif offer.method:
        made = unsigned(offer, terms)
    else:
        raise SigningFailed("its seller broadcasts it, and waits for the very bytes he was given", rule="the same payment at a higher fee has another id",
                            hint="--cancel puts an end to it")  # fmt: skip
    return replace(made, origin=replace(made.origin, fee=units))


def _nothing(offer: Offer, terms: Terms) -> Transaction:
    token = offer.asset if not offer.asset.native else next(
        (each for each in assets.assets() if each.network is offer.network and not each.native), None)  # fmt: skip
    if token is None:
        raise SigningFailed(f"no token of {offer.network.name} is known, by which nothing could be moved", rule="assets.toml")
    us = own(terms.payer, offer.network)
    call = sip010_transfer(token.address, 1, us, us)
    return Transaction(offer.network.testnet, Spending(unc32_address(terms.payer)[1], terms.anchor.number, 0), call.wire())


def offered(terms: Terms) -> int:
    """What the payment itself offers, in microSTX; raises SigningFailed."""
    return fee_of(terms)


def outbid(offer: Offer, terms: Terms, stands: int, node: str, *, cancel: bool) -> Steps[tuple[int, int]]:
    """The least that may be offered instead of `stands`, a quarter more and a microSTX a byte, and the estimate; in microSTX.

    Raises NodeError, SigningFailed.
    """
    like = _bare(offer, terms, 0, cancel=cancel)
    size = len(like.wire())
    wanted = yield from fee(Node(offer.network, node), like.payload, size)
    least = max(stands * 5 // 4 + 1, size)
    return least, max(wanted, least)


def again(network: Network, raw: bytes, node: str) -> Steps[None]:
    """Hand signed bytes to a node; raises NodeError, which proves nothing (C5)."""
    return submit(Node(network, node), raw)


def who_spent(offer: Offer, terms: Terms, node: str) -> Steps[Spent | None]:
    """What has spent the payment's account nonce, where every node shows the same (C2); None else. Raises NodeError, SettingsError."""
    return (yield from alike(_one(each, offer, terms) for each in Node(offer.network, node).each()))


def _one(asked: Node, offer: Offer, terms: Terms) -> Steps[Spent | None]:
    seen = yield from spent(asked, offer, terms)
    if seen is None:
        return None
    final = (yield from tip(asked)) >= seen.height + BURIED
    return Spent(seen.txid.lower(), seen.fee, seen.height, is_ours(seen, offer, terms), final)
