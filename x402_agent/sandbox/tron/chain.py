"""A pretend Nile in this process: real code on an EVM with TRON's chain id, a block per transaction and one every 3 s.

A transaction is judged in java-tron's order: known already, signature, TAPOS, expiration, bandwidth, the contract's own
rules; then it runs with the energy that its fee limit and its owner's TRX buy. Units: sun (10**-6 TRX), milliseconds.
Sources: java-tron's Wallet.broadcastTransaction and Manager.processTransaction, TRON's documentation of resources.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from ...encodings import base58check
from ...primitives import recover
from ..machines import GAS, intrinsic, machine
from .envelope import CALL, Malformed, decode, whole, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...primitives import EvmKey
    from ..machines import Backend, Log, Machine, Ran
    from .envelope import Envelope

__all__ = ["BANDWIDTH_PRICE", "CHAIN_ID", "ENERGY_PRICE", "FREE_BANDWIDTH", "NETWORK", "Block", "Chain", "Mined", "Rejected", "show"]

CHAIN_ID = 3448148188
NETWORK = f"tron:{CHAIN_ID:#x}"
FIRST = 60_000_000  # Nile is about there: nobody should rely on small block numbers
ORIGIN = bytes.fromhex("0000000000000000d698d4192c56cb6be724a558448e2684802de4d6cd8690dc")  # Nile's block 0: its end is the chain id
SLOT = 3_000
SOLID = 19  # blocks behind the head that nothing can undo any more
ENERGY_PRICE = 210  # sun
BANDWIDTH_PRICE = 1_000  # sun per byte beyond the free ones
FREE_BANDWIDTH = 600  # bytes a day
NEW_ACCOUNT = 1_100_000  # sun for a transfer to an address that nobody has used: 1 TRX, and 0.1 for its bandwidth
MEMO = 1_000_000  # sun
MAX_FEE_LIMIT = 15_000_000_000  # sun
FEE_LIMIT = 1_000_000_000  # sun: of the sandbox's own transactions
LIFETIME = 86_400_000  # the most that an expiration may lie ahead
MAX_SIZE = 500 * 1024
_DAY = 86_400_000
_CATCH_UP = 64  # blocks mined after a long sleep: the slots between were missed, as slots are
_HALTS = {"OutOfGas": "OUT_OF_ENERGY", "InvalidFEOpcode": "ILLEGAL_OPERATION", "InvalidInstruction": "ILLEGAL_OPERATION"}


class Rejected(Exception):
    """Why a node does not take a transaction: java-tron's response code, and its words."""

    def __init__(self, code: str, words: str) -> None:
        super().__init__(words)
        self.code = code


