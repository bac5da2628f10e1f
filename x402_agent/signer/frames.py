"""Messages between an agent and the signer service: one JSON object a frame, four bytes of length before it.

A request's body or the goods of a payment follow their frame as they are: `tail` in it says how many bytes.
Both sides bound what they take in bytes, depth and time before anything is parsed, and read every field by its type;
a peer that says anything else is cut off. The other end is never trusted to keep to it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..dialects import strict
from ..errors import ChallengeInvalid

if TYPE_CHECKING:
    import re
    import socket
    from collections.abc import Mapping

__all__ = ["MAX_FRAME", "MAX_TAIL", "PROTOCOL", "Fields", "Malformed", "frame", "receive", "receive_tail"]

PROTOCOL = 1
MAX_FRAME = 1 << 20  # bytes: a 402 of 64 KiB whose 32 entries each echo its resource and extensions
MAX_TAIL = (8 << 20) + (1 << 17)  # bytes: goods, and their headers
_PIECE = 1 << 16
_FRAME_SECONDS = 10.0  # once it has begun, a frame arrives within this


class Malformed(Exception):
    """The peer's bytes are no message of this protocol. Its text quotes none of them."""


def frame(message: Mapping[str, Any], tail: bytes = b"") -> bytes:
    """The bytes of one message; raises Malformed when it is too large to be taken."""
    data = strict.compact({**message, "tail": len(tail)} if tail else message).encode()
    if len(tail) > MAX_TAIL:
        raise Malformed(f"{len(tail)} bytes behind a message, {MAX_TAIL} are allowed")
    if len(data) > MAX_FRAME:
        raise Malformed(f"a message of {len(data)} bytes, {MAX_FRAME} are allowed")
    return len(data).to_bytes(4, "big") + data + tail


def receive(sock: socket.socket, patience: float) -> Fields | None:
    """The next message, None when the peer has closed between two; it must begin within `patience` seconds.

    Raises Malformed, and OSError (TimeoutError among them) when the connection fails or is too slow.
    """
    sock.settimeout(patience)
    head = sock.recv(4)
    if not head:
        return None
    end = time.monotonic() + _FRAME_SECONDS
    if len(head) < 4:
        head += _exactly(sock, 4 - len(head), end)
    size = int.from_bytes(head, "big")
    if not 0 < size <= MAX_FRAME:
        raise Malformed(f"a message of {size} bytes, 1 to {MAX_FRAME} are allowed")
    data = _exactly(sock, size, end)
    try:
        return Fields(strict.parse(data, rows="", limit=MAX_FRAME).fields)
    except ChallengeInvalid as why:
        raise Malformed(why.what) from None


def receive_tail(sock: socket.socket, told: Fields, most: int, *, keep: bool = True) -> bytes:
    """What follows a message, b"" when nothing does or it is not to be kept. Raises as `receive` does, and for more than `most` bytes."""
    size, end = told.whole("tail", most) if told.has("tail") else 0, time.monotonic() + _FRAME_SECONDS
    if keep:
        return _exactly(sock, size, end)
    while size:
        size -= len(_exactly(sock, min(size, _PIECE), end))
    return b""


def _exactly(sock: socket.socket, size: int, end: float) -> bytes:
    found = bytearray()
    while len(found) < size:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        piece = sock.recv(min(_PIECE, size - len(found)))
        if not piece:
            raise Malformed("the connection ended inside a message")
        found += piece
    return bytes(found)


class Fields:
    """The fields of a JSON object, each read by its type; raises Malformed for what is missing or another."""

    __slots__ = ("_fields",)

    def __init__(self, fields: object) -> None:
        if not isinstance(fields, dict):
            raise Malformed("an object is missing")
        self._fields: dict[str, Any] = fields

    def text(self, name: str, most: int = 256, *, shape: re.Pattern[str] | None = None) -> str:
        """Text of at most `most` characters, "" when it is missing; of a `shape`, if given, as a whole."""
        found = self._fields.get(name, "")
        if not isinstance(found, str) or len(found) > most or (shape is not None and not shape.fullmatch(found)):
            raise Malformed(f"{name} is not the text that belongs there")
        return found

    def whole(self, name: str, most: int, least: int = 0) -> int:
        """A whole number, as JSON number or decimal text (amounts beyond 2^53)."""
        found = self._fields.get(name)
        if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= 78:
            found = int(found)
        if type(found) is not int or not least <= found <= most:
            raise Malformed(f"{name} is not a whole number in its range")
        return found

    def flag(self, name: str) -> bool | None:
        """True, False, or None when it is missing."""
        found = self._fields.get(name)
        if found is not None and not isinstance(found, bool):
            raise Malformed(f"{name} is not true or false")
        return found

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(name) is not None

    def inner(self, name: str) -> Fields:
        """An object."""
        return Fields(self._fields.get(name))

    def each(self, name: str, most: int) -> list[Fields]:
        """A list of objects, [] when it is missing."""
        return [Fields(one) for one in self._list(name, most)]

    def texts(self, name: str, most: int, length: int = 256) -> tuple[str, ...]:
        """A list of text, () when it is missing."""
        found = self._list(name, most)
        if not all(isinstance(one, str) and len(one) <= length for one in found):
            raise Malformed(f"{name} is not a list of text")
        return tuple(found)

    def _list(self, name: str, most: int) -> list[Any]:
        found = self._fields.get(name, [])
        if not isinstance(found, list) or len(found) > most:
            raise Malformed(f"{name} is not a list, or too long")
        return found

    def raw(self, name: str) -> dict[str, Any]:
        """An object as it came: what only the other side's dialect understands."""
        found = self._fields.get(name)
        if not isinstance(found, dict):
            raise Malformed(f"{name} is not an object")
        return found

    def raws(self, name: str, most: int) -> tuple[dict[str, Any], ...]:
        """A list of objects as they came, () when it is missing."""
        found = self._list(name, most)
        if not all(isinstance(one, dict) for one in found):
            raise Malformed(f"{name} is not a list of objects")
        return tuple(found)

    def __repr__(self) -> str:
        return f"Fields({', '.join(self._fields)})"  # values may be a proof
