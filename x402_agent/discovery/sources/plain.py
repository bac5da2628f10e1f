"""Sources that are hardly catalogues: a list of URLs, what an llms.txt points at, and the discovery items of x402Pay."""

from __future__ import annotations

import re
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from ...dialects.x402.passed import Passed
from ...dialects.x402pay.items import Price, item
from ...errors import ChallengeInvalid
from ..address import Refused, joined
from ..nouns import Fetch, Listing, Page, Priced, Skip
from .pieces import Row, dollars, text
from .rows import MAX_PAGE, rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..nouns import Found

__all__ = ["LlmsTxt", "Urls", "X402Pay"]

_MOST, _LINES = 10_000, 100_000
_LINK = re.compile(r"https?://[^\s<>\"'`)\]]{3,2040}")
_OWN = re.compile(r"\]\((/[^/\s)][^\s)]{0,2040})\)")
_PAID = re.compile(r"\b(x402|402|l402|paid|pay(?:ments?|s|able)?|usdc|per call)\b", re.IGNORECASE)
_CATALOGUE = re.compile(r"(/\.well-known/x402(\.json)?|/openapi\.json)$").search


class Urls:
    """`where` is a text with a URL in each line; `METHOD URL` where it is not GET. `#` begins a remark."""

    name = "urls"
    about = "a plain list of URLs, one in a line"

    def first(self, where: str) -> Iterable[Fetch]:
        """The list itself."""
        return [Fetch(where)]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """A row for each line. Raises ChallengeInvalid for what is no text."""
        made: list[Listing] = []
        skipped: list[Skip] = []
        for number, line in enumerate(_lines(found.body), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            if len(made) + len(skipped) >= _MOST:
                skipped.append(Skip(f"line {number}", f"more than {_MOST} lines"))
                break
            try:
                made.append(_bare(self.name, words[-1], words[0] if len(words) == 2 else "GET"))
            except Refused as why:
                skipped.append(Skip(f"line {number}", str(why)))
        return Page(tuple(made), tuple(skipped))


class LlmsTxt:
    """`where` is a site or its llms.txt: links in lines that speak of paying; what it says of catalogues is none."""

    name = "llms"
    about = "llms.txt of a site: hints at paid endpoints"

    def first(self, where: str) -> Iterable[Fetch]:
        """The file."""
        return [Fetch(where if where.endswith(".txt") else urljoin(where, "/llms.txt"))]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """Hints of its own origin only: a file cannot send us to somebody else's site. Raises ChallengeInvalid."""
        if found.body.lstrip()[:1] == b"<":
            raise ChallengeInvalid("a page for people", rule="a text in Markdown")
        made: dict[Any, Listing] = {}
        skipped: list[Skip] = []
        home = urlsplit(found.url).netloc
        for number, line in enumerate(_lines(found.body), 1):
            for link in _links(line):
                try:
                    each = _bare(self.name, joined(found.url, link), "GET")
                except Refused as why:
                    skipped.append(Skip(f"line {number}", str(why)))
                    continue
                if urlsplit(each.url).netloc != home:
                    skipped.append(Skip(f"line {number}", "a link to another site"))
                elif len(made) < _MOST and not _CATALOGUE(each.url):
                    made.setdefault(each.identity, each)
        return Page(tuple(made.values()), tuple(skipped))


def _links(line: str) -> list[str]:
    """Links of a line that speaks of paying: whole URLs, and Markdown's that stay on the site."""
    return [each.rstrip(".,;") for each in (*_LINK.findall(line), *_OWN.findall(line))] if _PAID.search(line) else []


class X402Pay:
    """`where` is a list of x402Pay's discovery items. They name no URL: `base` of the list, or `url` of an item, is needed."""

    name = "x402pay"
    about = "discovery items of x402Pay: content priced in STX, sBTC and USDCx"

    def first(self, where: str) -> Iterable[Fetch]:
        """The list."""
        return [Fetch(where)]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """One row for each item that says where it is. Raises ChallengeInvalid."""
        document = rows(found.body, ("items", "content", "results", "data"))
        made: list[Listing] = []
        skipped: list[Skip] = []
        for number, each in enumerate(document):
            try:
                made.append(_item(each, text(document.fields.get("base"), 2048), found.url))
            except Refused as why:
                skipped.append(Skip(f"items[{number}]", str(why)))
            except TypeError:
                skipped.append(each if isinstance(each, Skip) else Skip(f"items[{number}]", "it is not an object"))
        return Page(tuple(made), tuple(skipped))


def _item(fields: Any, base: str, page: str) -> Listing:
    if not isinstance(fields, dict):
        raise TypeError
    try:
        found = item(fields)
    except Passed as why:
        raise Refused(why.reason) from None
    url = fields.get("url") if isinstance(fields.get("url"), str) else f"{base.rstrip('/')}/{found.content}" if base else ""
    if not url:
        raise Refused("an item that does not say where it is")
    made = Row.about("x402pay", joined(page, str(url)), "GET")
    if not found.agents:
        made.flag("not-for-agents")
    prices = [_priced(made, each) for each in found.prices]
    return made.listing(name=fields.get("title"), description=fields.get("description"), category=fields.get("contentType"), prices=prices)


def _priced(made: Row, price: Price) -> Priced:
    """Its network is its contract's; where that is not said, only USDCx still tells a price in dollars."""
    if price.asset is not None:
        return Priced("x402pay", "", price.asset.network.name, price.symbol, asset=price.asset.id, amount=price.units, micros=price.asset.micros(price.units))
    micros = dollars(price.text) if price.symbol == "USDCx" else None
    if micros is None and price.symbol not in ("STX", "sBTC"):
        made.flag("price-unreadable")
    return Priced("x402pay", "", "stacks", price.symbol, micros=micros)


def _bare(source: str, url: str, method: str) -> Listing:
    made = Row.about(source, url, method)
    made.flag("price-unknown")
    return made.listing()


def _lines(body: bytes) -> Iterator[str]:
    """The first of a text's lines; they are not all made at once. Raises ChallengeInvalid."""
    return islice(StringIO(_text(body), newline=None), _LINES)


def _text(body: bytes) -> str:
    if len(body) > MAX_PAGE:
        raise ChallengeInvalid(f"a text of {len(body)} bytes", rule=f"at most {MAX_PAGE >> 20} MiB (S6)")
    try:
        return body.decode("utf-8").lstrip("\ufeff")
    except UnicodeDecodeError:
        raise ChallengeInvalid("it is not UTF-8", rule="a text in UTF-8 (W1)") from None
