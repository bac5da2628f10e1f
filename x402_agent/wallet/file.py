"""One encrypted file: accounts of a mnemonic and single keys under one passphrase (scrypt, AES-256-GCM).

Its addresses stand beside the ciphertext, so that showing them needs no passphrase; they, the parameters and the
version are authenticated with it, and the addresses are derived again at every unlock. The file is at most 64 KiB.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import WalletError
from ..primitives import scrypt_beyond, seal, unseal
from ..secret import Secret
from . import hd, private

__all__ = ["Entry", "WalletFile", "scrypt", "usable"]

FORMAT, VERSION = "x402-agent wallet", 2  # 1 had one account of a mnemonic, and keys of EVM alone
COST = 1 << 17  # 128 MiB and about half a second: OWASP's first choice for scrypt (r 8, p 1)
LEAST_COST, MOST_MEMORY, MOST_WORK = 1 << 12, 512 << 20, 1 << 23
LEAST_LETTERS = 8
MOST_ACCOUNTS = 64
_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9])?)?").fullmatch


@dataclass(frozen=True)
class Entry:
    """One account of a wallet: `kind` is "mnemonic" (`secret` its words, `passphrase` that of BIP-39) or "key".

    An account of the mnemonic has one key on each family of chains, those of its `index` (the first is 0); a single key is
    one of `namespace` alone. `name` is what people and policies call it, "" for the one that is not named.
    """

    kind: str
    secret: Secret
    passphrase: Secret = field(default_factory=Secret)
    namespace: str = "eip155"
    name: str = ""
    index: int = 0

    def keys(self) -> dict[str, Secret]:
        """Its private keys by CAIP-2 namespace."""
        if self.kind == "mnemonic":
            return hd.keys(hd.seed(self.secret, self.passphrase), self.index)
        return {self.namespace: self.secret}

    def addresses(self) -> dict[str, str]:
        """Its addresses by CAIP-2 namespace: four of a mnemonic's account, one of a key."""
        return {namespace: hd.address(key, namespace) for namespace, key in self.keys().items()}


def scrypt(passphrase: Secret, salt: bytes, n: Any, r: Any, p: Any) -> Secret:
    """32 bytes by scrypt (RFC 7914); raises WalletError for parameters beyond 512 MiB or about four seconds."""
    numbers = all(type(value) is int and value > 0 for value in (n, r, p))
    if not (numbers and n & (n - 1) == 0 and n >= LEAST_COST and 128 * n * r <= MOST_MEMORY and n * r * p <= MOST_WORK):
        raise WalletError("the file asks for scrypt parameters that we do not run", hint="restore it from a backup",
                          rule=f"n a power of two from {LEAST_COST}, 512 MiB at most")  # fmt: skip
    try:
        if n >= 1 << 16 * r:  # beyond RFC 7914, so OpenSSL does not run it; the definition of keystore files uses it
            return scrypt_beyond(passphrase, salt, n, r, p)
        return Secret(
            hashlib.scrypt(passphrase.raw, salt=salt, n=n, r=r, p=p, maxmem=MOST_MEMORY + (64 << 20), dklen=32)
        )
    except (MemoryError, ValueError):
        pass
    raise WalletError("scrypt did not run: is there enough memory?", rule=f"{128 * n * r >> 20} MiB")


def usable(passphrase: Secret) -> Secret:
    """The passphrase in its one spelling (NFC); raises WalletError when it is too short to protect anything, or no
    UTF-8: letters that cannot be read would all count as the same one."""  # fmt: skip
    if Secret(passphrase.text).raw != passphrase.raw:
        raise WalletError("this passphrase is not UTF-8", rule="text in UTF-8",
                          hint="save its file as UTF-8, or use a passphrase of ASCII letters")  # fmt: skip
    passphrase = Secret(unicodedata.normalize("NFC", passphrase.text))
    if len(passphrase.text) < LEAST_LETTERS:
        raise WalletError("this passphrase is too short", rule=f"at least {LEAST_LETTERS} characters",
                          hint="five or six words at random are easy to type and hard to guess")  # fmt: skip
    return passphrase


