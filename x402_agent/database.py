"""SQLite or PostgreSQL behind one small door: statements with `?`, rows as dicts, one connection.

Both give amounts, times and JSON back as text (`0.100000`, `2026-01-02 03:04:05.678`): nothing above knows which one it is.
Not thread-safe: whoever is above holds a lock, or borrows from a `Pool`.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from abc import ABC, abstractmethod
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from .errors import SettingsError
from .secret import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Database", "Pool", "connect", "spelled"]

_WAIT = 10  # seconds that another writer, or a server, is waited for
_ENGINES = ("sqlite", "postgresql")
# What PostgreSQL's words are on SQLite, which knows neither times nor JSON nor exact decimals.
_SQLITE = {
    "serial primary key": "integer primary key autoincrement",
    "default (now() at time zone 'utc')": "default (strftime('%Y-%m-%d %H:%M:%f', 'now'))",
    "decimal(3,2)": "real",
    **dict.fromkeys(("timestamp(3)", "timestamp", "jsonb", "json", "numeric(18,6)", "decimal(18,6)"), "text"),
}
_WORDS = re.compile("|".join(rf"(?<![\w\"]){re.escape(each)}(?![\w\"])" for each in _SQLITE))


class Database(ABC):
    """One open database. `where` is what people may read: no password is in it."""

    engine: ClassVar[str]
    where: str
    errors: tuple[type[Exception], ...]  # what its library raises

    @property
    def away(self) -> tuple[type[Exception], ...]:
        """What is raised while it does not answer."""
        return (SettingsError, *self.errors)

    @contextmanager
    def spoken(self, *others: type[Exception]) -> Iterator[None]:
        """What its library raises within, or in tasks within, becomes SettingsError, in a line: for people, who get no traceback. So do `others`."""
        ours: tuple[type[Exception], ...] = (*self.errors, *others)
        try:
            yield
        except ours as cause:
            raise self._said(cause) from None
        except ExceptionGroup as many:
            found = next((each for each in _each(many) if isinstance(each, ours)), None)
            if found is None:
                raise
            raise self._said(found) from None

    def _said(self, cause: BaseException) -> SettingsError:
        words = plain(str(cause).partition("\n")[0])
        return SettingsError(f"{self.where}: {words or type(cause).__name__}", rule="database", hint="is somebody else at it? try again")

    @abstractmethod
    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Run one statement; the rows that it gives."""

    @abstractmethod
    def each(self, sql: str) -> Iterator[dict[str, Any]]:
        """The rows of one statement, however many, inside a transaction."""

    @abstractmethod
    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each row of values."""

    @abstractmethod
    def script(self, sql: str) -> None:
        """Run several statements, without values."""

    @abstractmethod
    def names(self) -> list[str]:
        """Tables that are here, in alphabetical order."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def one(self, sql: str, *values: object) -> dict[str, Any] | None:
        """The first row, None when there is none."""
        found = self.rows(sql, *values)
        return found[0] if found else None

    @contextmanager
    def transaction(self, *, reading: bool = False) -> Iterator[None]:
        """All or nothing; `reading` sees one moment of everything, and holds no writer up."""
        self.script(self._moment if reading else self._begin)
        try:
            yield
            self.script("commit")
        except BaseException:
            with suppress(SettingsError, *self.errors):  # a connection that is gone took its transaction along, and so did some commits that failed
                self.script("rollback")
            raise

    _begin: ClassVar[str] = "begin"
    _moment: ClassVar[str] = "begin"


