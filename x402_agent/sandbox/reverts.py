"""What a contract said when it refused, in words: reasons, panics, and the named errors of Permit2, the proxies and PaymentPermit."""

from __future__ import annotations

from functools import cache

from ..primitives import keccak

__all__ = ["revert_reason"]

_ERROR = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)
_NAMED = (
    "SignatureExpired(uint256)",
    "InvalidAmount(uint256)",
    "InvalidAmount()",
    "InvalidNonce()",
    "InvalidSignatureLength()",
    "InvalidSignature()",
    "InvalidSigner()",
    "InvalidContractSignature()",
    "InvalidDestination()",
    "InvalidOwner()",
    "PaymentTooEarly()",
    "UnauthorizedFacilitator()",
    "AmountExceedsPermitted()",
    "InvalidKind()",
    "InvalidCaller()",
    "InvalidTimestamp()",
    "TransferFailed()",
)


@cache
def _names() -> dict[bytes, str]:
    return {keccak(each.encode())[:4]: each.partition("(")[0] for each in _NAMED}


def revert_reason(output: bytes) -> str:
    """The words in `Error(string)` revert data, the name of a known error, else its hex."""
    if output[:4] == _ERROR and len(output) >= 68:
        size = int.from_bytes(output[36:68])
        return output[68 : 68 + size].decode("utf-8", "replace")
    if output[:4] == _PANIC and len(output) == 36:
        return f"panic 0x{output[-1]:02x}"
    return _names().get(output[:4]) or "0x" + output.hex()[:80]
