"""The connections of one conversation to nodes and to what is asked beside its seller: each is opened once and closed with it.

A node is asked several times for one payment, and over TLS a new connection is three round trips for a question that needs one.
Nothing outlives the conversation: no other one's bytes, no idle socket, nothing that a fork would share.

HTTP/1.1 numbers nothing: what comes next is the answer to what was asked last. So a connection is used again only after an answer that
was whole and plain (streams.suspect), while nothing waits on it; and JSON-RPC has numbers of its own (chains.rpc).
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import cache
from typing import TYPE_CHECKING, Any

from .streams import install, opened
from .waiting import whole

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterable

    from ..steps import Fetch

__all__ = ["Lines", "authorities"]


@cache
def authorities() -> ssl.SSLContext:
    """Who vouches for a server, read once in a process: each reading takes some 30 ms."""
    import httpx2

    return httpx2.create_ssl_context(trust_env=False)


class Lines:
    """Transports that are opened when first needed, sync or async, never both. What stands under a guard shares nothing with what does not.

    Where a server closed a connection that had served us, and this shows only now, the question goes once more on a new one. So what
    may not arrive twice goes on a new one from the beginning.
    """

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[tuple[bool, int], Any] = {}

    def reply(self, step: Fetch, request: Any, client: Any) -> Any:
        """The answer in threads, its body unread; `client` is the transport of whoever asks: its guard counts for an address that is a seller's own."""
        import httpx2

        line = self._line(step, client, httpx2.HTTPTransport)
        if not _harmless(step):
            line.close()
        before = opened(line)
        try:
            return line.handle_request(request)
        except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
            if opened(line) > before:
                raise
        return line.handle_request(request)

    async def areply(self, step: Fetch, request: Any, client: Any) -> Any:
        """The same for asyncio and trio."""
        import httpx2

        line = self._line(step, client, httpx2.AsyncHTTPTransport)
        if not _harmless(step):
            await _ended([line])
        before = opened(line)
        try:
            return await line.handle_async_request(request)
        except (httpx2.ReadError, httpx2.WriteError, httpx2.RemoteProtocolError):
            if opened(line) > before:
                raise
        return await line.handle_async_request(request)

    def _line(self, step: Fetch, client: Any, make: Any) -> Any:
        tls = step.url[:5].lower() != "http:"  # without TLS there is nothing to check, so nothing is read for it
        guard = getattr(client, "guard", None) if step.theirs else None
        found = self._open.get((tls, id(guard)))  # the line keeps its guard: no other has its id meanwhile
        if found is None:
            found = make(verify=authorities() if tls else False, trust_env=False)
            found = found if guard is None else guard.over(found)
            install(found)
            self._open[tls, id(guard)] = found
        return found

    def close(self) -> None:
        """Close what was opened in threads."""
        while self._open:
            self._open.popitem()[1].close()

    async def aclose(self) -> None:
        """Close what was opened on asyncio or trio. A cancellation waits until then: an answer that was paid for is on its way, and must reach who notices that it is lost."""
        if self._open:
            lines, self._open = list(self._open.values()), {}
            await whole(lambda: _within(lines))


def _harmless(step: Fetch) -> bool:
    """Whether nothing is changed, bought or used up where it arrives twice."""
    return step.twice or step.retries > 0 or step.method == "GET"


async def _within(lines: Iterable[Any]) -> None:
    import anyio

    with anyio.move_on_after(1, shield=True):
        await _ended(lines)


async def _ended(lines: Iterable[Any]) -> None:
    """Every connection closed: asyncio's own cancel() passes a shield, and would leave those open that come after it."""
    async with AsyncExitStack() as stack:
        for line in lines:
            for each in line._pool.connections:
                stack.push_async_callback(each.aclose)
