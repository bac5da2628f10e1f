"""How often somebody may call, counted in windows of the clock. In memory; Redis keeps the same counts for several processes."""

from __future__ import annotations

import threading
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Counts", "Limiter", "Memory", "Redis", "Verdict"]

_KEPT = 10_000  # keys that memory holds before it throws away windows that are over


class Verdict(NamedTuple):
    """What a limit says: how many calls are left, and the unix second at which its window ends."""

    allowed: bool
    limit: int
    remaining: int
    ends: int


class Counts(Protocol):
    """Where windows are counted."""

    def add(self, key: str, seconds: int, now: int) -> tuple[int, int]:
        """Count one call; how many its window has with it, and when that ends."""


class Memory:
    """Counts of one process, in minutes and hours of the clock. Any thread may count."""

    def __init__(self) -> None:
        self._counts: dict[str, tuple[int, int]] = {}
        self._most = _KEPT
        self._lock = threading.Lock()

    def add(self, key: str, seconds: int, now: int) -> tuple[int, int]:
        """Count one call."""
        ends = now - now % seconds + seconds
        with self._lock:
            if len(self._counts) >= self._most:
                self._counts = {name: each for name, each in self._counts.items() if each[1] > now}
                self._most = max(_KEPT, 2 * len(self._counts))  # all of them may be of this minute
            count, known = self._counts.get(key, (0, ends))
            made = self._counts[key] = (count + 1 if known == ends else 1, ends)
        return made


class Redis:
    """Counts that several processes share, in windows from the first call on and by Redis's own clock. Raises SettingsError."""

    def __init__(self, url: str) -> None:
        try:
            lib = import_module("redis")
        except ImportError as cause:
            raise SettingsError("Redis needs the redis client", rule="extra redis", hint="pip install 'x402-agent-sdk[redis]'") from cause
        try:
            self._errors: type[Exception] = lib.RedisError
            self._link = lib.Redis.from_url(url, socket_timeout=10, socket_connect_timeout=10)
            self._link.ping()
        except (lib.RedisError, ValueError) as cause:
            raise SettingsError(f"Redis does not answer: {type(cause).__name__}", rule="redis://host:port/number", hint="--redis redis://127.0.0.1:6379/0, or without it") from None

    def add(self, key: str, seconds: int, now: int) -> tuple[int, int]:
        """Count one call; raises SettingsError while Redis is away: who cannot be counted does not come in."""
        name = f"x402:{key}"
        try:
            with self._link.pipeline() as together:  # one transaction: a key never stays without its end
                together.set(name, 0, ex=seconds, nx=True)
                together.incr(name)
                together.ttl(name)
                _, count, left = together.execute()
        except self._errors as cause:
            raise SettingsError(f"Redis does not answer: {type(cause).__name__}", rule="redis://host:port/number") from None
        return int(count), now + max(1, int(left))

    def close(self) -> None:
        """Let go of the connection."""
        self._link.close()


class Limiter:
    """`clock` gives unix seconds. A call that is refused counts, too: whoever hammers waits."""

    def __init__(self, clock: Callable[[], float], counts: Counts | None = None) -> None:
        self._clock = clock
        self.counts = counts or Memory()

    def call(self, who: str, limit: int, seconds: int) -> Verdict:
        """Count a call of `who`, of whom `limit` are allowed in each `seconds`."""
        count, ends = self.counts.add(f"{who}:{seconds}", seconds, int(self._clock()))
        return Verdict(count <= limit, limit, max(0, limit - count), ends)
