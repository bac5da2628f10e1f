"""Typed data as 32 bytes to sign. TIP-712 is EIP-712 over addresses of 20 bytes, however they are written.

Source: TIP-712; EIP-712 "Definition of hashStruct". Types are put down once, as `Struct`; no seller's type is ever read.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from ...primitives import keccak
from .addresses import any_form

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Struct", "digest"]


class Struct(NamedTuple):
    """A type by its name and its members: (type, name), where a type is a word of Solidity or another Struct."""

    name: str
    members: tuple[tuple[Any, str], ...]


_NAME, _VERSION = ("string", "name"), ("string", "version")
_CHAIN, _CONTRACT = ("uint256", "chainId"), ("address", "verifyingContract")
_DOMAINS = {  # with and without a version
    True: Struct("EIP712Domain", (_NAME, _VERSION, _CHAIN, _CONTRACT)),
    False: Struct("EIP712Domain", (_NAME, _CHAIN, _CONTRACT)),
}


def _within(kind: Struct) -> Iterator[Struct]:
    for each, _ in kind.members:
        if isinstance(each, Struct):
            yield each
            yield from _within(each)


@lru_cache(maxsize=64)
def _type_hash(kind: Struct) -> bytes:
    """The type itself first, then those it refers to in alphabetical order."""
    others = sorted(set(_within(kind)) - {kind}, key=lambda each: each.name)
    return keccak("".join(map(_written, (kind, *others))).encode())


def _written(kind: Struct) -> str:
    members = (f"{each.name if isinstance(each, Struct) else each} {name}" for each, name in kind.members)
    return f"{kind.name}({','.join(members)})"


def _hash(kind: Struct, value: Mapping[str, Any]) -> bytes:
    return keccak(_type_hash(kind) + b"".join(_word(each, value[name]) for each, name in kind.members))


def _word(kind: str | Struct, value: Any) -> bytes:
    """One member as 32 bytes; raises ValueError or OverflowError for a value that its type does not have."""
    if isinstance(kind, Struct):
        return _hash(kind, value)
    if kind == "address":
        return bytes(12) + (any_form(value))
    if kind.startswith("uint"):
        return int(value).to_bytes(int(kind[4:]) // 8, "big").rjust(32, b"\0")
    if kind == "string":
        return keccak(value.encode())
    size = int(kind.removeprefix("bytes"))
    if len(value) != size:
        raise ValueError(f"{kind} of another length")
    return bytes(value).ljust(32, b"\0")


@lru_cache(maxsize=64)
def _separator(name: str, version: str, chain_id: int, contract: str) -> bytes:
    values = {"name": name, "version": version, "chainId": chain_id, "verifyingContract": contract}
    return _hash(_DOMAINS[bool(version)], values)


def digest(kind: Struct, value: Mapping[str, Any], *, name: str, chain_id: int, contract: str, version: str = "") -> bytes:
    """The 32 bytes to sign: `value` under the domain of `contract` on the chain of this number.

    Addresses are T… or 0x and 40 hex digits, numbers integers or their digits, bytesN bytes. Raises ValueError, OverflowError or KeyError for a value
    that is not of its type.
    """
    return keccak(b"\x19\x01" + _separator(name, version, chain_id, contract) + _hash(kind, value))
