"""What is for sale: pieces of content, whose they are, what they cost in each asset, how they are found."""

from __future__ import annotations

import json
import re
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from ..books import moment, stamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from .books import X402PayBooks

__all__ = ["ARTICLES", "ASSETS", "FREE_AFTER", "Catalogue", "Piece", "content_id", "people"]

ASSETS = {"STX": ("price_stx", 6), "sBTC": ("price_sbtc", 8), "USDCx": ("price_usdcx", 2)}  # its column, the decimals of that: cents of a dollar
FREE_AFTER = 30 * 86_400  # seconds from publishing on
MOST = 10**12  # of any price
content_id = re.compile(r"[a-zA-Z0-9_-]{1,50}").fullmatch
_PRICE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,8})?").fullmatch
_FIELDS = "c.content_id, u.id as owner, u.wallet_address, c.price_stx, c.price_sbtc, c.price_usdcx, c.default_asset, c.metadata, c.status, c.enabled, c.published_at"

PRICES = {"stx": "0.10", "sbtc": "0.00000020", "usdcx": "0.05"}
ARTICLES: dict[str, dict[str, Any]] = {
    "welcome": {"title": "Welcome", "body": "Three of the five articles here cost 0.10 STX. After 30 days they are free."},
    "about": {"title": "About", "body": "A pretend blog on a pretend chain. Nothing here is worth anything."},
    "paying-by-transfer": {
        "title": "Paying by transfer", "preview": "A transfer says little about what it is for.", "pricing": PRICES,
        "body": "A transfer says little about what it is for. So a seller has to write down which one has paid for what, once.",
    },
    "paying-by-contract": {
        "title": "Paying by contract", "preview": "A contract sees what is paid for.", "pricing": PRICES, "contract": "two",
        "body": "A contract sees what is paid for, and splits it: eighty to the author, twenty to the platform, the dust stays with you.",
    },
    "four-arguments": {
        "title": "Four arguments", "preview": "Ask a contract what it wants before you call it.", "pricing": PRICES, "contract": "four",
        "body": "Ask a contract what it wants before you call it: the one that is described has two arguments, the one that is there has four.",
    },
    "premium-data": {"title": "Premium data", "pricing": PRICES, "contentType": "api", "ages": False},
    "ai-generate": {"title": "Something generated", "pricing": {"stx": "1.00"}, "contentType": "api", "ages": False},
}  # fmt: skip


class Piece(NamedTuple):
    """One piece of content: `prices` by asset in the units of the database, `about` what its maker said of it."""

    id: str
    owner: str
    creator: str
    prices: dict[str, int]
    asset: str
    about: dict[str, Any]
    status: str
    enabled: bool
    published: str

    @property
    def contract(self) -> str:
        """How it is sold: "" by a plain transfer, else by the contract of `two` or `four` arguments."""
        return str(self.about.get("contract", ""))

    def units(self, asset: str) -> int:
        """Its price in the smallest unit that the chain knows; 0 where it is not sold for that."""
        return self.prices.get(asset, 0) * (10_000 if asset == "USDCx" else 1)  # cents to millionths

    def free(self, now: float) -> bool:
        """Whether it costs nothing, or nothing any more."""
        if not self.prices or not self.about.get("ages", True) or not self.published:
            return not self.prices
        return now - moment(self.published) >= FREE_AFTER

    def item(self) -> dict[str, Any]:
        """How it is found."""
        return {
            "contentId": self.id, "title": self.about.get("title", ""), "pricing": {name.lower(): said(units, name) for name, units in self.prices.items()},
            "agentCompatible": bool(self.about.get("agentCompatible", True)), "contractAddress": "", "accessControl": "pay-per-view" if self.prices else "free",
            "contentType": self.about.get("contentType", "article"), "tokenGate": None,
        }  # fmt: skip


def said(units: int, asset: str) -> str:
    """A price of the database as a decimal text in whole tokens."""
    decimals = ASSETS[asset][1]
    whole, rest = divmod(units, 10**decimals)
    return f"{whole}.{rest:0{decimals}d}".rstrip("0").ljust(len(str(whole)) + 3, "0")


