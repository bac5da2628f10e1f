"""A pretend Base Sepolia in this process: real code on a real EVM, a block per transaction, final at once.

One lock guards everything: any thread may call. Time is the clock handed in, plus what was warped.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..primitives import checksum, keccak
from .machines import machine
from .reverts import revert_reason
from .transactions import Transaction, signed

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..primitives import EvmKey
    from .machines import Backend, Ran

__all__ = ["CHAIN_ID", "NETWORK", "NETWORK_V1", "Block", "Chain", "revert_reason"]

CHAIN_ID = 84532
NETWORK = f"eip155:{CHAIN_ID}"
NETWORK_V1 = "base-sepolia"
GENESIS = 30_000_000  # Base Sepolia is about there: nobody should rely on small block numbers


@dataclass(frozen=True, slots=True)
class Block:
    """A block as far as a payer can tell: `timestamp` in unix seconds, `transactions` the ids in it."""

    number: int
    timestamp: int
    hash: str
    parent: str
    transactions: tuple[str, ...] = ()


class Chain:
    """Blocks, signed transactions and receipts over one EVM. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.time, backend: Backend | None = None) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self._warped = 0
        self._machine = machine(backend, CHAIN_ID)
        self._nonces: dict[str, int] = {}
        self._transactions: dict[str, Transaction] = {}
        self._blocks: list[Block] = []
        self._mine(())

    @property
    def backend(self) -> Backend:
        """Which EVM runs below: pyrevm or py-evm."""
        return self._machine.name

    def now(self) -> int:
        """The time of the next block, unix seconds."""
        with self._lock:
            last = self._blocks[-1].timestamp if self._blocks else 0
            return max(last, int(self._clock()) + self._warped)

    def warp(self, seconds: int) -> None:
        """Let `seconds` pass on the chain, and mine an empty block at the new time."""
        with self._lock:
            self._warped += seconds
            self._mine(())

    def head(self) -> Block:
        """The newest block; an empty one is mined first when time has passed since. It is final."""
        with self._lock:
            if self.now() > self._blocks[-1].timestamp:
                self._mine(())
            return self._blocks[-1]

    def block(self, number: int) -> Block | None:
        """The block with this number, None when there is none."""
        with self._lock:
            index = number - GENESIS
            return self._blocks[index] if 0 <= index < len(self._blocks) else None

    def transaction(self, tx: str) -> Transaction | None:
        """A mined transaction by its id, None when it never was mined."""
        with self._lock:
            return self._transactions.get(tx.lower())

    def send(self, key: EvmKey, to: bytes, data: bytes) -> Transaction:
        """Sign, mine and return a transaction; one that reverts is mined too, with status 0."""
        with self._lock:
            nonce = self._nonces.get(key.address, 0)
            tx, raw = signed(key, CHAIN_ID, nonce, to, data)
            self._nonces[key.address] = nonce + 1
            block = self._mine((tx,))
            ran = self._machine.run(bytes.fromhex(key.address[2:]), to, data, keep=True)
            made = Transaction(
                hash=tx,
                block=block.number,
                timestamp=block.timestamp,
                sender=key.address,
                to=checksum("0x" + to.hex()),
                nonce=nonce,
                status=int(ran.ok),
                logs=ran.logs,
                reason="" if ran.ok else revert_reason(ran.output),
                raw=raw,
            )
            self._transactions[tx] = made
            return made

    def call(self, to: bytes, data: bytes, caller: bytes = bytes(20)) -> Ran:
        """Run code and forget what it changed: a view, or the rehearsal of a transaction in the next block."""
        with self._lock:
            last = self._blocks[-1]
            self._machine.block(last.number + 1, self.now())
            return self._machine.run(caller, to, data, keep=False)

    def install(self, address: bytes, code: bytes) -> None:
        """Put runtime code at an address."""
        with self._lock:
            self._machine.install(address, code)

    def code(self, address: bytes) -> bytes:
        """The runtime code at an address, b"" for a plain account."""
        with self._lock:
            return self._machine.code(address)

    def wei(self, address: bytes) -> int:
        """The native balance of an address."""
        with self._lock:
            return self._machine.balance(address)

    def endow(self, address: bytes, wei: int) -> None:
        """Set the native balance of an address."""
        with self._lock:
            self._machine.endow(address, wei)

    def _mine(self, transactions: tuple[str, ...]) -> Block:
        number = GENESIS + len(self._blocks)
        parent = self._blocks[-1].hash if self._blocks else "0x" + "00" * 32
        timestamp = self.now()
        digest = keccak(f"{number} {timestamp} {parent} {transactions}".encode())
        block = Block(number, timestamp, "0x" + digest.hex(), parent, transactions)
        self._blocks.append(block)
        self._machine.block(number, timestamp)
        return block
