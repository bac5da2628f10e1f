"""`/.well-known/x402`, which is not one format: five shapes are known, told apart by what they hold (wire notes of x402scan,
x402-validator, satring, x402-signals)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ...errors import ChallengeInvalid
from ..address import Refused
from ..nouns import RAILS, Fetch, Listing, Page, Priced, Skip
from .pieces import Row, accepted, dollars, text, token_price
from .rows import MAX_PAGE, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..nouns import Found

__all__ = ["WellKnown"]

_PLACES = ("/.well-known/x402", "/.well-known/x402.json")
_LISTS = ("products", "routes", "accepts", "resources", "endpoints", "services")
_MOST = 10_000


class WellKnown:
    """`where` is a site, or the document itself."""

    name = "well-known"
    about = "/.well-known/x402 of a site, in its five shapes"
    reads_402 = True  # some sites, KAMIYO's among them, give their list as a 402

    def first(self, where: str) -> Iterable[Fetch]:
        """The document, by its two names when only the site is given."""
        if "/.well-known/" in where:
            return [Fetch(where)]
        return [Fetch(urljoin(where, place)) for place in _PLACES]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """What the document lists; a plain URL in it is a row whose price only a probe can tell. Raises ChallengeInvalid."""
        if len(found.body) > MAX_PAGE:
            raise ChallengeInvalid("a document of more than a page", rule="S6")
        fields = parsed(found.body)
        if not any(name in fields for name in _LISTS):
            raise ChallengeInvalid(f"none of {', '.join(_LISTS)} stands in it", rule="a known shape of /.well-known/x402")
        made: list[Listing] = []
        skipped: list[Skip] = []
        for number, (where, entry) in enumerate(_entries(fields, found.url)):
            if number >= _MOST:
                skipped.append(Skip(where, f"more than {_MOST} entries"))
                break
            try:
                made.append(_row(entry, fields, found.url))
            except Refused as why:
                skipped.append(Skip(where, str(why)))
        return Page(tuple(made), tuple(skipped))


def _entries(fields: dict[str, Any], base: str) -> Iterator[tuple[str, Any]]:
    """Each entry with its place in the document. Satring's `endpoints` is a map from names or paths to paths or prices."""
    for name in _LISTS:
        found = fields.get(name)
        if isinstance(found, list) and name == "accepts":
            yield from _gathered(found, fields)
        elif isinstance(found, list):
            for number, each in enumerate(found):
                yield f"{name}[{number}]", each
        elif isinstance(found, dict):
            pricing = fields.get("pricing")
            for key, value in found.items():
                entry = dict(value) if isinstance(value, dict) else {"path": value if isinstance(value, str) and "/" in value else key}
                if "path" not in entry and "url" not in entry:
                    entry["path"] = key
                if isinstance(pricing, dict) and key in pricing:
                    entry.setdefault("price", pricing[key])
                yield f"{name}.{key[:40]}", {"method": _verb(key), **entry}


def _gathered(entries: list[Any], fields: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Entries of x402 about one URL are ways to pay for one thing, not things that are listed twice."""
    whole = fields.get("resource")
    made: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    for number, each in enumerate(entries):
        where = f"accepts[{number}]"
        if not isinstance(each, dict) or not {"amount", "maxAmountRequired"} & each.keys():
            yield where, each
            continue
        url = each.get("resource", whole.get("url") if isinstance(whole, dict) else whole)
        said = each.get("outputSchema")
        asked = said.get("input") if isinstance(said, dict) else None
        verb = each.get("method") or (asked.get("method") if isinstance(asked, dict) else None)
        entry = {**each, "resource": url, "method": verb, "accepts": []}
        made.setdefault((str(url), str(verb)), (where, entry))[1]["accepts"].append(each)
    yield from made.values()


def _row(entry: Any, fields: dict[str, Any], base: str) -> Listing:
    """One entry: a URL, or an object that has one, or a path on this site. Raises Refused."""
    if isinstance(entry, str):
        made = Row.about("well-known", _absolute(_path(entry), base), _verb(entry))
        made.flag("price-unknown")
        return _owned(made, base).listing()
    if not isinstance(entry, dict):
        raise Refused("it is neither a URL nor an object")
    url = next((entry[name] for name in ("resource", "url", "path", "route", "endpoint") if isinstance(entry.get(name), str)), "")
    if not url:
        raise Refused("no URL")
    made = _owned(Row.about("well-known", _absolute(_path(url), base), entry.get("method") or _verb(url)), base)
    return made.listing(
        name=entry.get("name") or entry.get("title"),
        description=entry.get("description"),
        category=entry.get("category"),
        tags=entry.get("tags"),
        prices=_prices(made, entry, fields),
        updated=entry.get("lastUpdated"),
    )


def _prices(made: Row, entry: dict[str, Any], fields: dict[str, Any]) -> list[Priced]:
    """Of an entry: `accepts`, or itself an entry of accepts, or a price in dollars beside the site's own network and asset."""
    version = entry.get("x402Version", fields.get("x402Version"))
    if isinstance(entry.get("accepts"), list):
        return accepted(made, entry["accepts"], version)
    if "maxAmountRequired" in entry or ("amount" in entry and "asset" in entry):
        return accepted(made, [entry], version)
    said = entry.get("price", entry.get("priceUsd", entry.get("price_usd")))
    network, token, payee = (entry.get(name, fields.get(name)) for name in ("network", "asset", "payTo"))
    micros = dollars(said)
    if micros is None or isinstance(said, int):  # a whole number may be atomic units: nobody says
        made.flag("price-unknown" if said is None else "price-unit-unknown")
        return []
    rail = text(fields.get("protocol"), 20).lower() or "x402"
    if network is None and token is None:
        return [Priced(rail if rail in RAILS else "other", micros=micros)]
    named = token_price(made, "x402", network, token, "1", payee)
    return [Priced("x402", "", named.network, named.token, named.pay_to, named.asset, None, micros)]


def _owned(made: Row, base: str) -> Row:
    """A site may list what is another's: that is hearsay (Y6)."""
    if made.identity.origin != Row.about("well-known", base).identity.origin:
        made.flag("listed-by-another")
    return made


def _absolute(url: str, base: str) -> str:
    try:
        return urljoin(urljoin(base, "/"), url) if urlsplit(url).scheme == "" else url
    except ValueError:
        return url


def _verb(key: str) -> str | None:
    """`POST /v1/x` names its method."""
    first, _, rest = key.partition(" ")
    return first if rest.startswith(("/", "http")) and first.isalpha() else None


def _path(url: str) -> str:
    return url.partition(" ")[2] if _verb(url) else url