def priced(pricing: object) -> dict[str, int]:
    """Decimal texts by asset in the units of the database; raises ValueError."""
    named = {name.lower(): name for name in ASSETS}
    if not isinstance(pricing, dict) or not set(pricing) <= set(named):
        raise ValueError("pricing has stx, sbtc and usdcx, as decimal texts")
    found = {}
    for name, text in pricing.items():
        asset = named[name]
        decimals = ASSETS[asset][1]
        if not isinstance(text, str) or not _PRICE(text) or len(text.partition(".")[2]) > decimals:
            raise ValueError(f"pricing.{name} is a decimal text with at most {decimals} places")
        whole, _, rest = text.partition(".")
        found[asset] = int(whole + rest.ljust(decimals, "0"))
        if not 0 < found[asset] <= MOST:
            raise ValueError(f"pricing.{name} is above zero and at most {MOST} of its smallest unit")
    return found


class Catalogue:
    """`clock` is the seller's, in unix seconds."""

    def __init__(self, books: X402PayBooks, clock: Callable[[], float]) -> None:
        self._database, self._clock = books.database, clock

    def now(self) -> str:
        """The seller's time."""
        return stamp(self._clock())

    def open(self, seller: str) -> None:
        """The blog and its API, published now by this seller: who sold them before had another address, as each sandbox has."""
        owner = people(self._database, seller, self.now())
        for name, about in ARTICLES.items():
            told = {"ages": True, **about}
            self.put(name, owner, told.pop("pricing", {}), told, "published")

    def put(self, name: str, owner: str, pricing: object, about: dict[str, Any], status: str) -> None:
        """Write a piece anew; raises ValueError for prices that are none."""
        prices, now = priced(pricing), self.now()
        self._database.rows(
            "insert into content (id, content_id, creator_id, price_stx, price_sbtc, price_usdcx, metadata, status, published_at, created_at, updated_at)"
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (content_id) do update set creator_id = excluded.creator_id, price_stx = excluded.price_stx,"
            " price_sbtc = excluded.price_sbtc, price_usdcx = excluded.price_usdcx, metadata = excluded.metadata, status = excluded.status,"
            " published_at = excluded.published_at, updated_at = excluded.updated_at",
            str(uuid.uuid4()), name, owner, *(prices.get(asset) for asset in ASSETS), json.dumps(about), status,
            now if status == "published" else None, now, now,
        )  # fmt: skip

    def find(self, name: str) -> Piece | None:
        """A piece, in whatever state."""
        if not content_id(name):
            return None
        row = self._database.one(f"select {_FIELDS} from content c join users u on u.id = c.creator_id where c.content_id = ?", name)
        return _piece(row) if row else None

    def sold(self, name: str) -> Piece | None:
        """A piece that is for sale now."""
        found = self.find(name)
        return found if found and found.status == "published" and found.enabled else None

    def archive(self, name: str) -> None:
        """It is sold no more; who has paid for it reads it on no longer either."""
        self._database.rows("update content set status = 'archived', updated_at = ? where content_id = ?", self.now(), name)

    def count(self, owner: str) -> int:
        """How many pieces somebody has, archived ones too."""
        row = self._database.one("select count(*) as n from content where creator_id = ?", owner)
        return int(row["n"]) if row else 0

    def all(self, limit: int, offset: int) -> tuple[list[Piece], int]:
        """What is for sale now, by its id."""
        where = "c.status = 'published' and c.enabled = 1"
        rows = self._database.rows(f"select {_FIELDS} from content c join users u on u.id = c.creator_id where {where} order by c.content_id limit ? offset ?", limit, offset)
        total = self._database.one(f"select count(*) as n from content c where {where}")
        return [_piece(row) for row in rows], int(total["n"]) if total else 0


def people(database: Any, address: str, now: str) -> str:
    """The id of whoever has this address, known from now on."""
    database.rows("insert into users (id, wallet_address, created_at) values (?, ?, ?) on conflict (wallet_address) do nothing", str(uuid.uuid4()), address, now)
    return str(database.one("select id from users where wallet_address = ?", address)["id"])


def _piece(row: dict[str, Any]) -> Piece:
    prices = {asset: int(row[column]) for asset, (column, _) in ASSETS.items() if row[column] is not None}
    about = json.loads(row["metadata"])
    return Piece(row["content_id"], row["owner"], row["wallet_address"], prices, row["default_asset"], about, row["status"], bool(row["enabled"]), str(row["published_at"] or ""))
