"""A pretend Stacks testnet in this process: real signed transactions, a mempool, a block per transaction.

Time is the clock handed in, plus what was warped. One lock guards everything: any thread may call.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ...chains.stacks import Call, Transfer
from .conditions import met
from .pool import Pool, Rejected, admit
from .signed import read
from .state import STX, State
from .values import TRUE, Value, err, ok

if TYPE_CHECKING:
    from collections.abc import Callable

    from .contracts import Contract
    from .signed import Signed
    from .state import Move

__all__ = ["CHAIN_ID", "NETWORK", "Block", "Chain", "Entry"]

CHAIN_ID = 0x80000000
NETWORK = f"stacks:{CHAIN_ID}"
DONE = ok(TRUE)
GENESIS = 3_000_000  # nobody should rely on small block heights
Status = Literal[
    "pending",
    "success",
    "abort_by_response",
    "abort_by_post_condition",
    "dropped_replace_by_fee",
    "dropped_stale_garbage_collect",
    "dropped_problematic",
]


@dataclass(frozen=True, slots=True)
class Block:
    """One block: its height, `timestamp` in unix seconds, hash as 0x-hex."""

    height: int
    timestamp: int
    hash: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of a transaction: `result` is the contract's answer, `moves` what stayed moved, `block` where it was
    mined, None while it was not; `seen` in unix seconds.
    """  # fmt: skip

    tx: Signed
    status: Status
    seen: int
    block: Block | None = None
    result: Value = DONE
    moves: tuple[Move, ...] = ()

    @property
    def mined(self) -> bool:
        """Whether a block holds it: its nonce and its fee are spent."""
        return self.block is not None


