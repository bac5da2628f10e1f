"""What a proof says, read from the wire strictly. It judges nothing but form.

Sources: x402 specification, schemes `exact` and `upto` on EVM, payloads of EIP-3009 and Permit2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..primitives import checksum
from .evm import NETWORK, NETWORK_V1
from .permit2 import Permit
from .refusals import Refused, uint
from .token import Authorization, raw_address

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NETWORKS", "Payment", "read"]

NETWORKS = {1: NETWORK_V1, 2: NETWORK}


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
        uint(fields.get("value")),
        uint(fields.get("validAfter")),
        uint(fields.get("validBefore")),
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
        uint(permitted.get("amount")),
        uint(witness.get("validAfter")),
        uint(fields.get("deadline")),
        uint(fields.get("nonce")).to_bytes(32, "big"),
        raw_address(permitted.get("token")),
        raw_address(fields.get("spender")),
        raw_address(witness.get("facilitator")) if upto else b"",
    )


def _hex(value: object, size: int | None) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("not 0x and hex digits")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise ValueError(f"not {size} bytes")
    return found
