"""Keys in this process: from the environment, from the wallet file, from memory, or generated for a sandbox."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import SettingsError, SigningFailed, WalletError
from ..primitives import EvmKey
from ..secret import Env, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["EVM_KEY", "KeySigner", "LockedSigner", "Signer", "Wallet"]

EVM_KEY = "X402_AGENT_EVM_KEY"
KEYRING = "X402_AGENT_KEYRING"
NAMESPACES = ("eip155", "solana", "stacks", "tron")


@runtime_checkable
class Signer(Protocol):
    """Where one key lives. `local` says that signing is quick, in this process, and gives the same bytes again.

    A signer may also have `secret(purpose) -> Secret`: 32 bytes that only its key gives, the same each time.
    """

    local: bool

    def address(self, namespace: str) -> str:
        """The account on a CAIP-2 namespace, or "" when this signer has none there."""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, s and v (27 or 28), 65 bytes, over a 32-byte digest; raises SigningFailed."""


class KeySigner:
    """One secp256k1 key in memory, parsed once (EIP-712 digests are signed with RFC 6979 nonces)."""

    local = True
    __slots__ = ("_key",)

    def __init__(self, key: bytes | str | Secret) -> None:
        digits, key = isinstance(key, str), Secret(key)  # from here on no name holds it bare
        self._key = EvmKey(_from_hex(key) if digits else key)

    def address(self, namespace: str) -> str:
        """The EIP-55 address on `eip155`, else ""."""
        return self._key.address if namespace == "eip155" else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, s and v over the digest; raises SigningFailed off `eip155`."""
        if namespace != "eip155":
            raise SigningFailed(f"this key signs on EVM, not on {namespace}")
        return self._key.sign(digest)

    def secret(self, purpose: str) -> Secret:
        """32 bytes that only the holder of this key can make (HKDF-SHA256, RFC 5869)."""
        return self._key.derive(purpose)

    def __repr__(self) -> str:
        return f"KeySigner({self._key.address})"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not pickled")


class LockedSigner:
    """An account of a wallet file that nobody has unlocked: it is known, and cannot sign."""

    local = True
    __slots__ = ("_address", "_path")

    def __init__(self, address: str, path: Path) -> None:
        self._address, self._path = address, path

    def address(self, namespace: str) -> str:
        """The EIP-55 address on `eip155`, as the file says it, else ""."""
        return self._address if namespace == "eip155" else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """Raises WalletError: there is no key here."""
        raise self._locked()

    def secret(self, purpose: str) -> Secret:
        """Raises WalletError: there is no key here."""
        raise self._locked()

    def _locked(self) -> WalletError:
        return WalletError("the wallet is locked", rule=str(self._path),
                           hint="X402_AGENT_PASSPHRASE_FILE=/path, or run the command in a terminal")  # fmt: skip

    def __repr__(self) -> str:
        return f"LockedSigner({self._address})"


def _from_hex(text: Secret) -> Secret:
    text = Secret(text.raw.strip().removeprefix(b"0x"))
    if len(text) == 64:
        try:
            return Secret(bytes.fromhex(text.text))
        except ValueError:
            pass
    raise SigningFailed("a private key is 64 hex digits", rule="the text given as key", hint=f"export {EVM_KEY}=0x…")


class Wallet:
    """The signers of one payer, asked in order. Its repr shows addresses and nothing else."""

    def __init__(self, *signers: Signer) -> None:
        self.signers = signers

    @classmethod
    def from_key(cls, key: bytes | str | Secret) -> Wallet:
        """A wallet with one EVM key: 32 bytes or 64 hex digits. Raises SigningFailed for anything else."""
        digits, key = isinstance(key, str), Secret(key)
        return cls(KeySigner(_from_hex(key) if digits else key))

    @classmethod
    def from_file(cls, path: str | Path, passphrase: str | Secret) -> Wallet:
        """The keys of an encrypted wallet file; scrypt runs once per process and file (half a second, 128 MiB).

        Raises WalletError: no such file, readable by others, damaged, another passphrase.
        """
        passphrase = Secret(passphrase)
        from .unlock import unlocked

        return cls(*unlocked(path, passphrase))

    @classmethod
    def from_env(
        cls, env: Mapping[str, str] | None = None, path: Path | None = None, *, ask: Callable[[Path], str] | None = None
    ) -> Wallet:
        """The key in X402_AGENT_EVM_KEY or X402_AGENT_KEYRING's entry, else the wallet file at X402_AGENT_WALLET or `path`, else an empty wallet.

        The file's passphrase is X402_AGENT_PASSPHRASE, or in the file X402_AGENT_PASSPHRASE_FILE or the keyring's entry, or
        what `ask` returns; without one the wallet knows its accounts and cannot sign. Raises SettingsError when the text is no
        key, and WalletError as `from_file` does. `env` is this process's own unless given.
        """
        env = Env(env)
        if env.get(EVM_KEY):
            try:
                return cls(KeySigner(_from_hex(Secret(env[EVM_KEY]))))
            except SigningFailed as why:
                if why.rule.startswith("extra"):
                    raise
                raise SettingsError(
                    f"{EVM_KEY} is not a private key", rule=EVM_KEY, hint=f"export {EVM_KEY}=0x…"
                ) from None
        if env.get(KEYRING):
            from . import oskeyring

            found = oskeyring.entry(env[KEYRING])
            if oskeyring.is_key(found):
                return cls(KeySigner(_from_hex(found)))
        from .unlock import from_env

        return cls(*from_env(env, path, ask))

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

    def secret(self, account: str, purpose: str) -> Secret | None:
        """32 bytes that only the key of this account gives; empty where its signer has none to give (a remote one).

        None when no signer here has the account; raises WalletError when its wallet file is locked.
        """
        for signer in self.signers:
            if account in (signer.address(namespace) for namespace in NAMESPACES):
                make = getattr(signer, "secret", None)
                return Secret() if make is None else Secret(make(purpose))
        return None

    @property
    def account(self) -> str:
        """The account whose key seals what lies beside the ledger, "" for an empty wallet."""
        found = (signer.address(namespace) for signer in self.signers for namespace in NAMESPACES)
        return next((address for address in found if address), "")

    def __repr__(self) -> str:
        return f"Wallet({', '.join(map(repr, self.signers))})"
