"""Mined transactions, with what they did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..primitives import checksum

if TYPE_CHECKING:
    from .machines import Log

__all__ = ["Transaction", "Transfer"]

TRANSFER = bytes.fromhex("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef")  # ERC-20 Transfer


@dataclass(frozen=True, slots=True)
class Transfer:
    """Tokens that moved: `value` in atomic units; addresses in EIP-55 form."""

    token: str
    sender: str
    to: str
    value: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """One mined transaction with its receipt, read back from the pretend chain.

    `status` is 1 or 0 (reverted, `reason` says why); `block` its number, `timestamp` the block's, in unix seconds.
    `gas` was used, at `price` wei each; `raw` is what was signed, in the form in which it travelled.
    """

    hash: str
    block: int
    timestamp: int
    sender: str
    to: str
    nonce: int
    status: int
    logs: tuple[Log, ...] = field(default=(), repr=False)
    reason: str = ""
    raw: bytes = field(default=b"", repr=False)
    gas: int = 0
    price: int = 0

    @property
    def transfers(self) -> tuple[Transfer, ...]:
        """Every ERC-20 Transfer in its logs."""
        return tuple(
            Transfer(_address(log.address), _address(log.topics[1]), _address(log.topics[2]), int.from_bytes(log.data))
            for log in self.logs
            if len(log.topics) == 3 and log.topics[0] == TRANSFER
        )

    @property
    def value(self) -> int:
        """Token units that moved, all transfers together."""
        return sum(each.value for each in self.transfers)


def _address(word: bytes) -> str:
    return checksum("0x" + word[-20:].hex())
