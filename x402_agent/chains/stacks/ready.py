"""What a node must say before a payment is signed: the account's next nonce, the fee, and that the money is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NoAcceptableOffer, NodeError
from ...model import FOREVER, Anchor, Money, Terms
from .api import Node, balances, fee, next_nonce, public
from .signing import anchor_text, details, forms, own, unsigned

if TYPE_CHECKING:
    from ...model import Asset, ChainRules, Offer
    from ...steps import Steps

__all__ = ["CEILING", "balance", "prepare"]

CHAINED = 25  # transactions of an account that nodes let wait (MAXIMUM_MEMPOOL_TX_CHAINING of stacks-core); more are refused
CEILING = 100_000  # microSTX: a tenth of an STX is the most that a fee of ours may be where policy names no other


def prepare(offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
    """The fee, at least one microSTX a byte and at most the ceiling, and the first account nonce that is free.

    Estimates above the ceiling are cut to it. Raises NodeError, NoAcceptableOffer: no node, a ceiling below the floor,
    or too little money by the node's own word.
    """
    where = offer.network
    if not node:
        raise NoAcceptableOffer(
            f"no node of {where.name} is set, and only a node knows the account's next nonce",
            rule="X402_AGENT_NODES", hint=f"export X402_AGENT_NODES={where.name}=https://…",
        )  # fmt: skip
    asked, account, asset = Node(where, node), own(payer, where), offer.asset
    form = yield from _form(asked, offer, payer)
    number, spent = yield from next_nonce(asked, account)
    paid = 0 if details(offer).sponsored else (yield from _fee(asked, offer, payer, rules, form))
    token = _token(asset)
    coins, units = yield from balances(asked, account, token)
    owed = paid + offer.amount if asset.native else paid
    if coins is not None and coins < owed:
        raise NoAcceptableOffer(
            f"{account} has {coins} microSTX on {where.name}, amount and fee are {owed}",
            rule="balance, as the node says it", hint=f"send STX to {account}",
        )  # fmt: skip
    if token and units is not None and units < offer.amount:
        raise NoAcceptableOffer(
            f"{account} has {Money(units, asset)}, not {Money(offer.amount, asset)}",
            rule="balance, as the node says it", hint=f"send {asset.symbol} to {account}",
        )  # fmt: skip
    return Anchor(anchor_text(paid, form), number, paid, spent + CHAINED - 1 if spent >= 0 else -1)


def _form(asked: Node, offer: Offer, payer: str) -> Steps[int]:
    """Which of its argument lists a call has by the contract's interface: one that no block takes would hold its account nonce,
    and everything behind it, for ever. 0 where nothing is called."""  # fmt: skip
    if not details(offer).function:
        return 0
    try:
        made = forms(offer, _like(payer, 0))
    except ValueError as why:
        raise NoAcceptableOffer(f"the call cannot be made: {why}", rule="details of the offer") from None
    found: int | str = yield from public(asked, made)
    if isinstance(found, str):
        raise NoAcceptableOffer(found, rule="the contract's interface, as the node says it", hint="nothing was signed")
    return found


def _like(payer: str, form: int) -> Terms:
    """Terms by which bytes are as many as they will be."""
    return Terms(payer, "0x" + bytes(32).hex(), 0, FOREVER, Anchor(anchor_text(0, form), 0))


def balance(asset: Asset, account: str, node: str) -> Steps[int]:
    """What an account, by its mainnet's name, has of a token in atomic units; raises NodeError, SettingsError."""
    asked = Node(asset.network, node)
    coins, units = yield from balances(asked, own(account, asset.network), _token(asset))
    found = coins if asset.native else units
    if found is None:
        raise NodeError(f"{asked!r} tells no balances", rule="/extended/v1/address/{a}/balances", hint="name a node with Hiro's API")
    return found


def _token(asset: Asset) -> str:
    return "" if asset.native else f"{asset.address}::{asset.detail}"


def _fee(asked: Node, offer: Offer, payer: str, rules: ChainRules, form: int) -> Steps[int]:
    like = unsigned(offer, _like(payer, form))
    size, most = len(like.wire()), rules.fees.get("stacks", CEILING)
    if most < size:
        raise NoAcceptableOffer(
            f"a transaction of {size} bytes pays {size} microSTX at least, policy allows {most}",
            rule="one microSTX a byte (MINIMUM_TX_FEE_RATE_PER_BYTE)", hint="allow a higher fee for stacks",
        )  # fmt: skip
    return min((yield from fee(asked, like.payload, size)), most)
