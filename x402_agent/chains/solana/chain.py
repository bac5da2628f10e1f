"""The chain door of Solana: may it be paid, what a node must say first, with which proof, and what became of it."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import TYPE_CHECKING

from ... import assets
from ...encodings import base58
from ...errors import SigningFailed
from ...model import NO_ANCHOR, Anchor, Money, Proof, Terms
from ..doors import unlisted
from .message import (
    METHOD,
    PROGRAMS,
    SIZE,
    address_bytes,
    anchored,
    given,
    holder,
    itself,
    message,
    on_curve,
    transaction,
)

if TYPE_CHECKING:
    from ...model import Asset, ChainRules, Network, Offer
    from ...steps import Steps
    from .. import Signer

__all__ = ["LIFETIME", "Solana"]

_SIGNATURE = 5_000  # lamports
_HEADER = re.compile(r"wallet=[1-9A-HJ-NP-Za-km-z]{32,44}; amount=[0-9.]{1,32}; currency=(?:USDC|SOL|USD); timestamp=[0-9]{13}").fullmatch
LIFETIME = 120  # seconds in which 150 blocks are made, and more: no node is asked sooner for what became of a proof


class Solana:
    """Scheme exact, and transfers that pay first, on every `solana` network of the table. Stateless: one instance serves every thread."""

    namespace = "solana"
    keeps = 6_960 * 128  # lamports that an account must hold to be one: they are never sent away

    def refuses(self, offer: Offer, payer: str) -> str:
        """Why this offer cannot be paid from `payer`, in words, or "" (rows A1, A6, D14, P2, R1, R2, R9)."""
        asset = offer.asset
        if way := unlisted(asset, self.namespace) or _way(offer):
            return way
        if not 0 < offer.amount < 1 << 64:
            return "the amount is outside 64 bits (P2)"
        try:
            address_bytes(payer)
        except ValueError as why:
            return f"our own account {why}"
        try:
            ours = {payer, holder(offer, payer)}
            theirs = _account("payTo", offer.pay_to, ours, asset.address, tokens=itself(offer))
            if theirs or offer.method == METHOD:
                return theirs
            return _account("feePayer", offer.facilitator, ours, asset.address)
        except SigningFailed as missing:
            return f"{missing.what}: {missing.hint}"

    def unset(self, offer: Offer, node: str, rules: ChainRules) -> str:
        """What must be set before there is a blockhash to sign with, or "" (C12)."""
        if node or (rules.trusting and offer.method != METHOD and given(offer)):
            return ""
        name = offer.network.name
        return f"{name} needs a node for a fresh blockhash: X402_AGENT_NODES='{name}=https://…' (C12)"

    def spender(self, offer: Offer) -> str:
        """Nobody: the payer signs the transfer itself."""
        return ""

    def prepare(self, offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
        """A blockhash of our own, and that the transfer can be made (see ready.py; transfer.py where we pay first)."""
        if offer.method == METHOD:
            from .transfer import prepare

            return prepare(offer, payer, node, rules)
        from .ready import ready  # a quote asks no node

        return ready(offer, payer, node, rules)

    def terms(self, offer: Offer, payer: str, *, now: int, nonce: bytes, max_lifetime: int, anchor: Anchor = NO_ANCHOR) -> Terms:
        """The blockhash ends them, some 150 blocks on: `valid_before` is when that has surely been asked of a chain that runs.

        `nonce` is 32 fresh random bytes, of which 16 are the memo where the seller wants none of his (D13).
        """
        fixed = anchored(anchor)
        if len(nonce) != 32:
            raise SigningFailed("a memo of our own needs a nonce of 32 bytes", rule="own nonce (D13)")
        if (offer.method == METHOD) != bool(fixed.price and fixed.last and fixed.slot):
            raise SigningFailed("the blockhash of the terms is not one for this way of paying", rule="own blockhash (C12)")
        return Terms(payer, "0x" + nonce.hex(), now, now + LIFETIME, anchor)

    def prove(self, offer: Offer, terms: Terms, signer: Signer) -> Proof:
        """The transaction in base64, signed by us and still to be signed by the fee payer; where that is us, `raw` beside its id.

        Raises SigningFailed when the offer cannot be paid on these terms or the signer's answer is no signature.
        """
        if reason := self.refuses(offer, terms.payer):
            raise SigningFailed(f"nothing was signed: {reason}")
        made = message(offer, terms)
        signature = signer.sign_message(self.namespace, made)
        if len(signature) != 64:
            raise SigningFailed("the signer did not answer with 64 bytes", rule="Ed25519 (RFC 8032)")
        text = b64encode(transaction(made, signature)).decode("ascii")
        payload = {"transaction": base58(signature), "raw": text} if offer.method == METHOD else {"transaction": text}
        return Proof(payload, terms.payer, terms.nonce, terms.valid_before)

    def sign_in(self, message: str, signer: Signer) -> str:
        """A payment header of a known form, signed, in base58; raises SigningFailed for every other text (D11).

        Its first letter is no beginning of a transaction that fits into a packet: 112 signatures and more would have to stand in it.
        """
        if not _HEADER(message):
            raise SigningFailed("it is no payment header that is known", rule="one form, and a time of our own (D11)")
        return base58(signer.sign_message(self.namespace, message.encode("ascii")))

    def broadcast(self, offer: Offer, terms: Terms, proof: Proof, node: str) -> Steps[None]:
        """The bytes of a payment that pays first, until the seller can see it (see transfer.py)."""
        from .transfer import broadcast

        return broadcast(offer, terms, proof, node)

    def fee(self, offer: Offer, rules: ChainRules) -> Money | None:
        """The most that a transfer of ours costs beside its price, in SOL; None where the facilitator pays the fee."""
        if offer.method != METHOD:
            return None
        from .transfer import CEILING

        coin = assets.asset(offer.network, "SOL")
        return Money(rules.fees.get(self.namespace, CEILING), coin) if coin else None

    def fate(self, offer: Offer, terms: Terms, node: str) -> Steps[str]:
        """`settled`, `dead`, `failed` or `unknown`, by the nodes at this URL (see fate.py)."""
        from .fate import fate

        return fate(offer, terms, node)

    def needs(self, network: Network, account: str, node: str) -> Steps[int]:
        """Lamports that a transaction takes which opens an account of a token, by the node's rent; raises NodeError, SettingsError."""
        from .reads import rent
        from .rpc import Node

        return _SIGNATURE + (yield from rent(Node(network, node), SIZE))

    def balance(self, asset: Asset, account: str, node: str) -> Steps[int]:
        """What an account has of a token, in atomic units; raises NodeError, SettingsError."""
        from .reads import balance
        from .rpc import Node

        return (yield from balance(Node(asset.network, node), asset, account))

    def tip(self, network: Network, node: str) -> Steps[tuple[int, int]]:
        """The newest block and its time in unix seconds, 0 where the node does not say. Raises NodeError, SettingsError."""
        from .reads import tip
        from .rpc import Node

        return (yield from tip(Node(network, node)))

    def charged(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """None: no scheme here takes less than was signed."""
        return None
        yield

    def lookup(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
        """What the transaction that a seller names shows: `paid` or why not (see lookup.py)."""
        from .lookup import lookup

        return lookup(offer, terms, transaction, node)

    def returned(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """What this transaction brought back from the payee, in atomic units (see lookup.py)."""
        from .lookup import returned

        return returned(offer, terms, transaction, node)


def _way(offer: Offer) -> str:
    """Why this scheme and method are not signed together, or "" (A7)."""
    if offer.method != METHOD:
        fine = offer.scheme == "exact" and not offer.method and not offer.asset.native
        return "" if fine else f"scheme {offer.scheme} is not one we sign on Solana for {offer.asset.symbol} (A7)"
    fine = offer.scheme == METHOD and not (offer.facilitator or offer.fee_cap) and (not offer.details or (itself(offer) and not offer.asset.native))
    return "" if fine else "a transfer has no scheme, facilitator, memo or fee of others (A7)"


def _account(name: str, address: str, ours: set[str], mint: str, *, tokens: bool = False) -> str:
    """Why this address of the seller's is no account of a person's that is not ours, or ""; where it is one of a token, any may be."""
    try:
        address_bytes(address)
    except ValueError as why:
        return f"{name} {why}"
    if address in PROGRAMS:
        return f"{name} is a program (R1)"
    if address == mint:
        return f"{name} is the token's mint (R1)"
    if address in ours:
        return f"{name} is our own account (R1)"
    if tokens or on_curve(address):
        return ""
    return f"{name} is not on the curve: a token account, or a program's own, of which nobody has the key (R9)"