@dataclass(frozen=True, slots=True)
class Block:
    """A block as far as a payer can tell: `id` is its number in 8 bytes and 24 of its hash, `timestamp` milliseconds."""

    number: int
    timestamp: int
    id: bytes
    parent: bytes
    transactions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction and what became of it: `result` is SUCCESS, REVERT, OUT_OF_ENERGY or another name of java-tron's.

    Fees in sun: `fee` is all of it, `energy_fee` and `net_fee` its parts; `net` bytes were free; `energy` was used.
    """

    envelope: Envelope
    block: int
    timestamp: int
    result: str
    output: bytes
    logs: tuple[Log, ...]
    energy: int
    energy_fee: int
    net: int
    net_fee: int
    fee: int


def show(raw: bytes) -> str:
    """The T... spelling of 20 bytes."""
    return base58check(b"\x41" + raw)


class Chain:
    """Blocks, signed transactions and what they cost, over one EVM. Thread-safe.

    While `mining` is False what is taken waits, and is mined later or expires: as on a chain whose producers pass it over.
    """

    def __init__(self, clock: Callable[[], float] = time.time, backend: Backend | None = None) -> None:
        self.mining = True
        self.depth = SOLID  # 0: what is in a block is solid at once, for who does not want to wait a minute
        self._lock = threading.RLock()
        self._clock = clock
        self._warped = 0
        self._machine: Machine = machine(backend, CHAIN_ID)
        self._accounts: set[bytes] = set()
        self._free: dict[bytes, tuple[int, int]] = {}  # bytes of free bandwidth used, and when
        self._waiting: dict[str, Envelope] = {}
        self._mined: dict[str, Mined] = {}
        self._blocks: list[Block] = []
        self._stamp = 0
        self._mine(self._time())

    # -- time and blocks ----------------------------------------------------------------------------------------------

    def _time(self) -> int:
        return int(self._clock() * 1000) + self._warped

    def now(self) -> int:
        """The time of the chain, unix seconds."""
        with self._lock:
            return max(self._time(), self._blocks[-1].timestamp) // 1000

    def warp(self, seconds: int) -> None:
        """Let `seconds` pass: blocks are mined for it, and what waited too long expires."""
        with self._lock:
            self._warped += seconds * 1000
            self._advance()

    def head(self) -> Block:
        """The newest block."""
        with self._lock:
            self._advance()
            return self._blocks[-1]

    def solid(self) -> Block:
        """The newest block that nothing can undo."""
        with self._lock:
            self._advance()
            return self._blocks[max(0, len(self._blocks) - 1 - self.depth)]

    def block(self, number: int) -> Block | None:
        """The block with this number, None when there is none. Of the blocks before the first one here block 0 alone is known."""
        if number == 0:
            return Block(0, 0, ORIGIN, bytes(32))
        with self._lock:
            index = number - FIRST
            return self._blocks[index] if 0 <= index < len(self._blocks) else None

    def _advance(self) -> None:
        now = self._time()
        start = max(self._blocks[-1].timestamp, now - _CATCH_UP * SLOT)
        for stamp in range(start + SLOT, now + 1, SLOT):
            self._mine(stamp)
        while self.mining and self._waiting:
            tx = self._waiting.pop(next(iter(self._waiting)))
            with suppress(Rejected):  # expired meanwhile, or no longer to be paid: it is never mined
                self._check_common(tx)
                self._check_contract(tx, self._machine.balance(tx.owner) - self._bandwidth(tx)[1])
                self._execute(tx)

    def _mine(self, stamp: int, transactions: tuple[str, ...] = ()) -> Block:
        number = FIRST + len(self._blocks)
        parent = self._blocks[-1].id if self._blocks else bytes(32)
        stamp = max(stamp, self._blocks[-1].timestamp if self._blocks else 0)
        digest = sha256(f"{number} {stamp} {parent.hex()} {transactions}".encode()).digest()
        block = Block(number, stamp, number.to_bytes(8, "big") + digest[8:], parent, transactions)
        self._blocks.append(block)
        self._machine.block(number, stamp // 1000)
        return block

    # -- transactions -------------------------------------------------------------------------------------------------

    def mined(self, txid: str) -> Mined | None:
        """A transaction that is in a block, None while there is none with this id."""
        with self._lock:
            self._advance()
            return self._mined.get(txid.lower())

    def history(self) -> list[Mined]:
        """Every transaction in a block, the oldest first."""
        with self._lock:
            self._advance()
            return list(self._mined.values())

    def submit(self, wire: bytes) -> Envelope:
        """Take a signed transaction, and mine it at once unless `mining` is off; raises Rejected."""
        try:
            tx = decode(wire)
        except Malformed as cause:
            raise Rejected("OTHER_ERROR", f"Error: {cause}") from None
        with self._lock:
            self._advance()
            if tx.txid in self._mined or tx.txid in self._waiting:
                raise Rejected("DUP_TRANSACTION_ERROR", "Dup transaction.")
            self._check_signature(tx)
            self._check_tapos(tx)
            self._check_common(tx)
            _, net_fee = self._bandwidth(tx)
            self._check_contract(tx, self._machine.balance(tx.owner) - net_fee)
            if self.mining:
                self._execute(tx)
            else:
                self._waiting[tx.txid] = tx
        return tx

    def send(self, key: EvmKey, to: bytes, data: bytes = b"", value: int = 0) -> Mined:
        """Sign and mine a transaction of the sandbox's own; one that fails is mined too. Raises Rejected."""
        with self._lock:
            self._stamp = max(self._stamp + 1, self._time())  # two equal calls within a millisecond are two transactions
            block = self.head().id
            limit = FEE_LIMIT if data else 0
            raw = written(bytes.fromhex(key.address[2:]), to, data, block, self._stamp, value=value, fee_limit=limit)
            tx = self.submit(whole(raw, key.sign(sha256(raw).digest())))
            return self._mined[tx.txid]

    def _check_signature(self, tx: Envelope) -> None:
        words = "Validate signature error: "
        if not tx.signatures:
            raise Rejected("SIGERROR", f"{words}miss sig or contract")
        if tx.permission not in (0, 2):
            raise Rejected("SIGERROR", f"{words}permission isn't exit")
        if len(tx.signatures) > 1:
            raise Rejected("SIGERROR", f"{words}Signature count is {len(tx.signatures)} more than key counts of permission : 1")
        try:
            signer = bytes.fromhex(recover(tx.digest, tx.signatures[0])[2:])
        except ValueError as cause:
            raise Rejected("SIGERROR", f"{words}{cause}") from None
        if signer != tx.owner:
            raise Rejected("SIGERROR", f"{words}{tx.signatures[0].hex()} is signed by {show(signer)} but it is not contained of permission.")

    def _check_tapos(self, tx: Envelope) -> None:
        """The block that it names is the newest of 65,536 with those last two bytes of its number."""
        newest = self._blocks[-1].number
        number = newest - (newest - int.from_bytes(tx.ref_block)) % 65_536
        named = self.block(number)
        if len(tx.ref_block) != 2 or named is None or named.id[8:16] != tx.ref_hash:
            raise Rejected("TAPOS_ERROR", "Tapos check error.")

    def _check_common(self, tx: Envelope) -> None:
        last = self._blocks[-1].timestamp
        if len(tx.wire) > MAX_SIZE:
            raise Rejected("TOO_BIG_TRANSACTION_ERROR", "Transaction size is too big.")
        if tx.expiration <= last or tx.expiration > last + LIFETIME:
            raise Rejected("TRANSACTION_EXPIRATION_ERROR", "Transaction expired")

    def _check_contract(self, tx: Envelope, sun: int) -> None:
        """What java-tron's actuators check; `sun` is what the owner has once bandwidth is paid."""

        def no(words: str) -> Rejected:
            return Rejected("CONTRACT_VALIDATE_ERROR", f"Contract validate error : {words}")

        if tx.kind == CALL:
            if not 0 <= tx.fee_limit <= MAX_FEE_LIMIT:
                raise no(f"feeLimit must be >= 0 and <= {MAX_FEE_LIMIT}")
            if not self._machine.code(tx.to):
                raise no("No contract or not a valid smart contract")
            if tx.value < 0:
                raise no("callValue must be >= 0")
            if tx.value > sun:
                raise no("Validate InternalTransfer error, balance is not sufficient.")
            return
        if tx.to == tx.owner:
            raise no("Cannot transfer TRX to yourself.")
        if tx.value <= 0:
            raise no("Amount must be greater than 0.")
        if self._machine.code(tx.to):
            raise no("Cannot transfer TRX to a smartContract.")
        if sun < tx.value:
            raise no("Validate TransferContract error, balance is not sufficient.")

    def _bandwidth(self, tx: Envelope) -> tuple[int, int]:
        """Free bytes and sun that its size, its memo and a new account cost; raises Rejected."""
        if tx.owner not in self._accounts:
            words = f"Contract validate error : account [{show(tx.owner)}] does not exist"
            raise Rejected("CONTRACT_VALIDATE_ERROR", words)
        size = len(tx.wire) + 64
        fee = MEMO if tx.memo else 0
        if tx.kind != CALL and tx.to not in self._accounts:
            fee += NEW_ACCOUNT
        elif size > FREE_BANDWIDTH - self.bandwidth_used(tx.owner):
            fee += size * BANDWIDTH_PRICE
        if self._machine.balance(tx.owner) < fee:
            raise Rejected("BANDWITH_ERROR", "Account resource insufficient error.")
        return (0, fee) if fee > (MEMO if tx.memo else 0) else (size, fee)

    def bandwidth_used(self, address: bytes) -> int:
        """Bytes of an account's free bandwidth that have not come back yet; a day brings all of it back, evenly."""
        with self._lock:
            used, when = self._free.get(address, (0, 0))
            return used * max(0, _DAY - (self._blocks[-1].timestamp - when)) // _DAY

    def _execute(self, tx: Envelope) -> Mined:
        """Mine a checked transaction in a block of its own."""
        net, net_fee = self._bandwidth(tx)
        block = self._mine(self._time(), (tx.txid,))
        if net:
            self._free[tx.owner] = (self.bandwidth_used(tx.owner) + net, block.timestamp)
        self._machine.endow(tx.owner, self._machine.balance(tx.owner) - net_fee)
        ran, result, energy = self._call(tx) if tx.kind == CALL else self._transfer(tx)
        energy_fee = energy * ENERGY_PRICE
        self._machine.endow(tx.owner, self._machine.balance(tx.owner) - energy_fee)
        made = Mined(
            tx, block.number, block.timestamp, result, ran.output, ran.logs, energy, energy_fee, net, net_fee, net_fee + energy_fee
        )
        self._mined[tx.txid] = made
        return made

    def _transfer(self, tx: Envelope) -> tuple[Ran, str, int]:
        ran = self._machine.run(tx.owner, tx.to, b"", keep=True, value=tx.value)
        self._accounts.add(tx.to)
        return ran, "SUCCESS", 0

    def _call(self, tx: Envelope) -> tuple[Ran, str, int]:
        """Run the contract with the energy that the fee limit and the owner's TRX buy; what halts takes all of it."""
        sun = self._machine.balance(tx.owner) - tx.value
        limit = min(tx.fee_limit, sun) // ENERGY_PRICE
        before = intrinsic(tx.data)
        ran = self._machine.run(tx.owner, tx.to, tx.data, keep=True, value=tx.value, gas=limit + before)
        if ran.halt:
            return ran, _HALTS.get(ran.halt, "UNKNOWN"), limit
        return ran, "SUCCESS" if ran.ok else "REVERT", max(0, ran.gas + ran.refund - before)

    # -- state --------------------------------------------------------------------------------------------------------

    def call(self, to: bytes, data: bytes, caller: bytes = bytes(20), *, value: int = 0) -> tuple[Ran, int]:
        """Run code and forget what it changed: what it returned, and the energy that it used. TVM gives none back for what was cleared."""
        with self._lock:
            self._advance()
            last = self._blocks[-1]
            self._machine.block(last.number + 1, max(self._time(), last.timestamp) // 1000)
            ran = self._machine.run(caller, to, data, keep=False, value=value, gas=GAS)
            return ran, max(0, ran.gas + ran.refund - intrinsic(data))

    def install(self, address: bytes, code: bytes) -> None:
        """Put runtime code at an address."""
        with self._lock:
            self._machine.install(address, code)
            self._accounts.add(address)

    def code(self, address: bytes) -> bytes:
        """The runtime code at an address, b"" for a plain account."""
        with self._lock:
            return self._machine.code(address)

    def exists(self, address: bytes) -> bool:
        """Whether the account was activated: by a transfer of TRX, or by `endow`."""
        with self._lock:
            return address in self._accounts

    def sun(self, address: bytes) -> int:
        """The TRX of an address, in sun."""
        with self._lock:
            self._advance()
            return self._machine.balance(address)

    def endow(self, address: bytes, sun: int) -> None:
        """Set the TRX of an address, and activate it."""
        with self._lock:
            self._machine.endow(address, sun)
            self._accounts.add(address)

    @property
    def backend(self) -> Backend:
        """Which EVM runs below: pyrevm or py-evm."""
        return self._machine.name
