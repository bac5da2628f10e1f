"""TRON's addresses: 0x41 and 20 bytes, written as base58check for people and as 20 bytes of hex where TVM sees them."""

from __future__ import annotations

from functools import lru_cache

from ...encodings import base58check, unbase58check

__all__ = ["PREFIX", "ZERO", "address", "address_bytes", "any_form", "evm_form"]

PREFIX = b"\x41"
ZERO = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"  # twenty zero bytes


@lru_cache(maxsize=4096)
def address_bytes(text: str) -> bytes:
    """The 20 bytes of an address in base58check; raises ValueError, with words that end a sentence, for anything else."""
    if len(text) != 34 or text[0] != "T":
        raise ValueError("is not T and 33 letters of base58 (R2)")
    try:
        raw = unbase58check(text)
    except ValueError:
        raw = b""
    if len(raw) != 21 or raw[:1] != PREFIX:
        raise ValueError("has a wrong base58 checksum (R2)")
    return raw[1:]


def address(raw: bytes) -> str:
    """20 bytes in base58check; raises ValueError for another length."""
    if len(raw) != 20:
        raise ValueError("an address of TRON is 20 bytes")
    return base58check(PREFIX + raw)


def evm_form(text: str) -> str:
    """The same account as TVM and x402's `exact` write it: 0x and 40 hex digits. Raises ValueError."""
    return "0x" + address_bytes(text).hex()


def any_form(text: str) -> bytes:
    """The 20 bytes of an address in either form, in what we or the sandbox sign; raises ValueError."""
    if not text.startswith("0x"):
        return address_bytes(text)
    raw = bytes.fromhex(text[2:])
    if len(raw) != 20 or len(text) != 42:
        raise ValueError("is not 0x and 40 hex digits")
    return raw
