"""Who sells what, from the owner's catalogue: offline, few rows, and whatever a seller wrote inside a fence, its URL too."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from anyio import to_thread

from .. import assets
from ..errors import SettingsError
from ..model import Money
from ..policy import dollars
from ..secret import plain
from . import told
from .fence import fence
from .results import Entry, Service, Services

if TYPE_CHECKING:
    from ..discovery import Priced, Result
    from ..payer import Payer
    from .results import Amount

__all__ = ["entry", "search"]

ROWS = 10
ROOM = 7_400  # bytes of an answer, which a host is sent twice: as JSON, and as text
SAYS = 160  # bytes of a seller's words in a row
ADDRESS = 300  # characters of a URL that are shown
WHY = 3


async def search(payer: Payer, words: object, max_price: object, live: object) -> Services:
    """The best rows for these words. Raises SettingsError: no catalogue yet, no amount of dollars."""
    return await to_thread.run_sync(lambda: _search(payer, words, max_price, live))


def _search(payer: Payer, words: object, max_price: object, live: object) -> Services:
    catalogue = payer.discover
    now = catalogue.store.clock()
    found = catalogue.search(words[:500] if isinstance(words, str) else "", most=str(max_price) if max_price else None, live=live is True, limit=ROWS + 1)
    made = Services()
    for number, each in enumerate(found):
        row = _service(each, now, SAYS, payer)
        if number == ROWS or _weight(bigger := Services((*made.services, row), _MORE)) > ROOM:
            return Services(made.services, _MORE)
        made = bigger
    return Services(made.services, "" if found else _NONE)


_MORE = "there are more: narrower words show others"
_NONE = "nothing found; other words, or a person runs: x402-agent discover crawl"


def _weight(answer: Any) -> int:
    text = json.dumps(asdict(answer))
    return len(text) + len(json.dumps(text))


async def entry(payer: Payer, name: object) -> Entry:
    """All that is known of one service. Raises SettingsError where there is none of this id."""
    return await to_thread.run_sync(lambda: _entry(payer, name))


def _entry(payer: Payer, name: object) -> Entry:
    catalogue = payer.discover
    found = catalogue.show(name) if isinstance(name, str) else None
    if found is None:
        raise SettingsError("no service of the catalogue has this id", rule="id", hint="search names them")
    one, listings, probes = found
    now = catalogue.store.clock()
    rows = tuple(f"{_source(each['source'])}, seen {_age(each['last'], now)}{''.join(f', {flag}' for flag in each['flags'])}" for each in listings[:10])
    asked = "\n".join(f"{_age(each['at'], now)}: {each['verdict']}, {each['why']}" for each in probes)
    prices = tuple(filter(None, (_amount(each, payer) for each in one.prices)))
    return Entry(_service(one, now, told.HEAD, payer), prices, one.why, rows, fence(_origin(one), asked, told.HEAD) if asked else None)


def _service(one: Result, now: float, room: int, payer: Payer) -> Service:
    price = next((each for each in one.prices if each.payable and each.micros == one.micros), None)
    url = one.url if len(one.url) <= ADDRESS else f"(an address of {len(one.url)} characters)"
    words = " · ".join(each for each in (one.tool, one.name, one.description) if each)
    says = fence(_origin(one), f"{url}\n{words}", len(url) + 1 + room)
    return Service(one.id, one.method, _amount(price, payer) if price else None, "" if one.micros is None else dollars(one.micros),
                   one.payable and not one.template and not one.tool, one.verdict or "never probed", _age(one.probed, now), one.why[:WHY], one.suspicious, says)  # fmt: skip


def _origin(one: Result) -> str:
    parts = urlsplit(one.url)
    return plain(f"{parts.scheme}://{parts.netloc}", 100)


def _source(root: str) -> str:
    """A catalogue's kind and site: its whole URL may hold a key of the owner's."""
    kind, _, url = root.partition(" ")
    return f"{kind} {plain(urlsplit(url).hostname or '', 100)}"


def _amount(price: Priced, payer: Payer) -> Amount | None:
    asset = assets.asset_by_id(price.asset)
    return None if asset is None or price.amount is None else told.amount(Money(price.amount, asset), sandbox=payer.sandboxed)


def _age(at: float | None, now: float) -> str:
    from ..discovery.search import age

    return "never" if at is None else f"{age(at, now)} ago"
