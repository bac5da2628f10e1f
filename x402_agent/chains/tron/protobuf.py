"""The two shapes of protobuf that TRON's transactions are made of: numbers and bytes. Read in canonical form alone.

Source: protobuf encoding; java-tron `core/Tron.proto`. Fields stand in order of their number, and zeros are left out.
"""

from __future__ import annotations

__all__ = ["Fields", "number", "read", "text"]

Fields = dict[int, int | bytes]
_MOST = (1 << 63) - 1  # int64, and nothing here is negative


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number(tag: int, value: int) -> bytes:
    """A field of type int64; raises ValueError outside of 0 to 2^63-1."""
    if not 0 <= value <= _MOST:
        raise ValueError("a number outside of 0 to 2^63-1")
    return _varint(tag << 3) + _varint(value) if value else b""


def text(tag: int, value: bytes) -> bytes:
    """A field of type bytes, or a message that is already written."""
    return _varint(tag << 3 | 2) + _varint(len(value)) + value if value else b""


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at + shift // 7]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if (byte == 0 and shift) or value > _MOST:
                break
            return value, at + shift // 7 + 1
    raise ValueError("a number that is not in its shortest form")


def read(data: bytes, numbers: tuple[int, ...], texts: tuple[int, ...]) -> Fields:
    """The fields of a message, those left out as 0 and b"". Raises ValueError for any other field, order or form.

    What this gives writes the same bytes again: no two readers can see two transactions in it.
    """
    found: Fields = {**dict.fromkeys(numbers, 0), **dict.fromkeys(texts, b"")}
    at, last = 0, 0
    try:
        while at < len(data):
            key, at = _read_varint(data, at)
            value, at = _read_varint(data, at)
            tag, kind = key >> 3, key & 7
            if tag <= last or not value or (tag, kind) not in {*((n, 0) for n in numbers), *((n, 2) for n in texts)}:
                raise ValueError("a field that does not belong here")
            last = tag
            if kind == 0:
                found[tag] = value
                continue
            found[tag] = data[at : at + value]
            at += value
    except IndexError:
        at = len(data) + 1
    if at != len(data):
        raise ValueError("it ends before its end")
    return found
