"""Bazaar as facilitators have it (x402 specs/extensions/bazaar): resources by offset or cursor, search, one payee's rows.

`quality` is left out: it is a count of who paid, and here that is nobody but you.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ... import assets
from ..messages import json_answer
from .shelf import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..messages import Answer, Request
    from .lies import Lies

__all__ = ["DOORS", "Listing"]

MOST, FOUND = 1_000, 20  # rows on a page, and of a search
ROOT = "/discovery/"


class Listing:
    """The rows of one moment, and one question to them. A question that is none raises ValueError."""

    def __init__(self, rows: Sequence[Row], request: Request, lies: Lies, since: str) -> None:
        self._rows, self._lies, self._since = rows, lies, since
        self._asked = parse_qs(request.query)

    def resources(self) -> Answer:
        """`limit`, `offset` or `cursor`, `type`, `payTo`, `scheme`, `network`: a page, in the order in which they are sold."""
        found = self._wanted()
        if self._lies.cycle:
            return self._round(found)
        if "cursor" in self._asked:
            start, limit = self._number("cursor", 0), self._limit(MOST)
            return self._page("items", found[start : start + limit], {"limit": limit, "cursor": _next(start + limit, found)})
        start, limit = self._number("offset", 0), self._limit(MOST)
        total = len(found) + (start + 1) * 7 if self._lies.drifts else len(found)
        return self._page("items", found[start : start + limit], {"limit": limit, "offset": start, "total": total})

    def merchant(self) -> Answer:
        """The same of one `payTo`, which is needed."""
        start, limit, found = self._number("offset", 0), self._limit(MOST), self._wanted()
        told = {"limit": limit, "offset": start, "total": len(found)}
        return self._page("resources", found[start : start + limit], told, payTo=self._one("payTo", needed=True))

    def search(self) -> Answer:
        """Rows that have all words of `query`, at most 20: `network`, `asset`, `scheme`, `payTo`, `urlSubstring`, `maxUsdPrice` narrow it."""
        words, part = self._one("query").lower().split(), self._one("urlSubstring").lower()
        most = float(self._one("maxUsdPrice") or "inf")
        found = [each for each in self._wanted() if all(word in f"{each.name} {each.description}".lower() for word in words)
                 and part in each.url.lower() and (most == float("inf") or _dollars(each) <= most)]  # fmt: skip
        start, limit = self._number("cursor", 0), self._limit(FOUND)
        told = {"limit": limit, "cursor": _next(start + limit, found)}
        return self._page("resources", found[start : start + limit], told, partialResults=False, searchMethod="text")

    def _wanted(self) -> list[Row]:
        """What the fields of a row have to be. Every row has the extension `bazaar` and no other."""
        found: Iterable[Row] = self._rows if self._one("extensions") in ("", "bazaar") else ()
        if kind := self._one("type"):
            found = [each for each in found if kind == ("mcp" if each.tool else "http")]
        for name in ("payTo", "scheme", "network", "asset"):
            if said := _same(self._one(name)):
                found = [each for each in found if any(said == _same(entry[name]) for entry in each.accepts)]
        return list(found)

    def _round(self, found: list[Row]) -> Answer:
        """Two pages, each of which says that the other one follows."""
        half = self._one("cursor") == "b"
        limit = self._limit(MOST)
        return self._page("items", found[half * limit : (half + 1) * limit], {"limit": limit, "cursor": "a" if half else "b"})

    def _page(self, name: str, found: Iterable[Row], pagination: dict[str, Any], **more: Any) -> Answer:
        return json_answer(200, {"x402Version": 2, name: [{**_row(each), "lastUpdated": self._since} for each in found], **more, "pagination": pagination})

    def _limit(self, most: int) -> int:
        return min(self._number("limit", min(100, most)) or 1, most, self._lies.page)

    def _number(self, name: str, default: int) -> int:
        said = self._one(name) or str(default)
        if not (said.isascii() and said.isdigit() and len(said) <= 9):
            raise ValueError(f"{name} is a whole number")
        return int(said)

    def _one(self, name: str, *, needed: bool = False) -> str:
        said = self._asked.get(name, [""])[0]
        if needed and not said:
            raise ValueError(f"{name} is needed")
        return said


DOORS: dict[str, Callable[[Listing], Answer]] = {
    f"{ROOT}resources": Listing.resources, f"{ROOT}search": Listing.search, f"{ROOT}merchant": Listing.merchant,
}  # fmt: skip


def _same(said: str) -> str:
    """A network by whichever of its names, in the case that all of them share."""
    network = assets.network(said)
    return (network.id if network else said).lower()


def _row(one: Row) -> dict[str, Any]:
    asked: dict[str, Any] = {"type": "http", "method": one.method}
    if one.tool:
        asked = {"type": "mcp", "tool": one.tool, "transport": "streamable-http", "inputSchema": {"type": "object"}}
    made = {"resource": one.url, "type": asked["type"], "x402Version": one.version, "serviceName": one.name, "description": one.description}
    priced = {"accepts": list(one.accepts)} if one.accepts else {}
    return {**made, **priced, "extensions": {"bazaar": {"info": {"input": asked}, "schema": {}}}}


def _dollars(one: Row) -> float:
    micros = one.price[1].micros(one.price[0]) if one.price else None
    return float("inf") if micros is None else micros / 10**6


def _next(start: int, found: Sequence[Row]) -> str | None:
    return str(start) if start < len(found) else None
