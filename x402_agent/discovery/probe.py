"""A free look at what is for sale: one cold request with the right method and no money, and what the answer says of the listing.

Nothing is signed, no header offers to pay, and no method is used that could change something beyond what its listing is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..dialects import builtin
from ..errors import ChallengeInvalid
from ..model import Ask
from ..secret import plain
from ..steps import MAX_BODY, Reply
from .address import place
from .nouns import Fetch, Priced, counted

if TYPE_CHECKING:
    from ..database import Database
    from ..model import Challenge, Offer

__all__ = ["COLD", "KEPT", "Verdict", "challenge", "due", "priced", "refused", "verdict", "write"]

COLD = frozenset({"GET", "HEAD", "POST"})  # what may be asked without a purpose; the rest could do harm
KEPT = 20  # probes of one service
BODY = b"{}"
_GATE = frozenset({400, 401, 403, 405, 406, 407, 409, 411, 412, 413, 415, 417, 421, 422, 426, 428, 431, 451})
_GONE = frozenset({404, 410})


class Verdict(NamedTuple):
    """A word of rank.VERDICTS, what the live 402 asks, and why: in words that are safe to show."""

    word: str
    status: int
    prices: tuple[Priced, ...] = ()
    why: str = ""


def verdict(url: str, method: str, status: int, headers: Any, body: bytes, *, complete: bool) -> Verdict:
    """What an answer says. `headers` has `get_list`; of a 402 `body` is what came on the wire, at most MAX_BODY bytes of it."""
    if status == 402:
        return _challenged(url, method, Reply(status, headers, body[:MAX_BODY], complete=complete and len(body) <= MAX_BODY))
    if 200 <= status < 300:
        return Verdict("free", status, why=f"answered {status} without asking for money")
    if 300 <= status < 400:
        return Verdict("redirect", status, why=plain(f"sends on to {', '.join(headers.get_list('location')) or 'nowhere'}", 200))
    if status in _GATE:
        return Verdict("gate-after-validation", status, why=f"answered {status} before it asked for money")
    return Verdict("dead", status, why=f"answered {status}" if status in _GONE else f"answered {status} again and again")


def refused(why: str) -> Verdict:
    """It leads where nothing is asked, or answers with what no honest server sends."""
    return Verdict("hostile", 0, why=plain(why, 200))


def due(db: Database, before: float, limit: int) -> list[tuple[str, Fetch]]:
    """Services that nobody has looked at since then, the best first: their IDs and what to ask. Templates and tools are not asked."""
    marks = ", ".join("?" * len(COLD))
    rows = db.rows(f"select id, url, method from services where (probed is null or probed < ?) and tool = '' and path not like ? and method in ({marks}) order by slot limit ?",
                   before, "%{%", *sorted(COLD), limit)  # fmt: skip
    return [(row["id"], Fetch(row["url"], {"service": row["id"]}, row["method"])) for row in rows]


def write(db: Database, service: str, at: float, found: Verdict, prices: str) -> None:
    """Keep it as the newest of the service's probes."""
    db.rows("insert into probes values (?, ?, ?, ?, ?, ?) on conflict (service, at) do nothing", service, at, found.word, found.status, prices, found.why)
    db.rows("delete from probes where service = ? and at < (select min(at) from (select at from probes where service = ? order by at desc limit ?) as newest)",
            service, service, KEPT)  # fmt: skip
    db.rows("insert into dirty values (?) on conflict do nothing", service)


def _challenged(url: str, method: str, reply: Reply) -> Verdict:
    try:
        found = challenge(url, method, reply)
    except ChallengeInvalid as why:
        return Verdict("dead", 402, why=plain(f"its 402 cannot be read: {why.what}", 200))
    if found is None:
        return Verdict("live-402", 402, why="a 402 in no dialect that we speak")
    passed = f", {len(found.passed_over)} more that are not for us" if found.passed_over else ""
    return Verdict("live-402", 402, tuple(priced(each) for each in found.offers), f"asks in {found.dialect}, {counted(len(found.offers), 'offer')}{passed}")


def challenge(url: str, method: str, reply: Reply) -> Challenge | None:
    """What a 402 asks, by the first dialect that reads it. Raises ChallengeInvalid."""
    where = place(url)
    host = where.origin.partition("://")[2].rpartition(":")[0] or where.origin.partition("://")[2]
    ask = Ask(method, url, where.origin, host, where.shown)
    return next((found for each in builtin() if (found := each.read(reply, ask)) is not None), None)


def priced(offer: Offer) -> Priced:
    """An offer as the catalogue keeps prices."""
    asset = offer.asset
    return Priced("x402", offer.scheme, asset.network.id, asset.address, offer.pay_to, asset.id, offer.amount, asset.micros(offer.amount))

