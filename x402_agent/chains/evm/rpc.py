"""The nodes of EVM networks, and how their JSON-RPC writes numbers and bytes (the Ethereum JSON-RPC specification)."""

from __future__ import annotations

import re

from .. import rpc

__all__ = ["Node", "data", "quantity"]

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}").fullmatch
_DATA = re.compile(r"0x(?:[0-9a-fA-F]{2})*").fullmatch


def quantity(value: object) -> int:
    """A number as JSON-RPC writes it, 0x and hex digits, at most a uint256; raises ValueError."""
    if not isinstance(value, str) or not _QUANTITY(value):
        raise ValueError("no quantity")
    return int(value, 16)


def data(value: object, size: int | None = None) -> bytes:
    """Bytes as JSON-RPC writes them, `size` of them when given; raises ValueError."""
    if not isinstance(value, str) or not _DATA(value):
        raise ValueError("no data")
    found = bytes.fromhex(value[2:])
    if size is not None and len(found) != size:
        raise ValueError("data of another length")
    return found


class Node(rpc.Node):
    """The nodes of one EVM network: `eth_chainId` names it."""

    __slots__ = ()
    asks = ("eth_chainId",)
    spec = "execution-apis"

    def named(self, answer: object) -> str:
        """The chain id in decimal digits; raises ValueError."""
        return str(quantity(answer))
