"""A seller's database, whole: its schema in numbered changes with their ways back, what is in it, copies of it, a fresh start.

A seller that keeps one has a `Books` of its own: the files `sql/NNNN_name.sql` beside it, the tables in the order in which they refer
to each other, and the two jobs that its operators run. A file is read by both engines (`database.spelled`), `NNNN_name.ENGINE.sql` by one.
"""

from __future__ import annotations

import json
import os
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import IO, TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..database import connect, spelled
from ..dialects import strict
from ..errors import ChallengeInvalid, SettingsError
from ..secret import plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Books", "Migration", "moment", "stamp"]

_APPLIED = "create table if not exists x402_migrations (number int primary key, name varchar(100) not null)"


def stamp(when: float) -> str:
    """Unix seconds as a naive UTC timestamp with milliseconds, in the order of time."""
    return datetime.fromtimestamp(when, UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")


def moment(text: str) -> float:
    """What `stamp` wrote, or a database made of it, as unix seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


class Migration(NamedTuple):
    """One file: what it does (`up`), and what takes it back (`down`)."""

    number: int
    name: str
    up: str
    down: str


class Books(ABC):
    """`url` as for `connect`: memory, a path, or PostgreSQL, where a schema of the seller's own holds everything."""

    schema: ClassVar[str]
    package: ClassVar[str]
    tables: ClassVar[tuple[str, ...]]

    def __init__(self, url: str) -> None:
        self.database = connect(url, self.schema)

    def close(self) -> None:
        """Let go of the database."""
        self.database.close()

    def now(self) -> str:
        """The machine's time, and what the sandbox's clock is ahead of it (the one row of x402_clock)."""
        row = self.database.one("select ahead from x402_clock")
        return stamp(time.time() + float(row["ahead"] if row else 0))

    @abstractmethod
    def cleanup(self) -> int:
        """What is over is marked as over; how much was."""

    def cleanup_logs(self, _days: int) -> int:
        """Lines of its log older than so many days go; how many. Raises SettingsError where it keeps none."""
        raise SettingsError(f"{self.schema} keeps no log", rule="cleanup-logs", hint="--seller monitor")

    @abstractmethod
    def analytics(self) -> list[dict[str, Any]]:
        """Sum up the hour before this one; the sums of the last day, newest first."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What this seller's operators look at first."""

    # -- the schema -----------------------------------------------------------------------------------------------------

    def migrations(self) -> tuple[Migration, ...]:
        """Every change there is, in order."""
        return _read(self.package, self.database.engine)

    def applied(self) -> list[int]:
        """The numbers of those that were applied, in order."""
        if "x402_migrations" not in self.database.names():
            return []
        return [int(row["number"]) for row in self.database.rows("select number from x402_migrations order by number")]

    def pending(self) -> list[Migration]:
        """Those that are still to come, in order."""
        done = self.applied()
        return [each for each in self.migrations() if each.number not in done]

    def migrate(self) -> list[Migration]:
        """Apply what is pending, all of it or nothing; what was applied."""
        if not self.pending():
            return []
        with self.database.transaction():
            todo = self.pending()  # another process may have been first
            self.database.script(_APPLIED)
            for each in todo:
                self.database.script(each.up)
                self.database.rows("insert into x402_migrations values (?, ?)", each.number, each.name)
        return todo

    def behind(self, to: int = -1) -> list[Migration]:
        """What `rollback` would take back: the newest change, or every one above number `to` (0 or more)."""
        done = set(self.applied())
        found = [each for each in reversed(self.migrations()) if each.number in done]
        return found[:1] if to < 0 else [each for each in found if each.number > to]

    def rollback(self, to: int = -1) -> list[Migration]:
        """Take changes back, all of it or nothing; which."""
        with self.database.transaction():
            todo = self.behind(to)
            for each in todo:
                self.database.script(each.down)
                self.database.rows("delete from x402_migrations where number = ?", each.number)
        return todo

    def reset(self) -> None:
        """An empty database with the whole schema."""
        self.rollback(0)
        self.migrate()

    # -- what is in it --------------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """Rows of each table that is here."""
        here = set(self.database.names())
        found = [each for each in self.tables if each in here]
        return {each: int(self.database.rows(f'select count(*) as n from "{each}"')[0]["n"]) for each in found}

    def test(self) -> dict[str, bool]:
        """What a working database can do, tried: every change applied, tables readable, a write seen, and taken back again."""
        here = set(self.database.names())
        found = {"schema is up to date": not self.pending()}
        for each in self.tables:
            found[f"{each} answers"] = each in here and bool(self.database.rows(f'select count(*) as n from "{each}"'))
        count = "select count(*) as n from x402_migrations where number = 0"
        if "x402_migrations" in here:
            try:
                with self.database.transaction():
                    self.database.rows("insert into x402_migrations values (0, 'test')")
                    found["a write is seen"] = int(self.database.rows(count)[0]["n"]) == 1
                    raise _Undo
            except _Undo:
                found["and taken back"] = int(self.database.rows(count)[0]["n"]) == 0
        return found

    # -- copies ---------------------------------------------------------------------------------------------------------

    def export(self, path: Path) -> int:
        """Every row as JSON lines in a new private file, the same for both engines; how many. Raises SettingsError."""
        here = set(self.database.names())
        count = 0
        with _fresh(path) as file, self.database.transaction(reading=True):
            file.write(json.dumps({"schema": self.schema, "migrations": self.applied()}) + "\n")
            for table in (each for each in self.tables if each in here):
                for row in self.database.each(f'select * from "{table}"'):
                    file.write(json.dumps({"table": table, "row": row}) + "\n")
                    count += 1
        return count

    def restore(self, path: Path) -> int:
        """Rows of an export in the place of what is here, all of them or nothing; how many. Raises SettingsError."""
        if self.pending():
            raise SettingsError("the schema is not up to date", rule=str(self.database.where), hint="x402-agent sandbox db migrate")
        number = 0
        broken: tuple[type[Exception], ...] = (ChallengeInvalid, ValueError, TypeError, KeyError, AttributeError, *self.database.errors)
        with path.open("rb") as file, self.database.transaction():
            for table in reversed(self.tables):
                self.database.rows(f'delete from "{table}"')
            for number, line in enumerate(file, 1):
                try:
                    self._row(strict.value(line), number)
                except broken as cause:
                    words = plain(str(cause).partition("\n")[0])
                    raise SettingsError(f"{path}:{number} is no row of {self.schema}: {words}", rule="an export of this seller", hint="x402-agent sandbox db export FILE writes one") from cause
            if not number:
                raise SettingsError(f"{path} is empty", rule="an export of this seller", hint="x402-agent sandbox db export FILE writes one")
            self._go_on()
        return number - 1

    def _go_on(self) -> None:
        """Ids that PostgreSQL counts go on behind the newest; SQLite looks for itself."""
        for table in self.tables if self.database.engine == "postgresql" else ():
            found = self.database.rows("select pg_get_serial_sequence(?, 'id') as s", f'"{table}"')
            if found[0]["s"]:
                self.database.rows(f'select setval(?, (select coalesce(max(id), 0) + 1 from "{table}"), false)', found[0]["s"])

    def _row(self, document: dict[str, Any], number: int) -> None:
        if number == 1:
            if document["schema"] != self.schema:
                raise ValueError("of another seller")
            return
        table, row = document["table"], document["row"]
        names = list(row)
        if table not in self.tables or not all(name.isidentifier() for name in names):
            raise ValueError("no such table")
        marks = ", ".join("?" * len(names))
        listed = ", ".join(f'"{name}"' for name in names)
        self.database.rows(f'insert into "{table}" ({listed}) values ({marks})', *row.values())


class _Undo(Exception):
    pass


@cache
def _read(package: str, engine: str) -> tuple[Migration, ...]:
    folder = files(package) / "sql"
    made = []
    for file in sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql")):
        name, _, whose = file.removesuffix(".sql").partition(".")
        if whose in ("", engine):
            up, _, down = spelled((folder / file).read_text("utf-8"), engine).partition("-- down\n")
            made.append(Migration(int(name[:4]), name, up, down))
    return tuple(made)


@contextmanager
def _fresh(path: Path) -> Iterator[IO[str]]:
    """A new file that only its owner reads."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(f"{path} exists", rule="an export writes a new file", hint="another name") from None
    with os.fdopen(number, "w", encoding="utf-8") as file:
        yield file
