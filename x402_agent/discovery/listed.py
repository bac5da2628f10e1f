"""Rows of sources in the database: written with the page that they stood on, merged later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .nouns import Identity, Listing, Priced, Skip
from .store import chunks, packed, unpacked, words_in, words_out

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..database import Database

__all__ = ["MANY_SKIPS", "keep", "listing", "prices_in", "prices_out", "seen", "skip"]

MANY_SKIPS = 1_000  # of one root in one pass are kept; all are counted
_NAMES = (
    "service", "source", "page", "origin", "method", "path", "tool", "url", "name", "description", "category", "tags", "prices", "payers", "calls",
    "updated", "flags", "pass", "first", "last",
)  # fmt: skip
_KEEP = (
    f"insert into listings ({', '.join(_NAMES)}) values ({', '.join('?' * len(_NAMES))}) on conflict (service, source) do update set "
    + ", ".join(f"{name} = excluded.{name}" for name in _NAMES[2:] if name != "first")
    + ", missed = 0"
)


def keep(db: Database, root: str, page: str, number: int, now: float, found: Sequence[Listing]) -> int:
    """Write a page's rows. Two rows of one source about one thing become one that shows both prices. -> how many things are new or changed."""
    rows: dict[str, Listing] = {}
    for each in found:
        name = each.identity.id
        rows[name] = _both(rows[name], each) if name in rows else each
    have = _have(db, root, list(rows))
    changed, values = [], []
    for name, each in rows.items():
        old = have.get(name)
        now_is = each
        if old is not None and old["pass"] == number and old["page"] != page:
            now_is = _both(listing(old), each)  # it stood on another page of this pass, too
        if old is None or old["missed"] or not _same(old, now_is):
            changed.append((name,))
        values.append(_row(name, root, page, number, now, now_is))
    db.many(_KEEP, values)
    db.rows("update listings set page = '' where page = ? and pass < ?", page, number)  # they stood on it before
    db.many("insert into dirty values (?) on conflict do nothing", changed)
    return len(changed)


def seen(db: Database, page: str, number: int, now: float) -> int:
    """A page that has not changed: its rows are seen again. -> how many."""
    back = "from listings where page = ? and missed > 0"
    db.rows(f"insert into dirty select service {back} on conflict do nothing", page)
    db.rows("update listings set pass = ?, last = ?, missed = 0 where page = ?", number, now, page)
    found = db.one("select count(*) as n from listings where page = ?", page)
    return int(found["n"]) if found else 0


def skip(db: Database, number: int, root: str, page: str, skipped: Iterable[Skip]) -> None:
    """Write down which rows were none, the first of them by name."""
    have = db.one("select count(*) as n from skips where root = ? and pass = ?", root, number)
    room = MANY_SKIPS - (int(have["n"]) if have else 0)
    db.many("insert into skips values (?, ?, ?, ?, ?)", [(number, root, page, each.where[:80], each.why[:300]) for each in list(skipped)[: max(0, room)]])


def listing(row: Mapping[str, Any]) -> Listing:
    """A row of the table as the noun."""
    return Listing(
        Identity(row["origin"], row["method"], row["path"], row["tool"]), row["url"], row["source"], row["name"], row["description"], row["category"],
        words_in(row["tags"]), prices_in(row["prices"]), row["payers"], row["calls"], row["updated"], words_in(row["flags"]),
    )  # fmt: skip


def prices_out(prices: Iterable[Priced]) -> str:
    """As text for a column; what is empty is left out."""
    return packed([{name: value for name, value in zip(Priced._fields, each, strict=True) if value not in ("", None)} for each in prices])


def prices_in(text: str) -> tuple[Priced, ...]:
    """And back."""
    return tuple(Priced(**each) for each in unpacked(text))


def _have(db: Database, root: str, names: list[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for part in chunks(names):
        marks = ", ".join("?" * len(part))
        found |= {row["service"]: row for row in db.rows(f"select * from listings where source = ? and service in ({marks})", root, *part)}
    return found


def _row(name: str, root: str, page: str, number: int, now: float, one: Listing) -> tuple[Any, ...]:
    return (name, root, page, *one.identity, one.url, one.name, one.description, one.category, words_out(one.tags), prices_out(one.prices), one.payers,
            one.calls, one.updated, words_out(one.flags), number, now, now)  # fmt: skip


def _same(old: Mapping[str, Any], new: Listing) -> bool:
    return listing(old) == new._replace(source=old["source"])


def _both(one: Listing, two: Listing) -> Listing:
    """Two rows about one thing: who is paid, or how much, may differ, and then nobody knows which is right (Y5)."""
    if one.prices == two.prices:
        return two._replace(flags=tuple(dict.fromkeys((*one.flags, *two.flags))))
    if not (one.prices and two.prices):  # who names no price contradicts nobody
        return (one if one.prices else two)._replace(flags=tuple(dict.fromkeys(each for each in (*one.flags, *two.flags) if each != "price-unknown")))
    flags = tuple(dict.fromkeys((*one.flags, *two.flags, "listed-twice")))
    return two._replace(prices=tuple(dict.fromkeys((*one.prices, *two.prices))), flags=flags)
