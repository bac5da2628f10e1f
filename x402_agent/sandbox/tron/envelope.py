"""TRON transactions as bytes: read strictly, and written for the sandbox's own accounts.

Written apart from the code that pays, so that the two can disagree: fields that are not known here, a wrong wire type,
or an address without the prefix 0x41 are Malformed. Sources: java-tron's Tron.proto, and its contract messages.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CALL", "TRANSFER", "Envelope", "Malformed", "decode", "transaction_view", "whole", "written"]

TRANSFER, CALL = 1, 31  # TransferContract and TriggerSmartContract
_NAMES = {TRANSFER: "TransferContract", CALL: "TriggerSmartContract"}
_URL = "type.googleapis.com/protocol."
_INT, _BYTES = 0, 2
_PREFIX = b"\x41"


class Malformed(ValueError):
    """Bytes that are no transaction, with the reason."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """One transaction. `owner` and `to` are 20 bytes; `value` and `fee_limit` in sun (10**-6 TRX), times in milliseconds.

    `to` is who gets TRX, or the contract that is called with `data`; `ref_block` and `ref_hash` name a recent block.
    """

    raw: bytes
    signatures: tuple[bytes, ...]
    ref_block: bytes
    ref_hash: bytes
    expiration: int
    timestamp: int
    fee_limit: int
    memo: bytes
    permission: int
    kind: int
    owner: bytes
    to: bytes
    value: int
    data: bytes

    @property
    def digest(self) -> bytes:
        """What is signed: the SHA-256 of raw_data."""
        return sha256(self.raw).digest()

    @property
    def txid(self) -> str:
        """The transaction's id: the digest in hex."""
        return self.digest.hex()

    @property
    def wire(self) -> bytes:
        """Transaction{raw_data, signature}, as it travels and as bandwidth counts it."""
        return whole(self.raw, *self.signatures)

    def __repr__(self) -> str:
        return f"Envelope({self.txid})"


# -- reading -----------------------------------------------------------------------------------------------------------


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if at >= len(data):
            raise Malformed("the bytes end within a number")
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            if value >> 64:
                break
            return value, at
    raise Malformed("a number is longer than 64 bits")


def _message(data: bytes, known: dict[int, int]) -> dict[int, list[Any]]:
    """The fields of a message by tag; `known` says of which wire type each may be."""
    found: dict[int, list[Any]] = {tag: [] for tag in known}
    at = 0
    while at < len(data):
        head, at = _varint(data, at)
        tag, wire = head >> 3, head & 7
        if known.get(tag) != wire:
            raise Malformed(f"field {tag} of wire type {wire} is not known here")
        value, at = _varint(data, at)
        if wire == _INT:
            found[tag].append(value - (1 << 64) if value >> 63 else value)
            continue
        if at + value > len(data):
            raise Malformed("the bytes end within a field")
        found[tag].append(data[at : at + value])
        at += value
    return found


def _one(found: dict[int, list[Any]], tag: int, default: Any) -> Any:
    if len(found[tag]) > 1:
        raise Malformed(f"field {tag} comes twice")
    return found[tag][0] if found[tag] else default


def _address(value: bytes) -> bytes:
    if len(value) != 21 or value[:1] != _PREFIX:
        raise Malformed("an address is 0x41 and 20 bytes")
    return value[1:]


