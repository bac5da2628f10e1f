"""Questions to the local catalogue: offline, in milliseconds, each answer with why it stands where it stands and what is odd about it.

The index is kept in the order of evidence, so the first hits are the best ones, and a common word is not read to its end.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from ..errors import PaymentError, SettingsError
from ..model import CALL
from . import merge
from .address import Refused, identity
from .listed import listing, prices_in, prices_out
from .rank import HIDDEN
from .sources.pieces import dollars
from .store import Store, chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from ..database import Database
    from .nouns import Priced

__all__ = ["Came", "Catalogue", "Past", "Result", "age", "service", "told"]

PER_HOST = 3  # of one provider in one answer
MOST = 100
_FIRST, _WALK = 40, 400  # rows are read at a time: few at first, since most answers need no more
_FAR = 20_000  # and so many in all, before an answer is what was found so far
_WORD = re.compile(r"\w+")
_WORDS = 12
_FEW = 20  # services whose rank is looked at one by one


@dataclass(frozen=True, slots=True)
class Result:
    """One service. Texts are the sellers' (cleaned, capped, never to be obeyed); `why` and `suspicious` are ours. Times in unix seconds."""

    id: str
    url: str
    method: str
    tool: str
    name: str
    description: str
    category: str
    tags: tuple[str, ...]
    prices: tuple[Priced, ...]
    micros: int | None
    payable: bool
    verdict: str
    probed: float | None
    agreement: str
    sources: tuple[str, ...]
    payers: int | None
    seen: float
    points: int
    why: tuple[str, ...]
    suspicious: tuple[str, ...]

    @property
    def template(self) -> bool:
        """Whether its URL has places to fill in before it can be bought."""
        return bool(re.search(r"\{[^}]*\}|/:[A-Za-z_]|/\[", self.url.partition("://")[2]))

    @property
    def hidden(self) -> bool:
        """Whether a search leaves it out unless it is asked for all."""
        return bool(HIDDEN & set(self.suspicious))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: amounts are text."""
        made = {name: getattr(self, name) for name in self.__slots__}
        return {**made, "prices": told(self.prices), "payable": self.payable, "template": self.template}

    def as_row(self) -> dict[str, Any]:
        """One value in each column, for a table."""
        made = self.as_dict()
        made["prices"] = " | ".join(f"{each.get('amount', '?')} {each.get('asset') or each.get('token') or '?'} to {each.get('pay_to', '?')}" for each in made["prices"])
        return {name: " | ".join(map(str, value)) if isinstance(value, tuple) else value for name, value in made.items()}


class Came(NamedTuple):
    """How a payment of ours ended: `spent` where goods came, `bad` where none did, "" where it is not over or nothing was taken. `at` is unix
    seconds of its last move, `micros` millionths of a dollar."""

    payment: str
    method: str
    url: str
    outcome: str
    micros: int
    at: float


class Past(NamedTuple):
    """A ledger of ours, as far as the catalogue asks it: its name, and what moved in it since a unix second."""

    name: str
    since: Callable[[float], Iterable[Came]]


class Catalogue:
    """What was found, for questions; of `past`, our own ledgers, it learns how payments ended, when it is asked. It fetches nothing. Raises
    SettingsError for a question that is none."""

    def __init__(self, store: Store, past: Iterable[Past] = ()) -> None:
        self.store, self.past = store, tuple(past)

    @classmethod
    def at(cls, where: str, past: Iterable[Past] = ()) -> Catalogue:
        """The catalogue that lies there, as for Store; none is made. Raises SettingsError where there is none yet."""
        path = where.removeprefix("sqlite:///")
        if "://" not in path and not Path(path).exists():
            raise SettingsError("there is no catalogue yet", rule="catalogue", hint="x402-agent discover crawl")
        return cls(Store(where), past)

    def listed(self, method: str, url: str) -> Result | None:
        """The service that a request is for: this URL itself, whatever its query; a call of an MCP tool by the server's URL and the tool's name.
        Raises SettingsError where the database cannot be read."""
        name = service(method, url)
        with self.store.reading() as db, db.spoken():
            row = db.one("select * from services where id = ?", name) if name else None
            return _result(row, merge.judged(row, merge.ground(db), self.store.clock())) if row else None

    def search(
        self, words: str = "", *, most: str | int | None = None, network: str = "", live: bool = False, every: bool = False, payable: bool = False,
        limit: int = 20,
    ) -> list[Result]:  # fmt: skip
        """The best `limit` for these words, at most `most` a call (dollars as text, or micros). Without `every`, what is suspicious beyond doubt is left out,
        and no provider has more than PER_HOST of them; `payable` leaves out what we have no way to pay."""
        if not 0 < limit <= MOST:
            raise SettingsError(f"a search shows 1 to {MOST}", rule="limit", hint=f"--limit {MOST}")
        top = dollars(most) if isinstance(most, str) else most
        if isinstance(most, str) and top is None:
            raise SettingsError(f"{most[:40]!r} is no amount of dollars", rule="most", hint='most="0.01"')
        self.learn()
        found: list[Result] = []
        hosts: dict[str, int] = {}
        with self.store.reading() as db:
            stand, now = merge.ground(db), self.store.clock()
            for row in _hits(db, words, top, network, live=live):
                made = _result(row, merge.judged(row, stand, now))
                if not every and (made.hidden or hosts.get(row["host"], 0) >= PER_HOST):
                    continue
                if payable and not made.payable:
                    continue
                hosts[row["host"]] = hosts.get(row["host"], 0) + 1
                found.append(made)
                if len(found) >= limit:
                    break
        return found

    def show(self, name: str) -> tuple[Result, list[dict[str, Any]], list[dict[str, Any]]] | None:
        """One service by its ID (or a beginning of it that names no other), what each source says of it, and its last probes."""
        if not re.fullmatch(r"[0-9a-f]{4,16}", name):
            return None
        self.learn()
        with self.store.reading() as db:
            rows = db.rows("select * from services where id like ? limit 2", f"{name}%")
            if len(rows) != 1:
                return None
            made = _result(rows[0], merge.judged(rows[0], merge.ground(db), self.store.clock()))
            listings = [_told(row) for row in db.rows("select * from listings where service = ? order by source", made.id)]
            probes = [{**row, "prices": told(prices_in(row["prices"]))} for row in db.rows("select at, verdict, status, prices, why from probes where service = ? order by at desc limit 10", made.id)]
            return made, listings, probes

    def every(self) -> Iterator[Result]:
        """All of it, by rank."""
        self.learn()
        with self.store.reading() as db:
            stand, now = merge.ground(db), self.store.clock()
            after = -1
            while rows := db.rows("select * from services where slot > ? order by slot limit 1000", after):
                for row in rows:
                    yield _result(row, merge.judged(row, stand, now))
                after = rows[-1]["slot"]

    def learn(self) -> int:
        """Take in what our own ledgers know since we last asked them: how each payment ended, for whatever it was made. What cannot be asked, or
        written down just now, hinders no answer. -> how many payments are news."""
        count = 0
        for each in self.past:
            with suppress(PaymentError, *self.store.database.errors):
                count += self._learnt(each)
        return count

    def _learnt(self, past: Past) -> int:
        with self.store.reading() as db:
            mark = db.one("select upto from learned where ledger = ?", past.name)
        rows = {each.payment: (service(each.method, each.url), each) for each in past.since(float(mark["upto"]) if mark else 0.0)}
        with self.store.reading() as db:
            known = {row["payment"]: row for part in chunks(list(rows)) for row in db.rows(f"select * from outcomes where payment in ({', '.join('?' * len(part))})", *part)}
        news = [(name, each) for name, each in rows.values() if name and (known[each.payment]["outcome"] if each.payment in known else "") != each.outcome]
        if not news:
            return 0
        with self.store.writing() as db:
            for part in chunks([each.payment for _, each in news]):
                db.rows(f"delete from outcomes where payment in ({', '.join('?' * len(part))})", *part)
            db.many("insert into outcomes values (?, ?, ?, ?, ?)", [(each.payment, name, each.at, each.outcome, each.micros) for name, each in news if each.outcome])
            db.rows("insert into learned values (?, ?) on conflict (ledger) do update set upto = excluded.upto", past.name, max(each.at for _, each in rows.values()))
            db.many("insert into dirty values (?) on conflict do nothing", [(name,) for name in dict.fromkeys(name for name, _ in news)])
        names = {name for name, _ in news}
        if len(names) > _FEW:
            merge.settle(self.store)
        for name in names if len(names) <= _FEW else ():
            merge.touch(self.store, name)
        return len(news)

    def facts(self) -> dict[str, Any]:
        """How much there is, and how old."""
        with self.store.reading() as db:
            one = db.one("select count(*) as services, max(last) as seen, max(probed) as probed from services") or {}
            sources = db.rows("select source, count(*) as listings, max(last) as seen from listings group by source order by source")
            verdicts = db.rows("select verdict, count(*) as n from services group by verdict order by verdict")
        return {**one, "sources": sources, "verdicts": {row["verdict"] or "never probed": row["n"] for row in verdicts}}


def _hits(db: Database, words: str, most: int | None, network: str, *, live: bool) -> Iterator[Mapping[str, Any]]:
    """Services that have all the words, the best evidence first, read a few at a time."""
    terms = _WORD.findall(words)[:_WORDS]
    where: list[str] = []
    values: list[object] = []
    if most is not None:
        where.append("s.micros <= ?")
        values.append(most)
    if network:
        where.append("' ' || s.networks || ' ' like ? escape '!'")
        values.append("% " + re.sub("([!%_])", r"!\1", network) + " %")
    if live:
        where.append("s.verdict = 'live-402'")
    also = "".join(f" and {each}" for each in where)
    after, read, step = -1, 0, _FIRST
    first: list[object]
    while read < _FAR:
        if not terms:
            sql, first = f"select s.* from services s where s.slot > ?{also} order by s.slot limit {step}", [after]
        elif db.engine == "sqlite":
            sql = f"select s.* from words w cross join services s on s.slot = w.rowid where w.words match ? and w.rowid > ?{also} order by w.rowid limit {step}"
            first = [" ".join(f'"{each}"' for each in terms[:-1]) + f' "{terms[-1]}"*', after]
        else:
            sql = f"select s.* from words w join services s on s.slot = w.slot where w.terms @@ to_tsquery('english', ?) and w.slot > ?{also} order by w.slot limit {step}"
            first = [" & ".join(f"'{each}'" for each in terms[:-1]) + (" & " if terms[1:] else "") + f"'{terms[-1]}':*", after]
        rows = db.rows(sql, *first, *values)
        yield from rows
        if len(rows) < step:
            return
        after, read, step = rows[-1]["slot"], read + step, min(_WALK, 2 * step)


def _result(row: Mapping[str, Any], judged: Any) -> Result:
    prices = prices_in(row["prices"])
    return Result(
        row["id"], row["url"], row["method"], row["tool"], row["name"], row["description"], row["category"], tuple(json.loads(row["tags"])), prices, row["micros"],
        any(price.payable or (price.rail == "x402" and not price.token) for price in prices), row["verdict"], row["probed"], row["agreement"],
        tuple(json.loads(row["sources"])), row["payers"], float(row["last"]), judged.points, judged.why, judged.suspicious,
    )  # fmt: skip


def service(method: str, url: str) -> str:
    """The ID of what a request is for, "" for what no catalogue can list."""
    verb, tool = method, ""
    if method == CALL:
        url, _, name = url.rpartition("/")
        verb, tool = "POST", unquote(name)
    try:
        return identity(url, verb, tool)[0].id
    except Refused:
        return ""


def age(at: float | None, now: float) -> str:
    """How long ago, in words: `12 min`, `5 h`, `3 days`, `never`."""
    if at is None:
        return "never"
    seconds = max(0, int(now - at))
    return f"{seconds // 86_400} days" if seconds >= 172_800 else f"{seconds // 3600} h" if seconds >= 7200 else f"{seconds // 60} min"


def told(prices: Iterable[Priced]) -> list[dict[str, Any]]:
    """Prices as plain values: amounts in atomic units as text, micros as numbers."""
    return [{name: str(value) if name == "amount" else value for name, value in each.items()} for each in json.loads(prices_out(prices))]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    one = listing(row)
    return {"source": row["source"], "url": one.url, "prices": told(one.prices), "flags": one.flags, "payers": one.payers, "first": row["first"], "last": row["last"], "missed": row["missed"]}
