"""Keys in this process: from the environment, from memory, or generated for a sandbox."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import SettingsError, SigningFailed
from ..primitives import EvmKey

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EVM_KEY", "KeySigner", "Signer", "Wallet"]

EVM_KEY = "X402_AGENT_EVM_KEY"


@runtime_checkable
class Signer(Protocol):
    """Where one key lives. `local` says that signing is quick, in this process, and gives the same bytes again."""

    local: bool

    def address(self, namespace: str) -> str:
        """The account on a CAIP-2 namespace, or "" when this signer has none there."""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, s and v (27 or 28), 65 bytes, over a 32-byte digest; raises SigningFailed."""


class KeySigner:
    """One secp256k1 key in memory, parsed once (EIP-712 digests are signed with RFC 6979 nonces)."""

    local = True
    __slots__ = ("_key",)

    def __init__(self, key: bytes | str) -> None:
        self._key = EvmKey(key if isinstance(key, bytes) else _from_hex(key))

    def address(self, namespace: str) -> str:
        """The EIP-55 address on `eip155`, else ""."""
        return self._key.address if namespace == "eip155" else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, s and v over the digest; raises SigningFailed off `eip155`."""
        if namespace != "eip155":
            raise SigningFailed(f"this key signs on EVM, not on {namespace}")
        return self._key.sign(digest)

    def __repr__(self) -> str:
        return f"KeySigner({self._key.address})"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not pickled")


def _from_hex(text: str) -> bytes:
    digits = text.strip().removeprefix("0x")
    if len(digits) == 64:
        try:
            return bytes.fromhex(digits)
        except ValueError:
            pass
    raise SigningFailed("a private key is 64 hex digits", rule="the text given as key", hint=f"export {EVM_KEY}=0x…")


class Wallet:
    """The signers of one payer, asked in order. Its repr shows addresses and nothing else."""

    def __init__(self, *signers: Signer) -> None:
        self.signers = signers

    @classmethod
    def from_key(cls, key: bytes | str) -> Wallet:
        """A wallet with one EVM key: 32 bytes or 64 hex digits. Raises SigningFailed for anything else."""
        return cls(KeySigner(key))

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Wallet:
        """The key in X402_AGENT_EVM_KEY, or an empty wallet; raises SettingsError when the text is no key."""
        text = env.get(EVM_KEY, "")
        if not text:
            return cls()
        try:
            return cls.from_key(text)
        except SigningFailed as why:
            raise SettingsError(f"{EVM_KEY} is not a private key", rule=EVM_KEY, hint=why.hint) from None

    @classmethod
    def generated(cls) -> Wallet:
        """A fresh random key: for sandboxes, never for money."""
        return cls.from_key(secrets.token_bytes(32))

    def signer(self, namespace: str) -> Signer | None:
        """The first signer that has an account on this namespace."""
        return next((s for s in self.signers if s.address(namespace)), None)

    def address(self, namespace: str) -> str:
        """The paying account on a CAIP-2 namespace, or ""."""
        found = self.signer(namespace)
        return found.address(namespace) if found else ""

    def __repr__(self) -> str:
        return f"Wallet({', '.join(map(repr, self.signers))})"
