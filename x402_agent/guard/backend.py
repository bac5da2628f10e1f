"""How a guarded client connects: the name is looked up once for each connection, every address that came back is judged, and one
of those is connected to. TLS, certificate and Host keep the name, because the pool adds them above.

A name is looked up in a thread, so that one that never answers holds up nobody longer than the connection may take.
"""

from __future__ import annotations

import sys
import time
from threading import Thread
from typing import TYPE_CHECKING, Any

from .names import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Judge = Callable[[str, int], Sequence[str]]

__all__ = ["AsyncPinned", "Pinned"]

_NO_SOCKET = "no sockets of this machine"


class _Either:
    """What both share: which errors their library has, and how long each address may take."""

    def __init__(self, inner: Any, judge: Judge, pool: Any) -> None:
        self._inner = inner
        self._judge = judge  # (host, port) -> the addresses to connect to; raises AddressRefused, OSError
        roots = [base.__module__.partition(".")[0] for base in type(pool).__mro__]
        lib = sys.modules[next(root for root in roots if root in ("httpcore", "httpcore2"))]
        self._error, self._late = lib.ConnectError, lib.ConnectTimeout
        self.sleep = inner.sleep

    def _unresolved(self, host: str, why: BaseException) -> Exception:
        if isinstance(why, TimeoutError):
            return self._late(f"{host} was not found in time")  # type: ignore[no-any-return]
        return self._error(f"{host} was not found: {why}")  # type: ignore[no-any-return]


def _shares(addresses: Sequence[str], end: float | None) -> Iterator[tuple[str, float | None]]:
    """Each address and its fair share of the time that is left: the first one may be dead."""
    for number, each in enumerate(addresses):
        left = None if end is None else max(0.001, end - time.monotonic())
        yield each, None if left is None else left / (len(addresses) - number)


class Pinned(_Either):
    """A sync network backend that connects to what was judged."""

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> Any:
        """A stream to one of the host's addresses. Raises AddressRefused, the library's ConnectError and ConnectTimeout."""
        end = None if timeout is None else time.monotonic() + timeout
        try:
            found = _in_time(lambda: self._judge(host, port), timeout)
        except (OSError, UnicodeError) as why:
            raise self._unresolved(host, why) from None
        failed: Exception | None = None
        for each, share in _shares(found, end):
            try:
                return self._inner.connect_tcp(each, port, timeout=share, **options)
            except (self._error, self._late) as why:
                failed = why
        raise failed or self._error(f"{host} has no address")

    def connect_unix_socket(self, path: str, timeout: float | None = None, **options: Any) -> Any:
        """Raises AddressRefused."""
        raise refused("a socket of this machine was not asked", _NO_SOCKET)


class AsyncPinned(_Either):
    """The async one, for asyncio and trio."""

    async def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> Any:
        """A stream to one of the host's addresses. Raises AddressRefused, the library's ConnectError and ConnectTimeout."""
        from anyio import CapacityLimiter, fail_after, to_thread

        end = None if timeout is None else time.monotonic() + timeout
        try:
            with fail_after(timeout):  # a limiter of its own: slow names take no thread from the ledger
                found = await to_thread.run_sync(self._judge, host, port, abandon_on_cancel=True, limiter=CapacityLimiter(1))
        except (OSError, UnicodeError) as why:
            raise self._unresolved(host, why) from None
        failed: Exception | None = None
        for each, share in _shares(found, end):
            try:
                return await self._inner.connect_tcp(each, port, timeout=share, **options)
            except (self._error, self._late) as why:
                failed = why
        raise failed or self._error(f"{host} has no address")

    async def connect_unix_socket(self, path: str, timeout: float | None = None, **options: Any) -> Any:
        """Raises AddressRefused."""
        raise refused("a socket of this machine was not asked", _NO_SOCKET)


def _in_time(work: Callable[[], Sequence[str]], seconds: float | None) -> Sequence[str]:
    """What `work` gives, within this time. Raises TimeoutError past it, else what it raises."""
    if seconds is None:
        return work()
    found: list[Sequence[str]] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as why:
            failed.append(why)

    thread = Thread(target=run, name="x402-lookup", daemon=True)
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError
    return found[0]
