"""A URL that answers 402 itself, and a URL of which nobody says what it is: its answer does."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ...errors import ChallengeInvalid
from ...steps import MAX_BODY, Reply
from ..address import Refused
from ..nouns import Fetch, Page, Skip
from ..probe import challenge, priced
from .bazaar import Bazaar
from .openapi import OpenApi
from .pieces import Row
from .plain import LlmsTxt, Urls, X402Pay
from .registries import Mpp, Satring
from .rows import parsed, rows
from .wellknown import WellKnown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..nouns import Found, Source

__all__ = ["AnyUrl", "Paywall"]

_PAYMENT_REQUIRED = 402
_OPENAPI = re.compile(rb'"(?:openapi|swagger)"\s*:\s*"').search
_LISTS = ("items", "resources", "services", "content", "results", "data", "products", "routes", "accepts", "endpoints")


class _Headers:
    """What a dialect asks of headers; the body has lost its coding by now."""

    def __init__(self, named: Mapping[str, str]) -> None:
        self._named = {name: value for name, value in named.items() if name != "content-encoding"}

    def get_list(self, name: str) -> list[str]:
        value = self._named.get(name.lower())
        return [] if value is None else [value]

    def get(self, name: str, default: str = "") -> str:
        return self._named.get(name.lower(), default)


class Paywall:
    """`where` is what is for sale: GET, without money, and its 402 read as every 402 is."""

    name = "402"
    about = "a URL that itself answers 402"
    reads_402 = True

    def first(self, where: str) -> Iterable[Fetch]:
        """The URL itself."""
        return [Fetch(where)]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """One row, with what it asks; none where it asks for nothing. Raises ChallengeInvalid for a 402 that breaks its protocol."""
        if found.status != _PAYMENT_REQUIRED:
            return Page((), (Skip("the URL", "it answers without asking for money"),))
        try:
            made = Row.about(self.name, found.url, "GET")
        except Refused as why:
            return Page((), (Skip("the URL", str(why)),))
        asked = challenge(found.url, "GET", Reply(found.status, _Headers(found.headers), found.body[:MAX_BODY], complete=len(found.body) <= MAX_BODY))
        offers = asked.offers if asked else ()
        if not offers:
            made.flag("price-unknown")
        return Page((made.listing(description=next((each.description for each in offers if each.description), ""), prices=[priced(each) for each in offers]),))


class AnyUrl:
    """`where` is a URL that nobody has said the kind of. What it answers is looked at, and read by the source that reads such."""

    name = "url"
    about = "any URL: its answer says which of these it is"
    reads_402 = True

    def first(self, where: str) -> Iterable[Fetch]:
        """The URL itself."""
        return [Fetch(where)]

    def read(self, fetch: Fetch, found: Found) -> Page:
        """As the source that fits. Raises ChallengeInvalid where none does."""
        kind = str(fetch.state.get("as", "")) or _kind(found)
        if kind not in _KINDS:
            raise ChallengeInvalid("it is no catalogue that we know, and asks for no money", rule="--source KIND=URL says what it is")
        page = _KINDS[kind].read(fetch, found)
        assert isinstance(page, Page)
        return replace(page, following=tuple(each._replace(state={**each.state, "as": kind}) for each in page.following))


_KINDS: dict[str, Source] = {each.name: each for each in (Paywall(), Bazaar(), WellKnown(), OpenApi(), Mpp(), Satring(), LlmsTxt(), X402Pay(), Urls())}


def _kind(found: Found) -> str:
    """Which source reads such an answer, "" where none does."""
    body, path = found.body.lstrip(b"\xef\xbb\xbf \t\r\n"), urlsplit(found.url).path
    if "/.well-known/" in path:
        return "well-known"
    if found.status == _PAYMENT_REQUIRED:
        return "402"
    if body[:1] in (b"{", b"["):
        return "openapi" if _OPENAPI(body) else _listed(body)
    if body[:1] in (b"<", b""):
        return ""
    return "llms" if b"](" in body or path.endswith("llms.txt") else "urls"


def _listed(body: bytes) -> str:
    try:
        first = next(iter(rows(body, _LISTS)), None)
    except ChallengeInvalid:
        return "well-known" if any(name in parsed(body) for name in _LISTS) else ""
    if not isinstance(first, dict):
        return "well-known" if first is not None else "bazaar"
    marks = (("endpoints", "mpp"), ("contentId", "x402pay"), ("resource", "bazaar"), ("pricing_sats", "satring"), ("pricing_usd", "satring"))
    return next((kind for mark, kind in marks if mark in first), "well-known")
