"""Checks and settles x402 `exact` payments on the pretend chain, v1 and v2, for our paywall and for anybody's.

A refusal is an answer with a code, never an exception. Codes and the order of the checks: x402 specification, scheme
`exact` on EVM, as published servers meet them; what a token would refuse is rehearsed before it is sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..primitives import checksum, keccak, recover
from .evm import CHAIN_ID, NETWORK, NETWORK_V1, revert_reason
from .token import Authorization, raw_address, word

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..primitives import EvmKey
    from .evm import Chain
    from .token import Token
    from .transactions import Transaction

__all__ = ["AMOUNTS", "NETWORKS", "Facilitator", "Payment", "Refused", "Settled", "refusal"]

NETWORKS = {1: NETWORK_V1, 2: NETWORK}
AMOUNTS = {1: "maxAmountRequired", 2: "amount"}
LEAD = 6  # seconds that an authorisation must still be valid
_UINT256 = 1 << 256
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
)


class Refused(Exception):
    """Why a payment is not accepted: one code of the x402 specification, and words for people."""

    def __init__(self, code: str, words: str = "", payer: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.words = words
        self.payer = payer


@dataclass(frozen=True, slots=True)
class Payment:
    """A proof as read from the wire. Its repr shows who pays how much, never the signature."""

    version: int
    network: str
    authorization: Authorization
    signature: bytes

    @property
    def payer(self) -> str:
        """The EIP-55 address that pays."""
        return checksum("0x" + self.authorization.sender.hex())

    @property
    def identity(self) -> tuple[str, str]:
        """Payer and nonce: no two settlements share it (EIP-3009)."""
        return self.payer, "0x" + self.authorization.nonce.hex()

    def __repr__(self) -> str:
        return f"Payment({self.payer} pays {self.authorization.value})"


@dataclass(frozen=True, slots=True)
class Settled:
    """A payment on the chain: who paid, and the transaction that did it."""

    payment: Payment
    transaction: Transaction

    def response(self) -> dict[str, Any]:
        """The SettleResponse that a facilitator gives and a seller passes on as its receipt."""
        return {
            "success": True,
            "transaction": self.transaction.hash,
            "network": self.payment.network,
            "payer": self.payment.payer,
        }


class Facilitator:
    """`settled` is called once for every settlement. Thread-safe: the chain decides who was first."""

    def __init__(self, chain: Chain, token: Token, key: EvmKey, settled: Callable[[Settled], None]) -> None:
        self._chain = chain
        self._token = token
        self._key = key
        self._settled = settled

    def supported(self) -> dict[str, Any]:
        """The SupportedResponse: v1 and v2 kinds are rows of their own."""
        kinds = [{"x402Version": version, "scheme": "exact", "network": name} for version, name in NETWORKS.items()]
        return {"kinds": kinds, "extensions": ["payment-identifier"], "signers": {"eip155:*": [self._key.address]}}

    def verify(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Payment:
        """The payment, when it would settle now; raises Refused."""
        payment = _read(version, payload)
        try:
            self._check(payment, payload, requirement)
        except Refused as refused:
            raise Refused(refused.code, refused.words, payment.payer) from None
        return payment

    def settle(self, version: int, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> Settled:
        """Move the money, once; raises Refused."""
        payment = self.verify(version, payload, requirement)
        data = self._token.call_data(payment.authorization, payment.signature)
        mined = self._token_send(data)
        if not mined.status:
            raise Refused(_code(mined.reason, "transaction_failed"), mined.reason, payment.payer)
        moved = mined.transfers
        wanted = payment.authorization
        if len(moved) != 1 or (moved[0].to.lower(), moved[0].value) != ("0x" + wanted.to.hex(), wanted.value):
            raise Refused(f"{_E}transfer_event_mismatch", payer=payment.payer)
        settled = Settled(payment, mined)
        self._settled(settled)
        return settled

    def verify_json(self, body: object) -> dict[str, Any]:
        """POST /verify: a VerifyResponse for a decoded request body."""
        try:
            payment = self.verify(*_request(body))
        except Refused as refused:
            answer = {"isValid": False, "invalidReason": refused.code, **_told(refused, "invalidMessage")}
            return {**answer, **({"payer": refused.payer} if refused.payer else {})}
        return {"isValid": True, "payer": payment.payer}

    def settle_json(self, body: object) -> dict[str, Any]:
        """POST /settle: a SettleResponse for a decoded request body."""
        try:
            version, payload, requirement = _request(body)
            return self.settle(version, payload, requirement).response()
        except Refused as refused:
            return refusal(refused, _network(body))

    def _token_send(self, data: bytes) -> Transaction:
        return self._chain.send(self._key, self._token.address, data)

    def _check(self, payment: Payment, payload: Mapping[str, Any], requirement: Mapping[str, Any]) -> None:
        """Everything but the token's own opinion, then that too."""
        stated = payload if payment.version == 1 else payload.get("accepted")
        if not isinstance(stated, dict) or stated.get("scheme") != "exact" or requirement.get("scheme") != "exact":
            raise Refused("unsupported_scheme")
        if stated.get("network") != requirement.get("network"):
            raise Refused("network_mismatch")
        if requirement.get("network") != NETWORKS[payment.version]:
            raise Refused("invalid_network", f"this chain is {NETWORKS[payment.version]}")
        asset = str(requirement.get("asset"))
        if asset.lower() != self._token.asset.address.lower():
            raise Refused("asset_not_deployed_contract", f"there is no token at {asset[:48]}")
        extra = requirement.get("extra")
        if not isinstance(extra, dict) or not {"name", "version"} <= extra.keys():
            raise Refused("missing_eip712_domain", "extra needs name and version")
        self._check_authorization(payment, requirement)
        self._check_signature(payment, str(extra["name"]), str(extra["version"]))
        self._rehearse(payment, str(extra["name"]), str(extra["version"]))

    def _check_authorization(self, payment: Payment, requirement: Mapping[str, Any]) -> None:
        authorization, now = payment.authorization, self._chain.now()
        if "0x" + authorization.to.hex() != str(requirement.get("payTo")).lower():
            raise Refused(f"{_P}recipient_mismatch")
        if authorization.value != _asked(requirement, AMOUNTS[payment.version]):
            ending = "" if payment.version == 1 else "_mismatch"
            raise Refused(f"{_P}authorization_value{ending}")
        if authorization.valid_before < now + LEAD:
            raise Refused(f"{_P}authorization_valid_before")
        if authorization.valid_after > now:
            raise Refused(f"{_P}authorization_valid_after")

    def _check_signature(self, payment: Payment, name: str, version: str) -> None:
        """A signature of the payer over the domain that the requirement names: a plain account's or a contract's."""
        sender = payment.authorization.sender
        words = keccak(name.encode()) + keccak(version.encode()) + word(CHAIN_ID) + word(self._token.address)
        body = _TRANSFER + payment.authorization.words()
        digest = keccak(b"\x19\x01" + keccak(_DOMAIN + words) + keccak(body))
        if self._chain.code(sender):
            if not self._wallet_agrees(sender, digest, payment.signature):
                raise Refused(f"{_P}signature")
            return
        if len(payment.signature) != 65:
            raise Refused(f"{_P}undeployed_smart_wallet")
        try:
            signer = recover(digest, payment.signature)
        except ValueError:
            raise Refused(f"{_P}signature") from None
        if signer != payment.payer:
            raise Refused(f"{_P}signature")

    def _wallet_agrees(self, wallet: bytes, digest: bytes, signature: bytes) -> bool:
        padded = signature.ljust(-(-len(signature) // 32) * 32, b"\0")
        ran = self._chain.call(wallet, _MAGIC + digest + word(64) + word(len(signature)) + padded)
        return ran.ok and ran.output[:4] == _MAGIC

    def _rehearse(self, payment: Payment, name: str, version: str) -> None:
        """Run the transfer without keeping it; when the token refuses, say which of its rules did."""
        data = self._token.call_data(payment.authorization, payment.signature)
        ran = self._chain.call(self._token.address, data, bytes.fromhex(self._key.address[2:]))
        if ran.ok:
            return
        reason = revert_reason(ran.output)
        if self._token.used(payment.authorization.sender, payment.authorization.nonce):
            raise Refused(f"{_E}nonce_already_used", reason)
        if self._token.asset.eip712 and (name, version) != self._token.asset.eip712:
            which = "name" if name != self._token.asset.eip712[0] else "version"
            raise Refused(f"{_E}token_{which}_mismatch", reason)
        if self._token.balance(payment.authorization.sender) < payment.authorization.value:
            raise Refused(f"{_E}insufficient_balance", reason)
        raise Refused(f"{_E}transaction_simulation_failed", reason)


def refusal(refused: Refused, network: str) -> dict[str, Any]:
    """The SettleResponse of a payment that was not accepted."""
    answer = {"success": False, "errorReason": refused.code, **_told(refused, "errorMessage")}
    payer = {"payer": refused.payer} if refused.payer else {}
    return {**answer, **payer, "transaction": "", "network": network}


def _told(refused: Refused, field: str) -> dict[str, str]:
    return {field: refused.words} if refused.words else {}


def _code(reason: str, otherwise: str) -> str:
    return next((code for words, code in _REVERTS if words in reason), otherwise)


def _request(body: object) -> tuple[int, Mapping[str, Any], Mapping[str, Any]]:
    """Version, payload and requirement of a facilitator request; raises Refused."""
    if not isinstance(body, dict):
        raise Refused("invalid_payload", "the body is not a JSON object")
    payload, requirement = body.get("paymentPayload"), body.get("paymentRequirements")
    if not isinstance(payload, dict):
        raise Refused("invalid_payload", "paymentPayload is not an object")
    if not isinstance(requirement, dict):
        raise Refused("invalid_payment_requirements", "paymentRequirements is not an object")
    version = body.get("x402Version", payload.get("x402Version"))
    if version not in NETWORKS or payload.get("x402Version", version) != version or isinstance(version, bool):
        raise Refused("invalid_x402_version")
    return version, payload, requirement


def _network(body: object) -> str:
    requirement = body.get("paymentRequirements") if isinstance(body, dict) else None
    named = requirement.get("network") if isinstance(requirement, dict) else None
    return named if isinstance(named, str) else NETWORK


def _asked(requirement: Mapping[str, Any], field: str) -> int:
    try:
        return _number(requirement.get(field))
    except ValueError as cause:
        raise Refused("invalid_payment_requirements", f"{field}: {cause}") from None


def _number(value: object) -> int:
    """A uint256 from decimal digits or an integer; raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError("not a number")
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) < 79):
        raise ValueError("not decimal digits")
    number = int(value)
    if not 0 <= number < _UINT256:
        raise ValueError("does not fit in 256 bits")
    return number


def _read(version: int, payload: Mapping[str, Any]) -> Payment:
    """The payment inside an x402 payload; raises Refused with invalid_payload."""
    inner = payload.get("payload")
    fields = inner.get("authorization") if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or not isinstance(fields, dict):
        raise Refused("invalid_payload", "payload.authorization is not an object")
    try:
        authorization = Authorization(
            raw_address(fields.get("from")),
            raw_address(fields.get("to")),
            _number(fields.get("value")),
            _number(fields.get("validAfter")),
            _number(fields.get("validBefore")),
            _hex(fields.get("nonce"), 32),
        )
        signature = _hex(inner.get("signature"), None)
    except ValueError as cause:
        raise Refused("invalid_payload", str(cause)) from None
    return Payment(version, NETWORKS[version], authorization, signature)


def _hex(value: object, size: int | None) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("not 0x and hex digits")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise ValueError(f"not {size} bytes")
    return found
