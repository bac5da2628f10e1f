"""Checks and settles x402 `exact` and `upto` payments on the pretend chain, for our paywall and for anybody's.

A refusal is an answer with a code, never an exception. Codes and the order of the checks: x402 specification, schemes
`exact` and `upto` on EVM, as published servers meet them; what a contract would refuse is rehearsed before it is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..primitives import checksum, keccak
from .evm import CHAIN_ID, NETWORK
from .ground import Facilitator, Settled, Settlement
from .payments import NETWORKS, Payment, read
from .permit2 import EXACT_PROXY, PERMIT2, UPTO_PROXY, Permit
from .refusals import AMOUNTS, Refused, asked
from .reverts import revert_reason
from .token import Authorization, signer_of, word

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..primitives import EvmKey
    from .evm import Chain
    from .token import Token
    from .transactions import Transaction

__all__ = ["EvmFacilitator"]

LEAD = 6  # seconds that an authorisation must still be valid
_DOMAIN = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_TRANSFER = keccak(
    b"TransferWithAuthorization(address from,address to,uint256 value,"
    b"uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)
_MAGIC = bytes.fromhex("1626ba7e")  # isValidSignature(bytes32,bytes), EIP-1271

_P = "invalid_exact_evm_payload_"
_E = "invalid_exact_evm_"
_REVERTS = (
    ("authorization is expired", f"{_P}authorization_valid_before"),
    ("authorization is not yet valid", f"{_P}authorization_valid_after"),
    ("authorization is used or canceled", f"{_E}nonce_already_used"),
    ("transfer amount exceeds balance", f"{_E}insufficient_balance"),
    ("invalid signature", f"{_P}signature"),
    ("InvalidNonce", "permit2_invalid_nonce"),
    ("SignatureExpired", "permit2_deadline_expired"),
    ("PaymentTooEarly", "permit2_payment_too_early"),
    ("InvalidDestination", "permit2_invalid_destination"),
    ("InvalidOwner", "permit2_invalid_owner"),
    ("InvalidAmount", "permit2_invalid_amount"),
    ("UnauthorizedFacilitator", "upto_unauthorized_facilitator"),
    ("AmountExceedsPermitted", "upto_amount_exceeds_permitted"),
    ("InvalidSign", "invalid_permit2_signature"),
    ("InvalidContractSignature", "invalid_permit2_signature"),
)


class EvmFacilitator(Facilitator):
    """`exact` by EIP-3009 and Permit2, `upto` by Permit2."""

    def __init__(self, chain: Chain, token: Token, key: EvmKey) -> None:
        super().__init__(NETWORKS)
        self._chain = chain
        self._token = token
        self._key = key

    @property
    def address(self) -> str:
        """The EIP-55 address that sends the transactions: what `upto` signs for."""
        return self._key.address

    def supported(self) -> dict[str, Any]:
        """The SupportedResponse: v1 and v2 kinds are rows of their own."""
        kinds: list[dict[str, Any]] = [
            {"x402Version": version, "scheme": "exact", "network": name} for version, name in NETWORKS.items()
        ]
        extra = {"facilitatorAddress": self.address}
        kinds.append({"x402Version": 2, "scheme": "upto", "network": NETWORK, "extra": extra})
        return {"kinds": kinds, "extensions": ["payment-identifier"], "signers": {"eip155:*": [self.address]}}

    def verify(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Payment:
        """The payment, when it would settle now, all of it; raises Refused."""
        payment = read(version, payload)
        try:
            self._check(payment, payload, requirement, payment.authorization.value)
        except Refused as refused:
            raise Refused(refused.code, refused.words, payment.payer) from None
        return payment

    def settle(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Settled:
        """Move the money, once; raises Refused. For `upto` the requirement's amount is what is charged."""
        payment = read(version, payload)
        amount = payment.authorization.value
        try:
            if payment.upto:
                amount = asked(requirement, "amount")
                requirement = {**requirement, "amount": str(payment.authorization.value)}
                if amount > payment.authorization.value:
                    raise Refused("invalid_upto_evm_payload_settlement_exceeds_amount")
            free = payment.upto and not amount
            self._check(payment, payload, requirement, None if free else amount)
            if free:
                return Settled(payment.payer, payment.network, 0, None, {"amount": "0"})
            mined = self._send(payment, amount)
        except Refused as refused:
            raise Refused(refused.code, refused.words, payment.payer) from None
        moved = mined.transfers[0]
        row = Settlement(mined.hash, moved.sender, moved.to, moved.value, payment.nonce, mined.block)
        self.settlements.append(row)
        extra = {"amount": str(amount)} if payment.upto else {}
        return Settled(payment.payer, payment.network, amount, row, extra)

    # -- what is checked ----------------------------------------------------------------------------------------------

    def _check(
        self, payment: Payment, payload: Mapping[str, Any], requirement: Mapping[str, Any], amount: int | None
    ) -> None:
        """Everything but the contracts' own opinion, then that too, unless nothing is to be sent (`amount` None)."""
        upto = payment.upto
        stated = payload if payment.version == 1 else payload.get("accepted")
        if not isinstance(stated, dict) or payment.scheme != ("upto" if upto else "exact"):
            raise Refused("unsupported_scheme")
        if requirement.get("scheme") != payment.scheme:
            raise Refused("invalid_upto_evm_scheme" if upto else "unsupported_scheme")
        if stated.get("network") != requirement.get("network"):
            raise Refused("invalid_upto_evm_network_mismatch" if upto else "network_mismatch")
        if requirement.get("network") != NETWORKS[payment.version]:
            raise Refused("invalid_network", f"this chain is {NETWORKS[payment.version]}")
        asset = str(requirement.get("asset"))
        if asset.lower() != self._token.asset.address.lower():
            raise Refused("asset_not_deployed_contract", f"there is no token at {asset[:48]}")
        self._check_method(payment, requirement)
        if isinstance(payment.authorization, Permit):
            self._check_permit(payment, payment.authorization, requirement)
            if amount is not None:
                self._check_means(payment, amount)
                self._rehearse_permit(payment, payment.authorization, amount)
            return
        extra = requirement.get("extra")
        if not isinstance(extra, dict) or not {"name", "version"} <= extra.keys():
            raise Refused("missing_eip712_domain", "extra needs name and version")
        name, version = str(extra["name"]), str(extra["version"])
        self._check_authorization(payment, requirement)
        body = keccak(_TRANSFER + payment.authorization.words())
        domain = keccak(name.encode()) + keccak(version.encode()) + word(CHAIN_ID) + word(self._token.address)
        self._check_signature(payment, keccak(b"\x19\x01" + keccak(_DOMAIN + domain) + body))
        self._rehearse(payment, payment.authorization, name, version)

    @staticmethod
    def _check_method(payment: Payment, requirement: Mapping[str, Any]) -> None:
        """Stricter than published facilitators: a payer who overlooks how the seller wants it is told."""
        extra = requirement.get("extra")
        wanted = extra.get("assetTransferMethod") if isinstance(extra, dict) else None
        if isinstance(payment.authorization, Permit) != (wanted == "permit2"):
            raise Refused("invalid_payload", f"the seller asked for {wanted or 'eip3009'}")

    def _check_authorization(self, payment: Payment, requirement: Mapping[str, Any]) -> None:
        authorization, now = payment.authorization, self._chain.now()
        if "0x" + authorization.to.hex() != str(requirement.get("payTo")).lower():
            raise Refused(f"{_P}recipient_mismatch")
        if authorization.value != asked(requirement, AMOUNTS[payment.version]):
            ending = "" if payment.version == 1 else "_mismatch"
            raise Refused(f"{_P}authorization_value{ending}")
        if authorization.valid_before < now + LEAD:
            raise Refused(f"{_P}authorization_valid_before")
        if authorization.valid_after > now:
            raise Refused(f"{_P}authorization_valid_after")

    def _check_permit(self, payment: Payment, permit: Permit, requirement: Mapping[str, Any]) -> None:
        now = self._chain.now()
        if permit.spender != (UPTO_PROXY if permit.facilitator else EXACT_PROXY):
            raise Refused("invalid_permit2_spender")
        if "0x" + permit.to.hex() != str(requirement.get("payTo")).lower():
            raise Refused("invalid_permit2_recipient_mismatch")
        if permit.facilitator and permit.facilitator.hex() != self.address[2:].lower():
            raise Refused("upto_facilitator_mismatch")
        if permit.valid_before < now + LEAD:
            raise Refused("permit2_deadline_expired")
        if permit.valid_after > now:
            raise Refused("permit2_not_yet_valid")
        if permit.value != asked(requirement, "amount"):
            raise Refused("permit2_amount_mismatch")
        if permit.token != self._token.address:
            raise Refused("permit2_token_mismatch")
        self._check_signature(payment, permit.digest())

    def _check_signature(self, payment: Payment, digest: bytes) -> None:
        """A signature of the payer: a plain account's or a contract's."""
        sender, permit2 = payment.authorization.sender, isinstance(payment.authorization, Permit)
        code = "invalid_permit2_signature" if permit2 else f"{_P}signature"
        if self._chain.code(sender):
            if not self._wallet_agrees(sender, digest, payment.signature):
                raise Refused(code)
            return
        if len(payment.signature) != 65:
            raise Refused(code if permit2 else f"{_P}undeployed_smart_wallet")
        try:
            signer = signer_of(digest, payment.signature)
        except ValueError:
            raise Refused(code) from None
        if signer != payment.payer:
            raise Refused(code)

    def _wallet_agrees(self, wallet: bytes, digest: bytes, signature: bytes) -> bool:
        padded = signature.ljust(-(-len(signature) // 32) * 32, b"\0")
        ran = self._chain.call(wallet, _MAGIC + digest + word(64) + word(len(signature)) + padded)
        return ran.ok and ran.output[:4] == _MAGIC

    def _check_means(self, payment: Payment, amount: int) -> None:
        """What Permit2 needs beside the signature: an allowance from the payer, and the tokens."""
        sender = payment.authorization.sender
        if self._token.allowance(sender, PERMIT2) < amount:
            raise Refused("permit2_allowance_required", "the payer has not approved Permit2 for so much")
        if self._token.balance(sender) < amount:
            raise Refused("permit2_insufficient_balance" if payment.upto else f"{_E}insufficient_balance")

    def _rehearse(self, payment: Payment, authorization: Authorization, name: str, version: str) -> None:
        """Run the transfer without keeping it; when the token refuses, say which of its rules did."""
        data = self._token.call_data(authorization, payment.signature)
        ran = self._chain.call(self._token.address, data, bytes.fromhex(self.address[2:]))
        if ran.ok:
            return
        reason = revert_reason(ran.output)
        if self._token.used(authorization.sender, authorization.nonce):
            raise Refused(f"{_E}nonce_already_used", reason)
        if self._token.asset.eip712 and (name, version) != self._token.asset.eip712:
            which = "name" if name != self._token.asset.eip712[0] else "version"
            raise Refused(f"{_E}token_{which}_mismatch", reason)
        if self._token.balance(authorization.sender) < authorization.value:
            raise Refused(f"{_E}insufficient_balance", reason)
        raise Refused(f"{_E}transaction_simulation_failed", reason)

    def _rehearse_permit(self, payment: Payment, permit: Permit, amount: int) -> None:
        proxy, data = permit.settlement(payment.signature, amount)
        ran = self._chain.call(proxy, data, bytes.fromhex(self.address[2:]))
        if not ran.ok:
            reason = revert_reason(ran.output)
            failed = f"{_E}transaction_simulation_failed"
            otherwise = "invalid_upto_evm_transaction_failed" if payment.upto else failed
            raise Refused(_code(reason, otherwise), reason)

    # -- what is sent -------------------------------------------------------------------------------------------------

    def _send(self, payment: Payment, amount: int) -> Transaction:
        """Mine the settlement; exactly the tokens asked for have moved, or Refused is raised."""
        wanted = payment.authorization
        if isinstance(wanted, Permit):
            to, data = wanted.settlement(payment.signature, amount)
        else:
            to, data = self._token.address, self._token.call_data(wanted, payment.signature)
        mined = self._chain.send(self._key, to, data)
        if not mined.status:
            otherwise = "invalid_upto_evm_transaction_failed" if payment.upto else "transaction_failed"
            raise Refused(_code(mined.reason, otherwise), mined.reason)
        found = [(each.sender, each.to, each.value) for each in mined.transfers]
        if found != [(payment.payer, checksum("0x" + wanted.to.hex()), amount)]:
            raise Refused(f"{_E}transfer_event_mismatch")
        return mined


def _code(reason: str, otherwise: str) -> str:
    return next((code for words, code in _REVERTS if words in reason), otherwise)
