"""What a seller remembers for some seconds: a look costs the same however much that is."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Remembered"]

T = TypeVar("T")


class Remembered(Generic[T]):
    """Values by text, each for `seconds`; of more than `most` the oldest goes first. Any thread may ask."""

    def __init__(self, seconds: int, most: int | None = None) -> None:
        self._seconds, self._most = seconds, most
        self._kept: dict[str, tuple[float, T]] = {}  # in the order in which they end
        self._lock = threading.Lock()

    def get(self, key: str, now: float) -> T | None:
        """What is still remembered; None for nothing."""
        found = self._kept.get(key)
        return found[1] if found is not None and found[0] > now else None

    def put(self, key: str, value: T, now: float) -> None:
        """Remember it from `now` on, in unix seconds."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (now + self._seconds, value)
            while (first := next(iter(self._kept))) != key and (self._kept[first][0] <= now or (self._most is not None and len(self._kept) > self._most)):
                del self._kept[first]
