"""How often somebody may call, counted in windows of the clock. In memory; Redis keeps the same counts for several processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Counts", "Limiter", "Memory", "Verdict"]

_KEPT = 10_000  # keys that memory holds before it throws away windows that are over


class Verdict(NamedTuple):
    """What a limit says: how many calls are left, and the unix second at which its window ends."""

    allowed: bool
    limit: int
    remaining: int
    ends: int


class Counts(Protocol):
    """Where windows are counted."""

    def add(self, key: str, ends: int, now: int) -> int:
        """Count one call in a window that ends at `ends`; how many there were with it."""


class Memory:
    """Counts of one process."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}

    def add(self, key: str, ends: int, now: int) -> int:
        """Count one call."""
        if len(self._counts) >= _KEPT:
            self._counts = {name: each for name, each in self._counts.items() if each[0] > now}
        known, count = self._counts.get(key, (ends, 0))
        self._counts[key] = (ends, count + 1 if known == ends else 1)
        return self._counts[key][1]


class Limiter:
    """`clock` gives unix seconds. A call that is refused counts, too: whoever hammers waits."""

    def __init__(self, clock: Callable[[], float], counts: Counts | None = None) -> None:
        self._clock = clock
        self._counts = counts or Memory()

    def call(self, who: str, limit: int, seconds: int) -> Verdict:
        """Count a call of `who`, of whom `limit` are allowed in each `seconds` of the clock."""
        now = int(self._clock())
        ends = now - now % seconds + seconds
        count = self._counts.add(f"{who}:{seconds}", ends, now)
        return Verdict(count <= limit, limit, max(0, limit - count), ends)
