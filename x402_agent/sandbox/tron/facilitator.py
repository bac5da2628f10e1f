"""Checks and settles x402 payments on the pretend TRON: `exact_permit` by PaymentPermit, `exact` by Permit2.

Codes are those of published TRON facilitators for `exact_permit`, and of the x402 specification for Permit2. Stricter than
published ones: amount and fee are exactly what was asked, and what a contract would refuse is rehearsed before it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..ground import Facilitator, Settled, Settlement
from ..refusals import Refused, asked, uint
from ..reverts import revert_reason
from ..token import raw_address as raw_hex
from ..token import signer_of
from ..transactions import TRANSFER
from .chain import NETWORK, Rejected, show
from .contracts import EXACT_PROXY, PAYMENT_PERMIT, PERMIT2, Permit, Permit2, raw_address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...primitives import EvmKey
    from .chain import Chain, Mined
    from .contracts import Contracts

__all__ = ["ALIAS", "FEE", "Payment", "TronFacilitator"]

ALIAS = "tron:nile"  # how sellers of `exact_permit` spell the network
FEE = 100  # atomic units of USDT that the facilitator takes for `exact_permit`
QUOTE = 300  # seconds that a quoted fee stands
LEAD = 6  # seconds that a signature must still be valid
_ZERO = bytes(20)
_KINDS = ("PAYMENT_ONLY", 0)


@dataclass(frozen=True, slots=True)
class Payment:
    """A proof as read from the wire. Its repr shows who pays how much, never the signature."""

    network: str
    permit: Permit | Permit2
    signature: bytes

    @property
    def payer(self) -> str:
        """The T... address that pays."""
        return show(self.permit.buyer)

    @property
    def fee(self) -> int:
        """Atomic units that the facilitator takes beside the amount."""
        return self.permit.fee if isinstance(self.permit, Permit) else 0

    def __repr__(self) -> str:
        return f"Payment({self.payer} pays {self.permit.amount} and a fee of {self.fee})"


class TronFacilitator(Facilitator):
    """`key` sends the transactions, takes the fee, and pays for energy with its own TRX."""

    def __init__(self, chain: Chain, contracts: Contracts, key: EvmKey) -> None:
        super().__init__({2: NETWORK})
        self._chain = chain
        self._contracts = contracts
        self._key = key
        self._own = bytes.fromhex(key.address[2:])

    @property
    def address(self) -> str:
        """The T... address that sends the transactions: caller and taker of the fee in `exact_permit`."""
        return show(self._own)

    def fee(self) -> dict[str, str]:
        """What it takes, as `extra.fee` of an offer says it."""
        return {"feeTo": self.address, "feeAmount": str(FEE), "caller": self.address}

    def quote(self, body: Any) -> list[dict[str, Any]]:
        """POST /fee/quote: what settling each of `accepts` costs; raises LookupError, TypeError."""
        made = []
        for entry in body["accepts"]:
            stated = {name: entry[name] for name in ("scheme", "network", "asset")}
            if stated["network"] in (ALIAS, NETWORK) and stated["asset"] == self._contracts.asset.address:
                fee = self.fee() | {"feeAmount": str(FEE if entry["scheme"] == "exact_permit" else 0)}
                made.append({"fee": fee, "pricing": "flat", **stated, "expiresAt": self._chain.now() + QUOTE})
        return made

    def supported(self) -> dict[str, Any]:
        """The SupportedResponse: each scheme in the spelling of the network that its sellers use."""
        kinds = [
            {"x402Version": 2, "scheme": "exact_permit", "network": ALIAS},
            {"x402Version": 2, "scheme": "exact", "network": NETWORK, "extra": {"assetTransferMethod": "permit2"}},
        ]
        return {"kinds": kinds, "extensions": [], "signers": {"tron:*": [self.address]}}

    def verify(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Payment:
        """The payment, when it would settle now, all of it; raises Refused."""
        payment = _read(payload)
        try:
            self._check(payment, payload, requirement)
        except Refused as refused:
            raise Refused(refused.code, refused.words, payment.payer) from None
        return payment

    def settle(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Settled:
        """Move amount and fee, once; raises Refused."""
        payment = self.verify(version, payload, requirement)
        permit = payment.permit
        try:
            mined = self._chain.send(self._key, *permit.settlement(payment.signature))
        except Rejected as cause:
            raise Refused("transaction_failed", f"{cause.code}: {cause}", payment.payer) from None
        if mined.result != "SUCCESS" or (permit.to, permit.amount) not in _moved(mined, permit):
            raise Refused("transaction_failed_on_chain", mined.result, payment.payer)
        row = Settlement(
            mined.envelope.txid, payment.payer, show(permit.to), permit.amount, str(permit.nonce), mined.block
        )
        self.settlements.append(row)
        return Settled(payment.payer, payment.network, permit.amount, row)

    # -- what is checked ----------------------------------------------------------------------------------------------

    def _check(self, payment: Payment, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> None:
        permit = payment.permit
        stated = payload.get("accepted")
        scheme = "exact_permit" if isinstance(permit, Permit) else "exact"
        if not isinstance(stated, dict) or stated.get("scheme") != scheme or requirement.get("scheme") != scheme:
            raise Refused("unsupported_scheme")
        if stated.get("network") != requirement.get("network"):
            raise Refused("network_mismatch")
        if requirement.get("network") not in (ALIAS, NETWORK):
            raise Refused("invalid_network", f"this chain is {NETWORK}, or {ALIAS}")
        if requirement.get("asset") != self._contracts.asset.address:
            raise Refused("token_not_allowed", f"{self._contracts.asset.symbol} alone is settled here")
        if isinstance(permit, Permit):
            self._check_permit(permit, requirement)
        else:
            self._check_permit2(permit, requirement)
        self._check_signature(payment)
        self._rehearse(payment)

    def _check_permit(self, permit: Permit, requirement: Mapping[str, Any]) -> None:
        now = self._chain.now()
        if permit.amount != asked(requirement, "amount"):
            raise Refused("amount_mismatch")
        if show(permit.to) != requirement.get("payTo"):
            raise Refused("payto_mismatch")
        if permit.token != self._contracts.token:
            raise Refused("token_mismatch")
        if permit.fee_to != self._own:
            raise Refused("fee_to_mismatch")
        if permit.fee != FEE:
            raise Refused("fee_amount_mismatch")
        if permit.caller not in (self._own, _ZERO):
            raise Refused("caller_mismatch")
        if permit.valid_before < now + LEAD:
            raise Refused("expired")
        if permit.valid_after > now:
            raise Refused("not_yet_valid")

    def _check_permit2(self, permit: Permit2, requirement: Mapping[str, Any]) -> None:
        now = self._chain.now()
        if permit.spender != EXACT_PROXY:
            raise Refused("invalid_permit2_spender")
        if show(permit.to) != requirement.get("payTo"):
            raise Refused("invalid_permit2_recipient_mismatch")
        if permit.amount != asked(requirement, "amount"):
            raise Refused("permit2_amount_mismatch")
        if permit.token != self._contracts.token:
            raise Refused("permit2_token_mismatch")
        if permit.valid_before < now + LEAD:
            raise Refused("permit2_deadline_expired")
        if permit.valid_after > now:
            raise Refused("permit2_not_yet_valid")

    def _check_signature(self, payment: Payment) -> None:
        code = "invalid_signature" if isinstance(payment.permit, Permit) else "invalid_permit2_signature"
        try:
            signer = signer_of(payment.permit.digest(), payment.signature)
        except ValueError:
            raise Refused(code) from None
        if bytes.fromhex(signer[2:]) != payment.permit.buyer:
            raise Refused(code)

    def _rehearse(self, payment: Payment) -> None:
        """Run the settlement without keeping it; say which of the rules of contract and token it breaks."""
        permit = payment.permit
        contract = PAYMENT_PERMIT if isinstance(permit, Permit) else PERMIT2
        to, data = permit.settlement(payment.signature)
        ran, _ = self._chain.call(to, data, self._own)
        if ran.ok:
            return
        reason = revert_reason(ran.output)
        if self._contracts.used(contract, permit.buyer, permit.nonce):
            raise Refused("nonce_already_used", reason)
        if self._contracts.allowance(permit.buyer, contract) < permit.amount + payment.fee:
            raise Refused("allowance_required", f"the payer has not approved {show(contract)} for so much")
        if self._contracts.balance(permit.buyer) < permit.amount + payment.fee:
            raise Refused("insufficient_balance", reason)
        raise Refused("transaction_simulation_failed", reason)


def _moved(mined: Mined, permit: Permit | Permit2) -> list[tuple[bytes, int]]:
    """To whom how much of the payer's token went: the logs say so, whatever a call returned."""
    token, payer = permit.token, permit.buyer
    return [
        (log.topics[2][-20:], int.from_bytes(log.data))
        for log in mined.logs
        if log.address == token and len(log.topics) == 3 and log.topics[0] == TRANSFER and log.topics[1][-20:] == payer
    ]