class WalletFile:
    """What can be read of the file without a passphrase; nothing of it is authenticated before `unlock`."""

    def __init__(self, path: Path, header: Mapping[str, Any], sealed: bytes) -> None:
        self.path, self._header, self._sealed = path, header, sealed

    @property
    def accounts(self) -> Sequence[Mapping[str, str]]:
        """Addresses by namespace, and `kind`, of each secret in the order in which they pay."""
        return tuple(dict(account) for account in self._header["accounts"])

    @property
    def identity(self) -> tuple[str, bytes]:
        """The same for the same content of the same file."""
        return str(self.path.absolute()), hashlib.sha256(_canonical(self._header) + self._sealed).digest()

    @classmethod
    def read(cls, path: Path) -> WalletFile:
        """Open a wallet file; raises WalletError when it is missing, readable by others, damaged or too new."""
        data = private.read(path).raw  # encrypted: nothing secret in it
        try:
            facts = json.loads(data)
            if facts["format"] == FORMAT and facts["version"] not in range(1, VERSION + 1):
                raise WalletError(f"{path} has version {facts['version']!r:.20}; this release reads 1 to {VERSION}",
                                  rule="version", hint="uv add -U x402-agent-sdk")  # fmt: skip
            sealed, digest = bytes.fromhex(facts.pop("sealed")), facts.pop("sha256")
            whole = digest == hashlib.sha256(_canonical(facts) + sealed).hexdigest() and len(sealed) >= 16
            whole = whole and facts["format"] == FORMAT and _shaped(facts)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            whole = False
        if not whole:
            raise WalletError(f"{path} is damaged, or no wallet file", rule="its checksum",
                              hint="restore it from a backup, or `x402-agent wallet import` your mnemonic")  # fmt: skip
        return cls(path, facts, sealed)

    def unlock(self, passphrase: Secret) -> tuple[Entry, ...]:
        """The secrets, in order; takes about half a second. Raises WalletError for another passphrase."""
        kdf, header = self._header["kdf"], _canonical(self._header)
        typed = Secret(unicodedata.normalize("NFC", passphrase.text))
        key = scrypt(typed, bytes.fromhex(kdf["salt"]), kdf["n"], kdf["r"], kdf["p"])
        opened = unseal(key, bytes.fromhex(self._header["nonce"]), self._sealed, header)
        if opened is None:
            raise WalletError(f"the passphrase does not open {self.path}", rule="AES-256-GCM over content and header",
                              hint="type it again; if you are sure of it, the file was changed: restore a backup")  # fmt: skip
        entries = tuple(map(_entry, json.loads(opened.raw)))
        if [_account(entry) for entry in entries] != [dict(account) for account in self.accounts]:
            raise WalletError(f"the addresses in {self.path} are not those of its keys", rule="derived at unlock", hint="restore it from a backup")
        return entries

    @classmethod
    def create(cls, path: Path, entries: Sequence[Entry], passphrase: Secret, *, n: int = COST) -> WalletFile:
        """Write a new file, never over another one; raises WalletError."""
        _distinct(path, entries)
        private.write_new(path, _sealed(entries, usable(passphrase), n))
        return cls.read(path)

    @classmethod
    def change(cls, path: Path, passphrase: Secret, how: Callable[[tuple[Entry, ...]], Sequence[Entry]]) -> WalletFile:
        """Put what `how` makes of the accounts in their place, at once and durably, alone among processes.

        Raises WalletError for an account that would stand twice, two of one name, or too many.
        """
        with private.alone(path):
            old = cls.read(path)
            made = tuple(how(old.unlock(passphrase)))
            _distinct(path, made)
            private.replace(path, _sealed(made, passphrase, old._header["kdf"]["n"]))
        return cls.read(path)

    @classmethod
    def add(cls, path: Path, entry: Entry, passphrase: Secret, *, first: bool = False) -> WalletFile:
        """Put one more secret into a wallet, at the end or `first`; raises WalletError when it is there already."""

        def together(entries: tuple[Entry, ...]) -> Sequence[Entry]:
            if entry.kind == "mnemonic" and any(known.kind == "mnemonic" for known in entries):
                raise WalletError(f"{path} holds a mnemonic already", rule="one wallet, one mnemonic",
                                  hint="another file: X402_AGENT_WALLET=/path/other.json")  # fmt: skip
            return (entry, *entries) if first else (*entries, entry)

        return cls.change(path, passphrase, together)

    def __repr__(self) -> str:
        return f"WalletFile({self.path})"


