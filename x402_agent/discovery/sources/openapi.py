"""OpenAPI documents whose operations say what they cost in `x-payment-info`, which has four dialects that only agree on its name.

The unit differs: `amount` is atomic in the two MPP forms and dollars under `price`. Which one it is, is told by the shape, never by the size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ...errors import ChallengeInvalid
from ..address import METHODS, Refused
from ..nouns import Fetch, Listing, Page, Priced, Skip
from .pieces import Row, accepted, dollars, text, token_price
from .rows import parsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..nouns import Found

__all__ = ["OpenApi"]

_MOST = 10_000


class OpenApi:
    """`where` is a site, or the document itself."""

    name = "openapi"
    about = "openapi.json with x-payment-info, in its four dialects"

    def first(self, where: str) -> Iterable[Fetch]:
        """The document; /openapi.json of a site."""
        return [Fetch(where if urlsplit(where).path.endswith((".json", ".yaml", ".yml")) else urljoin(where, "/openapi.json"))]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """Every operation that has a price. Raises ChallengeInvalid."""
        document = parsed(found.body)
        paths = document.get("paths")
        if not isinstance(paths, dict) or not isinstance(document.get("openapi", document.get("swagger")), str):
            raise ChallengeInvalid("it is no OpenAPI document", rule="openapi and paths")
        info = _dict(document.get("info"))
        made: list[Listing] = []
        skipped: list[Skip] = []
        for where, url, verb, operation in _operations(document, paths, found.url):
            if len(made) + len(skipped) >= _MOST:
                skipped.append(Skip(where, f"more than {_MOST} operations"))
                break
            try:
                made.append(_row(url, verb, operation, info, found.url))
            except Refused as why:
                skipped.append(Skip(where, str(why)))
        return Page(tuple(made), tuple(skipped))


def _operations(document: dict[str, Any], paths: dict[str, Any], base: str) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    server = _server(document, base)
    for path, item in paths.items():
        for verb, operation in _dict(item).items():
            if verb.upper() in METHODS and isinstance(operation, dict) and isinstance(operation.get("x-payment-info"), dict):
                yield f"{verb.upper()} {path[:60]}", server.rstrip("/") + path, verb, operation


def _server(document: dict[str, Any], base: str) -> str:
    """The first server without variables, else the site that the document came from."""
    servers = document.get("servers")
    for each in servers if isinstance(servers, list) else []:
        url = _dict(each).get("url")
        if isinstance(url, str) and "{" not in url:
            try:
                return urljoin(base, url)
            except ValueError:
                break
    return urljoin(base, "/")


def _row(url: str, verb: str, operation: dict[str, Any], info: dict[str, Any], base: str) -> Listing:
    made = Row.about("openapi", url, verb)
    if made.identity.origin != Row.about("openapi", base).identity.origin:
        made.flag("listed-by-another")
    return made.listing(
        name=operation.get("summary") or operation.get("operationId") or info.get("title"),
        description=operation.get("description") or info.get("description"),
        tags=operation.get("tags"),
        prices=_prices(made, operation["x-payment-info"]),
    )


def _prices(made: Row, paid: dict[str, Any]) -> list[Priced]:
    if "offers" in paid:  # MPP's discovery schema: the flat form must not stand beside it
        if {"amount", "intent", "currency"} & paid.keys():
            made.flag("two-prices-in-one")
            return []
        return [price for each in _list(paid["offers"]) for price in _flat(made, _dict(each))]
    if isinstance(paid.get("accepts"), list):
        return accepted(made, paid["accepts"], paid.get("x402Version"))
    if isinstance(paid.get("price"), dict):
        return _agentcash(made, paid["price"], _rails(paid.get("protocols")))
    if "pricingMode" in paid:
        return _older(made, paid, _rails(paid.get("protocols")))
    return _flat(made, paid)


def _flat(made: Row, paid: dict[str, Any]) -> list[Priced]:
    """`{intent, method, amount, currency}` of MPP: atomic units of a currency; null where the server decides at the call."""
    if "amount" not in paid and "currency" not in paid:
        made.flag("price-unknown")
        return []
    rail = "x402" if text(paid.get("method"), 40).lower() == "x402" else "mpp"
    if paid.get("amount") is None:
        made.flag("price-at-the-call")
        return [Priced(rail, text(paid.get("intent"), 40), text(paid.get("method"), 80), text(paid.get("currency"), 200))]
    return [token_price(made, rail, paid.get("network", paid.get("method")), paid.get("currency"), paid["amount"], paid.get("recipient"), paid.get("intent"))]


def _agentcash(made: Row, price: dict[str, Any], rails: tuple[str, ...]) -> list[Priced]:
    """`{price: {mode, currency: USD, amount | min, max}, protocols}`: dollars."""
    return _in_dollars(made, price.get("currency", "USD"), price.get("mode"), price.get("amount"), price.get("min"), rails)


def _older(made: Row, paid: dict[str, Any], rails: tuple[str, ...]) -> list[Priced]:
    """`{pricingMode, price | minPrice, maxPrice, protocols}`: dollars."""
    return _in_dollars(made, paid.get("currency", "USD"), paid["pricingMode"], paid.get("price"), paid.get("minPrice"), rails)


def _in_dollars(made: Row, currency: object, mode: object, amount: object, least: object, rails: tuple[str, ...]) -> list[Priced]:
    if mode != "fixed" or amount is None:
        made.flag("price-at-the-call")
    micros = dollars(amount if amount is not None else least) if currency in ("USD", "usd") else None
    if micros is None:
        made.flag("price-unknown")
    return [Priced(rail, micros=micros) for rail in rails]


def _rails(protocols: object) -> tuple[str, ...]:
    """`["x402", "mpp"]` or `[{"x402": {}}]`; x402 where nothing is said."""
    found = [name for each in _list(protocols) for name in ([each] if isinstance(each, str) else list(_dict(each)))]
    return tuple(dict.fromkeys(name if name in ("x402", "mpp", "l402") else "other" for name in found[:8])) or ("x402",)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value[:16] if isinstance(value, list) else []
