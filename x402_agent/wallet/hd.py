"""One mnemonic, one account on each family of chains: BIP-39 words, BIP-32 secp256k1, SLIP-0010 Ed25519.

Paths (SLIP-0044 coin types), as MetaMask, Phantom, Leather and TronLink use them for their accounts. English
words only: english.txt is BIP-39's list, unchanged. Nothing here is constant-time beyond what the curve libraries are:
keys are derived in one's own process.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import unicodedata
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from ..encodings import base58, base58check, c32_address
from ..errors import WalletError
from ..primitives import ORDER, ed25519_public, evm_address, public_key, ripemd160
from ..secret import Secret

__all__ = ["FAMILIES", "PATHS", "address", "addresses", "checked", "ed25519", "generate", "key", "keys", "secp256k1", "seed", "uncompressed"]

PATHS: Mapping[str, str] = {
    "eip155": "m/44'/60'/0'/0/{}",
    "solana": "m/44'/501'/{}'/0'",
    "stacks": "m/44'/5757'/0'/0/{}",
    "tron": "m/44'/195'/{}'/0/0",
}
FAMILIES: Mapping[str, str] = {"eip155": "EVM", "solana": "Solana", "stacks": "Stacks", "tron": "TRON"}
HARD = 1 << 31
_LENGTHS = (12, 15, 18, 21, 24)


@cache
def _words() -> dict[str, int]:
    text = (files(__package__) / "english.txt").read_text("ascii")
    return {word: place for place, word in enumerate(text.split())}


def generate(words: int = 12, entropy: Secret | None = None) -> Secret:
    """A fresh mnemonic of 12 (128 bits) or 24 words (256 bits) from the system's randomness (BIP-39).

    Raises WalletError for another length. `entropy` is for test vectors: 16 to 32 bytes, 4 bits per 3 words.
    """
    if words not in _LENGTHS:
        raise WalletError(f"a mnemonic has 12 or 24 words, not {words}", rule="BIP-39", hint="--words 12")
    entropy = entropy or Secret(secrets.token_bytes(words * 4 // 3))
    listed = list(_words())
    places = _with_checksum(entropy)
    return Secret(" ".join(listed[places >> 11 * (words - 1 - i) & 2047] for i in range(words)))


def _with_checksum(entropy: Secret) -> int:
    bits = len(entropy) // 4
    check = hashlib.sha256(entropy.raw).digest()[0] >> (8 - bits)
    return int.from_bytes(entropy.raw, "big") << bits | check


def checked(words: Secret) -> Secret:
    """The words in their one spelling; raises WalletError, which never quotes them, unless count and checksum hold."""
    words = Secret(" ".join(unicodedata.normalize("NFKD", words.text).lower().split()))
    count = len(words.text.split())
    if count not in _LENGTHS:
        raise WalletError(f"a mnemonic has 12, 15, 18, 21 or 24 words, this text has {count}", rule="BIP-39", hint="compare these words with what you wrote down")
    strange = [str(i + 1) for i, word in enumerate(words.text.split()) if word not in _words()]
    if strange:
        raise WalletError(
            f"not in the English list of BIP-39: word number {', '.join(strange)}", rule="BIP-39, English words",
            hint="compare these words with what you wrote down",
        )  # fmt: skip
    if not _holds(words):
        raise WalletError("the checksum of the mnemonic is wrong", rule="BIP-39 checksum",
                          hint="a word is mistaken, or two are swapped: compare with what you wrote down")  # fmt: skip
    return words


def _holds(words: Secret) -> bool:
    number, count = 0, len(words.text.split())
    for word in words.text.split():
        number = number << 11 | _words()[word]
    return _with_checksum(Secret((number >> count // 3).to_bytes(count * 4 // 3, "big"))) == number


def seed(words: Secret, passphrase: Secret | None = None) -> Secret:
    """The 64-byte seed: PBKDF2-HMAC-SHA512, 2048 rounds, words and passphrase in NFKD (BIP-39)."""
    salt = _nfkd(Secret(b"mnemonic" + (passphrase.raw if passphrase else b"")))
    return Secret(hashlib.pbkdf2_hmac("sha512", _nfkd(words).raw, salt.raw, 2048))


def _nfkd(text: Secret) -> Secret:
    if Secret(text.text).raw != text.raw:
        raise WalletError("this passphrase is not UTF-8", rule="BIP-39: UTF-8, NFKD", hint="save its file as UTF-8")
    return Secret(unicodedata.normalize("NFKD", text.text))


def _steps(path: str) -> list[int]:
    return [int(part.rstrip("'")) + (HARD if part.endswith("'") else 0) for part in path.split("/")[1:]]


def _hmac(key_: Secret, data: Secret) -> tuple[Secret, Secret]:
    made = Secret(hmac.digest(key_.raw, data.raw, "sha512"))
    return Secret(made.raw[:32]), Secret(made.raw[32:])


def secp256k1(seed_: Secret, path: str) -> tuple[Secret, Secret]:
    """Private key and chain code at a path like `m/44'/60'/0'/0/0` (BIP-32); raises WalletError for an unusable one."""
    own, chain = _hmac(Secret(b"Bitcoin seed"), seed_)
    for step in _steps(path):
        parent = Secret(b"\0" + own.raw if step >= HARD else public_key(own))
        added, chain = _hmac(chain, Secret(parent.raw + step.to_bytes(4, "big")))
        own = Secret(((int.from_bytes(added.raw, "big") + int.from_bytes(own.raw, "big")) % ORDER).to_bytes(32, "big"))
        if int.from_bytes(added.raw, "big") >= ORDER or not any(own.raw):
            raise WalletError("this mnemonic has no key at this path", rule="BIP-32, one in 2^127")
    return own, chain


def ed25519(seed_: Secret, path: str) -> tuple[Secret, Secret]:
    """Private key and chain code at a path, every step hardened (SLIP-0010)."""
    own, chain = _hmac(Secret(b"ed25519 seed"), seed_)
    for step in _steps(path):
        own, chain = _hmac(chain, Secret(b"\0" + own.raw + (step | HARD).to_bytes(4, "big")))
    return own, chain


def key(seed_: Secret, namespace: str, index: int = 0) -> Secret:
    """The private key of one account on a family of chains: 32 bytes; the first account has index 0."""
    derive = ed25519 if namespace == "solana" else secp256k1
    return derive(seed_, PATHS[namespace].format(index))[0]


def uncompressed(own: Secret) -> str:
    """The other Stacks address of a private key, of its uncompressed public key: stacks.js's for a key of 32 bytes."""
    return c32_address(22, ripemd160(hashlib.sha256(public_key(own, compressed=False)).digest()))


def address(own: Secret, namespace: str) -> str:
    """The account of a private key on a family, as its own chain writes addresses (Stacks: mainnet, compressed)."""
    if namespace == "solana":
        return base58(ed25519_public(own))
    if namespace == "stacks":
        return c32_address(22, ripemd160(hashlib.sha256(public_key(own)).digest()))
    if namespace == "tron":
        return base58check(b"\x41" + bytes.fromhex(evm_address(own)[2:]))
    return evm_address(own)


def keys(seed_: Secret, index: int = 0) -> dict[str, Secret]:
    """The private keys of one account on each family, by CAIP-2 namespace."""
    return {namespace: key(seed_, namespace, index) for namespace in PATHS}


def addresses(seed_: Secret, index: int = 0) -> dict[str, str]:
    """The addresses of one account on each family, by CAIP-2 namespace."""
    return {namespace: address(own, namespace) for namespace, own in keys(seed_, index).items()}
