"""The polling loop: every transfer is looked at once it is solid, and completes one invoice, the oldest that it pays exactly.

A wallet is asked about once for all of its invoices, from the time up to which its oldest open one was looked at: what the
chain had made solid then, never "now". A poll makes at most REQUESTS requests; what is left comes first in the next one.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from .grid import Unanswered, Walk

if TYPE_CHECKING:
    from collections.abc import Callable

    from .grid import Grid
    from .quirks import Quirks
    from .store import Store

__all__ = ["REQUESTS", "Watch"]

REQUESTS = 100  # in one poll, of all wallets together: TronGrid gives a key 15 a second
PAGES = 20  # in one poll, of one wallet: dust on it holds up no other


class Watch:
    """`clock` is the seller's, in unix seconds. Any thread may call `tick`; one at a time polls, the others wait for it."""

    def __init__(self, store: Store, grid: Grid, clock: Callable[[], float]) -> None:
        self._store, self._grid, self._clock = store, grid, clock
        self._lock = threading.Lock()
        self._next = 0.0
        self._polls = 0
        self._turns: dict[str, int] = {}  # wallet -> the poll that looked at it last
        self._walks: dict[str, Walk] = {}
        self._before = 0.0

    def tick(self, quirks: Quirks) -> None:
        """Poll, when it is time."""
        with self._lock:
            now = self._clock()
            if quirks.stuck or self._next - quirks.interval <= now < self._next:
                return
            self._next = now + quirks.interval
            self._poll(quirks)
            self._before = now

    def _poll(self, quirks: Quirks) -> None:
        self._polls += 1
        wallets = self._store.wallets()
        self._turns = {wallet: turn for wallet, turn in self._turns.items() if wallet in wallets}
        self._walks = {wallet: walk for wallet, walk in self._walks.items() if wallet in wallets}
        if not wallets:
            return
        last = self._grid.asked + REQUESTS
        try:
            upto = self._grid.solid()
        except Unanswered as why:
            self._store.failed(str(why), min(wallets, key=lambda each: wallets[each]))
            return
        for wallet in sorted(wallets, key=lambda each: (self._turns.get(each, 0), wallets[each])):
            if self._grid.asked >= last:
                return
            self._turns[wallet] = self._polls
            since = int(self._before * 1000) if quirks.window else wallets[wallet]
            walk = self._walks.pop(wallet) if wallet in self._walks else Walk(self._grid, wallet, since, upto)
            try:
                self._look(walk, wallet, last, quirks)
            except Unanswered as why:
                self._store.failed(str(why), wallet)

    def _look(self, walk: Walk, wallet: str, last: int, quirks: Quirks) -> None:
        """As many pages of a wallet as this poll has left for it."""
        wanted = self._store.amounts(wallet)
        last = min(last, self._grid.asked + PAGES)
        while not walk.done and self._grid.asked < last:
            if paid := [each for each in walk.step() if each.amount in wanted]:
                self._store.complete(paid, shared=quirks.shared)
        if walk.done:
            self._store.checked(wallet, walk.upto, walk.seen)
        else:
            self._walks[wallet] = walk
