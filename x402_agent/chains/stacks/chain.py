"""The chain door of Stacks: may it be paid, on which terms, with which proof, and what became of it.

A proof is a whole signed transaction: it never expires, so it counts until its account nonce is spent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ... import assets
from ...encodings import unc32_address
from ...errors import SigningFailed
from ...model import FOREVER, NO_ANCHOR, Money, Proof, Terms
from ..doors import unlisted

if TYPE_CHECKING:
    from ...model import Anchor, Asset, ChainRules, Network, Offer
    from ...steps import Steps
    from .. import Signer
    from ..replaced import Replacing

__all__ = ["Stacks"]

_FIRST = "transfer"  # signing.FIRST, without what belongs to it
_LOGIN = re.compile(r"x402Pay Login\nTimestamp: [0-9]{13}").fullmatch
_USUAL = 180  # bytes of a transfer of STX
_MAINNET, _TESTNET = frozenset({20, 22}), frozenset({21, 26})
_KEYLESS = frozenset({bytes(20), bytes.fromhex("29cfc6376255a78451eeb4b129ed8eacffa2feef")})  # no key, a key of zeros


class Stacks:
    """STX and SIP-010 tokens on every `stacks` network of the table. Stateless: one instance serves every thread."""

    namespace = "stacks"

    def refuses(self, offer: Offer, payer: str) -> str:
        """Why this offer cannot be paid from `payer`, in words, or "" (rows A1, A7, P2, R1, R2)."""
        asset = offer.asset
        if way := unlisted(asset, self.namespace) or _way(offer):
            return way
        if not 0 < offer.amount < 1 << 64:
            return "the amount is outside 64 bits, which is what a transfer of STX or a post-condition can hold (P2)"
        if contract := _contract(offer):
            return contract
        try:
            version, target = unc32_address(offer.pay_to.partition(".")[0])
        except ValueError as why:
            return f"payTo is {why} (R2)"
        if version not in (_TESTNET if asset.network.testnet else _MAINNET):
            return f"payTo is no address of {asset.network.name} (R2)"
        if target in _KEYLESS:
            return "payTo belongs to no key (R1)"
        try:
            ours = unc32_address(payer)[1]
        except ValueError as why:
            return f"our own account is {why}"
        if target == ours and ("." not in offer.pay_to or '"payees"' in offer.details):
            return "payTo is our own contract (R1)" if "." in offer.pay_to else "payTo is our own account (R1)"
        return _payees(offer, ours)

    def spender(self, offer: Offer) -> str:
        """Nobody: a transfer needs no allowance."""
        return ""

    def prepare(self, offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
        """Fee and account nonce, by the node (see ready.py). Raises NodeError, NoAcceptableOffer."""
        from .ready import prepare

        return prepare(offer, payer, node, rules)

    def terms(
        self, offer: Offer, payer: str, *, now: int, nonce: bytes, max_lifetime: int, anchor: Anchor = NO_ANCHOR
    ) -> Terms:
        """Valid from `now` on, without an end; `nonce` is 32 fresh random bytes. Raises SigningFailed for another length."""
        if len(nonce) != 32 or now < 0:
            raise SigningFailed("a payment needs a nonce of 32 bytes", rule="own nonce (D13)")
        return Terms(payer, "0x" + nonce.hex(), now, FOREVER, anchor)

    def prove(self, offer: Offer, terms: Terms, signer: Signer) -> Proof:
        """The signed transaction in hex, without 0x. Raises SigningFailed when it cannot be made on these terms."""
        if reason := self.refuses(offer, terms.payer):
            raise SigningFailed(f"nothing was signed: {reason}")
        from .signing import checked, details, unsigned  # who pays on another chain loads none of it

        try:
            bare = unsigned(offer, terms)
        except ValueError as why:
            raise SigningFailed(f"nothing was signed: {why}", rule="SIP-005") from None
        made = bare.signed(lambda digest: checked(signer.sign_digest(self.namespace, digest)))
        if offer.method == _FIRST:
            payload = {"transaction": made.txid, "raw": made.wire().hex()}
        else:
            payload = {details(offer).field: made.wire().hex()}
        return Proof(payload, terms.payer, terms.nonce, terms.valid_before, made.txid[2:])

    def broadcast(self, offer: Offer, terms: Terms, proof: Proof, node: str) -> Steps[Proof]:
        """The bytes of a payment that pays first, until the seller can see it (see transfer.py)."""
        from .transfer import broadcast

        return broadcast(offer, terms, proof, node)

    def sign_in(self, message: str, signer: Signer) -> str:
        """A login message of a known form, signed: r, s and the recovery id in hex. Raises SigningFailed for every other text (D11)."""
        from .messages import plain_digest, sign

        if not _LOGIN(message):
            raise SigningFailed("it is no login message that is known", rule="one form, and a time of our own (D11)")
        return sign(plain_digest(message), signer).hex()

    @property
    def replacing(self) -> Replacing:
        """How a payment that no block takes is replaced under its account nonce (see replacing.py)."""
        from . import replacing

        return replacing

    def balance(self, asset: Asset, account: str, node: str) -> Steps[int]:
        """What an account has of a token, in atomic units; raises NodeError, SettingsError."""
        from .ready import balance

        return balance(asset, account, node)

    def tip(self, network: Network, node: str) -> Steps[tuple[int, int]]:
        """The newest block and its time in unix seconds, 0 where the node does not say. Raises NodeError, SettingsError."""
        from .api import Node, newest

        return (yield from newest(Node(network, node)))

    def needs(self, network: Network, account: str, node: str) -> Steps[int]:
        """MicroSTX that a transfer of STX takes by the node's rate; raises NodeError, SettingsError."""
        from .api import Node, rate

        return _USUAL * max(1, (yield from rate(Node(network, node))))

    def fee(self, offer: Offer, rules: ChainRules) -> Money | None:
        """The most that a transfer's own fee may be, in STX; None where a sponsor pays it, or nobody can tell."""
        from .ready import CEILING
        from .signing import details

        coin = assets.asset(offer.network, "STX")
        try:
            sponsored = details(offer).sponsored
        except SigningFailed:
            return None
        return None if sponsored or coin is None else Money(rules.fees.get(self.namespace, CEILING), coin)

    def fate(self, offer: Offer, terms: Terms, node: str) -> Steps[str]:
        """`settled`, `dead` or `unknown`, by the node at this URL (see fate.py)."""
        from .fate import fate

        return fate(offer, terms, node)

    def charged(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """None: nothing here is charged below what was signed."""
        return None
        yield

    def lookup(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
        """What the transaction that a seller names shows: `paid` or why not (see lookup.py)."""
        if offer.method == _FIRST:
            return self._found(offer, terms, node)
        from .lookup import lookup

        return lookup(offer, terms, transaction, node)

    def _found(self, offer: Offer, terms: Terms, node: str) -> Steps[str]:
        """A transfer of ours is found by its account nonce, whatever id a seller names."""
        return "paid" if (yield from self.fate(offer, terms, node)) == "settled" else "unknown"

    def returned(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """What this transaction brought back from the payee, in atomic units (see lookup.py)."""
        from .lookup import returned

        return returned(offer, terms, transaction, node)


def _way(offer: Offer) -> str:
    """Why this scheme and method are not signed together, or "" (row A7)."""
    if offer.method == _FIRST:
        return "" if offer.scheme == _FIRST and not offer.facilitator and not offer.fee_cap else "a transfer has no scheme, facilitator or fee of others (A7)"
    if offer.scheme != "exact" or offer.method or offer.facilitator:
        return f"scheme {offer.scheme} is not one we sign on Stacks{f' by {offer.method}' if offer.method else ''} (A7)"
    return ""


def _payees(offer: Offer, ours: bytes) -> str:
    """Why those whom the contract pays are not to be paid, or "": a transfer to oneself would abort, and its fee be gone (R1, R2)."""
    if '"payees"' not in offer.details:
        return ""
    from .signing import details

    try:
        named = [unc32_address(each.partition(".")[0]) for each in details(offer).payees]
    except (SigningFailed, ValueError, AttributeError) as why:
        return f"an account that the contract pays is none: {why} (R2)"
    if any(version not in (_TESTNET if offer.network.testnet else _MAINNET) for version, _ in named):
        return f"an account that the contract pays is not of {offer.network.name} (R2)"
    return "the contract pays our own account (R1)" if any(each == ours for _, each in named) else ""


def _contract(offer: Offer) -> str:
    """Why a contract is no payee of this offer, or "": it is paid by calling a function of it, in a payment of our own (row R1)."""
    if "." not in offer.pay_to:
        return "payTo is an account, and a function is called (R1)" if '"function"' in offer.details else ""
    if offer.pay_to == offer.asset.address:
        return "payTo is the token contract (R1)"
    if offer.method != _FIRST or '"function"' not in offer.details:
        return "payTo is a contract, which no facilitator accepts (R1)"
    return ""

