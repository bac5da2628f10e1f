"""A note, kept apart from the ledger, that one was paid from here: a deleted ledger must not be a fresh budget (row Z4).

Each ledger's note is a small file named after its path; it holds a word that only the ledger with the same `.secret`
can say. It is read and written under the ledger's lock, and written before the first proof may leave.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import LedgerError
from . import lock

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Note", "note_path"]


def note_path(folder: Path, ledger: Path) -> Path:
    """Where the note about the ledger at this path lies, if it was ever paid from."""
    return folder / hashlib.sha256(os.fsencode(os.path.abspath(ledger))).hexdigest()[:16]


class Note:
    """The note of one open ledger; `folder` None keeps none. Raises LedgerError when it cannot be read."""

    def __init__(self, folder: Path | None, store: Store) -> None:
        self._path = None if folder is None else note_path(folder, store.path)
        self._word = hmac.digest(store.secret, b"x402_agent ledger", "sha256").hex()
        self._kept = self._path is None
        found = self._read()
        if not found:
            return
        self._kept = True
        empty = store.db.execute("SELECT 1 FROM x402_events LIMIT 1").fetchone() is None
        if (empty or found != self._word) and not store.broken:
            store.broken = (
                f"{store.path} is not the ledger that was paid from before: it was deleted or replaced "
                f"(put it back, or remove {self._path} to begin with fresh budgets, Z4)"
            )

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
            raise LedgerError(f"{self._path} cannot be written: {cause.strerror}", rule="no journal, no signature") from cause
        self._kept = True

    def _read(self) -> str:
        if self._path is None or not self._path.exists():
            return ""
        fd = lock.open_private(self._path, create=False)
        try:
            return os.read(fd, 128).decode("ascii", "replace")
        finally:
            os.close(fd)
