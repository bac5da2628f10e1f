"""Keys in this process: from the environment, from the wallet file, from memory, or generated for a sandbox."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ..errors import SettingsError, SigningFailed, WalletError
from ..primitives import EvmKey, SolanaKey
from ..secret import Env, Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

__all__ = ["EVM_KEY", "KEYS", "KeySigner", "LockedSigner", "Signer", "Wallet"]

EVM_KEY = "X402_AGENT_EVM_KEY"
KEYS = {"eip155": EVM_KEY, "solana": "X402_AGENT_SOLANA_KEY", "stacks": "X402_AGENT_STACKS_KEY", "tron": "X402_AGENT_TRON_KEY"}
KEYRING = "X402_AGENT_KEYRING"
NAMESPACES = tuple(KEYS)


@runtime_checkable
class Signer(Protocol):
    """Where one key lives. `local` says that signing is quick, in this process, and gives the same bytes again.

    A signer may also have `secret(purpose) -> Secret`: 32 bytes that only its key gives, the same each time; and `name`,
    what a policy calls its account.
    """

    local: bool

    def address(self, namespace: str) -> str:
        """The account on a CAIP-2 namespace, or "" when this signer has none there."""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, s and v (27 or 28), 65 bytes, over a 32-byte digest, by a key of secp256k1; raises SigningFailed.

        A signer with an account on Solana has `sign_message(namespace, message)` as well: 64 bytes over a whole message.
        """


class KeySigner:
    """One key in memory, parsed once: of secp256k1 (RFC 6979 nonces), on `solana` of Ed25519.

    It is one account on one family of chains: what is signed on one never stands on another.
    """

    local = True
    __slots__ = ("_address", "_key", "_namespace", "name")

    def __init__(self, key: bytes | str | Secret, namespace: str = "eip155", name: str = "") -> None:
        digits, key = isinstance(key, str), Secret(key)  # from here on no name holds it bare
        key = _from_hex(key, namespace) if digits else key
        self._namespace, self.name = namespace, name
        self._key: EvmKey | SolanaKey = SolanaKey(key) if namespace == "solana" else EvmKey(key)
        self._address = self._key.address
        if namespace in ("stacks", "tron"):
            from . import hd

            self._address = hd.address(key, namespace)

    def address(self, namespace: str) -> str:
        """The account on its own namespace, else "": EIP-55, base58, c32 of Stacks' mainnet."""
        return self._address if namespace == self._namespace else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """r, s and v over the digest; raises SigningFailed on another namespace than its own."""
        if namespace != self._namespace or namespace == "solana":
            raise SigningFailed(f"this key is for {self._namespace}, and signs no digest of {namespace}")
        return self._key.sign(digest)

    def sign_message(self, namespace: str, message: bytes) -> bytes:
        """64 bytes over a whole message; raises SigningFailed for a key of secp256k1."""
        if namespace != self._namespace or namespace != "solana":
            raise SigningFailed(f"this key is for {self._namespace}, and signs no message of {namespace}")
        return self._key.sign(message)

    def secret(self, purpose: str) -> Secret:
        """32 bytes that only the holder of this key can make (HKDF-SHA256, RFC 5869)."""
        return self._key.derive(purpose)

    def __repr__(self) -> str:
        return f"KeySigner({self._address})"

    def __reduce__(self) -> Any:
        raise TypeError("a key is not pickled")


class LockedSigner:
    """The accounts of one secret of a wallet file that nobody has unlocked: they are known, and cannot sign."""

    local = True
    __slots__ = ("_accounts", "_path", "name")

    def __init__(self, accounts: Mapping[str, str], path: Path) -> None:
        self._accounts, self._path = accounts, path
        self.name = accounts.get("name", "")

    def address(self, namespace: str) -> str:
        """The account on a namespace, as the file says it, or ""."""
        return self._accounts.get(namespace, "") if namespace in NAMESPACES else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        """Raises WalletError: there is no key here."""
        raise self._locked()

    def sign_message(self, namespace: str, message: bytes) -> bytes:
        """Raises WalletError: there is no key here."""
        raise self._locked()

    def secret(self, purpose: str) -> Secret:
        """Raises WalletError: there is no key here."""
        raise self._locked()

    def _locked(self) -> WalletError:
        return WalletError("the wallet is locked", rule=str(self._path),
                           hint="X402_AGENT_PASSPHRASE_FILE=/path, or run the command in a terminal")  # fmt: skip

    def __repr__(self) -> str:
        return f"LockedSigner({', '.join(filter(None, map(self.address, NAMESPACES)))})"


def _from_hex(text: Secret, namespace: str = "eip155") -> Secret:
    text = Secret(text.raw.strip().removeprefix(b"0x"))
    if len(text) == 64:
        try:
            return Secret(bytes.fromhex(text.text))
        except ValueError:
            pass
    raise SigningFailed("a private key is 64 hex digits", rule="the text given as key", hint=f"export {KEYS[namespace]}=…")


def _from_variable(env: Env, namespace: str) -> KeySigner:
    """The key in the variable of a family; raises SettingsError, which quotes nothing of it."""
    name = KEYS[namespace]
    try:
        if namespace == "eip155":
            return KeySigner(_from_hex(Secret(env[name])))
        from . import intake

        return KeySigner(intake.key(Secret(env[name]), namespace), namespace)
    except (SigningFailed, WalletError) as why:
        if why.rule.startswith("extra"):
            raise
    raise SettingsError(f"{name} is not a private key", rule=name, hint=f"export {name}={'0x…' if namespace == 'eip155' else '…'}")


class Wallet:
    """The signers of one payer, asked in order. Its repr shows addresses and nothing else."""

    def __init__(self, *signers: Signer) -> None:
        self.signers = signers
        self._named: dict[str, Wallet] = {}

    @classmethod
    def from_key(cls, key: bytes | str | Secret, namespace: str = "eip155") -> Wallet:
        """A wallet with one key of one family: 32 bytes or 64 hex digits. Raises SigningFailed for anything else."""
        digits, key = isinstance(key, str), Secret(key)
        return cls(KeySigner(_from_hex(key, namespace) if digits else key, namespace))

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
        """The keys in X402_AGENT_EVM_KEY, X402_AGENT_SOLANA_KEY, X402_AGENT_STACKS_KEY and X402_AGENT_TRON_KEY, or the entry of
        X402_AGENT_KEYRING, else the wallet file at X402_AGENT_WALLET or `path`, else an empty wallet.

        The file's passphrase is X402_AGENT_PASSPHRASE, or in the file X402_AGENT_PASSPHRASE_FILE or the keyring's entry, or
        what `ask` returns; without one the wallet knows its accounts and cannot sign. Raises SettingsError when the text is no
        key, and WalletError as `from_file` does. `env` is this process's own unless given.
        """
        env = Env(env)
        given = tuple(_from_variable(env, namespace) for namespace in NAMESPACES if env.get(KEYS[namespace]))
        if given:
            return cls(*given)
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

    def signer(self, namespace: str, account: str = "") -> Signer | None:
        """The first signer that has an account on this namespace, or has this `account` there."""
        return next((s for s in self.signers if (own := s.address(namespace)) and account in ("", own)), None)

    def named(self, name: str) -> Wallet:
        """The same wallet with the account of this name alone; empty when it has none. "" is the whole wallet."""
        if not name:
            return self
        found = self._named.get(name)
        if found is None:
            found = self._named[name] = Wallet(*(each for each in self.signers if getattr(each, "name", "") == name))
        return found

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
