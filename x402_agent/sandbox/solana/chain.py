"""Blocks, blockhashes and history over one LiteSVM, which has none of them as a chain has. One lock: it is not thread-safe.

The VM runs the programs. What a chain adds is done here: signatures are checked, a blockhash is good for 150 blocks after it
was handed out and for no other, a message runs once, and every transaction that paid its fee stays in the history, failed
ones too. A slot takes 0.4 s of the clock handed in; what is executed is final at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from solders.account import Account
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from .token import MEMO

if TYPE_CHECKING:
    from collections.abc import Callable

    from solders.signature import Signature

__all__ = ["GENESIS", "LIFE", "Chain", "Failed", "Row", "Tried"]

GENESIS = "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"  # devnet's own
LIFE = 150  # blocks that a blockhash is good for
SLOT_MS = 400
FAUCET = 10**18  # lamports
FIRST_SLOT = 420_000_000
SKIPPED = 20_000_000  # slots without a block before ours: nobody should take a slot for a height
_WORDS = {
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "SignatureFailure": "Transaction did not pass signature verification",
    "AccountNotFound": "Attempt to debit an account but found no record of a prior credit.",
    "InsufficientFundsForFee": "Insufficient funds for fee",
    "UnsupportedVersion": "Transaction version is unsupported",
}


class Failed(Exception):
    """A transaction that never got into a block. `err` is Solana's TransactionError as JSON."""

    def __init__(self, err: Any, logs: list[str] | None = None, units: int = 0) -> None:
        super().__init__(words(err))
        self.err = err
        self.logs = logs or []
        self.units = units


def words(err: Any) -> str:
    """A TransactionError in words."""
    if isinstance(err, str):
        return _WORDS.get(err, err)
    if isinstance(err, dict) and isinstance(failed := err.get("InstructionError"), list):
        index, why = failed
        code = why.get("Custom") if isinstance(why, dict) else None
        return f"Error processing Instruction {index}: {why if code is None else f'custom program error: {code:#x}'}"
    return str(err)


class Tried(NamedTuple):
    """What came of running a transaction: `err` None when it went through, compute `units`, the `fee` in lamports."""

    err: Any
    logs: list[str]
    units: int
    fee: int


class Row(NamedTuple):
    """A transaction in the history. `before` and `after` are its accounts, in the order of the message."""

    signature: Signature
    tx: VersionedTransaction
    slot: int
    time: int
    tried: Tried
    before: tuple[Account | None, ...]
    after: tuple[Account | None, ...]

    @property
    def version(self) -> int | str:
        """0 or `legacy`."""
        return 0 if isinstance(self.tx.message, MessageV0) else "legacy"

    @property
    def memo(self) -> str | None:
        """What nodes show as the memo: `[length] text`, several joined by a semicolon."""
        keys = self.tx.message.account_keys
        found = [bytes(each.data) for each in self.tx.message.instructions if keys[each.program_id_index] == MEMO]
        return "; ".join(f"[{len(each)}] {each.decode('utf-8', 'replace')}" for each in found) or None


