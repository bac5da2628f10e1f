"""From a path and an environment to signers: the passphrase's ways in, and one run of scrypt per process and file."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SettingsError, WalletError
from ..secret import Env, Secret
from . import private
from .file import WalletFile
from .keys import KEYRING, KeySigner, LockedSigner

if TYPE_CHECKING:
    from collections.abc import Callable

    from .keys import Signer

__all__ = ["PASSPHRASE", "PASSPHRASE_FILE", "WALLET", "file_at", "from_env", "passphrase", "unlocked"]

WALLET = "X402_AGENT_WALLET"
PASSPHRASE = "X402_AGENT_PASSPHRASE"
PASSPHRASE_FILE = "X402_AGENT_PASSPHRASE_FILE"

_SALT = secrets.token_bytes(32)  # of this process: a remembered passphrase is only recognised, not kept
_UNLOCKED: dict[tuple[str, bytes], tuple[bytes, tuple[KeySigner, ...]]] = {}


def unlocked(path: str | Path, passphrase: Secret | None) -> tuple[KeySigner, ...]:
    """The signers of a wallet file, in its order. None as passphrase finds a file that this process has unlocked.

    Raises WalletError; returns () for None and a file that is locked.
    """
    file = WalletFile.read(Path(path).expanduser())
    mark, signers = _UNLOCKED.get(file.identity, (b"", ()))
    if passphrase is None:
        return signers
    given = hashlib.blake2b(passphrase.raw, key=_SALT).digest()
    if mark != given:
        signers = tuple(KeySigner(key, each, entry.name) for entry in file.unlock(passphrase) for each, key in entry.keys().items())
        _UNLOCKED[file.identity] = given, signers
    return signers


def passphrase(env: Env) -> Secret | None:
    """What the environment says, the variable before the file; None when it says nothing. Raises WalletError."""
    if env.get(PASSPHRASE):
        return Secret(env[PASSPHRASE])
    if name := env.get(PASSPHRASE_FILE, ""):
        path = Path(name).expanduser()
        if not path.exists():
            raise WalletError(f"there is no file {path}", rule=PASSPHRASE_FILE, hint=f"write the passphrase to it, then chmod 600 {path}")
        found = private.read(path, links=True)
        return Secret(found.raw.removesuffix(b"\n").removesuffix(b"\r"))
    if env.get(KEYRING):
        from . import oskeyring

        entry = oskeyring.entry(env[KEYRING])
        return None if oskeyring.is_key(entry) else entry
    return None


def file_at(env: Env, default: Path) -> Path:
    """Where the wallet file lies, or will: X402_AGENT_WALLET, else `default`."""
    named = env.get(WALLET, "")
    return Path(named).expanduser() if named else default


def from_env(env: Env, path: Path | None, ask: Callable[[Path], str] | None) -> tuple[Signer, ...]:
    """The signers of the file that the environment names, else of `path`; locked ones when nobody has a passphrase.

    X402_AGENT_PASSPHRASE is taken out of this process's environment once it has opened the file, so that the programs
    it starts do not inherit it.
    """
    if env.get(WALLET):
        path = file_at(env, Path())
        if not path.exists():
            raise SettingsError(f"{WALLET} names {path}, and there is no such file", rule=WALLET,
                                hint="x402-agent wallet new")  # fmt: skip
    if path is None or not (path.exists() or path.is_symlink()):
        return ()
    given = passphrase(env)
    signers = unlocked(path, given)
    if not signers and given is None and ask is not None:
        signers = unlocked(path, Secret(ask(path)))
    if signers and given is not None:
        env.forget(PASSPHRASE)
    return signers or tuple(LockedSigner(account, path) for account in WalletFile.read(path).accounts)
