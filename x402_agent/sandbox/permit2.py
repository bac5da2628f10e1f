"""Permit2 and the two x402 proxies at their canonical addresses: what is signed for them, and the calls that settle it.

Sources: the interface of Permit2's SignatureTransfer, x402 specification, schemes `exact` (Permit2) and `upto` on EVM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..primitives import keccak
from .evm import CHAIN_ID
from .token import artifact, selector, tail, word

if TYPE_CHECKING:
    from .evm import Chain
    from .machines import Ran

__all__ = ["EXACT_PROXY", "MULTICALL3", "PERMIT2", "UPTO_PROXY", "Permit", "Permit2"]

PERMIT2 = bytes.fromhex("000000000022D473030F116dDEE9F6B43aC78BA3")
EXACT_PROXY = bytes.fromhex("402085c248EeA27D92E8b30b2C58ed07f9E20001")
UPTO_PROXY = bytes.fromhex("4020A4f3b7b90ccA423B9fabCc0CE57C6C240002")
MULTICALL3 = bytes.fromhex("cA11bde05977b3631167028862bE2a173976CA11")
_INSTALLED = {
    PERMIT2: "SandboxPermit2",
    EXACT_PROXY: "SandboxExactProxy",
    UPTO_PROXY: "SandboxUptoProxy",
    MULTICALL3: "SandboxMulticall3",
}
_TOKEN = "TokenPermissions(address token,uint256 amount)"
_EXACT_WITNESS = "Witness(address to,uint256 validAfter)"
_UPTO_WITNESS = "Witness(address to,address facilitator,uint256 validAfter)"
_STUB = "PermitWitnessTransferFrom(TokenPermissions permitted,address spender,uint256 nonce,uint256 deadline,Witness witness)"
_PERMIT = "((address,uint256),uint256,uint256)"
_EXACT = f"settle({_PERMIT},address,(address,uint256),bytes)"
_UPTO = f"settle({_PERMIT},uint256,address,(address,address,uint256),bytes)"


class Permit(NamedTuple):
    """PermitWitnessTransferFrom as x402 uses it: addresses and nonce as bytes, `value` in atomic units, times in seconds.

    `value` is the most that may move; `valid_before` is Permit2's deadline. With a `facilitator` it is the scheme upto.
    """

    sender: bytes
    to: bytes
    value: int
    valid_after: int
    valid_before: int
    nonce: bytes
    token: bytes
    spender: bytes
    facilitator: bytes = b""

    def digest(self) -> bytes:
        """The 32 bytes to sign (EIP-712; Permit2's domain has no version)."""
        witness = _UPTO_WITNESS if self.facilitator else _EXACT_WITNESS
        kind = keccak((_STUB + _TOKEN + witness).encode())
        permitted = keccak(keccak(_TOKEN.encode()) + word(self.token) + word(self.value))
        witnessed = keccak(keccak(witness.encode()) + self._witness())
        body = keccak(kind + permitted + word(self.spender) + self.nonce + word(self.valid_before) + witnessed)
        return keccak(b"\x19\x01" + _separator() + body)

    def _witness(self) -> bytes:
        facilitator = word(self.facilitator) if self.facilitator else b""
        return word(self.to) + facilitator + word(self.valid_after)

    def settlement(self, signature: bytes, amount: int) -> tuple[bytes, bytes]:
        """The proxy to call and the call that moves `amount` atomic units; `exact` can move nothing but the whole."""
        permit = word(self.token) + word(self.value) + self.nonce + word(self.valid_before)
        if not self.facilitator:
            head = permit + word(self.sender) + self._witness() + word(8 * 32)
            return EXACT_PROXY, selector(_EXACT) + head + tail(signature)
        head = permit + word(amount) + word(self.sender) + self._witness() + word(10 * 32)
        return UPTO_PROXY, selector(_UPTO) + head + tail(signature)


def _separator() -> bytes:
    kind = keccak(b"EIP712Domain(string name,uint256 chainId,address verifyingContract)")
    return keccak(kind + keccak(b"Permit2") + word(CHAIN_ID) + word(PERMIT2))


class Permit2:
    """Permit2, the proxies and Multicall3 on one chain."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        for address, name in _INSTALLED.items():
            chain.install(address, bytes.fromhex(str(artifact(name)["runtime"])[2:]))

    def view(self, signature: str, arguments: bytes = b"") -> Ran:
        """What a call of Permit2 returns that changes nothing."""
        return self._chain.call(PERMIT2, selector(signature) + arguments)

    def used(self, owner: bytes, nonce: bytes) -> bool:
        """Whether a nonce is spent or cancelled: bit `nonce % 256` of word `nonce // 256`."""
        number = int.from_bytes(nonce)
        bits = self.view("nonceBitmap(address,uint256)", word(owner) + word(number >> 8)).output
        return bool(int.from_bytes(bits) >> (number & 255) & 1)

    def domain_separator(self) -> bytes:
        """The EIP-712 domain separator, as the contract computes it."""
        return self.view("DOMAIN_SEPARATOR()").output