def decode(wire: bytes) -> Envelope:
    """A transaction from Transaction{raw_data, signature}; raises Malformed."""
    outer = _message(wire, {1: _BYTES, 2: _BYTES})
    raw = _one(outer, 1, b"")
    fields = _message(raw, {1: _BYTES, 4: _BYTES, 8: _INT, 10: _BYTES, 11: _BYTES, 14: _INT, 18: _INT})
    if len(fields[11]) != 1:
        raise Malformed("act size should be exactly 1, this is extend feature")
    contract = _message(fields[11][0], {1: _INT, 2: _BYTES, 5: _INT})
    kind = _one(contract, 1, 0)
    parameter = _message(_one(contract, 2, b""), {1: _BYTES, 2: _BYTES})
    if kind not in _NAMES or _one(parameter, 1, b"") != (_URL + _NAMES[kind]).encode():
        raise Malformed("the sandbox knows TransferContract and TriggerSmartContract")
    wanted = {1: _BYTES, 2: _BYTES, 3: _INT} | ({4: _BYTES} if kind == CALL else {})
    inner = _message(_one(parameter, 2, b""), wanted)
    return Envelope(
        raw=raw,
        signatures=tuple(outer[2]),
        ref_block=_one(fields, 1, b""),
        ref_hash=_one(fields, 4, b""),
        expiration=_one(fields, 8, 0),
        timestamp=_one(fields, 14, 0),
        fee_limit=_one(fields, 18, 0),
        memo=_one(fields, 10, b""),
        permission=_one(contract, 5, 0),
        kind=kind,
        owner=_address(_one(inner, 1, b"")),
        to=_address(_one(inner, 2, b"")),
        value=_one(inner, 3, 0),
        data=_one(inner, 4, b"") if kind == CALL else b"",
    )


# -- writing -----------------------------------------------------------------------------------------------------------


def _number(value: int) -> bytes:
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    made.append(value)
    return bytes(made)


def _field(tag: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _number(tag << 3) + _number(value) if value else b""
    return _number(tag << 3 | _BYTES) + _number(len(value)) + value if value else b""


def written(owner: bytes, to: bytes, data: bytes, block: bytes, now: int, *, value: int = 0, fee_limit: int = 0) -> bytes:
    """The raw_data of a call, or without `data` of a transfer of `value` sun.

    `block` is the id of a recent block, `now` unix milliseconds; it lives for a minute.
    """
    kind = CALL if data else TRANSFER
    inner = _field(1, _PREFIX + owner) + _field(2, _PREFIX + to) + _field(3, value) + _field(4, data)
    parameter = _field(1, (_URL + _NAMES[kind]).encode()) + _field(2, inner)
    contract = _field(1, kind) + _field(2, parameter)
    tapos = _field(1, block[6:8]) + _field(4, block[8:16])
    return tapos + _field(8, now + 60_000) + _field(11, contract) + _field(14, now) + _field(18, fee_limit)


def whole(raw: bytes, *signatures: bytes) -> bytes:
    """Transaction{raw_data, signature}, as it travels."""
    return _field(1, raw) + b"".join(_field(2, each) for each in signatures)


# -- as JSON -----------------------------------------------------------------------------------------------------------


def transaction_view(tx: Envelope, show: Callable[[bytes], str]) -> dict[str, Any]:
    """The transaction as nodes show it; `show` writes 20 bytes as the address that was asked for."""
    value: dict[str, Any] = {"owner_address": show(tx.owner)}
    if tx.kind == CALL:
        value |= {"data": tx.data.hex(), "contract_address": show(tx.to)} | ({"call_value": tx.value} if tx.value else {})
    else:
        value |= {"to_address": show(tx.to), "amount": tx.value}
    name = _NAMES[tx.kind]
    contract: dict[str, Any] = {"parameter": {"value": value, "type_url": _URL + name}, "type": name}
    if tx.permission:
        contract["Permission_id"] = tx.permission
    raw: dict[str, Any] = {
        "contract": [contract],
        "ref_block_bytes": tx.ref_block.hex(),
        "ref_block_hash": tx.ref_hash.hex(),
        "expiration": tx.expiration,
    }
    optional = {"data": tx.memo.hex(), "timestamp": tx.timestamp, "fee_limit": tx.fee_limit}
    raw |= {name: given for name, given in optional.items() if given}
    return {
        "signature": [each.hex() for each in tx.signatures],
        "txID": tx.txid,
        "raw_data": raw,
        "raw_data_hex": tx.raw.hex(),
    }
