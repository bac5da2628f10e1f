"""The file itself: opened privately, migrated forward only, one connection, one batch of jobs per transaction.

Beside the database lie `.lock` (the lock between processes; it also holds a batch number, so that what memory knows
can be trusted, and the head of the journal after the last durable commit), `.owners/` and `.secret`.
"""

from __future__ import annotations

import hmac
import os
import secrets
import sqlite3
import stat
import struct
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import LedgerError, PaymentError
from . import checkpoints, counters, lock
from .cache import Cache
from .events import Journal
from .lock import read_at_start, write_at
from .schema import migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .notes import Note
    from .writer import Job

__all__ = ["Store", "day_of"]

CLOCK_SLACK = 300  # seconds the clock may stand behind the newest row
FRESH = 0.5  # seconds after a batch of ours for which memory is near enough to the file to plan by
_HEAD = struct.Struct("<QQ64s")
_SPOILT = (sqlite3.Error, ValueError, OverflowError, TypeError)  # what a value that cannot be stored raises
_FAILED: dict[Path, str] = {}  # after a failed fsync nothing is known in this process, however often it opens the file
_GRAVEYARD: list[sqlite3.Connection] = []  # connections inherited by fork: closing one would harm the parent's


@lru_cache(maxsize=8)
def _day(number: int) -> str:
    return datetime.fromtimestamp(number * 86400, UTC).strftime("%Y-%m-%d")


