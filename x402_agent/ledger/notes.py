"""A note, kept apart from the ledger, that one was paid from here: a deleted ledger must not be a fresh budget (row Z4).

Each ledger's note is a small file named after its path; it holds a word that only the ledger with the same `.secret`
can say, written durably before the first proof may leave, and the journal's head after each durable commit: a ledger
that is behind it is an older copy (row Z3). The head is not synced: behind the ledger it says nothing, ahead of it
it refuses. All of it happens under the ledger's lock.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LedgerError
from . import lock

if TYPE_CHECKING:
    from .events import Journal
    from .store import Store

__all__ = ["Note", "head_of", "note_path", "rewrite"]

_WORD = 64  # characters of the word, before the head
_HEAD = re.compile(r"\n([0-9]{20}) ([0-9a-f]{64})\n").fullmatch


def note_path(folder: Path, ledger: Path) -> Path:
    """Where the note about the ledger at this path lies, if it was ever paid from."""
    return folder / hashlib.sha256(os.fsencode(os.path.abspath(ledger))).hexdigest()[:16]


class Note:
    """The note of one open ledger; `folder` None keeps none. Raises LedgerError when it cannot be read."""

    def __init__(self, folder: Path | None, store: Store) -> None:
        self._path = None if folder is None else note_path(folder, store.path)
        self._word = _word(store.secret)
        self._kept = self._path is None
        self._fd = -1
        text = self._read()
        if not text:
            return
        self._kept = True
        found, head = text[:_WORD], text[_WORD:]
        empty = store.db.execute("SELECT 1 FROM x402_events LIMIT 1").fetchone() is None
        gone = empty and (head or not store.durable)  # no head yet: a process ended before its first payment was durable
        if (gone or found != self._word) and not store.broken:
            store.broken = (
                f"{store.path} is not the ledger that was paid from before: it was deleted or replaced "
                f"(put it back, or remove {self._path} to begin with fresh budgets, Z4)"
            )
        elif head and not store.broken:
            store.broken = self._behind(store, head)

    def _behind(self, store: Store, head: str) -> str:
        """Why the journal cannot be the one whose head was written here, or ""."""
        shape = _HEAD(head)
        if shape is None:
            return f"{self._path} is damaged: nothing says which entry of {store.path} was the last (Z3)"
        seq, made = int(shape[1]), shape[2]
        if store.journal.hash_at(seq) == made:
            return ""
        return (
            f"{store.path} is older than its own last commit: entry {seq} is missing or changed "
            f"(put the newer one back, or see x402-agent ledger repair --dry-run, Z3)"
        )

    def follow(self, journal: Journal) -> None:
        """After a durable commit: this is the head now. A write that fails leaves the older one, which is harmless."""
        if not self._kept or self._path is None:
            return
        with suppress(OSError, LedgerError):
            if self._fd < 0:
                self._fd = lock.open_private(self._path, create=False)
            lock.write_at(self._fd, b"\n%020d %s\n" % (journal.seq, journal.head.encode()), _WORD)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def keep(self) -> None:
        """Write it down, once, durably; raises LedgerError."""
        if self._kept or self._path is None:
            return
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fd = lock.open_private(self._path)
            try:
                os.write(fd, self._word.encode())
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as cause:
            raise LedgerError(f"{self._path} cannot be written: {cause.strerror}", rule="no journal, no signature", hint=f"ls -ld {self._path.parent}: it must be yours") from cause
        self._kept = True

    def _read(self) -> str:
        if self._path is None or not self._path.exists():
            return ""
        fd = lock.open_private(self._path, create=False)
        try:
            return os.read(fd, 256).decode("ascii", "replace")
        finally:
            os.close(fd)


def head_of(folder: Path, ledger: Path) -> tuple[int, str]:
    """(seq, hash) of the head that the note of this ledger knows; 0 and "" when it knows none."""
    path = note_path(folder, ledger)
    if not path.exists():
        return 0, ""
    fd = lock.open_private(path, create=False)
    try:
        shape = _HEAD(os.read(fd, 256).decode("ascii", "replace")[_WORD:])
    finally:
        os.close(fd)
    return (int(shape[1]), shape[2]) if shape else (0, "")


def rewrite(folder: Path, ledger: Path, secret: bytes, journal: Journal) -> None:
    """After a person had the ledger mended: the note is about what lies there now. Raises OSError."""
    path = note_path(folder, ledger)
    fresh = path.with_name(path.name + ".new")
    fresh.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh.unlink(missing_ok=True)
    fd = lock.open_private(fresh)
    try:
        os.write(fd, _word(secret).encode() + b"\n%020d %s\n" % (journal.seq, journal.head.encode()))
        os.fsync(fd)
    finally:
        os.close(fd)
    os.replace(fresh, path)


def _word(secret: bytes) -> str:
    """What only the ledger with this secret can say."""
    return hmac.digest(secret, b"x402_agent ledger", "sha256").hex()
