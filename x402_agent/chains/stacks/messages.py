"""Signing in with a Stacks account: plain messages, and structured ones (SIP-018). None of it can be taken for a transaction.

A signature is r, s and the recovery id, 65 bytes, as wallets of Stacks write it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from ...encodings import unc32_address
from ...errors import SigningFailed
from ...primitives import recover_point
from .transaction import hash160

if TYPE_CHECKING:
    from .. import Signer
    from .clarity import Value

__all__ = ["plain_digest", "sign", "structured_digest", "verify"]

_PLAIN = b"\x17Stacks Signed Message:\n"
_STRUCTURED = b"SIP018"
_DOMAIN = {"name": "ascii", "version": "ascii", "chain-id": "uint"}


def plain_digest(message: str) -> bytes:
    """The 32 bytes that are signed for a plain message: its length stands before it as Bitcoin writes one."""
    raw = message.encode()
    size = len(raw)
    if size < 0xFD:
        length = bytes((size,))
    elif size <= 0xFFFF:
        length = b"\xfd" + size.to_bytes(2, "little")
    else:
        length = b"\xfe" + size.to_bytes(4, "little")
    return hashlib.sha256(_PLAIN + length + raw).digest()


def structured_digest(domain: Value, message: Value) -> bytes:
    """The 32 bytes that are signed for structured data; `domain` is a tuple of name, version (ASCII) and chain-id (uint).

    Raises ValueError for another domain: a contract would not know it (SIP-018).
    """
    if domain.kind != "tuple" or {key: member.kind for key, member in domain.value.items()} != _DOMAIN:
        raise ValueError("a domain has name, version and chain-id")
    parts = (hashlib.sha256(each.wire()).digest() for each in (domain, message))
    return hashlib.sha256(_STRUCTURED + b"".join(parts)).digest()


def sign(digest: bytes, signer: Signer) -> bytes:
    """r, s and the recovery id over one of the digests above. Raises SigningFailed."""
    made = signer.sign_digest("stacks", digest)
    if len(made) != 65 or made[64] not in (27, 28):
        raise SigningFailed("the signer did not answer with r, s and v", rule="65 bytes, v 27 or 28")
    return made[:64] + bytes((made[64] - 27,))


def verify(digest: bytes, signature: bytes, account: str) -> bool:
    """Whether the key of this account, by its compressed or its long public key, signed a digest."""
    try:
        point = recover_point(digest, signature)
        own = unc32_address(account)[1]
    except ValueError:
        return False
    return own in (hash160(bytes((2 + (point[64] & 1),)) + point[1:33]), hash160(point))
