"""One service out of all that sources, probes and our own purchases say of it. Nothing is averaged: what differs is shown as differing."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .listed import listing, prices_in, prices_out
from .rank import MOST, SHARE, Evidence, Judged, judge
from .store import chunks, packed, unpacked, words_in, words_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..database import Database
    from .nouns import Listing, Priced
    from .store import Store

__all__ = ["GONE", "Ground", "compared", "evidence", "ground", "judged", "settle", "slot_of", "touch"]

GONE = 5  # passes after which a service that no source shows any more is taken out
_BATCH = 2_000
_NOWHERE = (MOST + 1) << 40  # slots of what is not in the index
_FEW = 5  # services of a category have no median


@dataclass
class Ground:
    """What one service is compared with: medians by category, and how many services each provider has."""

    medians: dict[str, int] = field(default_factory=dict)
    hosts: dict[str, int] = field(default_factory=dict)
    total: int = 0


def settle(store: Store, step: Callable[[int], None] | None = None) -> int:
    """Bring `services` and its index up to what is written. Safe to be cut off anywhere. -> how many were touched."""
    done = 0
    while True:
        with store.writing() as db:
            names = [row["service"] for row in db.rows("select service from dirty order by service limit ?", _BATCH)]
            if not names:
                break
            _batch(db, names, store.clock())
            done += len(names)
        if step is not None:
            step(done)
    if done or _left_out(store):
        _rerank(store)
    return done


def _left_out(store: Store) -> bool:
    """Whether somebody was cut off before everything was in the index."""
    with store.reading() as db:
        return db.one("select 1 as n from services where slot >= ? limit 1", _NOWHERE) is not None


def _batch(db: Database, names: Sequence[str], now: float) -> None:
    gathered: dict[str, list[dict[str, Any]]] = defaultdict(list)
    probes: dict[str, dict[str, Any]] = {}
    ours: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for part in chunks(names):
        marks = ", ".join("?" * len(part))
        for row in db.rows(f"select * from listings where service in ({marks}) order by source", *part):
            gathered[row["service"]].append(row)
        for row in db.rows(f"select p.* from probes p where service in ({marks}) and at = (select max(at) from probes where service = p.service)", *part):
            probes[row["service"]] = row
        for row in db.rows(f"select service, outcome, count(*) as n from outcomes where service in ({marks}) group by service, outcome", *part):
            ours[row["service"]][0 if row["outcome"] == "spent" else 1] += int(row["n"])
    made, gone = [], []
    for name in names:
        rows = [row for row in gathered[name] if int(row["missed"]) < GONE]
        if rows:
            made.append(_service(name, rows, probes.get(name), ours[name], now))
        else:
            gone.append(name)
    _write(db, made)
    for part in chunks(gone):
        marks = ", ".join("?" * len(part))
        db.rows(f"delete from words where {_slot(db)} in (select slot from services where id in ({marks}))", *part)
        db.rows(f"delete from services where id in ({marks})", *part)
    for part in chunks(names):
        db.rows(f"delete from dirty where service in ({', '.join('?' * len(part))})", *part)


_FIELDS = (
    "host", "origin", "method", "path", "tool", "url", "name", "description", "category", "tags", "prices", "micros", "rails", "networks", "payees", "sources",
    "verdict", "probed", "agreement", "payers", "calls", "good", "bad", "first", "last", "missed", "flags",
)  # fmt: skip


def _service(name: str, rows: list[dict[str, Any]], probe: Mapping[str, Any] | None, ours: list[int], now: float) -> dict[str, Any]:
    all_of_it = [(row, listing(row)) for row in rows]
    shown = [pair for pair in all_of_it if not pair[0]["missed"]] or all_of_it
    counted = [each for _, each in shown]
    freshest = max(counted, key=lambda each: (each.updated or 0.0, len(each.description))) if counted[1:] else counted[0]
    listed = tuple(dict.fromkeys(price for each in counted for price in each.prices))
    live = prices_in(probe["prices"]) if probe else ()
    flags = (*(flag for each in counted for flag in each.flags), *_differences(counted))
    one = freshest.identity
    prices = live if probe and probe["verdict"] == "live-402" else listed
    return {
        "id": name, "host": one.origin.partition("://")[2], "origin": one.origin, "method": one.method, "path": one.path, "tool": one.tool, "url": freshest.url,
        "name": freshest.name or next((each.name for each in counted if each.name), ""), "description": freshest.description or next((each.description for each in counted if each.description), ""),
        "category": next((each.category for each in counted if each.category), "") or (freshest.tags[0].lower() if freshest.tags else ""),
        "tags": words_out(tuple(dict.fromkeys(tag for each in counted for tag in each.tags))[:12]), "prices": shown[0][0]["prices"] if prices == freshest.prices and not shown[1:] else prices_out(prices), "micros": _cheapest(prices),
        "rails": _words(price.rail for price in prices), "networks": _words(price.network for price in prices), "payees": _words(price.pay_to for price in prices),
        "sources": words_out(tuple(dict.fromkeys(each.source for each in counted))), "verdict": probe["verdict"] if probe else "", "probed": probe["at"] if probe else None,
        "agreement": compared(listed, live) if probe and probe["verdict"] == "live-402" else "", "payers": _most(each.payers for each in counted),
        "calls": _most(each.calls for each in counted), "good": ours[0], "bad": ours[1], "first": min(row["first"] for row, _ in all_of_it),
        "last": max(row["last"] for row, _ in all_of_it), "missed": min(int(row["missed"]) for row, _ in all_of_it), "flags": words_out(tuple(dict.fromkeys(flags))),
    }  # fmt: skip


def compared(listed: Sequence[Priced], live: Sequence[Priced]) -> str:
    """What catalogues say beside what was asked: agreement, drift (another price), conflict (another payee or token), "" where either is silent."""
    known = [each for each in listed if each.amount is not None or each.micros is not None]
    known = [each for each in known if each.pay_to] or known  # who names whom he pays outweighs who tells a price alone
    if not known or not live:
        return ""
    for asked in live:
        for said in known:
            same_token = not said.asset or said.asset == asked.asset
            same_payee = not said.pay_to or said.pay_to.lower() == asked.pay_to.lower()
            same_price = said.amount == asked.amount if said.amount is not None else said.micros == asked.micros
            if same_token and same_payee and same_price:
                return "agreement"
    tokens, payees = {each.asset for each in known if each.asset}, {each.pay_to.lower() for each in known if each.pay_to}
    near = [each for each in live if (not tokens or each.asset in tokens) and (not payees or each.pay_to.lower() in payees)]
    return "drift" if near else "conflict"


def _differences(listings: Sequence[Listing]) -> list[str]:
    """Sources that name different payees or prices for one token: nobody knows which is right before a probe (Y5)."""
    if sum(len(each.prices) for each in listings) < 2:
        return []
    payees: dict[str, set[str]] = defaultdict(set)
    amounts: dict[str, list[set[int]]] = defaultdict(list)
    for each in listings:
        own: dict[str, set[int]] = defaultdict(set)
        for price in each.prices:
            if price.asset:
                payees[price.asset].add(price.pay_to.lower())
                if price.amount is not None:
                    own[price.asset].add(price.amount)
        for asset, asked in own.items():  # two schemes of one row may cost differently, two rows may not
            amounts[asset] += [{one} for one in asked] if "listed-twice" in each.flags else [asked]
    found = ["payees-differ"] if any(len(each) > 1 for each in payees.values()) else []
    return [*found, "prices-differ"] if any(not set.intersection(*each) for each in amounts.values()) else found


def _write(db: Database, made: list[dict[str, Any]]) -> None:
    """They leave the index, and get places behind it: `_rerank` puts them back where they belong."""
    found: dict[str, dict[str, Any]] = {}
    for part in chunks([each["id"] for each in made]):
        found |= {row["id"]: row for row in db.rows(f"select id, seq, slot from services where id in ({', '.join('?' * len(part))})", *part)}
    last = db.one("select coalesce(max(seq), 0) as n from services")
    following = int(last["n"]) if last else 0
    values, old = [], []
    for each in made:
        have = found.get(each["id"])
        if have is None:
            following += 1
        elif have["slot"] < _NOWHERE:
            old.append((have["slot"],))
        seq = following if have is None else int(have["seq"])
        values.append((seq, each["id"], _NOWHERE + seq, *(each[name] for name in _FIELDS)))
    names = ("seq", "id", "slot", *_FIELDS)
    db.many(f"insert into services ({', '.join(names)}) values ({', '.join('?' * len(names))}) on conflict (id) do update set "
            + ", ".join(f"{name} = excluded.{name}" for name in ("slot", *_FIELDS)), values)  # fmt: skip
    _unindex(db, old)


_JUDGED = "seq, slot, host, path, name, description, category, tags, prices, micros, sources, verdict, probed, agreement, payers, good, bad, missed, flags"


def slot_of(points: int, seq: int) -> int:
    """Where a service stands in the index: the better its evidence, the nearer to the front; never two at one place."""
    return ((MOST - points) << 40) | seq


def _slot(db: Database) -> str:
    return "rowid" if db.engine == "sqlite" else "slot"


def _index(db: Database, made: Sequence[Mapping[str, Any]]) -> None:
    texts = [(each["slot"], each["name"], " ".join(words_in(each["tags"])), each["category"], each["description"], f"{each['host']} {each['path']}") for each in sorted(made, key=itemgetter("slot"))]  # in order: FTS5 writes out what it holds when a row goes before the last
    if db.engine == "sqlite":
        db.many("insert into words (rowid, name, tags, category, description, host) values (?, ?, ?, ?, ?, ?)", texts)
        return
    db.many("insert into words values (?, to_tsvector('english', ?))", [(slot, " ".join(words).replace(".", " ").replace("/", " ")) for slot, *words in texts])


def _unindex(db: Database, slots: Sequence[tuple[int]]) -> None:
    db.many(f"delete from words where {_slot(db)} = ?", slots)


def _rerank(store: Store) -> None:
    """Give every service whose rank has changed its slot: the index is in the order of evidence, so that a search may stop early."""
    now = store.clock()
    with store.writing() as db:
        stand = _surveyed(db)
    after = 0
    while True:
        with store.writing() as db:
            rows = db.rows(f"select {_JUDGED} from services where seq > ? order by seq limit ?", after, _BATCH)
            if not rows:
                return
            after = int(rows[-1]["seq"])
            _placed(db, rows, stand, now)


def touch(store: Store, name: str) -> None:
    """Bring one service up to date, and to its place: the others stay where they are until the next `settle`."""
    now = store.clock()
    with store.writing() as db:
        _batch(db, [name], now)
        _placed(db, db.rows(f"select {_JUDGED} from services where id = ?", name), ground(db), now)


def _placed(db: Database, rows: Sequence[dict[str, Any]], stand: Ground, now: float) -> None:
    moved = [row for row in rows if (slot := slot_of(judged(row, stand, now).points, int(row["seq"]))) != row["slot"] and not row.update(new=slot)]
    _unindex(db, [(row["slot"],) for row in moved if row["slot"] < _NOWHERE])
    db.many("update services set slot = ? where seq = ?", [(row["new"], row["seq"]) for row in moved])
    _index(db, [{**row, "slot": row["new"]} for row in moved])


def ground(db: Database) -> Ground:
    """What services are compared with, as the last `settle` has kept it: no question reads the whole catalogue for it."""
    row = db.one("select medians, hosts, total from ground")
    return Ground(unpacked(row["medians"]), unpacked(row["hosts"]), int(row["total"])) if row else Ground()


def _surveyed(db: Database) -> Ground:
    """The same, from every service; kept. Of providers only those whose share weighs."""
    by: dict[str, list[int]] = defaultdict(list)
    for row in db.rows("select category, micros from services where micros is not null and category <> ''"):
        by[row["category"]].append(int(row["micros"]))
    medians = {category: int(statistics.median_low(found)) for category, found in by.items() if len(found) >= _FEW}
    hosts = {row["host"]: int(row["n"]) for row in db.rows("select host, count(*) as n from services group by host")}
    total = sum(hosts.values())
    made = Ground(medians, {host: count for host, count in hosts.items() if count > SHARE * total}, total)
    db.rows("delete from ground")
    db.rows("insert into ground values (?, ?, ?)", packed(made.medians), packed(made.hosts), total)
    return made


def judged(row: Mapping[str, Any], stand: Ground, now: float) -> Judged:
    """The rank of a service and the words for it."""
    return judge(evidence(row, stand), now)


def evidence(row: Mapping[str, Any], stand: Ground) -> Evidence:
    """What a row of `services` stands on."""
    share = stand.hosts.get(row["host"], 0) / stand.total if stand.total >= 100 else 0.0
    return Evidence(
        row["verdict"], row["probed"], row["agreement"], row["payers"], _sites(row["sources"]), int(row["good"]), int(row["bad"]), row["micros"],
        stand.medians.get(row["category"]), _payable(row["prices"]), share,
        int(row["missed"]), "{" in row["path"], words_in(row["flags"]),
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _sites(sources: str) -> int:
    """How many sites tell of it: what one says on four pages is said once."""
    return len({urlsplit(each.partition(" ")[2]).netloc for each in words_in(sources)})


def _payable(prices: str) -> bool:
    """Whether we have the rail for one of them, and know its token where it names one: read without making prices of them, for each service of a catalogue."""
    return '"rail":"x402"' in prices and any(each["rail"] == "x402" and ("amount" in each or "token" not in each) for each in unpacked(prices))


def _cheapest(prices: Sequence[Priced]) -> int | None:
    ours = [each.micros for each in prices if each.micros is not None and each.rail == "x402"]
    return min(ours or [each.micros for each in prices if each.micros is not None], default=None)


def _words(values: Any) -> str:
    return " ".join(dict.fromkeys(each for each in values if each))


def _most(values: Any) -> int | None:
    return max((each for each in values if each is not None), default=None)