class Chain:
    """Accounts, contracts, the mempool and blocks. `automatic` off: nothing is mined until `mine` is called."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._lock = threading.RLock()
        self._clock = clock
        self._warped = 0
        self._state = State()
        self._contracts: dict[str, Contract] = {}
        self._nonces: dict[str, int] = {}
        self._pool = Pool()
        self._entries: dict[str, Entry] = {}
        self._blocks: list[Block] = []
        self.automatic = True
        self._block()

    # -- time and blocks ----------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The time of the next block, unix seconds."""
        last = self._blocks[-1].timestamp if self._blocks else 0
        return max(last, int(self._clock()) + self._warped)

    def warp(self, seconds: int) -> None:
        """Let `seconds` pass, and make an empty block."""
        with self._lock:
            self._warped += seconds
            self._block()

    def head(self) -> Block:
        """The newest block; it is final."""
        return self._blocks[-1]

    def _block(self) -> Block:
        height, timestamp = GENESIS + len(self._blocks), self.now()
        parent = self._blocks[-1].hash if self._blocks else ""
        made = Block(height, timestamp, "0x" + hashlib.sha256(f"{height} {timestamp} {parent}".encode()).hexdigest())
        self._blocks.append(made)
        self._state.height = height
        return made

    # -- accounts -----------------------------------------------------------------------------------------------------

    def endow(self, asset: str, who: str, amount: int) -> None:
        """Give atomic units of an asset to somebody, out of nothing."""
        with self._lock:
            self._state.begin()
            self._state.mint(asset, who, amount)

    def balance(self, asset: str, who: str) -> int:
        """Atomic units of `STX` or of `ADDR.contract::asset`."""
        with self._lock:
            return self._state.balance(asset, who)

    def owned(self, who: str) -> dict[str, int]:
        """Every asset that somebody has, in atomic units."""
        with self._lock:
            return self._state.owned(who)

    def nonce(self, who: str) -> int:
        """How many transactions of an account were mined."""
        with self._lock:
            return self._nonces.get(who, 0)

    def waiting(self, who: str) -> list[int]:
        """The nonces of an account that wait in the mempool."""
        with self._lock:
            return self._pool.nonces(who)

    def history(self, who: str) -> list[Entry]:
        """Every transaction that an account was part of, newest first."""
        with self._lock:
            found = [each for each in self._entries.values() if who in _parties(each)]
            return found[::-1]

    # -- contracts ----------------------------------------------------------------------------------------------------

    def deploy(self, contract: Contract) -> None:
        """Put a contract at its name."""
        with self._lock:
            self._contracts[contract.name] = contract

    def contract(self, name: str) -> Contract | None:
        """The contract at `ADDR.contract`."""
        return self._contracts.get(name)

    def ask(self, name: str, function: str, sender: str, args: list[Value]) -> Value:
        """Call a read-only function; raises LookupError where there is none."""
        with self._lock:
            found = self._contracts[name].functions[function]
            if found.access != "read_only" or len(found.args) != len(args):
                raise LookupError(f"no read-only function {function} with {len(args)} arguments")
            return found.body(self._state, sender, [_bare(each) for each in args])

    # -- transactions -------------------------------------------------------------------------------------------------

    def entry(self, txid: str) -> Entry | None:
        """What became of a transaction, by its id with or without 0x."""
        with self._lock:
            return self._entries.get("0x" + txid.lower().removeprefix("0x"))

    def submit(self, raw: bytes) -> str:
        """Take a signed transaction, and mine what can be mined; its id. Raises Malformed, Rejected.

        The same bytes again are no news: their id comes back while they wait, BadNonce once they are mined.
        """
        tx = read(raw)
        with self._lock:
            known = self._entries.get(tx.txid)
            if known is not None and known.status == "pending":
                return tx.txid
            self._admit(tx)
            replaced = self._pool.add(tx)
            if replaced is not None:
                self._mark(replaced, "dropped_replace_by_fee")
            self._entries[tx.txid] = Entry(tx, "pending", self.now())
            if self.automatic:
                self.mine()
        return tx.txid

    @staticmethod
    def name(raw: bytes) -> str:
        """The id that these bytes have, or would have."""
        return read(raw).txid

    def rehearse(self, tx: Signed) -> Entry:
        """What would become of it as things stand, without keeping it; raises Rejected."""
        with self._lock:
            self._admit(tx)
            made = self._run(tx)
            self._state.undo()
            return made

    def mine(self) -> list[str]:
        """Mine everything whose turn it is, each in a block of its own; the ids."""
        done: list[str] = []
        with self._lock:
            while (tx := next((each for each in self._pool.waiting() if self._ready(each)), None)) is not None:
                self._pool.remove(tx)
                if isinstance(tx.payload, Transfer) and tx.conditions:  # SIP-005: meaningless, so never valid
                    self._mark(tx, "dropped_problematic")
                    continue
                self._execute(tx)
                done.append(tx.txid)
        return done

    def pending(self) -> list[str]:
        """The ids of all that wait in the mempool, lower nonces first."""
        with self._lock:
            return [each.txid for each in self._pool.waiting()]

    def drop(self, txid: str, status: Status = "dropped_stale_garbage_collect") -> None:
        """Let the mempool forget a transaction that waits; raises LookupError."""
        with self._lock:
            entry = self.entry(txid)
            if entry is None or entry.status != "pending":
                raise LookupError("no transaction with this id waits")
            self._pool.remove(entry.tx)
            self._mark(entry.tx, status)

    def _admit(self, tx: Signed) -> None:
        admit(tx, self._state, self._contracts, self.nonce, mainnet=False)

    def _mark(self, tx: Signed, status: Status) -> None:
        self._entries[tx.txid] = replace(self._entries[tx.txid], status=status)

    def _ready(self, tx: Signed) -> bool:
        """Whether every account's nonce has come, and what it costs is there still."""
        if any(self.nonce(who) != nonce for who, nonce in tx.slots):
            return False
        try:
            self._admit(tx)
        except Rejected:
            return False
        return True

    def _execute(self, tx: Signed) -> None:
        block = self._block()
        made = self._run(tx)
        if made.status != "success":
            self._state.undo()
        self._state.begin()
        self._state.burn(STX, tx.sponsor or tx.sender, tx.fee)
        for who, nonce in tx.slots:
            self._nonces[who] = nonce + 1
        seen = self._entries[tx.txid].seen
        self._entries[tx.txid] = replace(made, block=block, seen=seen)

    def _run(self, tx: Signed) -> Entry:
        """Carry out the payload over the state as it is: the caller keeps or undoes what it did."""
        self._state.begin()
        fee, payer = tx.fee, tx.sponsor or tx.sender
        self._state.burn(STX, payer, fee)  # a contract sees what is left
        result = self._call(tx.sender, tx.payload)
        self._state.mint(STX, payer, fee)
        moves = tuple(self._state.moves)
        if result[0] == "err":
            return Entry(tx, "abort_by_response", self.now(), result=result)
        if isinstance(tx.payload, Call) and not met(tx.sender, tx.parsed.mode, tx.conditions, moves):
            return Entry(tx, "abort_by_post_condition", self.now(), result=result)
        return Entry(tx, "success", self.now(), result=result, moves=moves)

    def _call(self, sender: str, payload: Transfer | Call) -> Value:
        if isinstance(payload, Transfer):
            code = self._state.transfer(STX, payload.amount, sender, payload.recipient)
            return err(code) if code else DONE
        function = self._contracts[payload.contract].functions[payload.function]
        return function.body(self._state, sender, [_bare(each) for each in payload.arguments])

    def __repr__(self) -> str:
        return f"Chain({NETWORK}, {len(self._entries)} transactions)"


def _bare(value: Value) -> Any:
    return None if value[0] == "none" else value[1]


def _parties(entry: Entry) -> set[str]:
    moved = {who for move in entry.moves for who in (move.sender, move.recipient)}
    return moved | {entry.tx.sender, entry.tx.sponsor}
