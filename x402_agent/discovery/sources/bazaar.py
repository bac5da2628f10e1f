"""Bazaar: what facilitators list, in the rows of x402 versions 1 and 2 (x402 specs/extensions/bazaar, CDP's openapi.yaml).

`resources` is paged by an offset, or by a cursor where the answer has one. `search` shows at most 20 and has no next page: what
it finds is widened by its sellers (`merchant`) and by the hosts of its URLs (`urlSubstring`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from ...errors import ChallengeInvalid
from ..address import Refused
from ..nouns import Fetch, Page, Skip
from .pieces import Row, accepted, count, text
from .rows import rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..nouns import Found, Listing

__all__ = ["Bazaar", "row"]

PAGE, SEARCH = 100, 20
_SHORTEST = 3  # of urlSubstring
_WIDE = 200  # rows that are widened, and questions that come of it


class Bazaar:
    """`where` is a facilitator (`https://host/platform/v2/x402`), or one of its discovery URLs with a query of one's own."""

    name = "bazaar"
    about = "Bazaar of a facilitator, x402 v1 and v2: resources, search, merchant"

    def first(self, where: str) -> Iterable[Fetch]:
        """All its resources, or just what the given URL asks for."""
        kind = _kind(where)
        if kind:
            full = kind == "search" and "limit" not in parse_qs(urlsplit(where).query)
            return [Fetch(f"{where}{'&' if '?' in where else '?'}limit={SEARCH}" if full else where, {"kind": kind})]
        return [_resources(where.rstrip("/").removesuffix("/discovery") + "/discovery/resources", 0)]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """Rows and the next page. A page without rows is the last one, whatever `total` says (Y4). Raises ChallengeInvalid."""
        document = rows(found.body, ("items", "resources"))
        pagination = document.fields.get("pagination") or _inner(document.fields)
        pagination = pagination if isinstance(pagination, dict) else {}
        made: list[Listing] = []
        skipped: list[Skip] = []
        number = 0
        for number, each in enumerate(document, 1):
            try:
                made.append(row(each, self.name))
            except (Refused, ChallengeInvalid) as why:
                skipped.append(Skip(f"row {number - 1}", str(why)))
            except TypeError:
                skipped.append(each if isinstance(each, Skip) else Skip(f"row {number - 1}", "it is not an object"))
        if document.cut_off:
            number = max(0, number - 1)
        kind = fetch.state.get("kind") or _kind(fetch.url)
        following = _next(fetch, pagination, number)
        if kind == "search" and not following and number >= SEARCH:  # rows that were none have filled it, too
            following = _widened(fetch, made)
        return Page(tuple(made), tuple(skipped), tuple(following), count(pagination.get("total")))


def row(fields: Any, source: str) -> Listing:
    """One row. Raises Refused when it is about no place, TypeError when it is no object."""
    if not isinstance(fields, dict):
        raise TypeError
    bazaar = _dict(_dict(fields.get("extensions")).get("bazaar"))
    info = _dict(bazaar.get("info"))
    asked = _dict(info.get("input")) or _dict(_dict(fields.get("metadata")).get("input"))
    tool = text(asked.get("tool") or asked.get("toolName") or fields.get("toolName"), 128) if "mcp" in (fields.get("type"), asked.get("type")) else ""
    entries = fields.get("accepts")
    made = Row.about(source, _templated(fields.get("resource"), bazaar.get("routeTemplate") or asked.get("routeTemplate")), _method(asked, entries), tool)
    quality = _dict(fields.get("quality"))
    about = _dict(fields.get("metadata"))
    first = _dict(entries[0]) if isinstance(entries, list) and entries else {}
    return made.listing(
        name=fields.get("serviceName") or about.get("name") or tool,
        description=fields.get("description") or about.get("description") or first.get("description"),
        category=about.get("category"),
        tags=fields.get("tags") or about.get("tags"),
        prices=accepted(made, entries, fields.get("x402Version")),
        payers=quality.get("l30DaysUniquePayers"),
        calls=quality.get("l30DaysTotalCalls"),
        updated=fields.get("lastUpdated"),
    )


def _templated(url: object, template: object) -> object:
    """The URL with the template as its path, where a row has one (x402 specs/extensions/bazaar: routeTemplate)."""
    if not isinstance(url, str) or not isinstance(template, str) or not template:
        return url
    try:
        parts = urlsplit(url[:2048])
    except ValueError:
        return url
    if not template.startswith("/"):
        raise Refused("a routeTemplate that is no path")
    clear = unquote(unquote(template))
    if ".." in clear or "://" in clear:
        raise Refused("a template whose path climbs or hides what it says")
    return f"{parts.scheme}://{parts.netloc}{template}"


def _method(asked: dict[str, Any], entries: object) -> object:
    """What the row says; v1 says it in the outputSchema of an entry."""
    if asked.get("method"):
        return asked["method"]
    first = _dict(entries[0]) if isinstance(entries, list) and entries else {}
    return _dict(_dict(first.get("outputSchema")).get("input")).get("method")


def _next(fetch: Fetch, pagination: dict[str, Any], number: int) -> list[Fetch]:
    """The page after this one: by its cursor, else by what has been read so far; none after an empty page."""
    if not number:
        return []
    base, _, query = fetch.url.partition("?")
    cursor = text(pagination.get("cursor") or pagination.get("nextCursor"), 512)
    kept = [each for each in query.split("&") if each and each.split("=")[0] not in ("offset", "cursor")]
    if cursor:
        return [Fetch("&".join([f"{base}?{urlencode({'cursor': cursor})}", *kept]), fetch.state)]
    if "cursor" in pagination or "offset" not in pagination:
        return []
    offset = int(fetch.state.get("offset", _offset(query))) + number
    return [Fetch("&".join([f"{base}?offset={offset}", *kept]), {**fetch.state, "offset": offset})]


def _offset(query: str) -> int:
    """Where the URL that somebody has named begins."""
    said = next((each[7:] for each in query.split("&") if each.startswith("offset=")), "")
    return int(said) if said.isascii() and said.isdigit() and len(said) < 10 else 0


def _resources(url: str, offset: int) -> Fetch:
    return Fetch(f"{url}?{urlencode({'limit': PAGE, 'offset': offset})}", {"kind": "resources", "offset": offset})


def _widened(fetch: Fetch, made: list[Listing]) -> list[Fetch]:
    """More of what a full search found: its sellers, and the hosts of its URLs. A search that was itself a widening widens no more."""
    if fetch.state.get("widened"):
        return []
    base = fetch.url.partition("?")[0].removesuffix("/search")
    state = {"widened": True}
    made = made[:_WIDE]
    payees = dict.fromkeys(price.pay_to for each in made for price in each.prices if price.pay_to)
    hosts = dict.fromkeys(urlsplit(each.url).netloc for each in made)
    found = [Fetch(f"{base}/merchant?{urlencode({'payTo': payee, 'limit': PAGE, 'offset': 0})}", {**state, "kind": "merchant", "offset": 0}) for payee in payees]
    found += [Fetch(f"{base}/search?{urlencode({'urlSubstring': host, 'limit': SEARCH})}", {**state, "kind": "search"}) for host in hosts if len(host) >= _SHORTEST]
    return found[:_WIDE]


def _kind(url: str) -> str:
    """Which of its doors a URL is: "" for none."""
    path = urlsplit(url).path.rstrip("/")
    return next((kind for kind in ("resources", "search", "merchant") if path.endswith(f"/discovery/{kind}")), "")


def _inner(fields: dict[str, Any]) -> object:
    return _dict(fields.get("data")).get("pagination")


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
