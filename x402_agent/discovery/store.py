"""The catalogue's database: SQLite by default, PostgreSQL for fleets, the same statements for both. One lock, short transactions."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..database import connect, spelled
from ..errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ..database import Database

__all__ = ["Store", "chunks", "packed", "unpacked", "words_in", "words_out"]

SCHEMA = "x402_catalogue"
_VERSION = 3
_ROOM = "pragma cache_size = -65536;\npragma wal_autocheckpoint = 8000"  # KiB of pages kept, and pages (4 KiB) between two tidyings up
packed = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
unpacked = json.JSONDecoder().decode


@lru_cache(maxsize=8192)
def words_out(words: tuple[str, ...]) -> str:
    """A few words as text for a column; the same ones come again and again."""
    return packed(words)


@lru_cache(maxsize=8192)
def words_in(text: str) -> tuple[str, ...]:
    """And back."""
    return tuple(unpacked(text))


class Store:
    """`url` as for `database.connect`: a path, `sqlite:///path`, `postgresql://…`, or "" for memory. Safe in threads. Raises SettingsError."""

    def __init__(self, url: str = "", *, clock: Callable[[], float] = time.time) -> None:
        self.url, self.clock = url, clock
        if url and "://" not in url and url != ":memory:":
            Path(url).parent.mkdir(parents=True, exist_ok=True)
        self.database: Database = connect(url, SCHEMA)
        self._lock = threading.RLock()
        if self.database.engine == "sqlite":
            self.database.script(_ROOM)
        self._prepare()

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """One transaction of one thread, and of one process: PostgreSQL's writers stand in line as SQLite's do."""
        with self._lock, self.database.transaction():
            self._alone()
            yield self.database

    @contextmanager
    def reading(self) -> Iterator[Database]:
        """One thread at a time; a read needs no transaction of its own."""
        with self._lock:
            yield self.database

    def _alone(self) -> None:
        if self.database.engine == "postgresql":
            self.database.rows("select pg_advisory_xact_lock(hashtext(?))", SCHEMA)

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            self.database.close()

    def _prepare(self) -> None:
        with self._lock:
            if "services" in self.database.names():
                found = self.database.one("select version from catalogue")
                if found is None or found["version"] != _VERSION:
                    raise SettingsError(f"{self.database.where} is a catalogue of another version", rule=f"version {_VERSION}",
                                        hint="x402-agent discover crawl --catalogue NEW.db makes one anew; or take this one away")  # fmt: skip
                return
            with self.database.transaction():
                self._alone()
                if "services" in self.database.names():  # another process was first
                    return
                self.database.script(spelled(files(__package__).joinpath("tables.sql").read_text("utf-8"), self.database.engine))
                self.database.rows("insert into catalogue values (?)", _VERSION)


def chunks(values: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    """At most so many at a time: databases bound how many values a statement takes."""
    for start in range(0, len(values), size):
        yield values[start : start + size]
