"""What a person brings along, told apart by its looks: a keystore file, a mnemonic, or a key as its chain's tools write it.

The form tells the family, or whoever brings the key says it. 64 hex digits alone are a key of EVM, as wallets write it; they may
be one of TRON or Stacks as well, which `others` tells. 32 bytes in base58 may be an address as well as a key: they are not guessed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ..encodings import unbase58
from ..errors import SigningFailed, WalletError
from ..primitives import EvmKey, ed25519_public
from ..secret import Secret
from . import hd, keystore
from .file import Entry

__all__ = ["CHAINS", "entry", "family", "key", "looks_secret", "others"]

CHAINS = {"evm": "eip155", "solana": "solana", "stacks": "stacks", "tron": "tron"}
_HEX = re.compile(rb"(?:0x)?[0-9a-fA-F]{64}").fullmatch
_STACKS = re.compile(rb"(?:0x)?[0-9a-fA-F]{64}01").fullmatch
_PAIR = re.compile(rb"[0-9a-fA-F]{128}").fullmatch
_BASE58 = re.compile(rb"[1-9A-HJ-NP-Za-km-z]{32,90}").fullmatch
_WHICH = "--chain evm, --chain tron, --chain stacks or --chain solana"
_FORMS = "64 hex digits (Stacks also 66 ending in 01; Solana base58 or a JSON array), 12 or 24 words, or keystore JSON"


def looks_secret(text: str) -> bool:
    """Whether a word of a command line is a key, or words: those are visible to others and stay in the history."""
    bare = text.lstrip()
    return (bool(re.search("[0-9a-fA-F]{40}", text)) or len(text.split()) > 1 or bare.startswith(("{", "["))
            or bool(re.search("(?:^|=)[1-9A-HJ-NP-Za-km-z]{43,90}$", text)))  # fmt: skip


def family(data: Secret) -> str:
    """The CAIP-2 namespace that a key's form alone tells, "" where it may be an address, or is no key."""
    bare = Secret(data.raw.strip())
    if keystore.looks_like(bare) or _HEX(bare.raw):
        return "eip155"
    if _STACKS(bare.raw):
        return "stacks"
    return "solana" if len(_pair(bare)) == 64 else ""


def key(data: Secret, namespace: str) -> Secret:
    """The 32 bytes of a key of this family; raises WalletError, which quotes nothing of it.

    Stacks: 32 bytes, or 33 that end in 01. Solana: 32 bytes, or 64 with the public key, in base58, hex or as a JSON array.
    """
    bare = Secret(data.raw.strip())
    found = _solana(bare) if namespace == "solana" else _secp256k1(bare, namespace)
    if found is None:
        raise WalletError(f"this is no key of {hd.FAMILIES[namespace]}", rule="what was read", hint=_FORMS)
    return found


def _secp256k1(bare: Secret, namespace: str) -> Secret | None:
    if not _HEX(bare.raw) and not (namespace == "stacks" and _STACKS(bare.raw)):
        return None
    found = Secret(bytes.fromhex(bare.text.removeprefix("0x")[:64]))
    try:
        EvmKey(found)
    except SigningFailed as why:
        if why.rule.startswith("extra"):
            raise
        raise WalletError("this is no key of secp256k1", rule="between 1 and the order of the curve") from None
    return found


def _pair(bare: Secret) -> Secret:
    """The bytes that a Solana tool wrote, empty where these are none: base58, a JSON array of 64 numbers, or 128 hex digits."""
    try:
        if bare.raw[:1] == b"[":
            return Secret(bytes(json.loads(bare.raw)))
        if _PAIR(bare.raw):
            return Secret(bytes.fromhex(bare.text))
        return Secret(unbase58(bare.text)) if _BASE58(bare.raw) else Secret()
    except (ValueError, TypeError, RecursionError):
        return Secret()


def _solana(bare: Secret) -> Secret | None:
    found = Secret(bytes.fromhex(bare.text.removeprefix("0x"))) if _HEX(bare.raw) else _pair(bare)
    if len(found) not in (32, 64):
        return None
    if len(found) == 64 and ed25519_public(Secret(found.raw[:32])) != found.raw[32:]:
        raise WalletError("the two halves of this key do not belong together", rule="64 bytes: the key, then its public key", hint="export it again from the program that made it")
    return Secret(found.raw[:32])


def entry(
    data: Secret, *, opens: Callable[[], Secret], passphrase: Secret | None = None, chain: str = "", name: str = ""
) -> Entry:
    """The entry for a wallet file. `opens` is called for the passphrase of a keystore file; `passphrase` is BIP-39's;
    `chain` is one of CHAINS, "" to go by the form alone.

    Raises WalletError, which quotes nothing of it.
    """
    if chain not in ("", *CHAINS):
        raise WalletError(f"no family of chains is called {chain[:20]!r}", rule="--chain", hint=_WHICH)
    if keystore.looks_like(data):
        if chain == "solana":
            raise WalletError("a keystore file holds no key of Solana", rule="--chain", hint="--chain evm")
        return Entry("key", keystore.read(data.raw, opens()), namespace=CHAINS[chain or "evm"], name=name)
    if len(data.text.split()) >= 6 and data.raw.strip()[:1] != b"[":
        if chain:
            raise WalletError("a mnemonic has an account on every family", rule="--chain is for single keys", hint="without --chain")
        return Entry("mnemonic", hd.checked(data), passphrase or Secret(), name=name)
    namespace = CHAINS[chain] if chain else family(data)
    if not namespace and len(_pair(Secret(data.raw.strip()))) == 32:
        raise WalletError("this may be an address as well as a key", rule="never guessed", hint="--chain solana, if it is a key of Solana")
    if not namespace:
        raise WalletError("this is no key, mnemonic or keystore file", rule="what was read", hint=_FORMS)
    return Entry("key", key(data, namespace), namespace=namespace, name=name)


def others(entry: Entry) -> dict[str, str]:
    """Addresses that the tools of other chains would show for a single key; for Stacks first that of its uncompressed public key.

    Nothing is paid from them.
    """
    if entry.kind != "key" or entry.namespace == "solana":
        return {}
    odd = {"Stacks, uncompressed": hd.uncompressed(entry.secret)} if entry.namespace == "stacks" else {}
    rest = {hd.FAMILIES[each]: hd.address(entry.secret, each) for each in ("eip155", "stacks", "tron") if each != entry.namespace}
    return {**odd, **rest}