def day_of(seconds: float) -> str:
    """The UTC day of a unix time: `2026-11-21`."""
    return _day(int(seconds) // 86400)


def stamp(fd: int, generation: int, journal: Journal) -> None:
    """Write into the lock file which batch this was, and the head after it."""
    write_at(fd, _HEAD.pack(generation, journal.seq, journal.head.encode()))


def stamped(fd: int) -> tuple[int, int, str]:
    """Batch number, and the head after the last durable commit as (seq, hash); zeros and "" where there was none."""
    raw = read_at_start(fd, _HEAD.size)
    if len(raw) < _HEAD.size:
        return int.from_bytes(raw[:8], "little"), 0, ""
    generation, seq, digest = _HEAD.unpack(raw)
    return generation, seq, digest.rstrip(b"\0").decode("ascii", "replace")


class Store:
    """One open ledger file of one process."""

    def __init__(self, path: Path, clock: Callable[[], float], *, durable: bool) -> None:
        self.path, self.clock, self.durable = path, clock, durable
        self.broken = _FAILED.get(path, "")
        self.cache = Cache()
        self.note: Note | None = None  # where the head is written down a second time
        self._synchronous = ""
        self._fresh_until = 0.0
        self.brought = False  # whether the batch under way brings goods that wait
        self._full = False  # whether the batch under way must reach the disk
        self._open_files()

    # -- opening ------------------------------------------------------------------------------------------------

    def _open_files(self) -> None:
        _prepare_folder(self.path.parent)
        self.fd = lock.open_private(self._beside(".lock"))
        self.line = lock.open_private(self._beside(".line"))
        try:
            lock.acquire(self.fd)
            try:
                lock.prove(self._beside(".lock"))
                self.owner = secrets.token_hex(8)
                self.owners = lock.Owners(self._beside(".owners"), self.owner)
                self.secret = self._read_secret()
                self.mac = hmac.new(self.secret, digestmod="sha256")  # to be copied: keying one costs more than the rest
                self.db = self._connect()
                migrate(self.db)
                self.journal = Journal(self.db)
                self._check_mirror()
            finally:
                lock.unlock(self.fd)
        except (*_SPOILT, OSError) as cause:
            self._abandon()
            raise failed(cause, self.path) from cause
        except BaseException:
            self._abandon()
            raise

    def _abandon(self) -> None:
        if hasattr(self, "owners"):
            self.owners.close()
        if hasattr(self, "db"):
            self.db.close()
        self._close_locks()

    def _close_locks(self) -> None:
        os.close(self.fd)
        os.close(self.line)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    def _connect(self) -> sqlite3.Connection:
        if not os.path.lexists(self.path):
            os.close(lock.open_private(self.path))  # so that it is born 0600; its -wal and -shm inherit that
        made = os.lstat(self.path)
        if not stat.S_ISREG(made.st_mode) or (hasattr(os, "getuid") and made.st_uid != os.getuid()):
            raise LedgerError(f"{self.path} is not a plain file of this user", rule="never through a link (Z13)", hint=f"ls -l {self.path}")
        if sys.platform != "win32" and made.st_mode & 0o077:
            os.chmod(self.path, 0o600)
        db = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, timeout=30, cached_statements=128
        )
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA cache_size=-8000")
        db.execute("PRAGMA wal_autocheckpoint=2000")
        self._set_synchronous(db, "NORMAL")
        return db

    def _read_secret(self) -> bytes:
        fd = lock.open_private(self._beside(".secret"))
        try:
            found = os.read(fd, 64)
            if not found:
                found = secrets.token_bytes(32)
                os.write(fd, found)
                os.fsync(fd)
        finally:
            os.close(fd)
        if len(found) != 32:
            raise LedgerError(f"{self._beside('.secret')} is damaged", rule="the ledger's secret is 32 bytes", hint="put a backup of it there; or x402-agent ledger repair --dry-run")
        return found

    def _check_mirror(self) -> None:
        """The head written down after the last durable commit must still be in the journal (Z3: an old copy)."""
        _, seq, digest = stamped(self.fd)
        if seq and self.journal.hash_at(seq) != digest:
            self.broken = f"{self.path} is older than its own last commit (entry {seq} is missing or changed)"

    # -- the lock file's 88 bytes -------------------------------------------------------------------------------

    def generation(self) -> int:
        """The number of the last batch that any process began."""
        raw = read_at_start(self.fd, 8)
        return int.from_bytes(raw, "little") if len(raw) == 8 else 0

    def brought_at(self) -> int:
        """The number of the last batch, of any process, that brought goods; 0 for none."""
        return int.from_bytes(read_at_start(self.fd, _HEAD.size + 8)[_HEAD.size :], "little")

    def current(self) -> bool:
        """Whether what memory knows is exactly what the file holds."""
        return self.cache.generation == self.generation()

    def recent(self) -> bool:
        """Whether what memory knows is what the file held a moment ago: good enough for a plan, which Commit judges again."""
        return time.monotonic() < self._fresh_until

    # -- batches ------------------------------------------------------------------------------------------------

    def perform(self, jobs: Sequence[Job[Any]]) -> None:
        """Run a batch: reads as they come, writes in one transaction; fills each job's value or error."""
        if any(job.write for job in jobs):
            self._guarded(jobs, self._transaction)
        else:
            for job in jobs:
                self._one(job)

    def begin(self, jobs: Sequence[Job[Any]]) -> bool:
        """A batch of writes up to its COMMIT, without waiting for another process; `finish` is due, in any thread.

        False: nothing was done, and all of it is left to `perform`.
        """
        if not lock.acquire_now(self.fd, self.line):
            return False
        try:
            self._write(jobs)
        except Exception:
            return False
        return True

    def finish(self, jobs: Sequence[Job[Any]]) -> None:
        """COMMIT what was begun; a job that is not durable then has an error."""
        self._guarded(jobs, self._commit)

    def _guarded(self, jobs: Sequence[Job[Any]], work: Callable[[Sequence[Job[Any]]], None]) -> None:
        try:
            work(jobs)
        except PaymentError as cause:
            _fail(jobs, cause)
        except OSError as cause:
            what = f"the ledger {self.path} cannot be written: {cause.strerror}"
            _fail(jobs, LedgerError(what, rule="no journal, no signature", hint="x402-agent ledger test"))
        except _SPOILT as cause:
            if len(jobs) == 1:
                _fail(jobs, failed(cause, self.path))
                return
            for job in jobs:  # one of them spoiled the batch: each on its own, and only that one fails
                try:
                    self._transaction([job])
                except (PaymentError, *_SPOILT) as own:
                    _fail([job], own if isinstance(own, PaymentError) else failed(own, self.path))

    def _transaction(self, jobs: Sequence[Job[Any]]) -> None:
        lock.acquire(self.fd, line=self.line)
        self._write(jobs)
        self._commit(jobs)

    def _write(self, jobs: Sequence[Job[Any]]) -> None:
        """All but the COMMIT, under the lock; when it fails nothing is left of it, and the lock is free."""
        try:
            self._full = self.durable and any(job.full for job in jobs)
            self._set_synchronous(self.db, "FULL" if self._full else "NORMAL")
            begun = self._begin_generation()
            self.db.execute("BEGIN IMMEDIATE")
            if not begun:
                self._reload()
            for job in jobs:
                job.error = None
                self._one(job)
            counters.flush(self)
            if checkpoints.due(self):
                checkpoints.seal(self)
        except BaseException as cause:
            self._undo(cause)
            raise

    def _commit(self, _: Sequence[Job[Any]]) -> None:
        try:
            self.db.execute("COMMIT")
            if self.brought:  # told once they can be read, and not before
                write_at(self.fd, self.cache.generation.to_bytes(8, "little"), _HEAD.size)
                self.brought = False
            if self._full:
                stamp(self.fd, self.cache.generation, self.journal)
                if self.note is not None:
                    self.note.follow(self.journal)
        except BaseException as cause:
            self._undo(cause)
            raise
        self._fresh_until = time.monotonic() + FRESH
        lock.unlock(self.fd)

    def _undo(self, cause: BaseException) -> None:
        self.brought = False
        self.cache.forget()
        self.journal.forget()
        with suppress(sqlite3.Error):
            self.db.execute("ROLLBACK")
        if isinstance(cause, sqlite3.Error) and "I/O" in str(cause):
            self.broken = _FAILED[self.path] = f"writing {self.path} failed: {cause}; start a new process (Z7)"
        lock.unlock(self.fd)

    def _begin_generation(self) -> bool:
        """Number this batch before it can change anything. -> whether memory still knows the file."""
        found = self.generation()
        known = self.cache.generation == found
        if not known:
            self.cache.forget()
            self.journal.forget()
        self.cache.generation = found + 1
        write_at(self.fd, (found + 1).to_bytes(8, "little"))
        return known

    def _reload(self) -> None:
        self.journal.load()
        keys = self.cache.open_keys
        keys.clear()
        for (key,) in self.db.execute("SELECT ask_key FROM x402_payments WHERE is_open = 1"):
            keys[key] = keys.get(key, 0) + 1

    def _one(self, job: Job[Any]) -> None:
        """A PaymentError is an answer, raised before anything was written; every other error spoils the batch."""
        try:
            job.value = job.operation(self)
        except PaymentError as cause:
            job.error = cause
        except _SPOILT as cause:
            if job.write:
                raise
            job.error = failed(cause, self.path)

    def _set_synchronous(self, db: sqlite3.Connection, mode: str) -> None:
        if mode != self._synchronous:
            db.execute(f"PRAGMA synchronous={mode}")
            self._synchronous = mode

    # -- time, trust, ending ------------------------------------------------------------------------------------

    def now(self) -> float:
        """The clock; raises LedgerError when it stands minutes behind the newest row (Z12), or the file is broken."""
        if self.broken:
            raise LedgerError(self.broken, rule="no journal, no signature (Z1)", hint="x402-agent ledger repair --dry-run")
        now, newest = self.clock(), self.journal.at / 1000
        if now < newest - CLOCK_SLACK:
            behind = newest - now
            raise LedgerError(
                f"the clock stands {behind:.0f} seconds behind the newest row of the ledger",
                rule=f"at most {CLOCK_SLACK} seconds behind (Z12)",
                hint="set the clock of this machine",
            )
        return max(now, newest)  # in the ledger time does not run backwards

    def time(self) -> float:
        """The ledger's time for one who only reads: whatever the clock says, not before the newest entry of the file."""
        newest = self.db.execute("SELECT at FROM x402_events ORDER BY seq DESC LIMIT 1").fetchone()
        return max(self.clock(), newest[0] / 1000 if newest else 0)

    def resign(self) -> None:
        """Be taken for gone: a row that we could not close is then shown again by others, and not bought anew beside it."""
        self.owners.close()

    def close(self) -> None:
        """Close under the lock, since the last close of a WAL database checkpoints it."""
        lock.acquire(self.fd)
        try:
            self.db.close()
        finally:
            self.owners.close()
            lock.unlock(self.fd)
            self._close_locks()

    def forked(self) -> None:
        """In a forked child: let go of the parent's descriptors and never touch its connection, not even to close."""
        _GRAVEYARD.append(self.db)
        if sys.implementation.name == "cpython":
            import ctypes

            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.db))
        self.owners.forget()
        self._close_locks()


def failed(cause: Exception, path: Path) -> LedgerError:
    """Any other error as ours. SQLite's messages name tables and causes, never values; others give their type only."""
    what = str(cause) if isinstance(cause, sqlite3.Error) else getattr(cause, "strerror", "") or type(cause).__name__
    made = LedgerError(
        f"the ledger {path} cannot be used: {what}", rule="no journal, no signature", hint="x402-agent doctor"
    )
    made.__cause__ = cause
    return made


def _fail(jobs: Sequence[Job[Any]], cause: PaymentError) -> None:
    for job in jobs:
        job.error, job.unwritten = cause, True


def _prepare_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = folder.stat()
    except OSError as cause:
        raise LedgerError(f"{folder} cannot be used: {cause.strerror}", rule="no journal, no signature", hint="another folder: export X402_AGENT_HOME=/path") from cause
    if sys.platform != "win32" and made.st_mode & 0o002:
        raise LedgerError(
            f"everybody may write in {folder}", rule="the ledger's folder is private (Z13)", hint=f"chmod 700 {folder}"
        )
