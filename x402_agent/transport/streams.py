"""What a paying client adds to the connections of an httpcore pool (httpx and httpx2 alike, by their methods).

Sync: one deadline over every read, because a timeout per read alone lets a drip go on for ever; async drivers use a
cancel scope instead. Both: "has the peer closed this idle connection?", which a pool asks of every idle connection
for every request, asked of the socket itself, and of what holds bytes above it. A connection whose answer was odd counts as closed:
the proof, or the next question, goes on a fresh one.
"""

from __future__ import annotations

import select
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEADLINE", "beneath", "install", "opened", "suspect"]

_PIECE = 1 << 16  # bytes of an upload between two looks at the deadline
DEADLINE: ContextVar[float | None] = ContextVar("x402_agent_deadline", default=None)


def _within(timeout: float | None) -> float | None:
    """The shorter of this timeout and what is left. Raises TimeoutError past the deadline: a peer who never pauses
    would never run into a timeout."""  # fmt: skip
    at = DEADLINE.get()
    if at is None:
        return timeout
    left = at - time.monotonic()
    if left <= 0:
        raise TimeoutError("the deadline over all legs has passed")
    return left if timeout is None else min(timeout, left)


class _Connection:
    """A network stream that answers `is_readable` from one poll object; all else is the inner stream's."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._socket = inner.get_extra_info("socket") if hasattr(select, "poll") else None
        self._poll: Any = None
        self._number = -1
        self.odd = False

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and (self.odd or _held(self._inner)):
            return True
        if info != "is_readable" or self._socket is None:
            return self._inner.get_extra_info(info)
        number = self._socket.fileno()
        if number != self._number or self._poll is None:
            if number < 0:
                return True
            self._poll, self._number = select.poll(), number
            self._poll.register(number, select.POLLIN)
        return bool(self._poll.poll(0))


def _held(stream: Any) -> bool:
    """Whether bytes lie above the socket that nobody asked for, where no poll shows them: asyncio reads ahead, and so does TLS in both worlds."""
    while stream is not None:
        read = getattr(stream, "_read_bio", None) or getattr(stream, "_incoming", None)  # of anyio's TLS, and of trio's
        if getattr(read, "pending", 0) or getattr(getattr(stream, "_protocol", None), "read_queue", None):
            return True
        stream = getattr(stream, "_stream", None) or getattr(stream, "transport_stream", None)
    return False


class _Stream(_Connection):
    """A sync stream whose waits end at the deadline."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.close = inner.close

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._inner.read(max_bytes, _within(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if len(buffer) <= _PIECE:
            self._inner.write(buffer, _within(timeout))
            return
        view = memoryview(buffer)
        for at in range(0, len(view), _PIECE):  # as a whole it would end with the last of many timeouts
            self._inner.write(view[at : at + _PIECE], _within(timeout))

    def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _Stream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, _within(timeout)))


class _AsyncStream(_Connection):
    """An async stream; its methods are the inner one's own."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.read, self.write, self.aclose = inner.read, inner.write, inner.aclose

    async def start_tls(self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None) -> _AsyncStream:
        try:
            return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:  # the libraries close it for an Exception alone: a cancellation in a handshake would leave it open
            from anyio import move_on_after

            with move_on_after(1, shield=True):
                await self._inner.aclose()
            raise


class _Backend:
    """A network backend whose streams know the deadline."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.opened = 0

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **options: Any) -> _Stream:
        self.opened += 1
        return _Stream(self._inner.connect_tcp(host, port, _within(timeout), **options))

    def connect_unix_socket(self, path: str, timeout: float | None = None, **options: Any) -> _Stream:
        return _Stream(self._inner.connect_unix_socket(path, _within(timeout), **options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(_within(seconds))


class _AsyncBackend:
    """The async one."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.sleep = inner.sleep
        self.opened = 0

    async def connect_tcp(self, host: str, port: int, **options: Any) -> _AsyncStream:
        self.opened += 1
        return _AsyncStream(await self._inner.connect_tcp(host, port, **options))

    async def connect_unix_socket(self, path: str, **options: Any) -> _AsyncStream:
        return _AsyncStream(await self._inner.connect_unix_socket(path, **options))


def suspect(response: Any, body: Any) -> None:
    """Look at an answer whose `body` was just read whole: where something is odd, its connection carries nothing more, no proof (row W11) and no question."""
    network = response.extensions.get("network_stream")
    if isinstance(network, _Connection) and (_odd(response) or _left_over(body)):
        network.odd = True


def _odd(response: Any) -> bool:
    """An answer about whose end two readers could disagree, which wants to have a say in the connection, or behind which another may come:
    a gateway that has given up on a server may pass on all the same what that says late."""  # fmt: skip
    headers, version = response.headers, response.extensions.get("http_version", b"HTTP/1.1")
    if version == b"HTTP/2":
        return False
    says = headers.get("connection", "keep-alive").strip().lower()
    return (
        response.status_code >= 500
        or version != b"HTTP/1.1"
        or ("transfer-encoding" in headers and "content-length" in headers)
        or "upgrade" in headers
        or says not in ("keep-alive", "close")
    )


def _left_over(body: Any) -> bool:
    """Whether bytes lie behind the end of an answer, read already: they would be taken for the answer to the proof."""
    for name in ("_httpcore_stream", "_stream", "_connection", "_h11_state", "trailing_data"):
        body = getattr(body, name, None)
        if body is None:
            return False
    return bool(body[0])


def install(transport: Any) -> None:
    """Wrap every new connection of a transport; a transport without an httpcore pool is left as it is."""
    pool = getattr(transport, "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if backend is None or isinstance(backend, (_Backend, _AsyncBackend)):
        return
    wrapper = _AsyncBackend if hasattr(pool, "handle_async_request") else _Backend
    pool._network_backend = wrapper(backend)  # type: ignore[union-attr]


def opened(transport: Any) -> int:
    """How many connections a transport that was installed has opened so far, or tried to."""
    made: int = transport._pool._network_backend.opened
    return made


def beneath(pool: Any, make: Callable[[Any], Any]) -> None:
    """Wrap the network backend of a pool below what `install` put there, so that the deadline counts for it, too."""
    backend = pool._network_backend
    if isinstance(backend, (_Backend, _AsyncBackend)):
        pool._network_backend = type(backend)(make(backend._inner))
    else:
        pool._network_backend = make(backend)
