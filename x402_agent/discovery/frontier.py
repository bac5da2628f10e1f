"""What is still to be fetched, in the database: a crawl that was killed goes on where its last whole page was.

A page is done in the one transaction that also writes its rows; what follows it is queued before, so a page that was not done is read again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .nouns import Fetch
from .store import packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..database import Database
    from .store import Store

__all__ = ["PROBE", "Entry", "Frontier", "host_of"]

PROBE = "probe"
_WANT = (
    "insert into frontier (id, root, kind, url, method, host, state, pass, status, due) values (?, ?, ?, ?, ?, ?, ?, ?, 'waiting', ?)"
    " on conflict (id) do update set pass = excluded.pass, status = 'waiting', due = excluded.due, tries = 0, why = '', state = excluded.state"
    " where frontier.pass < excluded.pass"
)
_DONE = "update frontier set status = 'done', why = ?, etag = ?, modified = ?, digest = ?, following = ? where id = ? and pass = ? and status <> 'done'"
_OPEN = "from frontier where pass = ? and status = 'waiting'"
_COLUMNS = "id, root, kind, url, method, host, state, pass, due, tries, etag, modified, digest, following"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing to fetch. `root` is what `--source` named, as `KIND WHERE`; the last four are what its last answer left."""

    id: str
    root: str
    kind: str
    url: str
    method: str
    host: str
    state: Mapping[str, Any]
    number: int  # of the pass
    due: float = 0.0
    tries: int = 0
    etag: str = ""
    modified: str = ""
    digest: str = ""
    following: tuple[Fetch, ...] = ()

    @property
    def fetch(self) -> Fetch:
        """As its source knows it."""
        return Fetch(self.url, self.state, self.method)

    @property
    def conditions(self) -> dict[str, str]:
        """Headers by which a server may say that nothing has changed."""
        found = {"if-none-match": self.etag, "if-modified-since": self.modified}
        return {name: value for name, value in found.items() if value}


def host_of(url: str) -> str:
    """Whom politeness is owed: a name, whatever the port, else 65,535 ports of one victim would be hosts (Y10); on this machine each port is somebody."""
    try:
        parts = urlsplit(url)
        name = (parts.hostname or "").rstrip(".")
    except ValueError:
        return ""
    return parts.netloc.rpartition("@")[2].lower() if name == "localhost" or name.startswith("127.") or name == "::1" else name


