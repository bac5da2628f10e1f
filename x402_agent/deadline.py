"""One deadline over every read of a sync connection: a timeout per read alone lets a drip go on for ever.

Wraps the network backend of an httpcore pool (httpx and httpx2 alike, by its methods): while a deadline is set in
this context, no connect, read or write waits past it. Async drivers use a cancel scope instead.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any

__all__ = ["DEADLINE", "install"]

DEADLINE: ContextVar[float | None] = ContextVar("x402_agent_deadline", default=None)


def _within(timeout: float | None) -> float | None:
    at = DEADLINE.get()
    if at is None:
        return timeout
    left = max(0.001, at - time.monotonic())
    return left if timeout is None else min(timeout, left)


class _Stream:
    """A network stream whose waits end at the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.close = inner.close  # bound once: a pool asks these of every connection for every request
        self.get_extra_info = inner.get_extra_info

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._inner.read(max_bytes, _within(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, _within(timeout))

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _within(timeout)))


class _Backend:
    """A network backend whose streams know the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> _Stream:
        return _Stream(self._inner.connect_tcp(host, port, _within(timeout), **options))

    def connect_unix_socket(self, path: str, timeout: float | None = None, **options: Any) -> _Stream:
        return _Stream(self._inner.connect_unix_socket(path, _within(timeout), **options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(_within(seconds))


def install(transport: Any) -> None:
    """Bound every new connection of a sync transport; a transport without an httpcore pool is left as it is."""
    pool = getattr(transport, "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if backend is not None and hasattr(transport, "handle_request") and not isinstance(backend, _Backend):
        pool._network_backend = _Backend(backend)  # type: ignore[union-attr]