class _Sqlite(Database):
    engine = "sqlite"
    errors = (sqlite3.Error,)
    _begin = "begin immediate"

    def __init__(self, path: str) -> None:
        self.where = path if path != ":memory:" else "memory"
        try:
            self._link = sqlite3.connect(path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            self._link.execute("pragma journal_mode = wal")
            self._link.execute("pragma synchronous = normal")
            self._link.execute("pragma foreign_keys = on")
            self._link.execute("pragma wal_autocheckpoint = 10000")  # pages: what is written again and again is copied back once
        except sqlite3.Error as cause:
            raise SettingsError(f"{path}: {cause}", rule="database", hint="another file, in a folder of yours") from None

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        cursor = self._link.execute(sql, values)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def each(self, sql: str) -> Iterator[dict[str, Any]]:
        cursor = self._link.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        return (dict(zip(names, row, strict=True)) for row in cursor)

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        self._link.executemany(sql, rows)

    def script(self, sql: str) -> None:
        for each in sql.split(";\n"):  # executescript() would commit what is under way
            if each.strip():
                self._link.execute(each)

    def names(self) -> list[str]:
        found = self.rows("select name from sqlite_master where type = 'table' and name not like 'sqlite%' order by name")
        return [str(each["name"]) for each in found]

    def close(self) -> None:
        self._link.close()


class _Postgres(Database):
    engine = "postgresql"
    _moment = "begin isolation level repeatable read, read only"

    def __init__(self, url: str, schema: str) -> None:
        try:
            psycopg = import_module("psycopg")
            text = import_module("psycopg.types.string").TextLoader
        except ImportError as cause:
            needed = "PostgreSQL needs psycopg"
            raise SettingsError(needed, rule="extra postgres", hint="pip install 'x402-agent-sdk[postgres]'") from cause
        self.errors = (psycopg.Error,)
        self.where = f"{_shown(url)}, schema {schema}"
        self._url, self._schema, self._lib, self._text = url, schema, psycopg, text
        self._link = self._opened()

    def _opened(self) -> Any:
        try:
            link = self._lib.connect(self._url, autocommit=True, connect_timeout=_WAIT, row_factory=import_module("psycopg.rows").dict_row)
            with suppress(self._lib.errors.UniqueViolation):  # two at the same moment
                link.execute(f"create schema if not exists {self._schema}")
            link.execute(f"set search_path to {self._schema}")
            link.execute(f"set lock_timeout to '{_WAIT}s'")
        except self._lib.Error as cause:
            hint = "is it running, and may this user create a schema?"
            raise SettingsError(f"{self.where}: {type(cause).__name__}", rule="database", hint=hint) from None
        for kind in ("timestamp", "numeric", "json", "jsonb"):
            link.adapters.register_loader(kind, self._text)
        return link

    def _run(self, sql: str, values: Sequence[object] | None = None) -> Any:
        """A statement; on a new connection where the server has closed the old one, which may have been in a transaction then."""
        if self._link.closed:
            self._link = self._opened()
        return self._link.execute(sql, values)

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        done = self._run(sql.replace("?", "%s"), values)
        return done.fetchall() if done.description else []

    def each(self, sql: str) -> Iterator[dict[str, Any]]:
        with self._link.cursor(name="x402_each") as cursor:  # on the server: millions of rows are no memory here
            cursor.execute(sql)
            yield from cursor

    def many(self, sql: str, rows: Sequence[Sequence[object]]) -> None:
        with self._link.cursor() as cursor:
            cursor.executemany(sql.replace("?", "%s"), rows)

    def script(self, sql: str) -> None:
        self._run(sql)

    def names(self) -> list[str]:
        found = self.rows("select tablename from pg_tables where schemaname = current_schema() order by tablename")
        return [str(each["tablename"]) for each in found]

    def close(self) -> None:
        self._link.close()


def _each(cause: BaseException) -> Iterator[BaseException]:
    if isinstance(cause, BaseExceptionGroup):
        for each in cause.exceptions:
            yield from _each(each)
    else:
        yield cause


def _shown(url: str) -> str:
    """A PostgreSQL URL without user and password; raises SettingsError where a bare / or @ leaves open which part is the password."""
    try:
        parts = urlsplit(url)
        shown = f"postgresql://{parts.hostname or ''}:{parts.port or 5432}{parts.path}"
        whole = "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        shown, whole = "", False
    if not whole:
        raise SettingsError("the URL of the database cannot be read", rule="postgresql://user:password@host:port/name", hint="a password's / is written %2F, its @ %40, # %23, ? %3F")
    return shown


def connect(url: str, schema: str) -> Database:
    """`postgresql://…` with a schema of the seller's own, a path, `sqlite:///path`, or "" for memory. Raises SettingsError."""
    if url.startswith(("postgresql://", "postgres://")):
        return _Postgres(url, schema)
    with suppress(ValueError):
        if urlsplit(url).scheme not in ("", "sqlite") and "://" in url:
            raise SettingsError(f"no database is reached by {urlsplit(url).scheme[:20]}://", rule="postgresql:// or sqlite:///", hint="sqlite:///file.db")
    return _Sqlite(url.removeprefix("sqlite:///") or ":memory:")


def spelled(schema: str, engine: str) -> str:
    """A schema in an engine's words: it is written in PostgreSQL's, and a line that begins with `--sqlite` or `--postgresql` is that engine's alone."""
    lines = []
    for line in schema.splitlines():
        mark, _, rest = line.partition(" ")
        if mark.removeprefix("--") not in _ENGINES:
            lines.append(_WORDS.sub(lambda found: _SQLITE[found[0]], line) if engine == "sqlite" else line)
        elif mark == f"--{engine}":
            lines.append(rest)
    return "\n".join(lines) + "\n"


class Pool:
    """Connections of one database for several threads: who needs one borrows it, and waits while all are lent.

    PostgreSQL: `keep` of them stay open, `more` are opened beside these in a rush, none older than `life` seconds is lent.
    SQLite has one writer anyway, and so one connection here: `first`, which is lent for ever.
    """

    def __init__(self, first: Database, url: str, schema: str, keep: int = 10, more: int = 20, life: float = 120, clock: Callable[[], float] = time.monotonic) -> None:
        one = first.engine == "sqlite"
        self._first, self._url, self._schema, self._clock = first, url, schema, clock
        self._keep, self._life = (1, float("inf")) if one else (keep, life)
        self._free = threading.Semaphore(1 if one else keep + more)
        self._idle: list[tuple[float, Database]] = [(clock(), first)]
        self._lock = threading.Lock()
        self._open = True

    @contextmanager
    def lent(self) -> Iterator[Database]:
        """A connection that is nobody else's until the end of the block. Raises SettingsError where none can be opened."""
        with self._free:
            born, link = self._take()
            try:
                yield link
            finally:
                self._give(born, link)

    def _take(self) -> tuple[float, Database]:
        while True:
            with self._lock:
                if not self._open:
                    raise SettingsError(f"{self._first.where}: closed", rule="database")
                born, link = self._idle.pop() if self._idle else (self._clock(), None)
            if link is None:
                return born, connect(self._url, self._schema)
            if self._clock() - born <= self._life:
                return born, link
            link.close()

    def _give(self, born: float, link: Database) -> None:
        with self._lock:
            if self._open and len(self._idle) < self._keep:
                self._idle.append((born, link))
                return
        link.close()

    def close(self) -> None:
        """Let go of all that is not lent, and of the rest when it comes back."""
        with self._lock:
            self._open, idle, self._idle = False, self._idle, []
        for _, link in idle:
            link.close()
