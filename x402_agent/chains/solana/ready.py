"""Before anything is held: the mint is what the table says, we have the money, the payee's account is there, a fresh blockhash.

Two calls to a node for each payment. The seller's blockhash serves only where policy trusts it, and then no node is asked:
when such a proof ends is not known, so nothing but finding it on chain ever settles what became of it (C12).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import NoAcceptableOffer
from ...model import Anchor, Money
from .message import SIZE, TOKEN, Anchored, given, holder, itself, program_of, target
from .mint import unfit
from .reads import accounts, latest, token_account
from .rpc import Node

if TYPE_CHECKING:
    from ...model import ChainRules, Offer
    from ...steps import Steps
    from .reads import Account

__all__ = ["checked", "node_of", "ready"]

_ITSELF = "the payee looks for money at that very address: it must be an account of the token (R9)"
_RENT = "an account of a token is opened at its owner's cost, never at ours (R9)"


def ready(offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
    """The blockhash to sign with. Raises NodeError, SettingsError; NoAcceptableOffer for what would not settle."""
    if rules.trusting and (theirs := given(offer)):
        return Anchor(Anchored(theirs).text)
    asked = node_of(offer, node, "   (or trust the seller's: [chains] trust_blockhash = true)")
    if not (yield from checked(asked, offer, payer)):
        raise NoAcceptableOffer(
            f"{offer.money} cannot be paid: the payee {offer.pay_to} has no account of {offer.asset.symbol}", rule=_RENT, hint="x402-agent doctor"
        )
    return Anchor(Anchored(*(yield from latest(asked))).text)


def node_of(offer: Offer, node: str, else_: str) -> Node:
    """The nodes of an offer's network; raises NoAcceptableOffer where none is set, SettingsError for a URL that is none."""
    if node:
        return Node(offer.network, node)
    name = offer.network.name
    raise NoAcceptableOffer(
        f"a payment on {name} carries a fresh blockhash, and no node of that network is known", rule="own blockhash (C12)",
        hint=f"X402_AGENT_NODES='{name}=https://…'{else_}",
    )  # fmt: skip


def checked(asked: Node, offer: Offer, payer: str) -> Steps[bool]:
    """Whether the payee's account of the token is there, once mint and our own account are what they should be, and we have the money.

    Raises NodeError; NoAcceptableOffer for what could not move.
    """
    asset = offer.asset
    mint, source, into = yield from accounts(asked, asset.address, holder(offer, payer), target(offer))
    if reason := unfit(asset, mint) or _source(offer, payer, source):
        raise NoAcceptableOffer(f"{offer.money} cannot be paid: {reason}", rule="what the node says before a payment", hint="x402-agent doctor")
    if itself(offer):
        if reason := _named(offer, payer, into):
            raise NoAcceptableOffer(f"{offer.money} cannot be paid: {offer.pay_to} {reason}", rule=_ITSELF,
                                    hint="another chain or way of this seller: x402-agent get --dry-run URL")  # fmt: skip
    elif into is not None and (reason := _target(offer, into)):
        raise NoAcceptableOffer(f"{offer.money} cannot be paid: {reason}", rule="what the node says before a payment", hint="x402-agent doctor")
    return into is not None


def _source(offer: Offer, payer: str, account: Account | None) -> str:
    asset = offer.asset
    held = 0
    if account is not None:
        try:
            holding = token_account(account)
        except ValueError:
            return f"our account of {asset.symbol} is not one"
        if (account.owner, holding.mint, holding.owner) != (program_of(asset), asset.address, payer):
            return f"our account of {asset.symbol} is not ours"
        if holding.frozen:
            return f"our account of {asset.symbol} is frozen"
        held = holding.amount
    return "" if held >= offer.amount else f"we have {Money(held, asset)}"


def _target(offer: Offer, account: Account) -> str:
    asset = offer.asset
    try:
        holding = token_account(account)
    except ValueError:
        return f"the payee's account of {asset.symbol} is not one"
    if (account.owner, holding.mint, holding.owner) != (program_of(asset), asset.address, offer.pay_to):
        return f"the payee's account of {asset.symbol} is another's"
    return f"the payee's account of {asset.symbol} is frozen" if holding.frozen else ""


def _named(offer: Offer, payer: str, account: Account | None) -> str:
    """Why the payee's address is no account of this token that money can go into, or ""."""
    asset, program = offer.asset, program_of(offer.asset)
    if account is None:
        return "is no account there"
    try:
        holding = token_account(account)
    except ValueError:
        return f"is no account of a token but a wallet's or a program's, and {asset.symbol} for a wallet never stands at its own address"
    if account.owner != program or (program == TOKEN and len(account.data) != SIZE):
        return f"is no account of the token program of {asset.symbol}"
    if holding.mint != asset.address:
        return f"is an account of another token, not of {asset.symbol}"
    if holding.owner == payer:
        return "is an account of our own (R1)"
    return f"is frozen: {asset.symbol} goes neither in nor out" if holding.frozen else ""
