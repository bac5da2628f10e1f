"""The first dialect of x402 on Stacks: a 402 body without x402Version, and a raw transaction in the X-PAYMENT header.

Its challenge is `maxAmountRequired`, `payTo`, `network` (mainnet or testnet), `nonce`, `expiresAt` and, for a token,
`tokenType` and `tokenContract`. `expiresAt` is what its servers tell clients and do not check themselves: a transaction has no end.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .. import assets
from ..errors import ChallengeInvalid
from ..model import Challenge, Claim, Offer
from ..secret import Veiled
from ..steps import Presented, Reply
from . import strict
from .x402.offers import amount
from .x402.passed import Passed, broken, show
from .x402.stacks import bound, named

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model import Ask, Asset, Hold, Proof
    from ..steps import Steps

__all__ = ["StacksV1"]

_NETWORKS = {"mainnet": "stacks:1", "testnet": "stacks:2147483648"}
_FIELDS = frozenset({"maxAmountRequired", "payTo", "network", "nonce", "expiresAt"})
_LIFETIME = 300  # seconds: it names a time, and a dialect has no clock
_MAX_RECEIPT = 16 * 1024
_HINT = "x402-agent get --dry-run URL"


class StacksV1:
    """Version 1 of x402-stacks. Stateless: one instance serves every thread."""

    name = "x402-stacks-v1"

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        """The challenge in a 402, None when it is not this dialect's; raises ChallengeInvalid when it is broken."""
        if reply.status != 402 or reply.headers.get_list("payment-required"):
            return None
        try:
            fields = strict.parse(reply.content).fields
        except ChallengeInvalid:
            return None
        if not fields.keys() >= _FIELDS or "x402Version" in fields or "accepts" in fields:
            return None
        try:
            return Challenge(self.name, (_offer(fields, ask),))
        except Passed as why:
            if why.broken:
                raise ChallengeInvalid("the challenge cannot be read", rule=why.reason, hint=_HINT) from None
            return Challenge(self.name, (), (why.reason,))

    def present(self, hold: Hold, proof: Proof) -> Steps[Presented]:
        """X-PAYMENT with the transaction in hex, X-PAYMENT-TOKEN-TYPE beside it."""
        yield from ()
        headers = {"X-PAYMENT": proof.payload["transaction"], "X-PAYMENT-TOKEN-TYPE": hold.offer.asset.symbol}
        return Presented(Veiled(headers))

    def receipt(self, reply: Reply, offer: Offer) -> Claim:
        """The seller's receipt from X-PAYMENT-RESPONSE; an empty Claim when it cannot be read."""
        values = reply.headers.get_list("x-payment-response")
        if len(values) != 1 or len(values[0]) > _MAX_RECEIPT:
            return _refusal(reply)
        try:
            fields = strict.parse(strict.decode64(values[0])).fields
        except ChallengeInvalid:
            return Claim()
        status, transaction = fields.get("status"), fields.get("txId")
        success = {"success": True, "confirmed": True, "failed": False}.get(status) if isinstance(status, str) else None
        return Claim(success, transaction if isinstance(transaction, str) and transaction.isascii() and transaction.isprintable()
                     and len(transaction) <= 128 else "", fields, waiting=status == "pending")  # fmt: skip


def _refusal(reply: Reply) -> Claim:
    """What a second 402 says of a payment that is under way."""
    if reply.status != 402:
        return Claim()
    try:
        fields = strict.parse(reply.content).fields
    except ChallengeInvalid:
        return Claim()
    return Claim(waiting=fields.get("paymentStatus") == "pending")


def _offer(fields: Mapping[str, Any], ask: Ask) -> Offer:
    """Raises Passed."""
    where, pay_to = fields.get("network"), fields.get("payTo")
    network = assets.network(_NETWORKS[where]) if isinstance(where, str) and where in _NETWORKS else None
    if network is None:
        raise Passed(f"network {show(where)} is not in the table (A5)", broken=False)
    if not isinstance(pay_to, str) or not pay_to.isascii() or not pay_to.isalnum() or len(pay_to) > 64:
        raise broken(f"payTo {show(pay_to)} is not an address (R2)")
    kind = fields.get("tokenType")
    asset: Asset | None = (
        assets.asset(network, "STX" if kind is None else kind) if kind is None or isinstance(kind, str) else None
    )
    if asset is None:
        raise Passed(f"asset {show(kind)} on {network.name} is not in the table (A1)", broken=False)
    contract = fields.get("tokenContract")
    if kind is not None and isinstance(contract, dict) and (other := assets.asset(network, f"{contract.get('address')}.{contract.get('name')}")) is not None:
        asset = other  # which of two, where a testnet was made anew; `named` says whether the word is its own
    named(asset, kind, contract)
    if not asset.native and contract is None:
        raise broken("a token without its tokenContract (A4)")
    return Offer(
        dialect=StacksV1.name, scheme="exact", asset=asset, amount=amount(fields["maxAmountRequired"], "maxAmountRequired"),
        pay_to=pay_to, lifetime=_LIFETIME, resource=ask.url,
        details=json.dumps(memo, separators=(",", ":")) if (memo := bound(fields["nonce"])) else "",
    )  # fmt: skip
