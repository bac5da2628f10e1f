"""What is kept of a purchase until somebody has it, sealed above us: its request, and goods that came while nobody waited.

A request goes with its payment's Commit and leaves with its delivery. Goods are durable before their payment is closed.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from ..model import Hold
from . import rows, states
from .moves import Answer, known, move
from .tokens import Live, Tokens, _live
from .writer import Forgiving, Late

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store
    from .writer import Job

__all__ = ["Goods", "Sealed", "Waiting", "forget_kept", "with_request"]

KEPT = 30 * 86400  # seconds that goods wait
_REQUEST = "INSERT OR REPLACE INTO x402_requests (payment_id, account, sealed, created_at) VALUES (?,?,?,?)"
_GOODS = "INSERT OR REPLACE INTO x402_goods (payment_id, ask_key, origin, account, sealed, created_at) VALUES (?,?,?,?,?,?)"
_CLOSED = "NOT EXISTS (SELECT 1 FROM x402_payments p WHERE p.payment_id = x402_requests.payment_id AND p.is_open = 1)"


class Sealed(NamedTuple):
    """Some bytes, and the account whose key sealed them."""

    account: str
    sealed: bytes

    def __repr__(self) -> str:
        return f"Sealed({len(self.sealed)} bytes)"


class Waiting(NamedTuple):
    """Goods that wait for the next identical Ask, and the payment that bought them."""

    goods: Sealed
    hold: Hold
    transaction: str


class Goods(Tokens):
    """The part of the ledger that keeps requests and goods."""

    def request(self, payment_id: str) -> Sealed | None:
        """The request of a payment that is not delivered yet, if it was kept."""
        query = "SELECT account, sealed FROM x402_requests WHERE payment_id = ?"
        row = self._job(lambda store: store.db.execute(query, (payment_id,)).fetchone(), write=False).run()
        return None if row is None else Sealed(*row)

    def keep_goods(self, hold: Hold, goods: Sealed) -> Job[None]:
        """Write down what a payment brought, durably, before it is closed. Raises LedgerError."""

        def write(store: Store) -> None:
            now = int(store.clock())
            store.db.execute(_GOODS, (hold.payment_id, hold.ask.key, hold.ask.origin, *goods, now))
            store.cache.live, store.brought = None, True

        return self._job(write, write=True, full=True)

    def brought(self) -> int:
        """A number that changes when any process brings goods, from eight bytes of a file; -1: look in the ledger."""
        return -1 if self._store is None or self._forked else self._store.brought_at()

    def goods(self, payment_id: str) -> Waiting | None:
        """What a payment brought, if it waits here."""
        found: Waiting | None = self._job(lambda store: _waiting(store, payment_id), write=False).run()
        return found

    def look(self, pick: Callable[[Live, Callable[[str], Waiting | None]], object]) -> Job[object]:
        """Choose among what waits and what opens doors: `pick` gets both, and a way to read goods by payment."""
        return self._job(lambda store: pick(_live(store), lambda one: _waiting(store, one)), write=False)

    def kept_bytes(self, agent: str) -> int:
        """Sealed bytes of requests and goods that wait for one agent."""
        query = " UNION ALL ".join(
            f"SELECT COALESCE(SUM(LENGTH(k.sealed)), 0) FROM {table} k JOIN x402_payments p USING (payment_id) WHERE p.agent = ?1"
            for table in ("x402_requests", "x402_goods")
        )
        found = self._job(lambda store: store.db.execute(query, (agent,)).fetchall(), write=False).run()
        return sum(size for (size,) in found)

    def collected(self, payment_id: str) -> Job[None]:
        """Somebody has the goods: they leave the ledger, and their payment is delivered. He waits for nothing, so no cancellation takes them away again."""
        writer = self._writer if self._store is not None and not self._forked else None
        kind = Forgiving if self._child else Late
        return kind(writer, lambda store: _collected(store, payment_id), write=True, full=False)


def _waiting(store: Store, payment_id: str) -> Waiting | None:
    row = store.db.execute("SELECT account, sealed FROM x402_goods WHERE payment_id = ?", (payment_id,)).fetchone()
    cursor = store.db.cursor()
    cursor.row_factory = sqlite3.Row
    paid = cursor.execute(f"{rows.SELECT} WHERE payment_id = ?", (payment_id,)).fetchone()
    return Waiting(Sealed(*row), rows.hold_of(paid), paid["tx_hash"]) if row and paid else None


def _collected(store: Store, payment_id: str) -> None:
    gone = store.db.execute("DELETE FROM x402_goods WHERE payment_id = ?", (payment_id,)).rowcount
    store.cache.live = None
    row = known(store, payment_id)
    if gone and row is not None:
        state = "CLAIMED" if states.legal(row.state, "CLAIMED") else row.state
        move(store, row, state, answer=Answer(status=row.status or 200, note="its goods were handed over"))
        store.db.execute("DELETE FROM x402_requests WHERE payment_id = ?", (payment_id,))


def with_request(store: Store, hold: Hold, request: Sealed | None) -> None:
    """In the transaction of a Commit or Close: keep the request while its payment is open, forget it afterwards."""
    if request is not None:
        store.db.execute(_REQUEST, (hold.payment_id, *request, int(store.clock())))
    if request is not None or hold.ask.has_body or hold.ask.output or hold.resumed:
        store.db.execute(f"DELETE FROM x402_requests WHERE payment_id = ? AND {_CLOSED}", (hold.payment_id,))


def forget_kept(store: Store, now: float) -> int:
    """Requests of payments that are closed, and goods that nobody came for within a month. -> how many."""
    closed = store.db.execute(f"DELETE FROM x402_requests WHERE {_CLOSED}").rowcount
    store.cache.live = None
    return closed + store.db.execute("DELETE FROM x402_goods WHERE created_at <= ?", (int(now) - KEPT,)).rowcount
