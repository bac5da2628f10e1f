"""Real EIP-1559 transactions: RLP, the signature of whoever sends, and the hash that is the transaction's id.

Sources: EIP-1559, EIP-2718, the RLP appendix of the Ethereum yellow paper.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..primitives import checksum, keccak

if TYPE_CHECKING:
    from ..primitives import EvmKey
    from .machines import Log

__all__ = ["Transaction", "Transfer", "rlp", "signed"]

GAS_LIMIT = 500_000
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


def rlp(item: bytes | int | list[bytes | int | list[object]]) -> bytes:
    """Recursive length prefix; an integer is big-endian without leading zeros."""
    if isinstance(item, int):
        item = item.to_bytes((item.bit_length() + 7) // 8, "big")
    if isinstance(item, bytes):
        return item if len(item) == 1 and item[0] < 0x80 else _length(len(item), 0x80) + item
    body = b"".join(rlp(each) for each in item)  # type: ignore[arg-type]
    return _length(len(body), 0xC0) + body


def _length(size: int, offset: int) -> bytes:
    if size < 56:
        return bytes((offset + size,))
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((offset + 55 + len(digits),)) + digits


def signed(key: EvmKey, chain_id: int, nonce: int, to: bytes, data: bytes) -> tuple[str, bytes]:
    """The id (0x + keccak of the raw bytes) and the raw bytes of a signed type-2 transaction with zero fees."""
    fields: list[bytes | int | list[object]] = [chain_id, nonce, 0, 0, GAS_LIMIT, to, 0, data, []]
    made = key.sign(keccak(b"\x02" + rlp(fields)))
    tail: list[bytes | int | list[object]] = [made[64] - 27, int.from_bytes(made[:32]), int.from_bytes(made[32:64])]
    raw = b"\x02" + rlp(fields + tail)
    return "0x" + keccak(raw).hex(), raw
