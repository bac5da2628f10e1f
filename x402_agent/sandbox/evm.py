"""A pretend Base Sepolia in this process: real code on a real EVM, a block per transaction, final at once.

Whoever sends from outside pays for gas; what the sandbox itself sends offers no fee, and is mined by its favour. One lock guards everything: any thread may call. Time is the clock handed in, plus what was warped.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..primitives import checksum, keccak
from .envelopes import decode, signed
from .machines import COINBASE, GAS, machine
from .pool import BASE_FEE, Pool, check
from .reverts import revert_reason
from .transactions import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..primitives import EvmKey
    from .envelopes import Envelope
    from .machines import Backend, Ran

__all__ = ["CHAIN_ID", "NETWORK", "NETWORK_V1", "Block", "Chain", "revert_reason"]

CHAIN_ID = 84532
NETWORK = f"eip155:{CHAIN_ID}"
NETWORK_V1 = "base-sepolia"
PERIOD = 2  # seconds between two blocks
MADE_UP = 64  # empty blocks, at most, for the time that nobody asked
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
        self._pool = Pool()
        self._transactions: dict[str, Transaction] = {}
        self._blocks: list[Block] = []
        self._named: dict[str, Block] = {}
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
        """The newest block, and final. Those of the time that has passed since are made up first: one, or one for every 2 s."""
        with self._lock:
            passed = self.now() - self._blocks[-1].timestamp
            for _ in range(min(MADE_UP, max(passed // PERIOD, passed > 0))):
                self._mine(())
            return self._blocks[-1]

    def block(self, number: int) -> Block | None:
        """The block with this number, None when there is none."""
        with self._lock:
            index = number - GENESIS
            return self._blocks[index] if 0 <= index < len(self._blocks) else None

    def block_named(self, name: str) -> Block | None:
        """The block with this hash, None when there is none."""
        with self._lock:
            return self._named.get(name.lower())

    def transaction(self, tx: str) -> Transaction | None:
        """A mined transaction by its id, None when it never was mined."""
        with self._lock:
            return self._transactions.get(tx.lower())

    def send(self, key: EvmKey, to: bytes, data: bytes) -> Transaction:
        """Sign, mine and return a transaction; one that reverts is mined too, with status 0. It costs no gas."""
        with self._lock:
            return self._execute(signed(key, CHAIN_ID, self.nonce(key.address), to, data))

    def submit(self, raw: bytes) -> str:
        """Take a signed transaction from outside, and mine it when it is its turn; its id.

        Raises Malformed when the bytes are none, Rejected when a node would not take it.
        """
        tx = decode(raw)
        sender = bytes.fromhex(tx.sender[2:])
        with self._lock:
            has_code = bool(self._machine.code(sender))
            check(tx, CHAIN_ID, self.nonce(tx.sender), self._machine.balance(sender), has_code=has_code)
            self._pool.add(tx)
            while (ready := self._pool.next(tx.sender, self.nonce(tx.sender))) is not None:
                if self._machine.balance(sender) >= ready.gas * ready.max_fee + ready.value:
                    self._execute(ready)
        return tx.hash

    def envelope(self, tx: str) -> Envelope | None:
        """A transaction as it was signed, mined or still waiting; None when there is none with this id."""
        with self._lock:
            mined = self._transactions.get(tx.lower())
            return decode(mined.raw) if mined else self._pool.find(tx.lower())

    def nonce(self, address: str, *, pending: bool = False) -> int:
        """How many transactions an EIP-55 address has sent; with `pending` those that wait in line too."""
        with self._lock:
            mined = self._nonces.get(address, 0)
            return self._pool.after(address, mined) if pending else mined

    def _execute(self, tx: Envelope) -> Transaction:
        """Mine a transaction in a block of its own: gas is bought before it runs, and what it did not use comes back."""
        price = min(tx.max_fee, BASE_FEE + tx.tip)
        sender = bytes.fromhex(tx.sender[2:])
        access = 2_400 * len(tx.access) + 1_900 * sum(len(keys) for _, keys in tx.access)
        self._nonces[tx.sender] = tx.nonce + 1
        self._pool.drop(tx.sender, tx.nonce + 1)
        block = self._mine((tx.hash,))
        if price:
            self._machine.endow(sender, self._machine.balance(sender) - tx.gas * price)
        ran = self._machine.run(sender, tx.to, tx.data, keep=True, value=tx.value, gas=tx.gas - access)
        used = ran.gas + access
        if price:
            self._machine.endow(sender, self._machine.balance(sender) + (tx.gas - used) * price)
            self._machine.endow(COINBASE, self._machine.balance(COINBASE) + used * (price - BASE_FEE))
        made = Transaction(
            hash=tx.hash,
            block=block.number,
            timestamp=block.timestamp,
            sender=tx.sender,
            to=checksum("0x" + tx.to.hex()),
            nonce=tx.nonce,
            status=int(ran.ok),
            logs=ran.logs,
            reason="" if ran.ok else ran.halt or revert_reason(ran.output),
            raw=tx.raw,
            gas=used,
            price=price,
        )
        self._transactions[tx.hash] = made
        return made

    def call(self, to: bytes, data: bytes, caller: bytes = bytes(20), *, value: int = 0, gas: int = GAS) -> Ran:
        """Run code and forget what it changed: a view, or the rehearsal of a transaction in the next block."""
        with self._lock:
            last = self._blocks[-1]
            self._machine.block(last.number + 1, self.now())
            return self._machine.run(caller, to, data, keep=False, value=value, gas=gas)

    def storage(self, address: bytes, slot: int) -> int:
        """One word of a contract's storage."""
        with self._lock:
            return self._machine.storage(address, slot)

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
        self._named[block.hash] = block
        self._machine.block(number, timestamp)
        return block
