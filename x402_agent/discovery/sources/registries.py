"""Registries of services: MPP's (`{services: [{endpoints}]}`, its schemas/discovery.schema.json) and satring's (free rows without a URL)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from ..address import Refused
from ..nouns import RAILS, Fetch, Listing, Page, Priced, Skip
from .pieces import Row, count, dollars, text, token_price
from .rows import MAX_ROWS, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..nouns import Found

__all__ = ["Mpp", "Satring"]

_MOST = 1_000  # endpoints of one service


class Mpp:
    """`where` is the registry (`https://mpp.dev`) or its list (`…/api/services?ids=a,b`)."""

    name = "mpp"
    about = "a registry of MPP services and their endpoints"

    def first(self, where: str) -> Iterable[Fetch]:
        """The list, which is one page."""
        return [Fetch(where if "/api/" in where else where.rstrip("/") + "/api/services")]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """A row for each endpoint of each service. Raises ChallengeInvalid."""
        made: list[Listing] = []
        skipped: list[Skip] = []
        for number, service in enumerate(rows(found.body, ("services",))):
            if not isinstance(service, dict):
                skipped.append(service if isinstance(service, Skip) else Skip(f"services[{number}]", "it is not an object"))
                continue
            for where, endpoint in _endpoints(number, service):
                if len(made) + len(skipped) >= MAX_ROWS:
                    return Page(tuple(made), (*skipped, Skip(where, f"more than {MAX_ROWS} rows on a page")))
                try:
                    made.append(_endpoint(service, endpoint))
                except Refused as why:
                    skipped.append(Skip(where, str(why)))
        return Page(tuple(made), tuple(skipped))


def _endpoints(number: int, service: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    found = service.get("endpoints")
    for index, each in enumerate(found[:_MOST] if isinstance(found, list) else []):
        yield f"services[{number}].endpoints[{index}]", each


def _endpoint(service: dict[str, Any], endpoint: Any) -> Listing:
    if not isinstance(endpoint, dict) or not isinstance(endpoint.get("path"), str):
        raise Refused("an endpoint without a path")
    base = service.get("serviceUrl") or service.get("url")
    made = Row.about("mpp", _joined(base, endpoint["path"]), endpoint.get("method"))
    payment = endpoint.get("payment")
    if service.get("status") not in (None, "active", "live"):
        made.flag("said-inactive")
    return made.listing(
        name=service.get("name"),
        description=endpoint.get("description") or service.get("description"),
        category=next(iter(service["categories"]), "") if isinstance(service.get("categories"), list) else "",
        tags=service.get("tags"),
        prices=_mpp_price(made, payment) if isinstance(payment, dict) else (),
    )


def _joined(base: object, path: str) -> str:
    if not isinstance(base, str) or "://" not in base[:2048]:
        raise Refused("a service without a URL")
    return base.rstrip("/") + "/" + path.lstrip("/")


def _mpp_price(made: Row, payment: dict[str, Any]) -> list[Priced]:
    """Atomic units of a currency. Its own `decimals` are not believed: a token that our tables lack has no price."""
    if payment.get("amount") is None:
        made.flag("price-at-the-call")
        return [Priced("mpp", text(payment.get("intent"), 40), text(payment.get("method"), 80), text(payment.get("currency"), 200))]
    if "decimals" in payment:
        made.flag("decimals-ignored")
    return [token_price(made, "mpp", payment.get("method"), payment.get("currency"), payment["amount"], payment.get("recipient"), payment.get("intent"))]


class Satring:
    """`where` is the directory (`https://satring.com`) or one of its lists."""

    name = "satring"
    about = "satring's directory; free rows have no URL and are counted, not kept"

    def first(self, where: str) -> Iterable[Fetch]:
        """The first page of all services."""
        if "/api/" in where:
            return [Fetch(where)]
        return [Fetch(f"{where.rstrip('/')}/api/v1/services?{urlencode({'page': 1, 'page_size': 100})}")]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """The rows that have a URL. A page that has no row is the last one. Raises ChallengeInvalid."""
        document = rows(found.body, ("services", "results", "items"))
        made: list[Listing] = []
        skipped: list[Skip] = []
        for number, each in enumerate(document):
            try:
                made.append(_service(each))
            except Refused as why:
                skipped.append(Skip(f"services[{number}]", str(why)))
            except TypeError:
                skipped.append(each if isinstance(each, Skip) else Skip(f"services[{number}]", "it is not an object"))
        following = (Fetch(there),) if document.raw and (there := _after(fetch.url)) else ()
        return Page(tuple(made), tuple(skipped), following, count(document.fields.get("total")))


def _service(fields: Any) -> Listing:
    if not isinstance(fields, dict):
        raise TypeError
    if not isinstance(fields.get("url"), str):
        raise Refused("a row without a URL")
    made = Row.about("satring", fields["url"], fields.get("method"))
    if fields.get("status") == "down":
        made.flag("said-inactive")
    said = text(fields.get("protocol"), 20).lower()
    micros = dollars(fields.get("pricing_usd"))
    if micros is None:
        made.flag("price-unknown")
    return made.listing(
        name=fields.get("name") or fields.get("slug"),
        description=fields.get("description"),
        category=fields.get("category"),
        tags=fields.get("tags"),
        prices=[Priced(said if said in RAILS else "l402", micros=micros)],
    )


def _after(url: str) -> str:
    """The page after this one, "" of what has no pages."""
    said = parse_qs(urlsplit(url).query).get("page", ["1" if urlsplit(url).path.endswith("/services") else ""])[0]
    return _paged(url, int(said) + 1) if said.isascii() and said.isdigit() and len(said) < 10 else ""


def _paged(url: str, page: int) -> str:
    base, _, query = url.partition("?")
    kept = [each for each in query.split("&") if each and not each.startswith("page=")]
    return "&".join([f"{base}?page={page}", *kept])
