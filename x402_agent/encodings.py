"""How addresses are written: base58 and base58check (Bitcoin, TRON, Solana), c32check (Stacks, SIP-005)."""

from __future__ import annotations

import hashlib
from functools import lru_cache

__all__ = ["base58", "base58check", "c32_address", "unbase58", "unbase58check", "unc32_address"]

_known = lru_cache(maxsize=4096)  # addresses alone: our own, contracts, payees, the same few in every payment
_B58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_C32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def _digits(data: bytes, alphabet: str) -> str:
    """`data` as one number in this alphabet; a zero byte at the front is one zero digit."""
    number, out = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, len(alphabet))
        out = alphabet[digit] + out
    return alphabet[0] * (len(data) - len(data.lstrip(b"\0"))) + out


def _checksum(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()[:4]


def base58(data: bytes) -> str:
    """`data` in base58: a Solana address is the base58 of its 32 bytes."""
    return _digits(data, _B58)


def _undigits(text: str, alphabet: str, most: int = 128) -> bytes:
    if len(text) > most:
        raise ValueError(f"too long for base {len(alphabet)}")
    number = 0
    for letter in text:
        number = number * len(alphabet) + alphabet.index(letter)
    zeros = len(text) - len(text.lstrip(alphabet[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def unbase58(text: str, most: int = 128) -> bytes:
    """The bytes that `base58` wrote; raises ValueError for another letter, or more than `most` of them."""
    return _undigits(text, _B58, most)


@_known
def base58check(data: bytes) -> str:
    """Base58 of `data` and the first four bytes of its double SHA-256: a TRON address is 0x41 and 20 bytes."""
    return base58(data + _checksum(data))


@_known
def c32_address(version: int, hash160: bytes) -> str:
    """A Stacks address: `S`, the version (22 mainnet, 26 testnet), and c32 of the hash and its checksum (SIP-005)."""
    return "S" + _C32[version] + _digits(hash160 + _checksum(bytes((version,)) + hash160), _C32)


@_known
def unbase58check(text: str) -> bytes:
    """The bytes that `base58check` wrote; raises ValueError for another spelling of them, or a wrong checksum."""
    raw = unbase58(text)
    data, check = raw[:-4], raw[-4:]
    if len(raw) < 5 or _checksum(data) != check:
        raise ValueError("the checksum of base58check is wrong")
    return data


@_known
def unc32_address(text: str) -> tuple[int, bytes]:
    """Version and hash160 of a Stacks address; raises ValueError for any other spelling than `c32_address` gives it."""
    if not 28 <= len(text) <= 41 or text[0] != "S":
        raise ValueError("not the length and first letter of a Stacks address")
    version, raw = _C32.index(text[1]), _undigits(text[2:], _C32)
    if len(raw) < 24:
        raw = bytes(24 - len(raw)) + raw
    found = version, raw[:20]
    if len(raw) != 24 or c32_address(*found) != text:
        raise ValueError("the checksum of this Stacks address is wrong")
    return found
