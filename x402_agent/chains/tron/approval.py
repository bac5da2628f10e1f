"""approve and revoke on TRON: the doors of a transfer of our own for one call more, at a person's command alone.

No payment comes here: the chain's own door refuses the method, and the paying path has no way to `Tron.allowing` (D3, C18).
Whom an account may allow is pinned: PaymentPermit and TRON's own Permit2. Source: TRC-20 `approve`, `allowance`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ... import assets
from . import permit, permit2, reads, transfer
from .addresses import address_bytes
from .rpc import Node

if TYPE_CHECKING:
    from ...model import Anchor, ChainRules, Offer, Proof, Terms
    from ...steps import Steps
    from .. import Signer

__all__ = ["Approval"]


class Approval:
    """An offer of the method `approve` lets `pay_to` take `amount` atomic units of its token; 0 takes the allowance back."""

    def refuses(self, offer: Offer, payer: str) -> str:
        """Why nothing is allowed so, in words, or "" (rows A1, D3)."""
        asset, where = offer.asset, offer.network.id
        if assets.asset_by_id(asset.id) != asset or asset.native or offer.network.namespace != "tron":
            return f"{asset.symbol} on {asset.network.id} is not a token of the table (A1)"
        if offer.method != transfer.APPROVE or offer.facilitator or offer.fee_cap:
            return f"{offer.method} is no approve"
        if offer.pay_to not in (permit.CONTRACTS[where], permit2.CONTRACTS[where]):
            return "only PaymentPermit and Permit2 may be allowed to take anything (D3)"
        if not 0 <= offer.amount < 1 << 128:
            return 'never "unlimited": below 2^128 (D3)'
        try:
            address_bytes(payer)
        except ValueError as why:
            return f"our own account {why}"
        return ""

    def allowed(self, offer: Offer, payer: str, node: str) -> Steps[int]:
        """Atomic units that the chain shows `pay_to` to be allowed now; raises NodeError, SettingsError."""
        return reads.allowance(Node(offer.network, node), offer.asset.address, payer, offer.pay_to)

    def prepare(self, offer: Offer, payer: str, node: str, rules: ChainRules) -> Steps[Anchor]:
        """As for a transfer (see transfer.py)."""
        return transfer.prepare(offer, payer, node, rules)

    def terms(self, offer: Offer, payer: str, *, now: int, nonce: bytes, max_lifetime: int, anchor: Anchor) -> Terms:
        """As for a transfer (see transfer.py)."""
        return transfer.terms(payer, now, nonce, anchor)

    def prove(self, offer: Offer, terms: Terms, signer: Signer) -> Proof:
        """The signed transaction; raises SigningFailed."""
        return transfer.prove(offer, terms, signer)

    def broadcast(self, offer: Offer, terms: Terms, proof: Proof, node: str) -> Steps[None]:
        """As for a transfer: returns once a solid block shows the token's own Approval of exactly this amount."""
        return transfer.broadcast(offer, terms, proof, node)

    def lookup(self, offer: Offer, terms: Terms, transaction: str, node: str) -> Steps[str]:
        """As for a transfer, found by our own id."""
        return transfer.lookup(offer, terms, node)

    def fate(self, offer: Offer, terms: Terms, node: str) -> Steps[str]:
        """As for a transfer, by the solid state alone."""
        return transfer.fate(offer, terms, node)
