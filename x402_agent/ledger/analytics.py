"""Hourly sums per chain, and throwing away what has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import states
from .budget import dollars
from .goods import forget_kept
from .tokens import forget_expired

if TYPE_CHECKING:
    from .store import Store

__all__ = ["cleanup", "update"]

_SUMS = (
    "SELECT p.chain, COUNT(*), SUM(p.micros), COUNT(DISTINCT p.from_address), "
    "(SELECT COUNT(*) FROM x402_usage u WHERE u.created_at >= ?1 AND u.created_at < ?1 + 3600 AND u.chain = p.chain) "
    "FROM x402_payments p WHERE p.created_at >= ?1 AND p.created_at < ?1 + 3600 "
    f"AND p.state NOT IN {states.listed(states.FREED)} GROUP BY p.chain"
)
_OVER = "SELECT scope, window FROM x402_counters WHERE began_at > 0 AND began_at < ?"
LONGEST = 32 * 86400  # seconds: no window but `total` is longer
YEAR = 400 * 86400
_PUT = "INSERT OR REPLACE INTO x402_analytics VALUES (?,?,?,?,?,?,?,?)"


def update(store: Store, hours: int) -> int:
    """Write the last `hours` hour buckets, the running one included; running it again changes nothing."""
    now, written = int(store.clock()), 0
    for back in range(hours):
        bucket = now // 3600 * 3600 - back * 3600
        store.db.execute("DELETE FROM x402_analytics WHERE hour_bucket = ?", (bucket,))
        for chain, payments, micros, payers, requests in store.db.execute(_SUMS, (bucket,)).fetchall():
            average = dollars(micros // payments)
            store.db.execute(_PUT, (bucket, chain, payments, dollars(micros), requests, payers, average, now))
            written += 1
    return written


def cleanup(store: Store) -> int:
    """What has expired goes: credentials, what is kept of closed payments, counters of windows that are over, old hourly sums,
    slips, and dead owners' files. -> how many."""  # fmt: skip
    now = int(store.now())
    over = store.db.execute(_OVER, (now - LONGEST,)).fetchall()
    for scope, window in over:  # a counter that is asked for again is made anew from the rows
        store.cache.counters.get(scope, {}).pop(window, None)
        store.db.execute("DELETE FROM x402_counters WHERE scope = ? AND window = ?", (scope, window))
    old = store.db.execute("DELETE FROM x402_analytics WHERE hour_bucket < ?", (now - YEAR,)).rowcount
    old += store.db.execute("DELETE FROM x402_slips WHERE expires_at < ?", (now - LONGEST,)).rowcount
    return len(over) + old + forget_expired(store, now) + forget_kept(store, now) + store.owners.sweep()
