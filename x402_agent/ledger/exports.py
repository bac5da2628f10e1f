"""Everything that is written down, for other programs: one flat record per payment or entry, and sums. No secret is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import states
from .opened import Opened
from .rows import COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .store import Store

__all__ = ["Exports", "Standing", "Stats", "cell"]

BATCH = 1000
_LEFT_OUT = ("caller_key", "proof_digest", "identifier", "owner")  # ours alone: they would link, and help nobody
_SHOWN = ("dialect", "scheme", *(name for name in COLUMNS if name not in _LEFT_OUT))
_PAYMENTS = (
    f"SELECT p.id, o.dialect, o.scheme, {', '.join('p.' + name for name in _SHOWN[2:])} FROM x402_payments p "
    "LEFT JOIN x402_offers o ON o.offer_digest = p.offer_digest WHERE p.id > ? AND p.day >= ? ORDER BY p.id LIMIT ?"
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "|", "%")
_STANDING = (
    "SELECT realm, state, COUNT(*), SUM(micros), SUM(is_open) FROM x402_payments GROUP BY realm, state ORDER BY realm, state"
)
_OLDEST = "SELECT payment_id, created_at FROM x402_payments WHERE is_open = 1 ORDER BY id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Standing:
    """The payments of one realm in one state. `micros` counts, or did until they were released."""

    realm: str
    state: str
    payments: int
    micros: int
    open: int

    @property
    def counted(self) -> int:
        """Micro-dollars that budgets count."""
        return self.micros if self.state in states.COUNTED else 0


@dataclass(frozen=True, slots=True)
class Stats:
    """A ledger in numbers: bytes on disk, entries of the journal, and the oldest payment that is open (unix seconds)."""

    size: int
    schema: int
    entries: int
    checkpoints: int
    standing: tuple[Standing, ...]
    oldest_open: str
    oldest_open_at: int


def cell(value: object) -> str:
    """A value as a spreadsheet may have it: what would begin a formula begins with an apostrophe, control characters are
    escaped (row Y14)."""  # fmt: skip
    text = "" if value is None else str(value)
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    harmless = isinstance(value, int) or not (text.startswith(_FORMULA) or text.lstrip().startswith(_FORMULA))
    return shown if harmless else f"'{shown}"


class Exports(Opened):
    """The part of the ledger that gives everything out."""

    def export(self, *, since: str = "") -> Iterator[dict[str, Any]]:
        """Every payment from the UTC day `since` on, oldest first, amounts as text in atomic units."""
        last = 0
        while rows := self._job(lambda store, after=last: _rows(store, after, since), write=False).run():  # type: ignore[misc]
            yield from (dict(zip(_SHOWN, row[1:], strict=True)) for row in rows)
            last = rows[-1][0]

    def export_events(self) -> Iterator[dict[str, Any]]:
        """Every entry of the journal, with its hashes; oldest first."""
        names = ("seq", "payment_id", "before", "from_state", "state", "at", "data", "prev_hash", "hash")
        query = "SELECT * FROM x402_events WHERE seq > ? ORDER BY seq LIMIT ?"
        last = 0
        while rows := self._job(
            lambda store, after=last: store.db.execute(query, (after, BATCH)).fetchall(), write=False  # type: ignore[misc]
        ).run():
            yield from (dict(zip(names, row, strict=True)) for row in rows)
            last = rows[-1][0]

    def entries(self) -> int:
        """How many entries the journal has."""
        query = "SELECT COALESCE(MAX(seq), 0) FROM x402_events"
        found: int = self._job(lambda store: store.db.execute(query).fetchone()[0], write=False).run()
        return found

    def stats(self) -> Stats:
        """The ledger in numbers; reads every row."""
        made: Stats = self._job(_stats, write=False).run()
        return made


def _rows(store: Store, after: int, since: str) -> list[Any]:
    return store.db.execute(_PAYMENTS, (after, since, BATCH)).fetchall()


def _stats(store: Store) -> Stats:
    standing = tuple(Standing(*row) for row in store.db.execute(_STANDING).fetchall())
    oldest = store.db.execute(_OLDEST).fetchone() or ("", 0)
    files = [store.path.with_name(store.path.name + end) for end in ("", "-wal")]
    (schema,) = store.db.execute("SELECT MAX(version) FROM x402_schema").fetchone()
    (entries,) = store.db.execute("SELECT COALESCE(MAX(seq), 0) FROM x402_events").fetchone()
    (sealed,) = store.db.execute("SELECT COUNT(*) FROM x402_events WHERE state = 'SEALED'").fetchone()
    size = sum(os.stat(each).st_size for each in files if each.exists())
    return Stats(size, schema, entries, sealed, standing, oldest[0], oldest[1])
