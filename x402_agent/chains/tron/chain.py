"""The chain door of TRON: may it be paid, on which terms, with which proof, and what became of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ... import assets
from ...errors import SigningFailed
from ...model import Money, Proof, Terms
from ..doors import FIRST, Permits, unlisted
from . import permit, permit2
from .addresses import ZERO, address_bytes, evm_form

if TYPE_CHECKING:
    from ...model import Asset, ChainRules, Network, Offer
    from ...steps import Steps
    from .. import Signer
    from .approval import Approval

__all__ = ["Tron", "authorization"]

_PRECOMPILES = (1 << 32).to_bytes(20, "big")  # TVM's own contracts lie below: 1 to 0x1000015
_WAYS = {("exact_permit", permit.METHOD): permit.CONTRACTS, ("exact", permit2.METHOD): permit2.CONTRACTS}
_OURS = frozenset({*permit.CONTRACTS.values(), *permit2.CONTRACTS.values(), *permit2.PROXIES.values()})


class Tron(Permits):
    """PaymentPermit, Permit2 and transfers of our own on every `tron` network of the table. Stateless: one instance serves every thread."""

    namespace = "tron"

    def refuses(self, offer: Offer, payer: str) -> str:
        """Why this offer cannot be paid from `payer`, in words, or "" (rows A1, A7, P2, R1, R2)."""
        asset = offer.asset
        if way := unlisted(asset, self.namespace):
            return way
        if (offer.scheme, offer.method) != (FIRST, FIRST) and (asset.native or (offer.scheme, offer.method) not in _WAYS):
            if offer.scheme == "exact" and not offer.method:
                return f"{asset.symbol} on {asset.network.name} has no EIP-3009: such a signature never settles (A7)"
            return f"scheme {offer.scheme} is not one we sign on TRON{f' by {offer.method}' if offer.method else ''} (A7)"
        most = 1 << (63 if asset.native else 128 if offer.method == FIRST else 256)
        if not 0 < offer.amount < most or not 0 <= offer.fee_cap < (1 << 256) - offer.amount:
            return "the amount is out of bounds (P2)"
        try:
            address_bytes(payer)
        except ValueError as why:
            return f"our own account {why}"
        return _recipient("payTo", offer.pay_to, offer, payer) or _fee(offer, payer)

    def spender(self, offer: Offer) -> str:
        """The contract that the payer must have allowed to move this token: PaymentPermit or Permit2 (row D4)."""
        found = _WAYS.get((offer.scheme, offer.method))
        return found[offer.network.id] if found else ""

    @staticmethod
    def own() -> Any:
        """What belongs to transfers of our own alone."""
        from . import transfer

        return transfer

    def prove(self, offer: Offer, terms: Terms, signer: Signer) -> Proof:
        """The signed permit, payload as x402 has it on TRON, or a signed transfer (see transfer.py).

        Raises SigningFailed when the offer cannot be paid on these terms or the signer's answer is no signature.
        """
        if reason := self.refuses(offer, terms.payer):
            raise SigningFailed(f"nothing was signed: {reason}", rule="what is signed on TRON")
        if offer.method == FIRST:
            proof: Proof = self.own().prove(offer, terms, signer)
            return proof
        self.sound(terms)
        name, made, message = authorization(offer, terms)
        return Proof({"signature": self.signed(message, signer), name: made}, terms.payer, terms.nonce, terms.valid_before)

    def balance(self, asset: Asset, account: str, node: str) -> Steps[int]:
        """What an account has of a token, in atomic units (sun of TRX); raises NodeError, SettingsError."""
        from . import reads
        from .rpc import Node

        asked = Node(asset.network, node)
        return reads.native(asked, account) if asset.native else reads.balance(asked, asset.address, account)

    def tip(self, network: Network, node: str) -> Steps[tuple[int, int]]:
        """The newest block and its time in unix seconds. Raises NodeError, SettingsError."""
        from . import reads
        from .rpc import Node

        return (yield from reads.solid(Node(network, node), "wallet"))

    def needs(self, network: Network, account: str, node: str) -> Steps[int]:
        """Sun that a transfer of USDT burns by the node's prices where no energy is staked; raises NodeError, SettingsError."""
        from . import prices
        from .rpc import Node

        return prices.usual(Node(network, node))

    def fate(self, offer: Offer, terms: Terms, node: str) -> Steps[str]:
        """`settled`, `dead`, `failed` or `unknown`, by the nodes at these URLs (see fate.py)."""
        if offer.method == FIRST:
            from . import transfer

            return transfer.fate(offer, terms, node)
        from .fate import fate  # a payment that goes well asks no node: none of this is loaded for it

        return fate(offer, terms, node)

    def fee(self, offer: Offer, rules: ChainRules) -> Money | None:
        """The most that a transfer of our own may burn, in sun of TRX; None for a permit, whose seller settles it."""
        if offer.method != FIRST or (coin := assets.asset(offer.network, "TRX")) is None:
            return None
        from . import transfer

        return Money(transfer.most(rules), coin)

    def broadcast(self, offer: Offer, terms: Terms, proof: Proof, node: str) -> Steps[None]:
        """The bytes of a payment that pays first, until the seller can see it (see transfer.py)."""
        from . import transfer

        return transfer.broadcast(offer, terms, proof, node)

    def allowing(self) -> Approval:
        """The doors by which a person's command allows PaymentPermit or Permit2 something."""
        from .approval import Approval

        return Approval()

    def charged(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """None: nothing that is signed here is a ceiling."""
        return None
        yield

    def lookup(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
        """What the transaction that a seller names shows: `paid` or why not (see fate.py)."""
        if offer.method == FIRST:
            from . import transfer

            return transfer.lookup(offer, terms, node)
        from .fate import lookup

        return lookup(offer, terms, transaction, node)

    def returned(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[int | None]:
        """What this transaction brought back from the payee, in atomic units (see fate.py)."""
        from .fate import returned

        return returned(offer, terms, transaction, node)


def authorization(offer: Offer, terms: Terms) -> tuple[str, dict[str, Any], bytes]:
    """The payload's name for what is signed, that itself, and its 32 bytes. Raises SigningFailed for broken details."""
    where, nonce = offer.network.id, str(int(terms.nonce, 16))
    if offer.method == permit2.METHOD:
        made = {
            "from": evm_form(terms.payer),
            "permitted": {"token": evm_form(offer.asset.address), "amount": str(offer.amount)},
            "spender": evm_form(permit2.PROXIES[where]),
            "nonce": nonce,
            "deadline": str(terms.valid_before),
            "witness": {"to": evm_form(offer.pay_to), "validAfter": str(terms.valid_after)},
        }
        return "permit2Authorization", made, permit2.digest(where, made)
    told = _told(offer)
    meta = {
        "kind": permit.KIND, "paymentId": told["paymentId"], "nonce": nonce,
        "validAfter": terms.valid_after, "validBefore": terms.valid_before,
    }  # fmt: skip
    made = {
        "meta": meta,
        "buyer": terms.payer,
        "caller": offer.facilitator or ZERO,
        "payment": {"payToken": offer.asset.address, "payAmount": str(offer.amount), "payTo": offer.pay_to},
        "fee": {"feeTo": told["feeTo"], "feeAmount": str(offer.fee_cap)},
    }
    return "paymentPermit", made, permit.digest(where, made)


def _told(offer: Offer) -> dict[str, str]:
    """What the dialect read of a permit: `feeTo` and `paymentId`."""
    try:
        told = json.loads(offer.details)
        found = {"feeTo": str(told["feeTo"]), "paymentId": str(told["paymentId"])}
        if len(bytes.fromhex(found["paymentId"].removeprefix("0x"))) != 16:
            raise ValueError
        address_bytes(found["feeTo"])
    except (ValueError, LookupError, TypeError):
        raise SigningFailed("the offer does not say whom the fee goes to", rule="feeTo and paymentId (R2)") from None
    return found


def _recipient(name: str, whom: str, offer: Offer, payer: str) -> str:
    """Why nothing is ever sent to this address, or "" (rows R1, R2)."""
    try:
        raw = address_bytes(whom)
    except ValueError as why:
        return f"{name} {why}"
    if raw < _PRECOMPILES:
        return f"{name} is the zero address or one of TVM's own (R1)"
    if whom == offer.asset.address:
        return f"{name} is the token contract (R1)"
    if whom in _OURS:
        return f"{name} is a contract that keeps nothing for anybody (R1)"
    return f"{name} is our own account (R1)" if whom == payer else ""


def _fee(offer: Offer, payer: str) -> str:
    """Why this fee is not paid, or who may settle is nobody (rows P17, R1, R2)."""
    if offer.method == FIRST:
        return "a transfer has no facilitator and no fee of others (A7)" if offer.fee_cap or offer.facilitator else ""
    if offer.method == permit2.METHOD:
        return "a Permit2 signature has no fee and names no facilitator (P17)" if offer.fee_cap or offer.facilitator else ""
    try:
        told = _told(offer)
        if offer.facilitator:
            address_bytes(offer.facilitator)
    except SigningFailed as why:
        return f"{why.what} (R2)"
    except ValueError as why:
        return f"the fee's caller {why}"
    return _recipient("feeTo", told["feeTo"], offer, payer) if offer.fee_cap else ""