class Frontier:
    """The queue of one pass. All of its methods are one transaction each."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def begin(self) -> int:
        """The pass that was not ended, or a new one. -> its number."""
        with self.store.writing() as db:
            last = db.one("select number, ended from passes order by number desc limit 1")
            if last is not None and last["ended"] is None:
                return int(last["number"])
            number = int(last["number"]) + 1 if last else 1
            db.rows("insert into passes (number, started) values (?, ?)", number, self.store.clock())
            db.rows("update hosts set refusals = 0")
            return number

    def end(self, number: int) -> None:
        """Nothing of it waits any more, or it has not ended. What roots that were read to their end did not show again is missed once more."""
        with self.store.writing() as db:
            if db.one(f"select 1 as n {_OPEN} limit 1", number) is not None:
                return
            for row in db.rows("select root from frontier where pass = ? group by root having sum(case when status = 'done' then 0 else 1 end) = 0", number):
                gone = "from listings where source = ? and pass < ?"
                db.rows(f"insert into dirty select service {gone} on conflict do nothing", row["root"], number)
                db.rows("update listings set missed = missed + 1 where source = ? and pass < ?", row["root"], number)
            db.rows("update passes set ended = ? where number = ?", self.store.clock(), number)

    def open(self, number: int) -> int:
        """How many of a pass wait."""
        with self.store.reading() as db:
            found = db.one(f"select count(*) as n {_OPEN}", number)
        return int(found["n"]) if found else 0

    def want(self, number: int, root: str, kind: str, fetches: Iterable[Fetch]) -> list[Entry]:
        """Queue what is not of this pass yet. -> all of those that wait now."""
        with self.store.writing() as db:
            return self.add(db, number, root, kind, fetches)

    def add(self, db: Database, number: int, root: str, kind: str, fetches: Iterable[Fetch]) -> list[Entry]:
        """The same inside a transaction that is under way."""
        made = []
        for each in fetches:
            name = hashlib.sha256(f"{root}\n{each.method}\n{each.url}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
            have = db.one("select pass from frontier where id = ?", name)
            if have is not None and int(have["pass"]) >= number:
                continue  # seen in this pass: a cycle ends here
            db.rows(_WANT, name, root, kind, each.url, each.method, host_of(each.url), packed(dict(each.state)), number, self.store.clock())
            row = db.one(f"select {_COLUMNS} from frontier where id = ?", name)
            if row is not None:
                made.append(_entry(row))
        return made

    def waiting(self, number: int, host: str | None = None) -> list[Entry]:
        """All that waits, or what waits for one host; the oldest first."""
        mine, values = (" and host = ?", (host,)) if host is not None else ("", ())
        with self.store.reading() as db:
            return [_entry(row) for row in db.rows(f"select {_COLUMNS} {_OPEN}{mine} order by due, id", number, *values)]

    def leave(self, host: str, free: float, refusals: int) -> None:
        """Who wants to be left alone is left alone by the next run, too."""
        with self.store.writing() as db:
            db.rows("insert into hosts values (?, ?, ?) on conflict (host) do update set refusals = excluded.refusals,"
                    " free = case when hosts.free > excluded.free then hosts.free else excluded.free end", host, free, refusals)  # fmt: skip

    def left(self) -> list[dict[str, Any]]:
        """The hosts that are not to be asked yet, or have refused in this pass: host, free, refusals."""
        with self.store.reading() as db:
            return db.rows("select host, free, refusals from hosts where free > ? or refusals > 0", self.store.clock())

    def pages(self, number: int, root: str) -> int:
        """How many pages of a root were read in this pass."""
        with self.store.reading() as db:
            found = db.one("select count(*) as n from frontier where root = ? and pass = ? and status = 'done'", root, number)
        return int(found["n"]) if found else 0

    def digests(self, number: int, root: str) -> set[str]:
        """Of the pages that this root has shown in this pass."""
        with self.store.reading() as db:
            found = db.rows("select digest from frontier where root = ? and pass = ? and status = 'done' and digest <> ''", root, number)
        return {str(row["digest"]) for row in found}

    def done(self, db: Database, entry: Entry, *, why: str = "", etag: str = "", modified: str = "", digest: str = "", following: Iterable[Fetch] = ()) -> None:
        """It was read, inside the transaction that writes what it told. Where another crawl has done it already, what that one found to follow stands."""
        db.rows(_DONE, why, etag, modified, digest, packed([[each.url, dict(each.state), each.method] for each in following]), entry.id, entry.number)

    def later(self, entry: Entry, due: float, why: str) -> Entry:
        """It is tried again at `due`."""
        with self.store.writing() as db:
            db.rows("update frontier set due = ?, tries = tries + 1, why = ? where id = ?", due, why, entry.id)
        return replace(entry, due=due, tries=entry.tries + 1)

    def failed(self, db: Database, entry: Entry, why: str) -> None:
        """It is not tried again in this pass, inside a transaction."""
        db.rows("update frontier set status = 'failed', why = ? where id = ? and pass = ? and status <> 'done'", why, entry.id, entry.number)


def _entry(row: Mapping[str, Any]) -> Entry:
    following = tuple(Fetch(url, state, method) for url, state, method in json.loads(row["following"]))
    return Entry(row["id"], row["root"], row["kind"], row["url"], row["method"], row["host"], json.loads(row["state"]), int(row["pass"]),
                 float(row["due"]), int(row["tries"]), row["etag"], row["modified"], row["digest"], following)  # fmt: skip
