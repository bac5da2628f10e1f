"""Transactions: built, signed, read and verified, by one key (P2PKH), standard or sponsored (SIP-005).

What is signed is a chain of hashes: of the whole transaction without its signatures, then with fee and account nonce of each
that signs; a sponsor signs what the origin has signed. The id is the hash of all bytes, signatures included.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...encodings import c32_address
from ...primitives import recover_point, ripemd160, sha512_256
from .clarity import Reader
from .payloads import PostCondition, read_payload, read_post_condition

if TYPE_CHECKING:
    from collections.abc import Callable

    from .payloads import Call, Transfer

__all__ = ["ALLOW", "DENY", "EMPTY_SPONSOR", "MAX_BYTES", "Spending", "Transaction", "hash160", "read"]

STANDARD, SPONSORED = 4, 5
ALLOW, DENY = 1, 2  # what no post-condition speaks of
ANY_BLOCK = 3
MAX_BYTES = 2 * 1024 * 1024  # of a block, so of a transaction
UNSIGNED = bytes(65)


def hash160(public: bytes) -> bytes:
    """What an address is made of: RIPEMD-160 of SHA-256 of a public key, 33 bytes compressed or 65."""
    return ripemd160(hashlib.sha256(public).digest())


@dataclass(frozen=True, slots=True)
class Spending:
    """Who signs, with which account nonce, for which fee in microSTX. `encoding` is 0 for a compressed public key, else 1.

    `signature` is recovery id, r, s: 65 bytes, zeros where nobody has signed.
    """

    signer: bytes = bytes(20)
    nonce: int = 0
    fee: int = 0
    encoding: int = 0
    signature: bytes = UNSIGNED

    def wire(self) -> bytes:
        """103 bytes, hash mode P2PKH before them; raises ValueError for what does not fit."""
        try:
            numbers = self.nonce.to_bytes(8, "big") + self.fee.to_bytes(8, "big")
        except OverflowError:
            raise ValueError("an account nonce or fee that does not fit in 64 bits") from None
        return b"\0" + self.signer + numbers + bytes((self.encoding,)) + self.signature

    @classmethod
    def read(cls, found: Reader) -> Spending:
        """The next 103 bytes; raises ValueError for another hash mode (several signers, or a script)."""
        if found.number(1):
            raise ValueError("not signed by one key (P2PKH)")
        made = cls(found.take(20), found.number(8), found.number(8), found.number(1), found.take(65))
        if made.encoding > 1 or made.signature[0] > 3:
            raise ValueError("a key encoding or recovery id that there is not")
        return made


# What an origin leaves for whoever will pay the fee: the hash of a public key of zeros.
EMPTY_SPONSOR = Spending(bytes.fromhex("29cfc6376255a78451eeb4b129ed8eacffa2feef"))


def _numbered(hash_: bytes, auth: int, by: Spending) -> bytes:
    return sha512_256(hash_ + bytes((auth,)) + by.fee.to_bytes(8, "big") + by.nonce.to_bytes(8, "big"))


def _signed_by(digest: bytes, by: Spending) -> bool:
    rsv = by.signature[1:] + by.signature[:1]
    point = recover_point(digest, rsv)
    public = point if by.encoding else bytes((2 + (point[64] & 1),)) + point[1:33]
    return hash160(public) == by.signer


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction. `payload` and `conditions` are bytes as they travel; `mode` is ALLOW or DENY."""

    testnet: bool
    origin: Spending
    payload: bytes
    conditions: tuple[bytes, ...] = ()
    sponsor: Spending | None = None
    mode: int = DENY
    anchor: int = ANY_BLOCK

    def wire(self) -> bytes:
        """The transaction's bytes."""
        head = b"\x80\x80\0\0\0" if self.testnet else b"\0\0\0\0\1"
        sponsored = self.sponsor is not None
        auth = bytes((SPONSORED if sponsored else STANDARD,)) + self.origin.wire()
        auth += self.sponsor.wire() if self.sponsor is not None else b""
        tail = bytes((self.anchor, self.mode)) + len(self.conditions).to_bytes(4, "big")
        return head + auth + tail + b"".join(self.conditions) + self.payload

    @property
    def txid(self) -> str:
        """Its id as explorers write it: 0x and 64 hex digits. Of a sponsored one only once its sponsor has signed."""
        return "0x" + sha512_256(self.wire()).hex()

    @property
    def sender(self) -> str:
        """The account that signs first."""
        return c32_address(26 if self.testnet else 22, self.origin.signer)

    @property
    def does(self) -> Transfer | Call:
        """The payload, read."""
        return read_payload(self.payload)

    @property
    def post_conditions(self) -> tuple[PostCondition, ...]:
        """The post-conditions, read."""
        return tuple(read_post_condition(Reader(each)) for each in self.conditions)

    def digest(self) -> bytes:
        """The 32 bytes that the origin signs; its mark says "standard" of a sponsored transaction, too."""
        bare = replace(self.origin, nonce=0, fee=0, signature=UNSIGNED)
        cleared = replace(self, origin=bare, sponsor=None if self.sponsor is None else Spending())
        return _numbered(sha512_256(cleared.wire()), STANDARD, self.origin)

    def sponsor_digest(self) -> bytes:
        """The 32 bytes that the sponsor signs, its account nonce and fee among them; raises ValueError when there is none."""
        if self.sponsor is None:
            raise ValueError("nobody sponsors it")
        signed = sha512_256(self.digest() + bytes((self.origin.encoding,)) + self.origin.signature)
        return _numbered(signed, SPONSORED, self.sponsor)

    def signed(self, sign: Callable[[bytes], bytes]) -> Transaction:
        """The same with the origin's signature; `sign` gives r, s and v (27 or 28) over 32 bytes."""
        return replace(self, origin=replace(self.origin, signature=_vrs(sign(self.digest()))))

    def sponsored(self, sponsor: Spending, sign: Callable[[bytes], bytes]) -> Transaction:
        """The same with its sponsor in the slot, signed."""
        bare = replace(self, sponsor=sponsor)
        return replace(bare, sponsor=replace(sponsor, signature=_vrs(sign(bare.sponsor_digest()))))

    def verify(self) -> None:
        """Each signature must be by whom it names, a missing sponsor's excepted. Raises ValueError."""
        if not _signed_by(self.digest(), self.origin):
            raise ValueError("the origin's signature is not by its key")
        sponsor = self.sponsor
        if sponsor is not None and sponsor.signature != UNSIGNED and not _signed_by(self.sponsor_digest(), sponsor):
            raise ValueError("the sponsor's signature is not by its key")


