"""The door without a socket: one object is a transport for sync and async clients of httpx and httpx2.

The HTTP library is found through the request, never imported: answers and errors are made of its own classes.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from .messages import Request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType, TracebackType

    from .app import App
    from .messages import Answer

__all__ = ["InProcess"]


class InProcess:
    """`httpx.Client(transport=sandbox.transport())`. Any host is the sandbox: nothing leaves this process.

    Waits of a scenario end at the request's own read timeout, with the library's ReadTimeout. `sleep` is the sync wait.
    """

    def __init__(self, app: App, sleep: Callable[[float], None]) -> None:
        self._app = app
        self._sleep = sleep

    def handle_request(self, request: Any) -> Any:
        """One request of a sync client."""
        lib = _library(request)
        answer = self._app.handle(_request(request, b"".join(request.stream)))
        wait, timed_out = _patience(request, answer)
        if wait:
            self._sleep(wait)
        _raise(lib, request, answer, timed_out)
        return _response(lib, request, answer, self._sleep)

    async def handle_async_request(self, request: Any) -> Any:
        """One request of an async client, on asyncio or trio."""
        lib = _library(request)
        if isinstance(request.stream, lib.AsyncByteStream):
            body = b"".join([chunk async for chunk in request.stream])
        else:
            body = b"".join(request.stream)
        answer = self._app.handle(_request(request, body))
        wait, timed_out = _patience(request, answer)
        if wait:
            import anyio

            await anyio.sleep(wait)
        _raise(lib, request, answer, timed_out)
        return _response(lib, request, answer, self._sleep)

    def close(self) -> None:
        """Nothing to close."""

    async def aclose(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> InProcess:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        value: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> InProcess:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        value: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        await self.aclose()


def _library(request: Any) -> ModuleType:
    return sys.modules[type(request).__module__.partition(".")[0]]


def _request(request: Any, body: bytes) -> Request:
    url = request.url
    port = f":{url.port}" if url.port else ""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Request(request.method, f"{url.scheme}://{url.host}{port}", url.path, headers, body, url.query.decode("ascii"))


def _patience(request: Any, answer: Answer) -> tuple[float, bool]:
    """How long to wait, and whether the request's own read timeout ends the wait."""
    limit = request.extensions.get("timeout", {}).get("read")
    if limit is not None and answer.delay > limit:
        return limit, True
    return answer.delay, False


def _raise(lib: ModuleType, request: Any, answer: Answer, timed_out: bool) -> None:
    if timed_out:
        raise lib.ReadTimeout("The read operation timed out", request=request)
    if answer.ending == "drop":
        raise lib.RemoteProtocolError("Server disconnected without sending a response.", request=request)


def _response(lib: ModuleType, request: Any, answer: Answer, sleep: Callable[[float], None]) -> Any:
    chunks = () if request.method == "HEAD" else answer.chunks
    stream = _stream_type(lib.__name__)(chunks, answer.pause, sleep)
    return lib.Response(answer.status, headers=answer.wire_headers(request.method), stream=stream, request=request)


@cache
def _stream_type(name: str) -> Callable[[tuple[bytes, ...], float, Callable[[float], None]], Any]:
    """The body of an answer as this library's clients want it: sync and async in one."""
    lib: Any = sys.modules[name]

    class Stream(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, chunks: tuple[bytes, ...], pause: float, sleep: Callable[[float], None]) -> None:
            self._chunks = chunks
            self._pause = pause
            self._sleep = sleep

        def __iter__(self) -> Iterator[bytes]:
            for index, chunk in enumerate(self._chunks):
                if index and self._pause:
                    self._sleep(self._pause)
                yield chunk

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for index, chunk in enumerate(self._chunks):
                if index and self._pause:
                    import anyio

                    await anyio.sleep(self._pause)
                yield chunk

        def close(self) -> None:
            pass

        async def aclose(self) -> None:
            pass

    return Stream