class Chain:
    """`clock` gives unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.lock = threading.RLock()
        self.lag = 0  # seconds after which its node first shows a transaction, where a scenario hides what has landed
        self._apart = _Apart()
        self._clock = clock
        self._start = clock()
        self._warped = 0
        self._slot = 0
        self._seed = secrets.token_bytes(32)
        self._issued: dict[Hash, int] = {}
        self._done: dict[bytes, Row] = {}
        self._rows: dict[Signature, Row] = {}
        self._of: dict[Pubkey, list[Row]] = {}
        self._last: dict[Pubkey, Account | None] = {}
        # Signatures, blockhashes and repetitions are judged here: the VM forgets after 32 transactions.
        self._vm = LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        self._faucet = Keypair()
        self._vm.set_account(self._faucet.pubkey(), Account(FAUCET, b"", Pubkey.default(), False, 0))

    # -- time ---------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        """The chain's time, unix seconds."""
        return int(self._clock()) + self._warped

    def warp(self, seconds: int) -> None:
        """Let `seconds` pass."""
        with self.lock:
            self._warped += seconds

    def slot(self) -> int:
        """The newest slot; it never falls."""
        with self.lock:
            passed = self._clock() + self._warped - self._start
            found = max(self._slot, FIRST_SLOT + int(passed * 1000) // SLOT_MS)
            if found != self._slot:
                self._slot = found
                clock = self._vm.get_clock()
                clock.slot, clock.unix_timestamp = found, self.now()
                self._vm.set_clock(clock)
            return found

    def height(self) -> int:
        """The newest block's height."""
        return self.slot() - SKIPPED

    def blockhash(self) -> tuple[Hash, int]:
        """The newest blockhash, and the last block height at which it is good."""
        with self.lock:
            slot = self.slot()
            made = Hash(hashlib.sha256(self._seed + slot.to_bytes(8, "big")).digest())
            self._issued[made] = slot
            return made, slot - SKIPPED + LIFE

    def good(self, blockhash: Hash) -> bool:
        """Whether a block takes this blockhash now."""
        with self.lock:
            slot = self._issued.get(blockhash)
            return slot is not None and self.slot() - slot <= LIFE

    # -- accounts -----------------------------------------------------------------------------------------------------

    def account(self, address: Pubkey) -> Account | None:
        """An account, None when it does not exist."""
        with self.lock:
            return self._vm.get_account(address)

    def endow(self, address: Pubkey, lamports: int) -> Row:
        """An airdrop: a transfer by the chain's own faucet."""
        facts = TransferParams(from_pubkey=self._faucet.pubkey(), to_pubkey=address, lamports=lamports)
        blockhash, _ = self.blockhash()
        unique = Instruction(MEMO, secrets.token_hex(8).encode(), [])
        message = MessageV0.try_compile(self._faucet.pubkey(), [transfer(facts), unique], [], blockhash)
        tx = VersionedTransaction(message, [self._faucet])
        return self.execute(tx, self.admit(tx))

    def install(self, address: Pubkey, account: Account) -> None:
        """Put an account there, as no transaction could."""
        with self.lock:
            self._vm.set_account(address, account)
            self._last.pop(address, None)

    def rent(self, size: int) -> int:
        """Lamports that make an account of `size` bytes exempt from rent."""
        with self.lock:
            return self._vm.minimum_balance_for_rent_exemption(size)

    # -- transactions -------------------------------------------------------------------------------------------------

    def admit(self, tx: VersionedTransaction, *, signed: bool = True, blockhash: bool = True) -> bytes:
        """The message's hash, when a block would take the transaction; raises Failed."""
        message = tx.message
        if getattr(message, "address_table_lookups", None):
            raise Failed("UnsupportedVersion")
        if signed and not all(tx.verify_with_results()):
            raise Failed("SignatureFailure")
        digest = hashlib.sha256(to_bytes_versioned(message)).digest()
        with self.lock:
            if blockhash and not self.good(message.recent_blockhash):
                raise Failed("BlockhashNotFound")
            if digest in self._done:
                raise Failed("AlreadyProcessed")
        return digest

    def simulate(self, tx: VersionedTransaction) -> Tried:
        """Run an admitted transaction, keeping nothing."""
        with self.lock:
            self.slot()
            return _tried(self._apart.run(self._vm.simulate_transaction, tx))

    def execute(self, tx: VersionedTransaction, digest: bytes, *, careful: bool = False) -> Row:
        """Run an admitted transaction in the newest block; one whose instructions fail pays its fee and is kept, too.

        When `careful` it gets into no block then: what whoever simulates first sees, for one run instead of two.
        Raises Failed when it gets into no block.
        """
        keys = tx.message.account_keys
        with self.lock:
            if digest in self._done:
                raise Failed("AlreadyProcessed")
            slot = self.slot()
            before = tuple(self._known(each) for each in keys)
            tried = _tried(self._apart.run(self._vm.send_transaction, tx))
            if tried.err is not None and (careful or not tried.fee):
                if tried.fee and before[0]:
                    self._vm.set_account(keys[0], before[0])
                raise Failed(tried.err, tried.logs, tried.units)
            for each in _writable(tx, keys):
                self._last[each] = self._vm.get_account(each)
            after = tuple(self._last[each] for each in keys)
            row = Row(tx.signatures[0], tx, slot, self.now(), tried, before, after)
            self._done[digest] = self._rows[row.signature] = row
            for each in keys:
                self._of.setdefault(each, []).append(row)
            return row

    def _known(self, address: Pubkey) -> Account | None:
        if address not in self._last:
            self._last[address] = self._vm.get_account(address)
        return self._last[address]

    def row(self, signature: Signature) -> Row | None:
        """A transaction by its id."""
        with self.lock:
            return self._rows.get(signature)

    def rows(self, address: Pubkey) -> list[Row]:
        """Every transaction that names an account, newest first."""
        with self.lock:
            return self._of.get(address, [])[::-1]


def _writable(tx: VersionedTransaction, keys: list[Pubkey]) -> list[Pubkey]:
    """The accounts that a transaction may change: first among those that sign, and first among the others."""
    header = tx.message.header
    signers = header.num_required_signatures
    end = len(keys) - header.num_readonly_unsigned_accounts
    return keys[: signers - header.num_readonly_signed_accounts] + keys[signers:end]


class _Apart:
    """A thread of its own for the VM: programs leave the processor's old floating-point registers in use (x86-64), and whoever reckons in
    long doubles next in that thread, SQLite above all, would take 0.1 for no number. Under the chain's lock."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def run(self, work: Callable[[VersionedTransaction], Any], tx: VersionedTransaction) -> Any:
        """What the VM makes of a transaction."""
        if self._pool is None or self._process != os.getpid():  # a fork has no threads but the one that forked
            self._pool, self._process = ThreadPoolExecutor(1, "x402-solana"), os.getpid()
        return self._pool.submit(work, tx).result()


def _tried(result: Any) -> Tried:
    """A result of the VM: for a failure the error as JSON; no fee is taken from what got into no block."""
    meta = result.meta() if callable(getattr(result, "meta", None)) else result
    if not hasattr(result, "err"):
        return Tried(None, meta.logs(), meta.compute_units_consumed(), meta.fee())
    err = json.loads(result.to_json())["err"]
    included = isinstance(err, dict)
    return Tried(err, meta.logs(), meta.compute_units_consumed(), meta.fee() if included else 0)