def _vrs(rsv: bytes) -> bytes:
    return bytes((rsv[64] - 27,)) + rsv[:64]


def read(data: bytes) -> Transaction:
    """A transaction from its bytes: a token transfer or contract call, signed by one key. Raises ValueError."""
    if len(data) > MAX_BYTES:
        raise ValueError("a transaction of more than 2 MiB")
    found = Reader(data)
    head = found.take(5)
    if head not in (b"\x80\x80\0\0\0", b"\0\0\0\0\1"):
        raise ValueError("its version and chain id are of no network of the table")
    auth = found.number(1)
    if auth not in (STANDARD, SPONSORED):
        raise ValueError("neither standard nor sponsored")
    origin = Spending.read(found)
    sponsor = Spending.read(found) if auth == SPONSORED else None
    anchor, mode, count = found.number(1), found.number(1), found.number(4)
    if anchor not in (1, 2, 3) or mode not in (ALLOW, DENY):
        raise ValueError("an anchor mode or post-condition mode that there is not")
    conditions = tuple(_skip(found) for _ in range(count))
    made = Transaction(head[0] == 0x80, origin, data[found.at :], conditions, sponsor, mode, anchor)
    read_payload(made.payload)
    return made


def _skip(found: Reader) -> bytes:
    start = found.at
    read_post_condition(found)
    return found.data[start : found.at]