def _distinct(path: Path, entries: Sequence[Entry]) -> None:
    """Raises WalletError where two accounts have one key, or one name."""
    if len(entries) > MOST_ACCOUNTS:
        raise WalletError(f"{path} would have {len(entries)} accounts", rule=f"at most {MOST_ACCOUNTS} in one wallet", hint="another file: X402_AGENT_WALLET=/path/other.json")
    seen: set[str] = set()
    for entry in entries:
        if not _NAME(entry.name):
            raise WalletError(f"no account is called {entry.name[:40]!r}", rule="small letters, digits, dots and dashes",
                              hint="research, or team-2")  # fmt: skip
        for each in (f"the name {entry.name}" if entry.name else "", *entry.addresses().values()):
            if each and each in seen:
                raise WalletError(f"{each} is in {path} already", rule="one key, once; one name, once", hint="x402-agent wallet account list")
            seen.add(each)


def _account(entry: Entry) -> dict[str, str]:
    named = {"name": entry.name} if entry.name else {}
    return {"kind": entry.kind, **named, **({"index": str(entry.index)} if entry.index else {}), **entry.addresses()}


def _entry(facts: Mapping[str, Any]) -> Entry:
    key = facts["kind"] == "key"
    return Entry(
        facts["kind"], Secret(bytes.fromhex(facts["secret"]) if key else facts["secret"]), Secret(facts["passphrase"]),
        facts.get("chain", "eip155"), facts.get("name", ""), facts.get("index", 0),
    )  # fmt: skip


def _canonical(header: Mapping[str, Any]) -> bytes:
    """What the tag is over: every field but the ciphertext, its checksum excepted."""
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _shaped(facts: Mapping[str, Any]) -> bool:
    kdf, accounts = facts["kdf"], facts["accounts"]
    salt, nonce = bytes.fromhex(kdf["salt"]), bytes.fromhex(facts["nonce"])
    texts = all(isinstance(value, str) for account in accounts for value in (account["kind"], *account.values()))
    texts = texts and all(set(account) & set(hd.PATHS) for account in accounts)
    return (
        kdf["name"] == "scrypt" and facts["cipher"] == "aes-256-gcm" and len(salt) == 32 and len(nonce) == 12 and texts
    )


def _sealed(entries: Sequence[Entry], passphrase: Secret, n: int) -> bytes:
    """The bytes of a file with fresh salt and nonce."""
    header = {
        "format": FORMAT, "version": VERSION, "cipher": "aes-256-gcm", "nonce": secrets.token_hex(12),
        "kdf": {"name": "scrypt", "n": n, "r": 8, "p": 1, "salt": secrets.token_hex(32)},
        "accounts": [_account(entry) for entry in entries],
    }  # fmt: skip
    kdf: Any = header["kdf"]
    typed = Secret(unicodedata.normalize("NFC", passphrase.text))
    key = scrypt(typed, bytes.fromhex(kdf["salt"]), n, 8, 1)
    sealed = seal(key, bytes.fromhex(str(header["nonce"])), _plain(entries), _canonical(header))
    digest = hashlib.sha256(_canonical(header) + sealed).hexdigest()
    return json.dumps({**header, "sealed": sealed.hex(), "sha256": digest}, indent=1).encode() + b"\n"


def _plain(entries: Sequence[Entry]) -> Secret:
    return Secret(json.dumps(
        [{"kind": e.kind, "secret": e.secret.raw.hex() if e.kind == "key" else e.secret.text,
          "passphrase": e.passphrase.text, "chain": e.namespace, "name": e.name, "index": e.index} for e in entries]
    ))  # fmt: skip
