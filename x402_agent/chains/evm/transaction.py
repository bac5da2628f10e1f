"""Our own transactions as bytes: RLP, signatures, and the id that is known before anything is broadcast.

Three kinds exist: ERC-20 `approve` and `transfer`, which send no coin along, and a coin sent without any calldata.
Sources: the RLP appendix of the Ethereum yellow paper, EIP-155 (legacy), EIP-1559 and EIP-2718 (type 2), ERC-20.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import SigningFailed
from ...primitives import keccak, recover
from .eip3009 import address_bytes

if TYPE_CHECKING:
    from .. import Signer

__all__ = ["MAX_GAS", "Signed", "Unsigned", "approve", "rlp", "sign", "transfer"]

MAX_GAS = 200_000  # an approve takes about 50,000, a transfer as much; a token that wants more is not paid with
_APPROVE = bytes.fromhex("095ea7b3")  # approve(address,uint256)
_TRANSFER = bytes.fromhex("a9059cbb")  # transfer(address,uint256)
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0

Item = bytes | int | list["Item"]


@dataclass(frozen=True, slots=True)
class Unsigned:
    """One call of a contract, or `value` wei. `gas` in units, fees in wei per unit; `tip` None makes it a legacy transaction."""

    chain_id: int
    nonce: int
    to: str
    data: bytes
    gas: int
    max_fee: int
    tip: int | None
    value: int = 0


@dataclass(frozen=True, slots=True)
class Signed:
    """`raw` may be shown to anybody once it is broadcast; `txid` is 0x + its hash."""

    txid: str
    raw: bytes = field(repr=False)


def approve(spender: str, amount: int) -> bytes:
    """Calldata that lets `spender` take an exact amount of atomic units, never "unlimited" (D3).

    Raises SigningFailed for an amount that no token has.
    """
    return _APPROVE + _words(spender, amount)


def transfer(to: str, amount: int) -> bytes:
    """Calldata that sends an amount of atomic units. Raises SigningFailed for an amount that no token has."""
    return _TRANSFER + _words(to, amount)


def _words(address: str, amount: int) -> bytes:
    if not 0 <= amount < 1 << 128:
        raise SigningFailed("the amount is no amount of a token", rule="exact amounts below 2^128 (D3)")
    try:
        who = address_bytes(address)
    except ValueError as why:
        raise SigningFailed(f"{address[:50]!r} {why}") from None
    return bytes(12) + who + amount.to_bytes(32)


def rlp(item: Item) -> bytes:
    """Recursive length prefix; an integer is big-endian without leading zeros."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8)
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _length(len(item), 0x80) + item
    body = b"".join(map(rlp, item))
    return _length(len(body), 0xC0) + body


def _length(size: int, offset: int) -> bytes:
    if size < 56:
        return bytes((offset + size,))
    digits = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes((offset + 55 + len(digits),)) + digits


def sign(made: Unsigned, signer: Signer) -> Signed:
    """The signed bytes and their id. Raises SigningFailed when the call is none of ours or the signer's answer is odd."""
    called = len(made.data) == 68 and made.data[:4] in (_APPROVE, _TRANSFER) and not made.value
    if not called and (made.data or not 0 < made.value < 1 << 128):
        raise SigningFailed("only approve and transfer are ever called, and coins sent without a call", rule="no other calldata exists")
    if not (0 < made.gas <= MAX_GAS and 0 <= made.nonce < 1 << 64 and 0 <= (made.tip or 0) <= made.max_fee < 1 << 96):
        raise SigningFailed("gas, fee or account nonce is out of bounds", rule=f"at most {MAX_GAS} gas (C8)")
    to = address_bytes(made.to)
    if made.tip is None:
        head: list[Item] = [made.nonce, made.max_fee, made.gas, to, made.value, made.data]
        recid, r, s = _signature(keccak(rlp([*head, made.chain_id, 0, 0])), signer)
        raw = rlp([*head, made.chain_id * 2 + 35 + recid, r, s])
    else:
        head = [made.chain_id, made.nonce, made.tip, made.max_fee, made.gas, to, made.value, made.data, []]
        recid, r, s = _signature(keccak(b"\x02" + rlp(head)), signer)
        raw = b"\x02" + rlp([*head, recid, r, s])
    return Signed("0x" + keccak(raw).hex(), raw)


def _signature(digest: bytes, signer: Signer) -> tuple[int, int, int]:
    """The signer's r and s with the recovery id; it must be the account's own, with a low s (EIP-2)."""
    found = signer.sign_digest("eip155", digest)
    try:
        fits = recover(digest, found) == signer.address("eip155") and found[64] in (27, 28)
    except ValueError:
        fits = False
    r, s = int.from_bytes(found[:32]), int.from_bytes(found[32:64])
    if not fits or s > _HALF_ORDER:
        raise SigningFailed("the signer did not answer with its own r, s, v and a low s", rule="65 bytes, v 27 or 28")
    return found[64] - 27, r, s
