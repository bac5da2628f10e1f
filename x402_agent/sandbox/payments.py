"""What a proof says, read from the wire strictly. It judges nothing but form.

Sources: x402 specification, schemes `exact` and `upto` on EVM, payloads of EIP-3009 and Permit2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..primitives import checksum
from .evm import NETWORK, NETWORK_V1
from .permit2 import Permit
from .token import Authorization, raw_address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AMOUNTS", "NETWORKS", "Payment", "Refused", "asked", "named_network", "read", "refusal", "request"]

NETWORKS = {1: NETWORK_V1, 2: NETWORK}
AMOUNTS = {1: "maxAmountRequired", 2: "amount"}
_UINT256 = 1 << 256


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
    scheme: str
    authorization: Authorization | Permit
    signature: bytes

    @property
    def payer(self) -> str:
        """The EIP-55 address that pays."""
        return checksum("0x" + self.authorization.sender.hex())

    @property
    def upto(self) -> bool:
        """Whether it is a ceiling: the scheme `upto`, which is always by Permit2."""
        return isinstance(self.authorization, Permit) and bool(self.authorization.facilitator)

    @property
    def nonce(self) -> str:
        """The nonce that was signed, 0x and 64 hex digits: no two settlements of a payer share it."""
        return "0x" + self.authorization.nonce.hex()

    def __repr__(self) -> str:
        ceiling = "up to " if self.upto else ""
        return f"Payment({self.payer} pays {ceiling}{self.authorization.value})"


def refusal(refused: Refused, network: str) -> dict[str, Any]:
    """The SettleResponse of a payment that was not accepted."""
    answer = {"success": False, "errorReason": refused.code}
    words = {"errorMessage": refused.words} if refused.words else {}
    payer = {"payer": refused.payer} if refused.payer else {}
    return {**answer, **words, **payer, "transaction": "", "network": network}


def request(body: object) -> tuple[int, Mapping[str, Any], Mapping[str, Any]]:
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


def named_network(body: object) -> str:
    """The network that a request names, ours when it names none."""
    requirement = body.get("paymentRequirements") if isinstance(body, dict) else None
    named = requirement.get("network") if isinstance(requirement, dict) else None
    return named if isinstance(named, str) else NETWORK


def asked(requirement: Mapping[str, Any], field: str) -> int:
    """The amount of a requirement in atomic units; raises Refused."""
    try:
        return _number(requirement.get(field))
    except ValueError as cause:
        raise Refused("invalid_payment_requirements", f"{field}: {cause}") from None


def read(version: int, payload: Mapping[str, Any]) -> Payment:
    """The payment inside an x402 payload; raises Refused with invalid_payload."""
    inner = payload.get("payload")
    stated = payload if version == 1 else payload.get("accepted")
    scheme = stated.get("scheme") if isinstance(stated, dict) else None
    if not isinstance(inner, dict):
        raise Refused("invalid_payload", "payload.payload is not an object")
    try:
        if version == 2 and ("permit2Authorization" in inner or scheme == "upto"):
            authorization: Authorization | Permit = _permit(inner.get("permit2Authorization"), scheme == "upto")
        else:
            authorization = _authorization(inner.get("authorization"))
        signature = _hex(inner.get("signature"), None)
    except ValueError as cause:
        raise Refused("invalid_payload", str(cause)) from None
    return Payment(version, NETWORKS[version], str(scheme), authorization, signature)


def _authorization(fields: object) -> Authorization:
    if not isinstance(fields, dict):
        raise ValueError("payload.authorization is not an object")
    return Authorization(
        raw_address(fields.get("from")),
        raw_address(fields.get("to")),
        _number(fields.get("value")),
        _number(fields.get("validAfter")),
        _number(fields.get("validBefore")),
        _hex(fields.get("nonce"), 32),
    )


def _permit(fields: object, upto: bool) -> Permit:
    if not isinstance(fields, dict):
        raise ValueError("payload.permit2Authorization is not an object")
    permitted, witness = fields.get("permitted"), fields.get("witness")
    if not isinstance(permitted, dict) or not isinstance(witness, dict):
        raise ValueError("permitted and witness are objects")
    return Permit(
        raw_address(fields.get("from")),
        raw_address(witness.get("to")),
        _number(permitted.get("amount")),
        _number(witness.get("validAfter")),
        _number(fields.get("deadline")),
        _number(fields.get("nonce")).to_bytes(32, "big"),
        raw_address(permitted.get("token")),
        raw_address(fields.get("spender")),
        raw_address(witness.get("facilitator")) if upto else b"",
    )


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


def _hex(value: object, size: int | None) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("not 0x and hex digits")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise ValueError(f"not {size} bytes")
    return found
