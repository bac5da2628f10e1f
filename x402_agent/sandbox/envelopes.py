"""Signed transactions as they travel: RLP both ways, legacy (EIP-155), access lists (EIP-2930) and fees (EIP-1559).

Sources: the RLP appendix of the Ethereum yellow paper, EIP-155, EIP-2718, EIP-2930, EIP-1559, EIP-2 (low s).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..primitives import keccak, recover

if TYPE_CHECKING:
    from ..primitives import EvmKey

__all__ = ["Envelope", "Malformed", "decode", "rlp", "signed", "unrlp"]

GAS_LIMIT = 500_000
MAX_RAW = 128 * 1024  # what nodes take
_HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
_FIELDS = {0: 9, 1: 11, 2: 12}

Item = bytes | list["Item"]


class Malformed(ValueError):
    """The bytes are not a transaction; the words are those of go-ethereum."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One signed transaction: fees in wei per gas, `value` in wei. Legacy ones have `tip` equal to `max_fee`.

    `sender` is the EIP-55 address that the signature gives; `to` is b"" when it creates a contract.
    """

    kind: int
    chain_id: int
    nonce: int
    tip: int
    max_fee: int
    gas: int
    to: bytes
    value: int
    data: bytes = field(repr=False)
    access: tuple[tuple[bytes, tuple[bytes, ...]], ...]
    signature: tuple[int, int, int]  # v as it travels (legacy: 27, 28 or EIP-155), r, s
    sender: str
    hash: str
    raw: bytes = field(repr=False)


def rlp(item: bytes | int | list[bytes | int | list[object]]) -> bytes:
    """Recursive length prefix; an integer is big-endian without leading zeros."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _length(len(item), 0x80) + item
    return _list(b"".join(map(rlp, item)))  # type: ignore[arg-type]


def _list(body: bytes) -> bytes:
    return _length(len(body), 0xC0) + body


def _length(size: int, offset: int) -> bytes:
    if size < 56:
        return bytes((offset + size,))
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((offset + 55 + len(digits),)) + digits


def unrlp(data: bytes) -> Item:
    """The one item that the bytes are; raises Malformed for anything but its shortest form, or bytes after it."""
    item, end = _item(data, 0, len(data), 0)
    if end != len(data):
        raise Malformed("rlp: input contains more than one value")
    return item


def _item(data: bytes, start: int, limit: int, depth: int) -> tuple[Item, int]:
    if start >= limit or depth > 8:
        raise Malformed("rlp: value size exceeds available input length")
    first = data[start]
    if first < 0x80:
        return data[start : start + 1], start + 1
    offset = 0x80 if first < 0xC0 else 0xC0
    size, begin = first - offset, start + 1
    if size > 55:
        begin += size - 55
        digits = data[start + 1 : begin]
        size = int.from_bytes(digits)
        if size < 56 or digits[0] == 0:
            raise Malformed("rlp: non-canonical size information")
    end = begin + size
    if end > limit:
        raise Malformed("rlp: value size exceeds available input length")
    if offset == 0x80:
        if size == 1 and data[begin] < 0x80:
            raise Malformed("rlp: non-canonical size information")
        return data[begin:end], end
    items: list[Item] = []
    while begin < end:
        item, begin = _item(data, begin, end, depth + 1)
        items.append(item)
    return items, end


def decode(raw: bytes) -> Envelope:
    """The transaction in raw bytes, with its sender; raises Malformed."""
    if not raw or len(raw) > MAX_RAW:
        raise Malformed("typed transaction too short" if not raw else "oversized data")
    kind = raw[0] if raw[0] < 0x80 else 0
    if kind not in _FIELDS or raw[0] == 0:
        raise Malformed("transaction type not supported")
    items = unrlp(raw[1:] if kind else raw)
    if not isinstance(items, list) or len(items) != _FIELDS[kind]:
        raise Malformed("rlp: wrong number of elements for a transaction")
    return _legacy(items, raw) if kind == 0 else _typed(kind, items, raw)


