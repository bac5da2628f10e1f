"""Keystore files, version 3 of the Web3 Secret Storage Definition: one EVM key, as geth, MetaMask and eth-account know it.

Read: scrypt and PBKDF2-HMAC-SHA256 with AES-128-CTR, parameters bounded before they run. Written: scrypt, n 2^18.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from ..errors import WalletError
from ..primitives import aes128_ctr, evm_address, keccak
from ..secret import Secret
from .file import scrypt, usable

__all__ = ["looks_like", "read", "write"]

COST = 1 << 18
MOST_ROUNDS = 10_000_000
_AGAIN = "export it again from the program that made it"


def looks_like(data: Secret) -> bool:
    """Whether this is JSON rather than a key or words."""
    return data.raw.lstrip()[:1] == b"{"


def read(data: bytes, passphrase: Secret) -> Secret:
    """The 32-byte private key; raises WalletError: not such a file, another passphrase, not the address it names."""
    facts = _parsed(data)
    crypto = facts["crypto"]
    derived = _derived(crypto["kdf"], crypto["kdfparams"], passphrase)
    sealed, expected = bytes.fromhex(crypto["ciphertext"]), bytes.fromhex(crypto["mac"])
    if not hmac.compare_digest(keccak(derived.raw[16:32] + sealed), expected):
        raise WalletError("the passphrase does not open this keystore file", rule="its MAC", hint="type it again")
    key = aes128_ctr(Secret(derived.raw[:16]), bytes.fromhex(crypto["cipherparams"]["iv"]), Secret(sealed))
    if len(key) != 32:
        raise WalletError("the keystore file does not hold a key of 32 bytes", rule="ciphertext", hint=_AGAIN)
    named = str(facts.get("address") or "").lower().removeprefix("0x")
    if named and evm_address(key)[2:].lower() != named:
        raise WalletError("the keystore file names another address than its key has", rule="address", hint=_AGAIN)
    return key


def _parsed(data: bytes) -> Mapping[str, Any]:
    try:
        facts = json.loads(data)
        crypto = facts["crypto"] = facts.get("crypto") or facts["Crypto"]  # MyEtherWallet wrote it with a capital
        iv = bytes.fromhex(crypto["cipherparams"]["iv"])
        good = crypto["cipher"] == "aes-128-ctr" and len(iv) == 16 and facts["version"] == 3
        good = good and isinstance(crypto["kdfparams"], dict) and len(bytes.fromhex(crypto["mac"])) == 32
        good = (
            good and len(bytes.fromhex(crypto["ciphertext"])) == 32 and bool(bytes.fromhex(crypto["kdfparams"]["salt"]))
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        good = False
    if not good:
        raise WalletError("this is no keystore file of version 3 with aes-128-ctr", rule="Web3 Secret Storage Definition",
                          hint=_AGAIN)  # fmt: skip
    return facts  # type: ignore[no-any-return]


def _derived(kdf: Any, given: Mapping[str, Any], passphrase: Secret) -> Secret:
    salt = bytes.fromhex(given["salt"])
    if given.get("dklen") != 32 or kdf not in ("scrypt", "pbkdf2"):
        raise WalletError(f"the keystore file derives its key by {kdf!r:.20}", rule="scrypt or pbkdf2, dklen 32", hint=_AGAIN)
    if kdf == "scrypt":
        return scrypt(passphrase, salt, given.get("n"), given.get("r"), given.get("p"))
    rounds = given.get("c")
    if given.get("prf") != "hmac-sha256" or type(rounds) is not int or not 0 < rounds <= MOST_ROUNDS:
        raise WalletError("the keystore file asks for PBKDF2 parameters that we do not run",
                          rule=f"hmac-sha256, at most {MOST_ROUNDS} rounds", hint=_AGAIN)  # fmt: skip
    return Secret(hashlib.pbkdf2_hmac("sha256", passphrase.raw, salt, rounds, 32))


def write(key: Secret, passphrase: Secret, *, n: int = COST) -> bytes:
    """A keystore file for this key, fresh salt, IV and id; raises WalletError when the passphrase is too short."""
    salt, iv = secrets.token_bytes(32), secrets.token_bytes(16)
    derived = scrypt(usable(passphrase), salt, n, 8, 1)
    sealed = aes128_ctr(Secret(derived.raw[:16]), iv, key).raw
    facts = {
        "version": 3, "id": str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)), "address": evm_address(key)[2:].lower(),
        "crypto": {
            "cipher": "aes-128-ctr", "cipherparams": {"iv": iv.hex()}, "ciphertext": sealed.hex(), "kdf": "scrypt",
            "kdfparams": {"dklen": 32, "n": n, "r": 8, "p": 1, "salt": salt.hex()},
            "mac": keccak(derived.raw[16:32] + sealed).hex(),
        },
    }  # fmt: skip
    return json.dumps(facts, indent=1).encode() + b"\n"
