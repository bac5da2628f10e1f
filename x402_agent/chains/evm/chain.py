"""The chain door of EVM: may it be paid, on which terms, with which proof, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...assets import coin as coin_of
from ...errors import NodeError, SigningFailed
from ...model import Money, Proof, Terms
from ...primitives import checksum
from ..doors import FIRST, Permits, unlisted
from . import eip3009, permit2
from .eip3009 import address_bytes

if TYPE_CHECKING:
    from ...model import Asset, ChainRules, Network, Offer
    from ...steps import Steps
    from .. import Signer

__all__ = ["USUAL", "Evm"]

USUAL = 60_000  # gas of an ERC-20 approve or transfer
_PRECOMPILES = (0xA00).to_bytes(20, "big")


class Evm(Permits):
    """EIP-3009 and Permit2 on every `eip155` network of the table. Stateless: one instance serves every thread."""

    namespace = "eip155"

    def refuses(self, offer: Offer, payer: str) -> str:
        """Why this offer cannot be paid from `payer`, in words, or "" (rows A1, D1, P2, R1, R2)."""
        asset = offer.asset
        if way := unlisted(asset, self.namespace) or _way(offer):
            return way
        if not 0 < offer.amount < 1 << 256:
            return "the amount is outside uint256 (P2)"
        try:
            target = address_bytes(offer.pay_to)
        except ValueError as why:
            return f"payTo {why}"
        if target < _PRECOMPILES:
            return "payTo is the zero address or a precompile (R1)"
        if not asset.native and target == address_bytes(asset.address):
            return "payTo is the token contract (R1)"
        try:
            own = address_bytes(payer)
        except ValueError as why:
            return f"our own account {why}"
        return "payTo is our own account (R1)" if target == own else ""

    def spender(self, offer: Offer) -> str:
        """The contract that the payer must have allowed to move this token, "" when none is needed (row D4)."""
        return permit2.PERMIT2 if offer.method == permit2.METHOD else ""

    @staticmethod
    def own() -> Any:
        """What belongs to transfers of our own alone."""
        from . import transfer

        return transfer

    @staticmethod
    def spelled(account: str) -> str:
        """With the checksum of EIP-55."""
        return checksum(account)

    def prove(self, offer: Offer, terms: Terms, signer: Signer) -> Proof:
        """The signed authorisation, payload as x402 has it on EVM (numbers as decimal strings), by EIP-3009 or Permit2.

        Raises SigningFailed when the offer cannot be paid on these terms or the signer's answer is no signature.
        """
        if reason := self.refuses(offer, terms.payer):
            raise SigningFailed(f"nothing was signed: {reason}")
        if offer.method == FIRST:
            proof: Proof = self.own().prove(offer, terms, signer)
            return proof
        self.sound(terms)
        name, authorization, message = _message(offer, terms)
        payload = {"signature": self.signed(message, signer), name: authorization}
        return Proof(payload, checksum(terms.payer), terms.nonce, terms.valid_before)

    def fate(self, offer: Offer, terms: Terms, node: str) -> Steps[str]:
        """`settled`, `dead`, `failed` or `unknown`, by the JSON-RPC node at this URL (see fate.py)."""
        if offer.method == FIRST:
            from . import transfer

            return transfer.fate(offer, terms, node)
        from .fate import fate  # a payment that goes well asks no node: none of this is loaded for it

        return fate(offer, terms, node)

    def balance(self, asset: Asset, account: str, node: str) -> Steps[int]:
        """What an account has of a token or coin, in atomic units; raises NodeError, SettingsError."""
        if asset.native:
            return (yield from self.coin(asset.network, account, node))
        from . import reads
        from .rpc import Node

        return (yield from reads.balance(Node(asset.network, node), asset.address, account))

    def coin(self, network: Network, account: str, node: str) -> Steps[int]:
        """What an account has of the network's own coin, in wei; raises NodeError, SettingsError."""
        from . import reads
        from .rpc import Node

        return (yield from reads.native(Node(network, node), account))

    def tip(self, network: Network, node: str) -> Steps[tuple[int, int]]:
        """The newest block and its time in unix seconds. Raises NodeError, SettingsError."""
        from . import reads
        from .rpc import Node

        asked = Node(network, node)
        if (found := (yield from reads.head(asked, "latest"))) is None:
            raise NodeError(f"{asked!r} shows no block", rule=asked.spec, hint="name another node: X402_AGENT_NODES")
        return int(found[0], 16), found[1]

    def needs(self, network: Network, account: str, node: str) -> Steps[int]:
        """Wei that one approve or transfer takes at most by the node's price of gas; raises NodeError, SettingsError."""
        from . import reads
        from .rpc import Node

        return USUAL * (yield from reads.fees(Node(network, node))).max_fee

    def gas(self, offer: Offer, rules: ChainRules) -> Money | None:
        """The most that the gas of a transfer of our own may cost, in wei; None for a permission, whose seller settles it."""
        if offer.method != FIRST or (own := coin_of(offer.network)) is None:
            return None
        return Money(self.own().most(rules), own)

    def broadcast(self, offer: Offer, terms: Terms, proof: Proof, node: str) -> Steps[None]:
        """The bytes of a payment that pays first, until the seller can see it (see transfer.py)."""
        from . import transfer

        return transfer.broadcast(offer, terms, proof, node)

    def charged(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """What this transaction moved for an `upto` payment, in atomic units; None in doubt (see charge.py)."""
        from .charge import charged

        return charged(offer, terms, transaction, node)

    def lookup(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
        """What the transaction that a seller names shows: `paid` or why not (see lookup.py)."""
        if offer.method == FIRST:
            from . import transfer

            return transfer.lookup(offer, terms, node)
        from .lookup import lookup

        return lookup(offer, terms, transaction, node)

    def returned(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """What this transaction brought back from the payee, in atomic units (see refund.py)."""
        from .refund import returned

        return returned(offer, terms, transaction, node)


def _way(offer: Offer) -> str:
    """Why this scheme, method and facilitator are not signed together, or "" (rows A7, D1, D4)."""
    asset = offer.asset
    if offer.method == FIRST:
        return "" if offer.scheme == FIRST and not offer.facilitator and not offer.fee_cap else "a transfer has no scheme, facilitator or fee of others (A7)"
    if asset.native:
        return f"{asset.symbol} is the coin of {asset.network.name}, which no authorisation moves (A6)"
    if offer.method == permit2.METHOD:
        if offer.scheme not in permit2.SPENDERS:
            return f"scheme {offer.scheme} is not one we sign by Permit2 (A7)"
    elif offer.method or offer.scheme != "exact":
        return f"scheme {offer.scheme} is not one we sign on EVM{f' by {offer.method}' if offer.method else ''} (A7)"
    elif asset.eip712 is None:
        return f"{asset.symbol} on {asset.network.name} has no EIP-3009 signing domain in the table (D1)"
    if offer.scheme != "upto":
        return "only the scheme upto binds a facilitator (D4)" if offer.facilitator else ""
    try:
        return "" if any(address_bytes(offer.facilitator)) else "the facilitator is the zero address (R1)"
    except ValueError as why:
        return f"the facilitator {why}"


def _message(offer: Offer, terms: Terms) -> tuple[str, dict[str, Any], bytes]:
    """The payload's name for the authorisation, the authorisation, and the 32 bytes to sign."""
    if offer.method == permit2.METHOD:
        return "permit2Authorization", permit2.authorization(offer, terms), permit2.digest(offer, terms)
    payer, pay_to = checksum(terms.payer), checksum(offer.pay_to)
    window = (terms.valid_after, terms.valid_before)
    nonce = bytes.fromhex(terms.nonce[2:])
    authorization = {
        "from": payer,
        "to": pay_to,
        "value": str(offer.amount),
        "validAfter": str(terms.valid_after),
        "validBefore": str(terms.valid_before),
        "nonce": terms.nonce,
    }
    return "authorization", authorization, eip3009.digest(offer.asset.id, payer, pay_to, offer.amount, window, nonce)
