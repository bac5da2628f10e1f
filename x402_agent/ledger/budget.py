"""Counting: every counted row stands in the counter of its realm and host, on the UTC day it was made; `all` is their sum.

Only RELEASED and DEAD take anything out. An open row of an earlier day counts today as well, until a day after it
expires (X7). Realms keep test money and real money apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import BudgetExceeded, LedgerError
from ..model import Money
from . import states

if TYPE_CHECKING:
    from ..model import Ask, Limit, Offer
    from .store import Cache, Store

__all__ = ["GRACE", "add", "check", "fits", "micros_of", "realm_of", "room", "scope", "spent"]

GRACE = 86400  # seconds after its expiry during which an open row still counts and blocks (no node: X7)
_MOST = 2**53
_ADD = (
    "INSERT INTO x402_counters (scope, day, micros) VALUES (?,?,?) "
    "ON CONFLICT (scope, day) DO UPDATE SET micros = micros + excluded.micros"
)
_CARRY = (
    "SELECT host, realm, micros, valid_before FROM x402_payments "
    f"WHERE is_open = 1 AND day < ? AND state IN {states.listed(states.UNSENT | states.IN_DOUBT)}"
)


def realm_of(offer: Offer, *, sandbox: bool) -> str:
    """Which purse: `sandbox`, `test` or `real`."""
    return "sandbox" if sandbox else "test" if offer.asset.network.testnet else "real"


def scope(realm: str, host: str) -> str:
    """The counter that a payment to `host` stands in."""
    return f"{realm}/host:{host}"


def micros_of(offer: Offer, limits: tuple[Limit, ...]) -> int:
    """Millionths of a dollar to count; raises BudgetExceeded when a dollar limit meets a token without a peg."""
    micros = offer.money.micros
    if micros is None:
        if limits:
            raise BudgetExceeded(
                f"{offer.money} has no value in dollars, and a limit is in dollars",
                rule=limits[0].rule,
                hint=limits[0].hint,
            )
        return 0
    if micros > _MOST:
        raise BudgetExceeded(
            f"{offer.money.amount:.3g} units are more than any budget", rule="at most 2^53 micro-dollars"
        )
    return micros


def add(store: Store, realm: str, host: str, day: str, micros: int) -> None:
    """Count (or, negative, uncount) a payment; keeps memory in step."""
    store.db.execute(_ADD, (scope(realm, host), day, micros))
    counters = store.cache.counters
    for what in (f"host:{host}", "all"):
        for key in ((realm, what, day), (realm, what, "")):
            if key in counters:
                counters[key] += micros


def spent(store: Store, realm: str, limit: Limit, day: str, now: float, *, fresh: bool = False) -> int:
    """Micro-dollars counted against a limit now; from memory where memory knows."""
    cache = store.cache
    window = day if limit.window == "day" else ""
    key = realm, limit.scope, window
    if fresh or key not in cache.counters:
        cache.counters[key] = _sum(store, *key)
    total = cache.counters[key]
    if not window:
        return total
    if fresh or day not in cache.carry:
        cache.carry = {day: store.db.execute(_CARRY, (day,)).fetchall()}
    for host, purse, micros, valid_before in cache.carry[day]:  # it can only shrink: an old copy counts too much
        if purse == realm and limit.scope in ("all", f"host:{host}") and now < valid_before + GRACE:
            total += micros
    return total


def _sum(store: Store, realm: str, what: str, window: str) -> int:
    query = "SELECT COALESCE(SUM(micros), 0) FROM x402_counters WHERE "
    if what == "all":
        query, values = query + "scope >= ? AND scope < ?", [f"{realm}/host:", f"{realm}/host;"]
    else:
        query, values = query + "scope = ?", [f"{realm}/{what}"]
    if window:
        query, values = query + " AND day = ?", [*values, window]
    return int(store.db.execute(query, values).fetchone()[0])


def applies(limit: Limit, ask: Ask) -> bool:
    """Whether a limit is about this Ask; raises LedgerError for a scope or window that nothing here counts."""
    if limit.window not in ("day", "total") or not (limit.scope == "all" or limit.scope.startswith("host:")):
        raise LedgerError(f"nothing counts a limit of scope {limit.scope!r} per {limit.window!r}", rule=limit.rule)
    return limit.scope in ("all", f"host:{ask.host}")


def check(store: Store, realm: str, ask: Ask, offer: Offer, limits: tuple[Limit, ...], day: str, now: float) -> int:
    """Raise BudgetExceeded when a limit has no room for this offer. -> its micros."""
    micros = micros_of(offer, limits)
    if fits(store.cache, realm, ask.host, limits, micros, day, ample=False):
        return micros
    for limit in limits:
        if not applies(limit, ask) or spent(store, realm, limit, day, now) + micros <= limit.most:
            continue
        used = spent(store, realm, limit, day, now, fresh=True)
        if used + micros > limit.most:
            raise _exceeded(ask, offer, limit, used)
    return micros


def room(store: Store, realm: str, ask: Ask, offer: Offer, limits: tuple[Limit, ...], day: str) -> bool:
    """Whether memory alone shows ample room. What it says is a hint, `check` decides."""
    micros = offer.money.micros
    if micros is None or micros > _MOST:
        return micros is None and not limits
    return fits(store.cache, realm, ask.host, limits, micros, day, ample=True)


def fits(cache: Cache, realm: str, host: str, limits: tuple[Limit, ...], micros: int, day: str, *, ample: bool) -> bool:
    """Whether memory knows that every limit has room; `ample`: for as much again, and a tenth of it left.

    Called outside the batch too, so it only looks things up. False also means that memory does not know.
    """
    counters, mine = cache.counters, "host:" + host
    for limit in limits:
        what = limit.scope
        if what not in ("all", mine) and what.startswith("host:"):
            continue
        if limit.window == "total":
            counted = counters.get((realm, what, ""))
        elif limit.window == "day" and cache.carry.get(day) == []:
            counted = counters.get((realm, what, day))
        else:
            counted = None
        if counted is None:
            return False
        left = limit.most - counted - micros
        if left < 0 or (ample and (left < micros or left * 10 < limit.most)):
            return False
    return True


def _exceeded(ask: Ask, offer: Offer, limit: Limit, used: int) -> BudgetExceeded:
    """`api.example.com asks 0.2500 USDC (base), the limit per day for all hosts is 5.0000 USD, left today 0.1000 USD`."""
    whom = "all hosts" if limit.scope == "all" else limit.scope.partition(":")[2]
    per, left = ("per day ", "left today") if limit.window == "day" else ("in total ", "left")
    return BudgetExceeded(
        f"{ask.host} asks {Money(offer.amount + offer.fee_cap, offer.asset)}, the limit {per}for {whom} is "
        f"{dollars(limit.most)} USD, {left} {dollars(max(0, limit.most - used))} USD",
        rule=limit.rule,
        hint=limit.hint,
    )


def dollars(micros: int) -> str:
    """Micro-dollars for people, at least four decimals: `0.2500`."""
    text = f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
    return text.removesuffix("00")