def _legacy(items: list[Item], raw: bytes) -> Envelope:
    nonce, price, gas, value, v, r, s = (_int(items[i]) for i in (0, 1, 2, 4, 6, 7, 8))
    to, data = _address(items[3]), _bytes(items[5])
    chain_id = (v - 35) // 2 if v >= 35 else 0
    body: list[bytes | int | list[object]] = [nonce, price, gas, to, value, data]
    digest = keccak(rlp([*body, chain_id, 0, 0]) if chain_id else rlp(body))
    sender = _sender(digest, (v - 35) % 2 if chain_id else v - 27, r, s)
    name = "0x" + keccak(raw).hex()
    return Envelope(0, chain_id, nonce, price, price, gas, to, value, data, (), (v, r, s), sender, name, raw)


def _typed(kind: int, items: list[Item], raw: bytes) -> Envelope:
    chain_id, nonce, tip = (_int(items[i]) for i in range(3))
    fees = 3 + (kind == 2)  # EIP-2930 has one price, EIP-1559 two
    max_fee = _int(items[fees - 1])
    gas, to, value, data = _int(items[fees]), _address(items[fees + 1]), _int(items[fees + 2]), _bytes(items[fees + 3])
    access = _access(items[fees + 4])
    v, r, s = (_int(each) for each in items[fees + 5 :])
    unsigned = bytes((kind,)) + rlp(items[:-3])  # type: ignore[arg-type]
    sender = _sender(keccak(unsigned), v, r, s)
    name = "0x" + keccak(raw).hex()
    return Envelope(kind, chain_id, nonce, tip, max_fee, gas, to, value, data, access, (v, r, s), sender, name, raw)


def _sender(digest: bytes, recid: int, r: int, s: int) -> str:
    if recid not in (0, 1) or not 0 < s <= _HALF_ORDER or not 0 < r < 1 << 256:
        raise Malformed("invalid transaction v, r, s values")
    try:
        return recover(digest, r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes((recid,)))
    except ValueError:
        raise Malformed("invalid sender") from None


def _int(item: Item) -> int:
    if not isinstance(item, bytes) or len(item) > 32 or item[:1] == b"\0":
        raise Malformed("rlp: non-canonical integer")
    return int.from_bytes(item)


def _bytes(item: Item) -> bytes:
    if not isinstance(item, bytes):
        raise Malformed("rlp: expected input string or byte")
    return item


def _address(item: Item) -> bytes:
    if not isinstance(item, bytes) or len(item) not in (0, 20):
        raise Malformed("rlp: input string is not an address")
    return item


def _access(item: Item) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
    found = []
    for each in item if isinstance(item, list) else [b""]:
        if not isinstance(each, list) or len(each) != 2 or len(_address(each[0])) != 20 or isinstance(each[1], bytes):
            raise Malformed("rlp: not an access list")
        slots = tuple(_bytes(slot) for slot in each[1])
        if any(len(slot) != 32 for slot in slots):
            raise Malformed("rlp: not an access list")
        found.append((_bytes(each[0]), slots))
    return tuple(found)


def signed(
    key: EvmKey, chain_id: int, nonce: int, to: bytes, data: bytes, *, tip: int = 0, max_fee: int = 0
) -> Envelope:
    """A type-2 transaction signed by `key`; fees in wei per gas."""
    parts: list[bytes | int | list[object]] = [chain_id, nonce, tip, max_fee, GAS_LIMIT, to, 0, data, []]
    fields = b"".join(map(rlp, parts))  # type: ignore[arg-type]
    made = key.sign(keccak(b"\x02" + _list(fields)))
    v, r, s = made[64] - 27, int.from_bytes(made[:32]), int.from_bytes(made[32:64])
    raw = b"\x02" + _list(fields + rlp(v) + rlp(r) + rlp(s))
    name = "0x" + keccak(raw).hex()
    return Envelope(2, chain_id, nonce, tip, max_fee, GAS_LIMIT, to, 0, data, (), (v, r, s), key.address, name, raw)
