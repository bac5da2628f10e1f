"""What a person brings along, told apart by its looks: a keystore file, a mnemonic, or a key in hex."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import SigningFailed, WalletError
from ..primitives import EvmKey
from ..secret import Secret
from . import hd, keystore
from .file import Entry

__all__ = ["entry", "looks_secret"]

_HEX = re.compile(rb"(?:0x)?[0-9a-fA-F]{64}")


def looks_secret(text: str) -> bool:
    """Whether a word of a command line is a key, or words: those are visible to others and stay in the history."""
    return bool(re.search("[0-9a-fA-F]{40}", text)) or len(text.split()) > 1 or text.lstrip().startswith("{")


def entry(data: Secret, *, opens: Callable[[], Secret], passphrase: Secret | None = None) -> Entry:
    """The entry for a wallet file. `opens` is called for the passphrase of a keystore file; `passphrase` is BIP-39's.

    Raises WalletError, which quotes nothing of it.
    """
    if keystore.looks_like(data):
        return Entry("key", keystore.read(data.raw, opens()))
    if _HEX.fullmatch(data.raw.strip()):
        found = Entry("key", Secret(bytes.fromhex(data.text.strip().removeprefix("0x"))))
        try:
            EvmKey(found.secret)
        except SigningFailed as why:
            if why.rule.startswith("extra"):
                raise
            raise WalletError("this is no key of secp256k1", rule="between 1 and the order of the curve") from None
        return found
    if len(data.text.split()) < 6:
        raise WalletError("this is no key, mnemonic or keystore file", hint="64 hex digits, 12 or 24 words, or keystore JSON",
                          rule="what was read")  # fmt: skip
    return Entry("mnemonic", hd.checked(data), passphrase or Secret())
