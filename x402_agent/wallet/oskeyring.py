"""The system's own keyring (macOS Keychain, Windows Credential Manager, Secret Service, KWallet), by the package `keyring`.

An entry holds a private key (64 hex digits), or the passphrase of the wallet file. X402_AGENT_KEYRING names it.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..errors import WalletError
from ..secret import Secret, without_frames
from .keys import KEYRING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SERVICE", "entry", "forget", "is_key", "keep"]

SERVICE = "x402-agent"  # under which the entries stand
_KEY = re.compile(rb"(?:0x)?[0-9a-fA-F]{64}").fullmatch


def is_key(found: Secret) -> bool:
    """Whether an entry is a private key; else it is a passphrase."""
    return _KEY(found.raw) is not None


def entry(name: str) -> Secret:
    """What stands in the keyring under this name; raises WalletError when there is nothing, or no keyring."""
    found = _do(name, lambda room: Secret(room.get_password(SERVICE, name) or ""))
    if not len(found):
        raise WalletError(f"the keyring has no entry {name!r}", rule=KEYRING, hint=f"x402-agent wallet keyring {name}")
    return Secret(found)


def keep(name: str, secret: Secret) -> None:
    """Write an entry, over the one of the same name; raises WalletError."""
    _do(name, lambda room: room.set_password(SERVICE, name, secret.text))


def forget(name: str) -> None:
    """Delete an entry; raises WalletError when there is none."""
    _do(name, lambda room: room.delete_password(SERVICE, name))


def _do(name: str, work: Callable[[Any], Any]) -> Any:
    try:
        keyring = import_module("keyring")
    except ImportError:
        raise WalletError("the package keyring is not installed", rule="extra keyring",
                          hint="pip install 'x402-agent-sdk[keyring]'") from None  # fmt: skip
    failed = ""
    try:
        return work(keyring)
    except Exception as why:  # backends raise what they like, and their frames hold what was given to them
        without_frames(why)
        failed = type(why).__name__
    raise WalletError(f"the keyring did not answer for {name!r}: {failed}", rule=KEYRING,
                      hint="is it unlocked, and is there one in this session? python -m keyring diagnose")  # fmt: skip
