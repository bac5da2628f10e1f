"""Clarity values as transactions carry them, both ways (SIP-005, "Clarity Value Representation").

A value is a kind and what Python has for it; what cannot stand in a transaction is a ValueError, in either direction.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ...encodings import c32_address, unc32_address

__all__ = ["NONE", "Reader", "Value", "contract_name", "name", "principal", "some", "split", "uint"]

VERSIONS = frozenset({20, 21, 22, 26})  # SM, SN, SP, ST
MAX_NAME = 128
MAX_CONTRACT = 40
DEEPEST = 32
_CONTRACT = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*|__transient").fullmatch
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_!?+<>=/*-]*|[-+=/*]|[<>]=?").fullmatch
_KINDS = ("int", "uint", "buffer", "true", "false", "standard", "contract", "ok", "err", "none", "some", "list", "tuple",
          "ascii", "utf8")  # fmt: skip


class Value(NamedTuple):
    """One Clarity value. `kind`: int, uint, buffer, bool, principal, ok, err, none, some, list, tuple, ascii or utf8.

    `value` is an int, bytes, a bool, `S…` or `S….contract`, another Value, None, a tuple of Values, a dict of them, or text.
    """

    kind: str
    value: Any = None

    def wire(self) -> bytes:
        """The bytes of it; a tuple's members in the order of their names. Raises ValueError."""
        made: bytes = _WRITE[self.kind](self.value)
        return made


NONE = Value("none")


def uint(number: int) -> Value:
    """An unsigned 128-bit number."""
    return Value("uint", number)


def some(value: Value) -> Value:
    """An optional that holds something."""
    return Value("some", value)


def _fits(number: int, size: int, *, signed: bool = False) -> bytes:
    try:
        return number.to_bytes(size, "big", signed=signed)
    except OverflowError:
        raise ValueError(f"a number that does not fit in {size} bytes") from None


def name(text: str) -> bytes:
    """A name with its length before it: of a function, a token inside its contract, a member of a tuple."""
    if len(text) > MAX_NAME or not _NAME(text):
        raise ValueError("not a name of Clarity")
    return bytes((len(text),)) + text.encode()


def contract_name(text: str) -> bytes:
    """A contract's name with its length before it."""
    if len(text) > MAX_CONTRACT or not _CONTRACT(text):
        raise ValueError("not the name of a contract")
    return bytes((len(text),)) + text.encode()


def address(text: str) -> bytes:
    """Version and hash160 of an account: 21 bytes."""
    version, hash160 = unc32_address(text)
    if version not in VERSIONS:
        raise ValueError("not a version of Stacks addresses")
    return bytes((version,)) + hash160


def split(contract: str) -> bytes:
    """A contract's account and name, as calls and post-conditions have them."""
    account, _, own = contract.partition(".")
    return address(account) + contract_name(own)


def principal(text: str) -> bytes:
    """An account `S…`, or a contract `S….name`."""
    return b"\6" + split(text) if "." in text else b"\5" + address(text)


def _sized(mark: int, raw: bytes) -> bytes:
    return bytes((mark,)) + len(raw).to_bytes(4, "big") + raw


def _ascii(text: str) -> bytes:
    if not text.isascii():
        raise ValueError("not ASCII")
    return _sized(13, text.encode())


def _tuple(members: dict[str, Value]) -> bytes:
    own = b"".join(name(each) + members[each].wire() for each in sorted(members))
    return b"\x0c" + len(members).to_bytes(4, "big") + own


_WRITE: dict[str, Any] = {
    "int": lambda n: b"\0" + _fits(n, 16, signed=True),
    "uint": lambda n: b"\1" + _fits(n, 16),
    "buffer": lambda raw: _sized(2, raw),
    "bool": lambda yes: b"\3" if yes else b"\4",
    "principal": principal,
    "ok": lambda inner: b"\7" + inner.wire(),
    "err": lambda inner: b"\x08" + inner.wire(),
    "none": lambda _: b"\x09",
    "some": lambda inner: b"\x0a" + inner.wire(),
    "list": lambda all_: b"\x0b" + len(all_).to_bytes(4, "big") + b"".join(each.wire() for each in all_),
    "tuple": _tuple,
    "ascii": _ascii,
    "utf8": lambda text: _sized(14, text.encode()),
}


class Reader:
    """Bytes, read from the front. Whatever is not what it should be raises ValueError."""

    __slots__ = ("at", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        end = self.at + size
        if end > len(self.data):
            raise ValueError("it ends too early")
        start, self.at = self.at, end
        return self.data[start:end]

    def number(self, size: int) -> int:
        """The next `size` bytes as a number."""
        return int.from_bytes(self.take(size), "big")

    def end(self) -> None:
        """Nothing may follow."""
        if self.at != len(self.data):
            raise ValueError("bytes behind its end")

    def _text(self, most: int) -> str:
        size = self.number(1)
        if not 0 < size <= most:
            raise ValueError("a name of a length that is not allowed")
        return self.take(size).decode("ascii")

    def name(self) -> str:
        """A name, its length before it."""
        text = self._text(MAX_NAME)
        if not _NAME(text):
            raise ValueError("not a name of Clarity")
        return text

    def address(self) -> str:
        """An account: version and hash160."""
        version = self.number(1)
        if version not in VERSIONS:
            raise ValueError("not a version of Stacks addresses")
        return c32_address(version, self.take(20))

    def contract(self) -> str:
        """A contract: account and name."""
        account, text = self.address(), self._text(MAX_CONTRACT)
        if not _CONTRACT(text):
            raise ValueError("not the name of a contract")
        return f"{account}.{text}"

    def value(self, depth: int = 0) -> Value:
        """One Clarity value, at most 32 levels deep."""
        mark = self.number(1)
        if mark >= len(_KINDS) or depth > DEEPEST:
            raise ValueError("not a kind of Clarity value, or one too deep")
        kind = _KINDS[mark]
        if kind in ("true", "false"):
            return Value("bool", kind == "true")
        if kind in ("standard", "contract"):
            return Value("principal", self.address() if kind == "standard" else self.contract())
        if kind in ("ok", "err", "some"):
            return Value(kind, self.value(depth + 1))
        if kind == "none":
            return NONE
        if kind in ("int", "uint"):
            return Value(kind, int.from_bytes(self.take(16), "big", signed=kind == "int"))
        size = self.number(4)
        if kind == "list":
            return Value("list", tuple(self.value(depth + 1) for _ in range(size)))
        if kind == "tuple":
            return Value("tuple", self._members(size, depth))
        raw = self.take(size)
        return Value(kind, raw if kind == "buffer" else raw.decode("ascii" if kind == "ascii" else "utf-8"))

    def _members(self, size: int, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for _ in range(size):
            key = self.name()
            if key in found:
                raise ValueError("a tuple names a member twice")
            found[key] = self.value(depth + 1)
        return found
