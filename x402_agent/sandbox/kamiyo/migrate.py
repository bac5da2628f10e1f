"""Numbered changes of the schema, each with its way back. Which are applied stands in `x402_migrations`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .database import Database

__all__ = ["Migration", "applied", "migrate", "migrations", "pending", "rollback"]

_TABLE = "create table if not exists x402_migrations (number int primary key, name varchar(100) not null)"


class Migration(NamedTuple):
    """One file: what it does (`up`), and what takes it back (`down`)."""

    number: int
    name: str
    up: str
    down: str


@cache
def migrations(engine: str) -> tuple[Migration, ...]:
    """Every change for an engine, in order."""
    folder = files(__package__) / "sql" / engine
    made = []
    for name in sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql")):
        up, _, down = (folder / name).read_text("utf-8").partition("-- down\n")
        made.append(Migration(int(name[:4]), name.removesuffix(".sql"), up, down))
    return tuple(made)


def applied(database: Database) -> list[int]:
    """The numbers of those that were applied, in order."""
    if "x402_migrations" not in database.names():
        return []
    return [int(row["number"]) for row in database.rows("select number from x402_migrations order by number")]


def pending(database: Database) -> list[Migration]:
    """Those that are still to come, in order."""
    done = applied(database)
    return [each for each in migrations(database.engine) if each.number not in done]


def migrate(database: Database) -> list[Migration]:
    """Apply what is pending, all of it or nothing; what was applied."""
    todo = pending(database)
    if todo:
        with database.transaction():
            database.script(_TABLE)
            for each in todo:
                database.script(each.up)
                database.rows("insert into x402_migrations values (?, ?)", each.number, each.name)
    return todo


def rollback(database: Database, to: int = -1) -> list[Migration]:
    """Take back the newest change, or every one above number `to` (0 or more); what was taken back."""
    done = set(applied(database))
    found = [each for each in reversed(migrations(database.engine)) if each.number in done]
    todo = found[:1] if to < 0 else [each for each in found if each.number > to]
    with database.transaction():
        for each in todo:
            database.script(each.down)
            database.rows("delete from x402_migrations where number = ?", each.number)
    return todo
