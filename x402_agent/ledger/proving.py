"""Whether this machine can keep a ledger: a throw-away one beside the real one is locked, written, synced and read again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ..errors import LedgerError, PaymentError
from . import lock
from .store import Store
from .writer import Job, Writer

__all__ = ["trial"]

ROOM = 100 << 20  # bytes that should be free
SLOW = 0.25  # seconds of one durable commit from which on paying is slow
COMMITS = 8
_ASK = "import sys; from x402_agent.ledger import lock; fd = lock.open_private(__import__('pathlib').Path(sys.argv[1])); "
_OTHER = _ASK + "sys.exit(3 if lock.try_lock(fd) else 0)"

Check = tuple[str, bool, str]


def trial(path: Path) -> list[Check]:
    """Lock, fsync, what was written, disk space and clock, where the ledger at `path` lies or will lie: (name, ok, words)."""
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".trial-", dir=folder))
    except OSError as cause:
        return [("folder", False, f"{folder} cannot be written: {cause.strerror}")]
    try:
        return [("folder", True, str(folder)), *_written(scratch), _space(folder), _clock(path)]
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _written(scratch: Path) -> list[Check]:
    """The lock against this process and another one, and durable commits that are there when the file is opened again."""
    try:
        store = Store(scratch / "ledger.db", time.time, durable=True)  # proves the lock to itself (Z8)
    except PaymentError as why:
        return [("lock", False, why.what)]
    try:
        found = [_other_process(store, scratch / "ledger.db.lock")]
        writer, took = Writer(store), []
        for number in range(COMMITS):
            start = time.perf_counter()
            Job(writer, lambda one, n=number: one.journal.append("trial", n, ("", "TRIAL"), 0, "{}"), write=True, full=True).run()  # type: ignore[misc]
            took.append(time.perf_counter() - start)
        best = sorted(took)[COMMITS // 2]
        found.append(("fsync", best < SLOW, f"{best * 1000:.1f} ms for a durable commit"))
    except (PaymentError, OSError) as why:
        return [("fsync", False, why.what if isinstance(why, PaymentError) else str(why.strerror))]
    finally:
        with suppress(PaymentError, OSError):
            store.close()
    return [*found, _again(scratch / "ledger.db")]


def _other_process(store: Store, path: Path) -> Check:
    lock.acquire(store.fd)
    try:
        done = subprocess.run(  # noqa: S603 - our own words and path
            [sys.executable, "-c", _OTHER, str(path)], timeout=30, check=False, capture_output=True
        )
    except (OSError, subprocess.SubprocessError) as why:
        return ("lock", False, f"no other process could be asked: {type(why).__name__}")
    finally:
        lock.unlock(store.fd)
    words = {0: "another process has to wait for it", 3: "another process could take it as well (Z8)"}
    return ("lock", done.returncode == 0, words.get(done.returncode, "the other process failed"))


def _again(path: Path) -> Check:
    try:
        db = sqlite3.connect(path)
        (count,) = db.execute("SELECT COUNT(*) FROM x402_events").fetchone()
        (whole,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        db.close()
    except sqlite3.Error as why:
        return ("read back", False, str(why))
    return ("read back", count == COMMITS and whole == "ok", f"{count} of {COMMITS} entries, {whole}")


def _space(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    return ("disk", free > ROOM, f"{free >> 20} MiB free")


def _clock(path: Path) -> Check:
    """Against itself, and against the newest entry of the ledger."""
    steps, start = (time.time(), time.monotonic()), time.time()
    time.sleep(0.05)
    drift = abs((time.time() - steps[0]) - (time.monotonic() - steps[1]))
    if drift > 1:
        return ("clock", False, f"it jumped by {drift:.1f} s within a moment")
    newest = _newest(path)
    if newest and start < newest - 300:
        return ("clock", False, f"{newest - start:.0f} s behind the newest entry of the ledger (Z12)")
    return ("clock", True, time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(start)))


def _newest(path: Path) -> float:
    if not path.exists():
        return 0.0
    try:
        fd = lock.open_private(path, create=False)
        os.close(fd)
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        row = db.execute("SELECT at FROM x402_events ORDER BY seq DESC LIMIT 1").fetchone()
        db.close()
    except (sqlite3.Error, OSError, LedgerError):
        return 0.0
    return float(row[0]) / 1000 if row else 0.0
