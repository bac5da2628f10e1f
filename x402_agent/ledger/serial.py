"""Credentials that serve one call at a time: who has the one use that is under way, in this process, another one, or a payment.

A lease in the file is the turn. It ends with its call, or with its process, whose owner's lock says so; of our own leases memory
knows which are still under way, so one that could not be taken back in the file stops nobody here.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from ..steps import Busy
from . import states

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Store

__all__ = ["LEASE", "Serial"]

LEASE = 3600  # seconds after which nobody waits for a use any more
AGAIN = 0.5  # seconds until the file is asked again though nobody has written: a process may have ended
_PAID = "SELECT payment_id, state, owner FROM x402_payments WHERE payment_id = (SELECT payment_id FROM x402_tokens WHERE token_hash = ?)"
_LEASES = "SELECT id, owner FROM x402_leases WHERE token_hash = ? AND taken_at > ?"


class Serial:
    """What this process knows of them. Waiting costs no write: until somebody else has written, a turn that was taken still is."""

    __slots__ = ("_elsewhere", "_ours")

    def __init__(self) -> None:
        self._ours: dict[int, str] = {}  # leases of calls of ours that are under way, and of what
        self._elsewhere: dict[str, tuple[int, float, Busy]] = {}  # by name: in which batch that was read, until when it holds

    def seen(self, store: Store, name: str) -> Busy | None:
        """Busy where memory knows of a use that is under way."""
        if name in self._ours.copy().values():
            return Busy("", how="shows")
        batch, until, busy = self._elsewhere.get(name, (-1, 0.0, None))
        return busy if batch == store.generation() and time.monotonic() < until else None

    def under_way(self, store: Store, name: str, at_work: Callable[[Store, sqlite3.Row], bool]) -> Busy | None:
        """The same by the file, in the transaction that would take the next use: a lease, or the payment that has just bought it."""
        self._elsewhere.pop(name, None)
        for lease, owner in store.db.execute(_LEASES, (name, int(store.clock()) - LEASE)).fetchall():
            if lease in self._ours if owner == store.owner else store.owners.alive(owner):
                return self._busy(store, name, Busy("", how="shows"))
        cursor = store.db.cursor()
        cursor.row_factory = sqlite3.Row
        row = cursor.execute(_PAID, (name,)).fetchone()
        working = row is not None and row["state"] in states.UNSENT | states.UNDER_WAY and at_work(store, row)
        return self._busy(store, name, Busy(row["payment_id"], how="shows")) if working else None

    def _busy(self, store: Store, name: str, busy: Busy) -> Busy:
        self._elsewhere[name] = store.cache.generation, time.monotonic() + AGAIN, busy
        return busy

    def taken(self, name: str, lease: int) -> None:
        """A call of ours has the turn."""
        self._ours[lease] = name

    def back(self, lease: int) -> None:
        """It has ended, whether or not that can be written."""
        self._ours.pop(lease, None)
