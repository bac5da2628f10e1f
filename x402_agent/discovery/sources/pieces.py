"""The small things that every catalogue's rows are made of: texts, counts, times, prices. What is odd becomes a flag, not an error."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from ... import assets
from ...dialects.x402.offers import AMOUNT_FIELD
from ...dialects.x402.offers import amount as atomic
from ...dialects.x402.passed import Passed
from ...secret import plain
from ..address import identity
from ..nouns import Listing, Priced

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..nouns import Identity

__all__ = ["Row", "accepted", "count", "dollars", "moment", "text", "token_price", "words"]

MAX_NAME, MAX_DESCRIPTION, MAX_TAGS, MAX_PRICES = 120, 500, 12, 16
_MOST_MICROS = 10**15  # a billion dollars: what claims more is noise
_DECIMAL = re.compile(r"[0-9]{1,15}(\.[0-9]{1,18})?").fullmatch
_UNSEEN = re.compile("[\u034f\u115f\u1160\u2800\u3164\uffa0]|(?<=[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]{3})[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?").fullmatch


@dataclass(slots=True)
class Row:
    """A listing in the making: what it is about, and the flags that gather on the way."""

    source: str
    identity: Identity
    url: str
    flags: list[str] = field(default_factory=list)

    @classmethod
    def about(cls, source: str, url: object, method: object = None, tool: str = "") -> Row:
        """The row for a URL as a stranger wrote it. Raises Refused."""
        verb = method if isinstance(method, str) and method else "POST" if tool else "GET"
        found, place = identity(url if isinstance(url, str) else "", verb, tool)
        flags = ["credentials-stripped"] if place.credentials else []
        if not isinstance(method, str) and not tool:
            flags.append("method-unknown")
        return cls(source, found, place.url, flags)

    def words(self, value: object, limit: int) -> str:
        """A seller's text, one line, capped; what hides characters in it is flagged (Y1)."""
        if not isinstance(value, str):
            return ""
        head = value[: 4 * limit]
        if not head.isprintable() and not head.replace("\n", "").replace("\t", "").replace("\r", "").isprintable():
            self.flag("hidden-text")
        made = plain(" ".join(head.split()), limit)
        if made.isascii() or not _UNSEEN.search(made):
            return made
        self.flag("hidden-text")
        return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", made)

    def flag(self, word: str) -> None:
        """Once each."""
        if word not in self.flags:
            self.flags.append(word)

    def listing(
        self, *, name: object = "", description: object = "", category: object = "", tags: object = (), prices: Iterable[Priced] = (),
        payers: object = None, calls: object = None, updated: object = None,
    ) -> Listing:  # fmt: skip
        """What became of it."""
        made = tuple(dict.fromkeys(prices))
        if len(made) > MAX_PRICES:
            self.flag("too-many-prices")
        labels = [self.words(each, 40) for each in tags[:MAX_TAGS]] if isinstance(tags, list) else []
        return Listing(self.identity, self.url, self.source, self.words(name, MAX_NAME), self.words(description, MAX_DESCRIPTION),
                       self.words(category, 40).lower(), tuple(each for each in labels if each), made[:MAX_PRICES], count(payers),
                       count(calls), moment(updated), tuple(self.flags))  # fmt: skip


def text(value: object, limit: int = 200) -> str:
    """A short text that is compared, not shown: "" for what is none, or has other than printable ASCII in it."""
    return value if isinstance(value, str) and len(value) <= limit and value.isascii() and value.isprintable() else ""


def words(value: object) -> list[Any]:
    """A list, or none."""
    return value if isinstance(value, list) else []


def count(value: object) -> int | None:
    """A number of calls or payers; None for what cannot be one."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def moment(value: object) -> float | None:
    """Unix seconds from seconds, milliseconds or ISO 8601; None for anything else, and for years that no row is of."""
    made: float | None = None
    if isinstance(value, str) and _TIME(value):
        try:
            parsed = datetime.fromisoformat(re.sub(r"\.\d+", "", value))
        except ValueError:
            return None
        made = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        made = value / 1000 if value > 1e11 else float(value)
    return made if made is not None and 1.5e9 < made < 4.2e9 else None


def dollars(value: object) -> int | None:
    """Millionths of a dollar from a decimal text or number, rounded up; None for what is none. Binary floats are read as they print."""
    written = repr(value) if isinstance(value, float) else str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(written, str) or not _DECIMAL(written.strip().lstrip("$")):
        return None
    try:
        micros = math.ceil(Decimal(written.strip().lstrip("$")).scaleb(6))
    except InvalidOperation:
        return None
    return micros if micros <= _MOST_MICROS else None


def token_price(row: Row, rail: str, network: object, token: object, amount: object, pay_to: object, scheme: object = "") -> Priced:
    """One price in atomic units of a token. What our tables do not know keeps its spelling and has no amount; nothing is guessed."""
    raw_network, raw_token, payee = text(network, 80), text(token, 200), text(pay_to, 200)
    where = assets.network(raw_network) if raw_network else None
    asset = assets.asset(where, raw_token) if where and raw_token else None
    if asset is None:
        row.flag("network-unknown" if where is None else "token-unknown")
    units: int | None = None
    try:
        units = atomic(amount)
    except Passed:
        row.flag("free-price" if amount in (0, "0") else "price-in-decimals" if _decimal(amount) else "price-unreadable")
    known = units if asset else None
    micros = asset.micros(units) if asset and units is not None else None
    return Priced(rail, text(scheme, 40), where.id if where else raw_network, raw_token, payee, asset.id if asset else "", known,
                  micros if micros is not None and micros <= _MOST_MICROS else None)  # fmt: skip


def accepted(row: Row, entries: object, version: object) -> list[Priced]:
    """The `accepts` of x402, of version 1 or 2, whichever field the row has; entries that are no objects are passed over."""
    made = []
    for each in words(entries)[: MAX_PRICES + 1]:
        if not isinstance(each, dict):
            row.flag("entry-unreadable")
            continue
        v1, v2 = AMOUNT_FIELD[1], AMOUNT_FIELD[2]
        if v1 in each and v2 in each and str(each[v1]) != str(each[v2]):
            row.flag("two-prices-in-one")
            continue
        named = v1 if version == 1 or v2 not in each else v2
        made.append(_entry(row, each, named if named in each else v2))
    if not made:
        row.flag("price-unknown")
    return made


def _entry(row: Row, entry: Mapping[str, Any], named: str) -> Priced:
    extra = entry.get("extra")
    if isinstance(extra, dict) and "decimals" in extra:
        row.flag("decimals-ignored")
    return token_price(row, "x402", entry.get("network"), entry.get("asset"), entry.get(named), entry.get("payTo"), entry.get("scheme"))


def _decimal(value: object) -> bool:
    return isinstance(value, float) or (isinstance(value, str) and "." in value and dollars(value) is not None)
