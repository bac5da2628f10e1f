"""TRON's addresses: 0x41 and 20 bytes, written as base58check for people and as 20 bytes of hex where TVM sees them."""

from __future__ import annotations

import re
from functools import lru_cache

from ...encodings import base58check, unbase58check

__all__ = ["PREFIX", "ZERO", "address", "address_bytes", "any_form", "evm_form"]

PREFIX = b"\x41"
ZERO = "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"  # twenty zero bytes
_ADDRESS = re.compile("T[1-9A-HJ-NP-Za-km-z]{33}").fullmatch
_EVM = re.compile("0x[0-9a-fA-F]{40}").fullmatch


@lru_cache(maxsize=4096)
def address_bytes(text: str) -> bytes:
    """The 20 bytes of an address in base58check; raises ValueError, with words that end a sentence, for anything else."""
    if not _ADDRESS(text):
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
    return bytes.fromhex(text[2:]) if _EVM(text) else address_bytes(text)
