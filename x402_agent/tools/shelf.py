"""What one client bought lately, in a private file of its own: bodies to read again without paying, and which requests were answered how.

An entry for a request is made before its payment can leave, so that a process that comes after a crash knows that the
request was made. Bodies are as the seller sent them; the oldest go first where there are too many.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import LedgerError
from .fence import Fenced, fence

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["AGE", "Begun", "Kept", "Shelf"]

AGE = 600.0  # seconds for which the same request has the same outcome
MOST = 256 << 20  # bytes of all bodies
MANY = 1000
_TABLES = (
    "CREATE TABLE IF NOT EXISTS asks (name TEXT PRIMARY KEY, at REAL NOT NULL, key TEXT NOT NULL, done TEXT NOT NULL DEFAULT '') STRICT",
    """CREATE TABLE IF NOT EXISTS goods (id TEXT PRIMARY KEY, at REAL NOT NULL, origin TEXT NOT NULL, kind TEXT NOT NULL,
    cut INTEGER NOT NULL, sha256 TEXT NOT NULL, body BLOB NOT NULL) STRICT""",
)
_SUM = "SELECT COUNT(*), COALESCE(SUM(LENGTH(body)), 0) FROM goods"
_OLDEST = "DELETE FROM goods WHERE id = (SELECT id FROM goods WHERE id <> ? ORDER BY at, rowid LIMIT 1)"


class Begun(NamedTuple):
    """A request that is made: the ledger knows its payment by `key`. `done` is what came of it some minutes ago, "" while that is not known."""

    name: str
    key: str
    of: str
    new: bool
    done: str = ""

    @property
    def payment(self) -> dict[str, Any]:
        """The options of the request: this one purchase, and what it is one of."""
        return {"key": self.key, "of": self.of}


@dataclass(frozen=True, slots=True)
class Kept:
    """A body, or a part of one: `size` bytes in all, as they came, of which `body` begins at `start`. `cut`: not all of it had come."""

    uri: str
    origin: str
    type: str
    size: int
    sha256: str
    body: bytes
    start: int = 0
    cut: bool = False

    @property
    def text(self) -> Fenced | None:
        """It as text in its fence, whole; None where it is no UTF-8."""
        try:
            found = self.body.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return fence(self.origin, found, 12 * len(self.body) + 1)


class Shelf:
    """One client's file; made when something is first put there. Safe in threads and between processes. Raises LedgerError."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path, self.clock = path, clock
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    # -- requests -----------------------------------------------------------------------------------------------------

    def begin(self, name: str, *, again: bool) -> Begun:
        """Write down that a request is made. What was answered is another purchase once it is old, or `again`; what was not is the same for ever."""
        of = f"{self.path.stem} {name}"  # another client's goods are not ours

        def work(db: sqlite3.Connection) -> Begun:
            now = self.clock()
            row = db.execute("SELECT at, key, done FROM asks WHERE name = ?", (name,)).fetchone()
            if row is not None and not (row[2] and (again or not 0 <= now - row[0] < AGE)):
                return Begun(name, row[1], of, new=False, done=row[2])
            key = secrets.token_hex(16)
            db.execute("DELETE FROM asks WHERE name = ? OR (done <> '' AND at NOT BETWEEN ? AND ?)", (name, now - AGE, now))
            db.execute("INSERT INTO asks (name, at, key) VALUES (?, ?, ?)", (name, now, key))
            return Begun(name, key, of, new=True)

        found: Begun = self._do(work)
        return found

    def done(self, begun: Begun, outcome: str) -> None:
        """What came of it."""
        row = (begun.name, self.clock(), begun.key, outcome)
        self._do(lambda db: db.execute("INSERT OR REPLACE INTO asks (name, at, key, done) VALUES (?, ?, ?, ?)", row))

    def forget(self, begun: Begun) -> None:
        """Nothing was paid for it."""
        self._do(lambda db: db.execute("DELETE FROM asks WHERE name = ? AND key = ? AND done = ''", (begun.name, begun.key)))

    def lately(self, name: str) -> str:
        """What came of a request within the last ten minutes, ""  where there was none."""
        query = "SELECT done FROM asks WHERE name = ? AND at BETWEEN ? AND ?"
        now = self.clock()
        row = self._do(lambda db: db.execute(query, (name, now - AGE, now)).fetchone()) if self.path.exists() else None
        return row[0] if row else ""

    # -- bodies -------------------------------------------------------------------------------------------------------

    def put(self, handle: str, origin: str, kind: str, body: bytes, *, cut: bool = False) -> Kept:
        """Keep a body under a name of ours, for as long as there is room."""
        digest = hashlib.sha256(body).hexdigest()

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO goods VALUES (?,?,?,?,?,?,?)", (handle, self.clock(), origin, kind, cut, digest, body))
            while (found := db.execute(_SUM).fetchone())[0] > 1 and (found[0] > MANY or found[1] > MOST):
                db.execute(_OLDEST, (handle,))

        self._do(work)
        return Kept(_uri(handle), origin, kind, len(body), digest, body, cut=cut)

    def get(self, handle: str, start: int = 0, length: int = MOST) -> Kept | None:
        """What is kept under a name, or `purchase://name`: all of it, or a part; None where there is nothing."""
        name, start, length = handle.removeprefix(_uri("")), min(max(start, 0), MOST), min(max(length, 0), MOST)
        query = "SELECT origin, kind, LENGTH(body), sha256, SUBSTR(body, ?, ?), cut FROM goods WHERE id = ?"
        row = self._do(lambda db: db.execute(query, (start + 1, length, name)).fetchone()) if self.path.exists() else None
        if row is None:
            return None
        origin, kind, size, digest, body, cut = row
        return Kept(_uri(name), origin, kind, size, digest, body, start, bool(cut))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    # -- inside -------------------------------------------------------------------------------------------------------

    def _do(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        with self._lock:
            try:
                db = self._opened()
                db.execute("BEGIN IMMEDIATE")
                try:
                    found = work(db)
                except BaseException:
                    db.rollback()
                    raise
                db.commit()
                return found
            except (sqlite3.Error, OSError) as why:
                raise LedgerError(f"what was bought lately cannot be written down ({type(why).__name__})", rule=f"the file {self.path.name}",
                                  hint="room on the disk, and a folder that is yours") from None  # fmt: skip

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600))
            db = sqlite3.connect(self.path, timeout=30.0, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA auto_vacuum = FULL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            for table in _TABLES:
                db.execute(table)
            self._db = db
        return self._db


def _uri(handle: str) -> str:
    return f"purchase://{handle}"