# -- what a proof says -------------------------------------------------------------------------------------------------


def _read(payload: Mapping[str, Any]) -> Payment:
    """The payment inside an x402 payload, strictly; raises Refused with invalid_payload or missing_permit."""
    inner, accepted = payload.get("payload"), payload.get("accepted")
    if not isinstance(inner, dict) or not isinstance(accepted, dict):
        raise Refused("invalid_payload", "payload and accepted are objects")
    if "paymentPermit" not in inner and "permit2Authorization" not in inner:
        raise Refused("missing_permit")
    readers: tuple[tuple[str, Callable[[dict[str, Any]], Permit | Permit2]], ...] = (
        ("paymentPermit", _permit),
        ("permit2Authorization", _permit2),
    )
    name, reader = next(each for each in readers if each[0] in inner)
    try:
        permit = reader(_object(inner[name]))
        signature = _hex(inner.get("signature"), 65)
    except ValueError as cause:
        raise Refused("invalid_payload", str(cause)) from None
    return Payment(str(accepted.get("network")), permit, signature)


def _permit(fields: dict[str, Any]) -> Permit:
    meta, payment, fee = (_object(fields.get(name)) for name in ("meta", "payment", "fee"))
    if meta.get("kind") not in _KINDS or isinstance(meta["kind"], bool):
        raise ValueError("kind is PAYMENT_ONLY")
    return Permit(
        _hex(meta.get("paymentId"), 16),
        uint(meta.get("nonce")),
        uint(meta.get("validAfter")),
        uint(meta.get("validBefore")),
        raw_address(fields.get("buyer")),
        raw_address(fields.get("caller")),
        raw_address(payment.get("payToken")),
        uint(payment.get("payAmount")),
        raw_address(payment.get("payTo")),
        raw_address(fee.get("feeTo")),
        uint(fee.get("feeAmount")),
    )


def _permit2(fields: dict[str, Any]) -> Permit2:
    permitted, witness = (_object(fields.get(name)) for name in ("permitted", "witness"))
    return Permit2(
        uint(fields.get("nonce")),
        uint(witness.get("validAfter")),
        uint(fields.get("deadline")),
        raw_hex(fields.get("from")),
        raw_hex(fields.get("spender")),
        raw_hex(permitted.get("token")),
        uint(permitted.get("amount")),
        raw_hex(witness.get("to")),
    )


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a part of the permit is not an object")
    return value


def _hex(value: object, size: int) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("not 0x and hex digits")
    found = bytes.fromhex(value[2:])
    if len(found) != size:
        raise ValueError(f"not {size} bytes")
    return found
