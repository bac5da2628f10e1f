"""`x402-agent sandbox db`: what the operator of a seller does with its database, on the sandbox's."""

from __future__ import annotations

import secrets
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Settings, SettingsError
from ..sandbox import books
from ..secret import plain
from .common import Exit, Json, as_json, errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..sandbox import Books

__all__ = ["app", "database_of"]

app = typer.Typer(
    help="The database of a pretend seller: make it, look at it, keep it in order.\n\n"
    "It is the file that `sandbox up --seller NAME` uses, or what --database (DATABASE_URL) names: postgresql://… (a schema of "
    "the seller's own; nothing outside of it is touched), or a path. Exit codes: 0 done, 1 not well, 2 usage.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Who = Annotated[str, typer.Option("--seller", help="Whose database: kamiyo, x402pay, monitor, lily.")]
Url = Annotated[str, typer.Option("--database", envvar="DATABASE_URL", show_envvar=False, help="postgresql://… or a path; DATABASE_URL.")]
Backup = Annotated[Path | None, typer.Option("--backup", help="Where the copy goes that is made first; a name beside the sandbox's files by default.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def database_of(settings: Settings, seller: str, url: str) -> str:
    """Where a seller of `sandbox up` keeps what it sold, unless `url` says otherwise."""
    if url:
        return url
    folder = settings.data_dir / "sandbox"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return str(folder / f"{seller}.db")


@contextmanager
def opened(seller: str, url: str) -> Iterator[Books]:
    found = books(seller, database_of(Settings.load(), seller, url))
    try:
        with found.database.spoken():
            yield found
    finally:
        found.close()


def _whole(found: Books) -> Books:
    """The same, when its schema is there; raises SettingsError."""
    if found.pending():
        raise SettingsError(f"{found.database.where}: the schema is not up to date", rule="migrations", hint="x402-agent sandbox db create-tables")
    return found


def _tell(json: bool, facts: dict[str, Any]) -> None:
    if json:
        as_json(facts)
        return
    for name, value in facts.items():
        if isinstance(value, list):
            print(f"{name}:" if value else f"{name}: none")
            for each in value:
                print("  " + ("  ".join(f"{k}={plain(str(v))}" for k, v in each.items()) if isinstance(each, dict) else plain(str(each))))
        elif isinstance(value, dict):
            print(f"{name}:")
            for key, one in value.items():
                print(f"  {key:28} {plain(str(one))}")
        else:
            print(f"{name}: {plain(str(value))}")


@app.command("create-tables", short_help="The whole schema, in an empty or older database.")
def create_tables(seller: Who = "kamiyo", database: Url = "", json: Json = False) -> None:
    """Make tables, indexes, views and functions, all of them or nothing. Where they are already, nothing happens."""
    with errors(json), opened(seller, database) as found:
        done = found.migrate()
        _tell(json, {"database": found.database.where, "applied": [each.name for each in done], "rows": found.counts()})


@app.command("stats", short_help="What is in it.")
def stats(seller: Who = "kamiyo", database: Url = "", json: Json = False) -> None:
    """Rows of each table, and what this seller's operators look at first: payments by state, what was paid, the last day."""
    with errors(json), opened(seller, database) as found:
        _whole(found)
        _tell(json, {"database": found.database.where, "rows": found.counts(), **found.facts()})


@app.command("test", short_help="Does it work?")
def trial(seller: Who = "kamiyo", database: Url = "", json: Json = False) -> None:
    """Try it: schema, tables, a write that is taken back. Exit 1 names what failed."""
    with errors(json), opened(seller, database) as found:
        checks = found.test()
        if json:
            as_json({"database": found.database.where, "ok": all(checks.values()), "checks": checks})
        else:
            for name, good in checks.items():
                print(f"{'ok  ' if good else 'FAIL'}  {name}")
    raise typer.Exit(Exit.OK if all(checks.values()) else Exit.FAILED)


@app.command("cleanup", short_help="Mark what is over.")
def cleanup(seller: Who = "kamiyo", database: Url = "", json: Json = False) -> None:
    """Payments whose day is over become expired, and what they opened (tokens) goes. Operators run it every hour."""
    with errors(json), opened(seller, database) as found:
        _tell(json, {"database": found.database.where, "expired": _whole(found).cleanup()})


@app.command("cleanup-logs", short_help="Throw old lines of the log away.")
def cleanup_logs(
    days: Annotated[int, typer.Option("--days", min=1, max=36_500, help="Lines older than this go.")] = 30,
    seller: Who = "monitor",
    database: Url = "",
    json: Json = False,
) -> None:
    """Delete what a seller noted of its payments more than --days ago; the payments themselves stay."""
    with errors(json), opened(seller, database) as found:
        _tell(json, {"database": found.database.where, "deleted": _whole(found).cleanup_logs(days)})


@app.command("analytics", short_help="Sum up the last hour.")
def analytics(seller: Who = "kamiyo", database: Url = "", json: Json = False) -> None:
    """Sum up the hour before this one, and show the sums of the last day (monitor: the last week's days). Operators run it at minute 5; twice is once."""
    with errors(json), opened(seller, database) as found:
        _tell(json, {"database": found.database.where, "hours": _whole(found).analytics()})


@app.command("export", short_help="Every row, as JSON lines.")
def export(
    output: Annotated[Path | None, typer.Argument(help="A new file; only you may read it.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The same as an option, as db_manager.py has it.")] = None,
    seller: Who = "kamiyo",
    database: Url = "",
    json: Json = False,
) -> None:
    """Write every row to a new file, the same form for both engines; `migrate --restore FILE` reads it again. No token is in it."""
    with errors(json), opened(seller, database) as found:
        where = output or file
        if where is None or (output and file):
            raise SettingsError("an export goes to one new file", rule="FILE or --file FILE", hint=f"x402-agent sandbox db export copy.jsonl --seller {plain(seller)}")
        _tell(json, {"database": found.database.where, "file": str(where), "rows": _whole(found).export(where)})


@app.command("reset", short_help="Throw everything away.")
def reset(backup: Backup = None, seller: Who = "kamiyo", database: Url = "", yes: Yes = False, json: Json = False) -> None:
    """An empty database with the whole schema. A copy is written first. Without a terminal it needs --yes.

    Transactions that were sold are forgotten, too: those of the last week buy again.
    """
    with errors(json), opened(seller, database) as found:
        _agreed(f"every row of {found.database.where} goes", yes)
        copy = _copy(found, seller, backup)
        found.reset()
        _tell(json, {"database": found.database.where, "copy": copy, "rows": found.counts()})


@app.command("migrate", short_help="Change the schema, or take a change back.")
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the statements, and run none.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Take the newest change back.")] = False,
    to: Annotated[int, typer.Option("--to", min=-1, help="With --rollback: take back every change above this number.")] = -1,
    restore: Annotated[Path | None, typer.Option("--restore", help="Put the rows of an export in the place of what is here.")] = None,
    backup: Backup = None,
    seller: Who = "kamiyo",
    database: Url = "",
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Apply what is pending, after a copy of what is there; all of it or nothing.

    `--rollback` drops what the newest change made, its rows too; `--restore` throws away what is there. Without a terminal both need --yes.
    """
    with errors(json), opened(seller, database) as found:
        if restore is not None and rollback:
            raise SettingsError("--restore and --rollback are two things", rule="one at a time", hint="x402-agent sandbox db migrate --restore FILE")
        todo = found.behind(to) if rollback else found.pending()
        if dry_run:
            statements = [line for each in todo for line in (each.down if rollback else each.up).splitlines()]
            _tell(json, {"database": found.database.where, "would": [each.name for each in todo], "statements": statements})
            return
        if rollback or restore is not None:
            _agreed(f"rows of {found.database.where} may go", yes)
        copy = _copy(found, seller, backup)
        if restore is not None:
            _tell(json, {"database": found.database.where, "copy": copy, "restored": found.restore(restore)})
            return
        done = found.rollback(to) if rollback else found.migrate()
        _tell(json, {"database": found.database.where, "copy": copy, "undone" if rollback else "applied": [each.name for each in done]})


def _copy(found: Books, seller: str, backup: Path | None) -> str:
    """The copy that is made first, "" where there is no row to lose."""
    if not any(found.counts().values()):
        return ""
    name = f"{seller}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}.jsonl"
    path = backup or Settings.load().data_dir / "sandbox" / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    found.export(path)
    return str(path)


def _agreed(what: str, yes: bool) -> None:
    """Go on only with a yes; raises SettingsError."""
    if yes:
        return
    if not sys.stdin.isatty() or not typer.confirm(f"{plain(what)}. Go on?", err=True):
        raise SettingsError(f"{what}: nothing was done", rule="a person says yes", hint="--yes")
