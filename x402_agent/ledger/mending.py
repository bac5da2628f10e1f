"""How a new ledger is filled from what could be read of a damaged one: prove each row, or count it in quarantine."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import assets
from ..errors import LedgerError
from ..model import Money
from . import checkpoints, recovery, states, transactions
from .events import digest
from .fold import fold
from .rows import COLUMNS, OFFER_COLUMNS, SELECT, facts, payment_id_of
from .salvage import parts, shape
from .store import day_of
from .writer import Job, Writer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .checkpoints import Entry
    from .salvage import Row, Wreck
    from .store import Store

__all__ = ["Mended", "Mending"]

_HEX = re.compile(r"[0-9a-f]{16}|[0-9a-f]{64}").fullmatch
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_SUM = f"SELECT realm, SUM(micros) FROM x402_payments WHERE state NOT IN {states.listed(states.FREED)} GROUP BY realm"
_ROWLESS = (
    "SELECT DISTINCT payment_id FROM x402_events WHERE length(payment_id) = 16 "
    "AND payment_id NOT IN (SELECT payment_id FROM x402_payments)"
)
_PUT = f"INSERT INTO x402_payments (id, {', '.join(COLUMNS)}) VALUES ({','.join('?' * (len(COLUMNS) + 1))})"


@dataclass(frozen=True)
class Mended:
    """What was done, or would be. Amounts in micro-dollars; `backup` is the folder of the old files.

    `rebuilt` and `quarantined` name payments, the latter with the amount each counts and why; `lost` is how many rows or
    entries nobody can read, and `lost_micros` what is counted for them. `before` and `after` sum up by realm.
    """

    problems: tuple[str, ...]
    kept: int = 0
    rebuilt: tuple[str, ...] = ()
    quarantined: tuple[tuple[str, int, str], ...] = ()
    lost: int = 0
    lost_micros: int = 0
    before: tuple[tuple[str, int], ...] = ()
    after: tuple[tuple[str, int], ...] = ()
    backup: str = ""


def _plausible(row: Row) -> int:
    """What a row says it counts: the lesser of two columns that should say the same, for one of them may be hurt."""
    asset, amount = assets.asset_by_id(row["asset"]), row["amount"]
    said: int = row["micros"] if 0 <= row["micros"] < 2**53 else 0
    if asset is None or not (amount.isascii() and amount.isdigit()) or len(amount) > 80:
        return said
    return min(said, Money(int(amount), asset).micros or 0) or said


class Mending:
    """One repair: `store` is the new, empty ledger, `head` the last entry that was ever written down (seq, hash)."""

    def __init__(self, store: Store, wreck: Wreck, cap: int, head: tuple[int, str], *, sandbox: bool) -> None:
        self.store, self.db, self.wreck, self.cap, self.head, self.sandbox = store, store.db, wreck, cap, head, sandbox
        self.columns = shape(store.db, "x402_payments")
        self.wary: dict[str, tuple[int, Row | None, str]] = {}  # payment -> its row's number and text, and what is wrong
        self.rebuilt: list[str] = []
        self.quarantined: list[tuple[str, int, str]] = []

    def run(self, known: tuple[str, ...] = ()) -> Mended:
        """Fill, judge, mend, seal, verify; raises LedgerError when what was made is not whole.

        `known` is what is wrong beside anything found here.
        """
        made: Mended = Job(Writer(self.store), lambda _: self._all(known), write=True, full=True).run()
        if made.problems and (wrong := recovery.verify(self.store)):
            raise LedgerError(f"what was made of it is not whole: {wrong[0]}", rule="nothing was changed", hint="put a backup in its place")
        return made

    def _all(self, known: tuple[str, ...]) -> Mended:
        for (table,) in self.db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            if table.startswith("x402_") and table not in ("x402_payments", "x402_schema"):
                self._copy(table)
        self._payments()
        journal, (seq, made) = self.store.journal, self.head
        journal.load()
        problems = [*known, *self._unread(), *recovery.verify(self.store)]
        behind = bool(seq) and journal.hash_at(seq) != made
        problems += [f"entry {seq} was the last, and it is missing or changed"] if behind else []
        before = tuple(self.db.execute(_SUM).fetchall())
        self._judge()
        lost = self._unexplained(seq - journal.seq) if behind else 0
        journal.seq, journal.at = max(journal.seq, seq), int(self.store.clock() * 1000)  # missing entries keep their numbers
        self._mend()
        gaps = self._gaps()
        lost += max(0, gaps - checkpoints.known_gaps(self.store))
        if not problems and not lost and not self.wary:
            return Mended(())
        micros = self._count_lost(lost)
        self._seal(gaps)
        (rows,) = self.db.execute("SELECT COUNT(*) FROM x402_payments").fetchone()
        kept = rows - len(self.rebuilt) - len(self.quarantined)
        after = tuple(self.db.execute(_SUM).fetchall())
        told = tuple(dict.fromkeys(problems)) or (f"{lost} rows cannot be read",)
        return Mended(told, kept, tuple(self.rebuilt), tuple(self.quarantined), lost, micros, before, after)

    # -- filling ----------------------------------------------------------------------------------------------------

    def _copy(self, table: str) -> None:
        """What another table holds, as it stands; a row that does not fit is left out."""
        columns = shape(self.db, table)
        keyed = "WITHOUT ROWID" in self.db.execute("SELECT sql FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0]
        found = self.db.execute(f"SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk").fetchall()
        keys = tuple(name for (name,) in found) if keyed else ()
        put = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({','.join('?' * len(columns))})"
        for row in self.wreck.rows(table, columns, keys):
            self._put(put, [row[name] for name in columns])

    def _put(self, statement: str, values: list[Any]) -> bool:
        try:
            return self.db.execute(statement, values).rowcount == 1
        except (sqlite3.IntegrityError, sqlite3.DataError, UnicodeError, OverflowError):
            return False

    def _payments(self) -> None:
        for row in self.wreck.rows("x402_payments", self.columns, ()):
            fits = all(isinstance(row[name], int if kind == "INTEGER" else str) for name, (kind, _) in self.columns.items())
            if not fits or not self._put(_PUT, [row[""], *(row[name] for name in COLUMNS)]):
                self._doubt(row[""], row, "cannot be read")

    def _doubt(self, number: int, row: Row | None, why: str) -> None:
        name = row["payment_id"] if row and isinstance(row["payment_id"], str) and _HEX(row["payment_id"]) else ""
        self.wary[name or hashlib.sha256(f"{number} {row}".encode("utf-8", "replace")).hexdigest()[:16]] = number, row, why

    def _unread(self) -> list[str]:
        """What SQLite itself finds in the old file."""
        try:
            found = self.wreck.db.execute("PRAGMA integrity_check(3)").fetchall()
        except (sqlite3.Error, ValueError) as cause:  # its own words may quote a name that is no text any more
            return [str(cause) if isinstance(cause, sqlite3.Error) else "what SQLite says of it cannot be read"]
        have = self.wreck.definitions()
        made = self.db.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
        torn = [f"{name} is not what it was made as" for name, sql in made if have.get(name) != parts(sql)]
        torn += [f"{self.wreck.illegible} texts cannot be read"] if self.wreck.illegible else []
        return torn + [str(text) for (text,) in found if text != "ok"] + [
            f"the row of payment {name} {why}" for name, (_, _, why) in self.wary.items()
        ]

    # -- judging and mending ------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        """Whom to doubt: rows that are not what their journal says, and payments that have entries and no row."""
        for row in self.db.execute(SELECT).fetchall():
            if found := recovery.row_problems(self.store, row):
                named = dict(zip((*COLUMNS, *OFFER_COLUMNS), row, strict=True))
                number = self.db.execute("SELECT id FROM x402_payments WHERE payment_id = ?", (row[0],)).fetchone()[0]
                self._doubt(number, {name: named[name] for name in COLUMNS}, found[0])
        for (name,) in self.db.execute(_ROWLESS).fetchall():
            if name not in self.wary and _HEX(name):
                self.wary[name] = 0, None, "has no row that can be read"
        transactions.reseal(self.store, recovery.entry_at)

    def _mend(self) -> None:
        entries: dict[str, list[Entry]] = {name: [] for name in self.wary}
        for entry in self.db.execute("SELECT * FROM x402_events ORDER BY seq"):
            if entry[1] in entries:
                entries[entry[1]].append(entry)
        for name, (number, row, why) in self.wary.items():
            self.db.execute("DELETE FROM x402_payments WHERE payment_id = ? OR id = ?", (name, number))
            told = fold(entries[name], self._sane(name, row, "")[0] if row else None)
            if told is None or not self._proven(number, told):
                self._quarantine(number, name, row, why, entries[name])

    def _proven(self, number: int, told: Row) -> bool:
        """Put in what the journal tells, when all of it then holds together."""
        if not self._put(_PUT, [number or self._number(), *(told.get(name, self.columns[name][1]) for name in COLUMNS)]):
            return False
        row = self.db.execute(f"{SELECT} WHERE p.payment_id = ?", (told["payment_id"],)).fetchone()
        if recovery.row_problems(self.store, row):
            self.db.execute("DELETE FROM x402_payments WHERE payment_id = ?", (told["payment_id"],))
            return False
        self.rebuilt.append(told["payment_id"])
        return True

    def _number(self) -> int:
        """The first number that no row has: rows were never deleted, so a gap is one that is missing."""
        query = "SELECT MIN(id) + 1 FROM x402_payments p WHERE NOT EXISTS (SELECT 1 FROM x402_payments q WHERE q.id = p.id + 1)"
        first = self.db.execute("SELECT 1 FROM x402_payments WHERE id = 1").fetchone()
        return int(self.db.execute(query).fetchone()[0]) if first else 1

    def _quarantine(self, number: int, name: str, row: Row | None, why: str, entries: Iterable[Entry]) -> None:
        """Counted with what it says, what its first entry says, and at least one cap: the most of these."""
        made, micros = self._sane(name, row, why)
        for entry in entries:
            first = re.search(r'"micros":([0-9]{1,16})[,}]', str(entry[6]))
            if first and digest(entry[7], entry[:7]) == entry[8]:
                micros = max(micros, int(first[1]))
        made["micros"] = max(micros, self.cap)
        self._write(number, made)
        self.quarantined.append((name, made["micros"], why))

    def _write(self, number: int, made: Row) -> None:
        at = int(self.store.clock())
        made["state"], made["is_open"], made["updated_at"], made["owner"] = "QUARANTINE", 1, at, self.store.owner
        made["valid_before"] = max(made["valid_before"], at + states.STILL)  # a day of grace follows
        row = [made[column] for column in COLUMNS]
        row[-1] = self.store.journal.append(made["payment_id"], 0, ("", "QUARANTINE"), at * 1000, facts(row))
        self.db.execute(_PUT, [number or self._number(), *row])

    def _sane(self, name: str, row: Row | None, why: str) -> tuple[Row, int]:
        """A row whose every column is of its kind, and what it says it counts."""
        now, made = self.store.clock(), dict[str, Any]()
        for column in COLUMNS:
            kind, blank = self.columns[column]
            value = row[column] if row else blank
            made[column] = value if isinstance(value, int if kind == "INTEGER" else str) else blank
        micros = _plausible(made)
        if not why:
            return made, micros
        made.update(payment_id=name, delivered=0, refused=0, charged="", given_back=0, note=f"in quarantine: {why}"[:200])
        for column in ("ask_key", "caller_key", "offer_digest", "proof_digest"):
            made[column] = made[column] if _HEX(made[column]) else ""
        for column in ("amount", "fee_cap"):
            digits = made[column].isascii() and made[column].isdigit() and len(made[column]) < 80
            made[column] = made[column] if digits else "0"
        if made["realm"] not in ("real", "test", "sandbox"):
            made["realm"] = self._realm()
        if not _DAY(made["day"]) or made["day"] > day_of(now) or not 0 < made["created_at"] <= now:
            made["day"], made["created_at"] = day_of(now), int(now)
        made["valid_before"] = made["valid_before"] if 0 <= made["valid_before"] < 2**40 else 0
        if assets.asset_by_id(made["asset"]) is None or payment_id_of(made["network"], made["nonce"]) != name:
            made.update(self._unknown_asset(made["realm"]), amount=str(max(micros, self.cap)), fee_cap="0")
        return made, micros

    def _realm(self) -> str:
        """The purse that most payments are of."""
        query = "SELECT realm FROM x402_payments GROUP BY realm ORDER BY COUNT(*) DESC LIMIT 1"
        found = None if self.sandbox else self.db.execute(query).fetchone()
        return found[0] if found and found[0] in ("real", "test") else "sandbox" if self.sandbox else "real"

    @staticmethod
    def _unknown_asset(realm: str) -> Row:
        """Dollars of which nobody knows on which chain they were to move: USDC, so that people read an amount."""
        where = assets.network("base" if realm == "real" else "base-sepolia")
        usdc = next(each for each in assets.assets() if each.network is where and each.symbol == "USDC")
        return {"asset": usdc.id, "network": usdc.network.id, "chain": usdc.network.name}

    # -- what is lost, and the seal -----------------------------------------------------------------------------------

    def _gaps(self) -> int:
        (newest, rows) = self.db.execute("SELECT COALESCE(MAX(id), 0), COUNT(*) FROM x402_payments").fetchone()
        return max(int(newest), checkpoints.last_id(self.store)) - int(rows)

    def _unexplained(self, tail: int) -> int:
        """How many of the entries missing at the end are of payments that no readable row tells of."""
        last = self.head[0] - max(0, tail)
        rows = [row for _, row, _ in self.wary.values() if row and isinstance(row["last_event"], int) and row["last_event"] >= last]
        if tail <= 0:
            return 0 if rows else 1
        begun = "SELECT COUNT(*) FROM x402_events WHERE payment_id = ? AND before = 0"
        told = [row for row in rows if row["last_event"] > last]
        return max(0, tail - sum(2 - min(1, int(self.db.execute(begun, (row["payment_id"],)).fetchone()[0])) for row in told))

    def _count_lost(self, lost: int) -> int:
        """One payment in quarantine for all that nobody can read: a cap for each, and never less than a checkpoint misses."""
        missing = checkpoints.missing(self.store)
        total = sum(missing.values())
        missing[self._realm()] = missing.get(self._realm(), 0) + max(0, lost * self.cap - total)
        for realm, micros in missing.items():
            if micros:
                name = hashlib.sha256(f"lost {self.store.journal.seq} {realm}".encode()).hexdigest()[:16]
                made, _ = self._sane(name, None, f"{lost} rows or entries that nobody can read")
                made.update(realm=realm, micros=micros, amount=str(micros), host="unreadable", **self._unknown_asset(realm))
                self._write(self._end(), made)
                self.quarantined.append((name, micros, "rows or entries that nobody can read"))
        return sum(missing.values())

    def _end(self) -> int:
        """A number past every row that ever was."""
        (newest,) = self.db.execute("SELECT COALESCE(MAX(id), 0) FROM x402_payments").fetchone()
        return 1 + max(checkpoints.last_id(self.store), int(newest))

    def _seal(self, gaps: int) -> None:
        self.db.execute("DELETE FROM x402_counters")  # made anew from the rows when a limit names them
        self.store.cache.forget()
        self.store.cache.generation = self.store.generation()
        seen = hashlib.sha256()
        for entry in self.db.execute("SELECT * FROM x402_events ORDER BY seq"):
            seen.update(repr(entry).encode("utf-8", "surrogatepass"))
        checkpoints.seal(self.store, seen.hexdigest(), gaps)
