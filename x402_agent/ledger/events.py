"""The journal: one append-only row per transition, each holding the hash of the row before it."""

from __future__ import annotations

import hashlib
from json.encoder import JSONEncoder, encode_basestring_ascii
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3

__all__ = ["GENESIS", "Journal", "canonical", "digest", "quoted"]

GENESIS = "0" * 64
_encode = JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode
quoted = encode_basestring_ascii  # one JSON string, ASCII only
_INSERT = "INSERT INTO x402_events VALUES (?,?,?,?,?,?,?,?,?)"


def canonical(data: Any) -> str:
    """JSON with sorted keys, no spaces, ASCII only: the same data is the same text."""
    return _encode(data)


def digest(prev_hash: str, row: tuple[int, str, int, str, str, int, str]) -> str:
    """sha256 over the hash before and [seq, payment_id, before, from_state, state, at, data] as canonical JSON.

    `data` is canonical JSON already; the other texts are hex or state names, which need no escapes.
    """
    seq, payment_id, before, was, state, at, data = row
    text = f'{prev_hash}[{seq},"{payment_id}",{before},"{was}","{state}",{at},{data}]'
    return hashlib.sha256(text.encode()).hexdigest()


class Journal:
    """The head of the chain in memory, and appending to it. Used under the ledger's lock only."""

    __slots__ = ("at", "db", "head", "sealed", "seq")

    def __init__(self, db: sqlite3.Connection) -> None:
        self.db = db
        self.forget()

    def forget(self) -> None:
        """Know nothing; `load` before the next append."""
        self.seq = -1
        self.sealed = 0  # the last checkpoint's entry
        self.head = GENESIS
        self.at = 0

    def load(self) -> None:
        """Read the head from the file."""
        row = self.db.execute("SELECT seq, hash, at FROM x402_events ORDER BY seq DESC LIMIT 1").fetchone()
        self.seq, self.head, self.at = row or (0, GENESIS, 0)
        self.sealed = self.db.execute("SELECT MAX(seq) FROM x402_events WHERE state = 'SEALED'").fetchone()[0] or 0

    def append(self, payment_id: str, before: int, moved: tuple[str, str], at: int, data: str) -> int:
        """Write one event; `before` is the seq of this payment's last one, `at` unix ms, `data` JSON. -> its seq."""
        seq, head = self.seq + 1, self.head
        at = self.at = max(self.at, at)  # the journal's own time never runs backwards
        row = (seq, payment_id, before, moved[0], moved[1], at, data)
        made = digest(head, row)
        self.db.execute(_INSERT, (*row, head, made))
        self.seq, self.head = seq, made
        return seq

    def hash_at(self, seq: int) -> str:
        """The hash of one event, "" when there is none."""
        row = self.db.execute("SELECT hash FROM x402_events WHERE seq = ?", (seq,)).fetchone()
        return str(row[0]) if row else ""
