"""The nouns of discovery: what is for sale where, as one source tells it. Frozen; money in integers of atomic units of our own table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["RAILS", "Fetch", "Found", "Identity", "Listing", "Page", "Priced", "Skip", "Source", "counted"]

RAILS = ("x402", "mpp", "l402", "x402pay", "other")  # how a row wants to be paid; only some of them are ours


class Identity(NamedTuple):
    """What one thing for sale is, whoever lists it: origin, METHOD, normalised path or template, and the tool of an MCP server."""

    origin: str
    method: str
    path: str
    tool: str = ""

    @property
    def id(self) -> str:
        """The ID of `discover show ID` and `get ID`: 16 hex digits."""
        text = f"{self.origin}\n{self.method}\n{self.path}\n{self.tool}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    @property
    def template(self) -> bool:
        """Whether its path has places to fill in, so that there is no URL to ask."""
        return "{" in self.path


class Priced(NamedTuple):
    """One price of a row. `amount` is in atomic units of `asset`, both None where our tables do not know the token: never guessed.

    `micros` are millionths of a dollar where they are known, by the asset's peg or because the row is in dollars. `network` and
    `token` are as the row spells them; `pay_to` too.
    """

    rail: str
    scheme: str = ""
    network: str = ""
    token: str = ""
    pay_to: str = ""
    asset: str = ""  # CAIP-19
    amount: int | None = None
    micros: int | None = None

    @property
    def payable(self) -> bool:
        """Whether we have the rail and know the token."""
        return self.rail == "x402" and self.amount is not None


class Listing(NamedTuple):
    """One row of one source. Every text is the source's, cleaned and capped when it was read; `payers` and `calls` of the last 30 days
    are what it claims. `url` can be asked unless the identity is a template; `shown` is the path as the row spells it."""

    identity: Identity
    url: str
    source: str
    name: str = ""
    description: str = ""
    category: str = ""
    tags: tuple[str, ...] = ()
    prices: tuple[Priced, ...] = ()
    payers: int | None = None
    calls: int | None = None
    updated: float | None = None  # unix seconds
    flags: tuple[str, ...] = ()


class Skip(NamedTuple):
    """A row that became none: where it stood and why, in words that are safe to show."""

    where: str
    why: str


class Fetch(NamedTuple):
    """What a source wants to be fetched next. `state` is its own: an offset, a cursor, what it already asked."""

    url: str
    state: Mapping[str, Any] = {}
    method: str = "GET"


@dataclass(frozen=True, slots=True)
class Found:
    """What came: the body whole and bounded, header names in lower case."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Page:
    """What one answer told: rows, rows that were none, and what to fetch next. `total` is what the source claims to have."""

    listings: tuple[Listing, ...] = ()
    skipped: tuple[Skip, ...] = ()
    following: tuple[Fetch, ...] = ()
    total: int | None = None


class Source(Protocol):
    """One kind of catalogue, without I/O: plug-ins of the entry points `x402_agent.sources` have this shape. One that has `reads_402 = True` is
    given answers with this status, too."""

    name: str
    about: str

    def first(self, where: str) -> Iterable[Fetch]:
        """What to fetch first of the catalogue at `where`, a URL."""

    def read(self, fetch: Fetch, found: Found) -> Page | Iterator[Page]:
        """The rows of one answer. Raises ChallengeInvalid when it is not what this source reads."""


def counted(count: int, noun: str) -> str:
    """`1 row`, `2 rows`, `3 passes`."""
    return f"{count} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"
