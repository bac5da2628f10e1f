"""Every row that can still be read out of a damaged database: from the front, from the back, and what lies between, one by one.

Nothing here judges a row; what cannot be read is simply missing.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import LedgerError
from .schema import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Wreck", "parts", "shape"]

PROBES = 200_000  # single rows that are tried between two that can be read
_DAMAGE = (sqlite3.Error, ValueError, OverflowError, MemoryError)

Row = dict[str, Any]


def shape(db: sqlite3.Connection, table: str) -> dict[str, tuple[str, Any]]:
    """The columns of a table: name -> (declared type, what stands there when nothing else is known)."""
    found = {}
    for _, name, kind, needed, default, _ in db.execute(f"PRAGMA table_info({table})").fetchall():
        blank: Any = {"INTEGER": 0, "BLOB": b""}.get(kind, "")
        found[name] = (kind, blank if needed or default is not None else None)
    return found


def parts(sql: str) -> list[str]:
    """A definition in pieces that can be compared: columns that came with migrations may stand in another order."""
    return sorted(piece.strip() for piece in re.split(r"[,()\n]", sql) if piece.strip())


class Wreck:
    """A copy of a damaged ledger. Its tables may be unreadable, and so may each of their rows."""

    def __init__(self, path: Path) -> None:
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.text_factory = self._text
        self.illegible = 0  # texts that are no UTF-8 any more
        with suppress(*_DAMAGE, LedgerError):
            migrate(self.db)

    def _text(self, raw: bytes) -> str:
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            self.illegible += 1
            return raw.decode("utf-8", "replace")

    def definitions(self) -> dict[str, list[str]]:
        """How its tables, indexes, views and triggers are made, as far as that can be read."""
        return {name: parts(str(sql)) for name, sql in self._some("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")}

    def close(self) -> None:
        """Let go of the file."""
        with suppress(*_DAMAGE):
            self.db.close()

    def rows(self, table: str, wanted: dict[str, tuple[str, Any]], keys: tuple[str, ...]) -> Iterator[Row]:
        """Rows with the wanted columns, those that the table lacks filled up; `keys` of a table without rowid, else ()."""
        try:
            have = set(shape(self.db, table))
        except _DAMAGE:
            have = set(wanted)
        names = [name for name in wanted if name in have]
        if not names:
            return
        blank = {name: default for name, (_, default) in wanted.items() if name not in have}
        found = self._by_key(table, names, keys) if keys else self._by_rowid(table, names)
        for number, values in found:
            yield {**blank, **dict(zip(names, values, strict=True)), "": number}

    def _some(self, query: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows until the first that cannot be read."""
        try:
            yield from self.db.execute(query, values)
        except _DAMAGE:
            return

    def _by_rowid(self, table: str, names: list[str]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        what = f"SELECT rowid, {', '.join(names)} FROM {table} NOT INDEXED"
        last = 0
        for row in self._some(f"{what} ORDER BY rowid"):
            last = row[0]
            yield row[0], row[1:]
        back = [(row[0], row[1:]) for row in self._some(f"{what} WHERE rowid > ? ORDER BY rowid DESC", (last,))]
        end = back[-1][0] if back else last + 64
        for number in range(last + 1, min(end, last + PROBES)):
            for row in self._some(f"{what} WHERE rowid = ?", (number,)):
                yield row[0], row[1:]
        yield from back[::-1]

    def _by_key(self, table: str, names: list[str], keys: tuple[str, ...]) -> Iterator[tuple[int, tuple[Any, ...]]]:
        seen = set()
        for order in ("ASC", "DESC"):
            by = ", ".join(f"{key} {order}" for key in keys)
            for row in self._some(f"SELECT {', '.join(names)} FROM {table} ORDER BY {by}"):
                if row not in seen:
                    seen.add(row)
                    yield 0, row
