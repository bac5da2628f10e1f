"""Questions to the local catalogue: offline, in milliseconds, each answer with why it stands where it stands and what is odd about it.

The index is kept in the order of evidence, so the first hits are the best ones, and a common word is not read to its end.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from . import merge
from .listed import listing, prices_in, prices_out
from .rank import HIDDEN
from .sources.pieces import dollars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..database import Database
    from .nouns import Priced
    from .store import Store

__all__ = ["Catalogue", "Result", "told"]

PER_HOST = 3  # of one provider in one answer
MOST = 100
_WALK = 200  # rows are read at a time
_FAR = 20_000  # and so many in all, before an answer is what was found so far
_WORD = re.compile(r"\w+")
_WORDS = 12


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
    seen: float
    points: int
    why: tuple[str, ...]
    suspicious: tuple[str, ...]

    @property
    def template(self) -> bool:
        """Whether its URL has places to fill in before it can be bought."""
        return bool(re.search(r"\{[^}]*\}|/:[A-Za-z_]|/\[", self.url))

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: amounts are text."""
        made = {name: getattr(self, name) for name in self.__slots__}
        return {**made, "prices": told(self.prices), "payable": self.payable, "template": self.template}

    def as_row(self) -> dict[str, Any]:
        """One value in each column, for a table."""
        made = self.as_dict()
        made["prices"] = " | ".join(f"{each.get('amount', '?')} {each.get('asset') or each.get('token') or '?'} to {each.get('pay_to', '?')}" for each in made["prices"])
        return {name: " | ".join(map(str, value)) if isinstance(value, tuple) else value for name, value in made.items()}


class Catalogue:
    """What was found, for questions. It fetches nothing. Raises SettingsError for a question that is none."""

    def __init__(self, store: Store) -> None:
        self.store = store

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
        found: list[Result] = []
        hosts: dict[str, int] = {}
        with self.store.reading() as db:
            stand, now = merge.ground(db), self.store.clock()
            for row in _hits(db, words, top, network, live=live):
                made = _result(row, merge.judged(row, stand, now))
                if not every and (HIDDEN & set(made.suspicious) or hosts.get(row["host"], 0) >= PER_HOST):
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
        with self.store.reading() as db:
            stand, now = merge.ground(db), self.store.clock()
            after = -1
            while rows := db.rows("select * from services where slot > ? order by slot limit 1000", after):
                for row in rows:
                    yield _result(row, merge.judged(row, stand, now))
                after = rows[-1]["slot"]

    def bought(self, service: str, payment: str, outcome: str, micros: int | None) -> None:
        """What came of a payment for one service: `spent` when it was delivered. The last word on a payment stands."""
        with self.store.writing() as db:
            db.rows("insert into outcomes values (?, ?, ?, ?, ?) on conflict (payment) do update set outcome = excluded.outcome, at = excluded.at",
                    payment, service, self.store.clock(), outcome, micros)  # fmt: skip
        merge.touch(self.store, service)

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
        where.append("' ' || s.networks || ' ' like ?")
        values.append(f"% {network} %")
    if live:
        where.append("s.verdict = 'live-402'")
    also = "".join(f" and {each}" for each in where)
    after, read = -1, 0
    first: list[object]
    while read < _FAR:
        if not terms:
            sql, first = f"select s.* from services s where s.slot > ?{also} order by s.slot limit {_WALK}", [after]
        elif db.engine == "sqlite":
            sql = f"select s.* from words w cross join services s on s.slot = w.rowid where w.words match ? and w.rowid > ?{also} order by w.rowid limit {_WALK}"
            first = [" ".join(f'"{each}"' for each in terms[:-1]) + f' "{terms[-1]}"*', after]
        else:
            sql = f"select s.* from words w join services s on s.slot = w.slot where w.terms @@ to_tsquery('english', ?) and w.slot > ?{also} order by w.slot limit {_WALK}"
            first = [" & ".join(f"'{each}'" for each in terms[:-1]) + (" & " if terms[1:] else "") + f"'{terms[-1]}':*", after]
        rows = db.rows(sql, *first, *values)
        yield from rows
        if len(rows) < _WALK:
            return
        after, read = rows[-1]["slot"], read + _WALK


def _result(row: Mapping[str, Any], judged: Any) -> Result:
    prices = prices_in(row["prices"])
    return Result(
        row["id"], row["url"], row["method"], row["tool"], row["name"], row["description"], row["category"], tuple(json.loads(row["tags"])), prices, row["micros"],
        any(price.payable or (price.rail == "x402" and not price.token) for price in prices), row["verdict"], row["probed"], row["agreement"],
        tuple(json.loads(row["sources"])), float(row["last"]), judged.points, judged.why, judged.suspicious,
    )  # fmt: skip


def told(prices: Iterable[Priced]) -> list[dict[str, Any]]:
    """Prices as plain values: amounts in atomic units as text, micros as numbers."""
    return [{name: str(value) if name == "amount" else value for name, value in each.items()} for each in json.loads(prices_out(prices))]


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    one = listing(row)
    return {"source": row["source"], "url": one.url, "prices": told(one.prices), "flags": one.flags, "payers": one.payers, "first": row["first"], "last": row["last"], "missed": row["missed"]}
