"""Where keys live. A wallet answers two questions, which account and what signature; it never shows a key."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .adapters import AccountSigner
from .keys import EVM_KEY, KEYS, KeySigner, LockedSigner, Signer, Wallet

if TYPE_CHECKING:
    from . import intake, keystore, oskeyring, private
    from .file import Entry, WalletFile
    from .hd import FAMILIES, generate
    from .kms import KmsSigner
    from .unlock import file_at, passphrase, unlocked

__all__ = [
    "EVM_KEY",
    "FAMILIES",
    "KEYS",
    "AccountSigner",
    "Entry",
    "KeySigner",
    "KmsSigner",
    "LockedSigner",
    "Signer",
    "Wallet",
    "WalletFile",
    "file_at",
    "generate",
    "intake",
    "keystore",
    "oskeyring",
    "passphrase",
    "private",
    "unlocked",
]

_HOMES = {"KmsSigner": "kms", "Entry": "file", "WalletFile": "file", "FAMILIES": "hd", "generate": "hd",
          "file_at": "unlock", "passphrase": "unlock", "unlocked": "unlock"}  # fmt: skip


def __getattr__(name: str) -> Any:
    """The wallet file is imported when it is first used: a key in the environment needs none of it."""
    if name in ("intake", "keystore", "oskeyring", "private"):
        return import_module(f".{name}", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
