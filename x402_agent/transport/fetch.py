"""The plain client behind the step Fetch: it never pays, follows no redirect, reads no proxy from the environment.

It speaks to the transport, not through a Client: a Client logs every URL, and a node's key sits in its URL (C19).
A Fetch that may be repeated says how often (`retries`); tenacity paces it, in threads, asyncio and trio alike.
"""

from __future__ import annotations

import time
from contextlib import aclosing, closing, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import AddressRefused
from ..secret import without_frames
from ..steps import Call, Fetch, Fetched, Progress, Sleep, Walk
from .lines import Lines
from .streams import DEADLINE, suspect

if TYPE_CHECKING:
    from ..steps import Steps

__all__ = ["drive", "drive_async", "fetch", "fetch_async"]

T = TypeVar("T")
_NONE = Fetched(0, {}, b"")
_AGAIN = frozenset({0, 429, 502, 503, 504})


def fetch(step: Fetch, lines: Lines, client: Any = None) -> Fetched:
    """Perform one Fetch; no answer is status 0, never an exception. `client` is the transport of whoever asks: its guard counts."""
    if not step.retries:
        return _fetch(step, lines, client)
    from tenacity import Retrying

    answer: Fetched = Retrying(**_pace(step))(_fetch, step, lines, client)
    return answer


async def fetch_async(step: Fetch, lines: Lines, client: Any = None) -> Fetched:
    """The same, for asyncio and trio."""
    if not step.retries:
        return await _fetch_async(step, lines, client)
    import anyio
    from tenacity import AsyncRetrying

    return await AsyncRetrying(sleep=anyio.sleep, **_pace(step))(_fetch_async, step, lines, client)


def drive(steps: Steps[T], lines: Lines | None = None) -> T:
    """Perform the Fetch, Sleep, Call and Progress steps of a generator in this thread; -> what it returns. It may take no others.

    `lines` are those of the conversation that these steps are a part of; without, they are a conversation of their own.
    """
    walk = Walk(steps)
    token = DEADLINE.set(None)  # whoever is driven here has a time of its own
    try:
        with nullcontext(lines) if lines is not None else closing(Lines()) as line:
            for step in walk:
                try:
                    walk.got = _perform(step, line)
                except BaseException as failed:
                    walk.failed = failed
            return walk.result
    finally:
        DEADLINE.reset(token)


async def drive_async(steps: Steps[T], lines: Lines | None = None) -> T:
    """The same, for asyncio and trio: a cancellation is thrown into the generator, so that it can clean up."""
    walk = Walk(steps)
    async with nullcontext(lines) if lines is not None else aclosing(Lines()) as line:
        for step in walk:
            try:
                walk.got = await _perform_async(step, line)
            except BaseException as failed:
                walk.failed = failed
        return walk.result


def _perform(step: Any, lines: Lines) -> Any:
    if isinstance(step, Fetch):
        return fetch(step, lines)
    if isinstance(step, Call):
        made = step.work()
        return _awaited(made, step.seconds) if hasattr(made, "__await__") else made
    if not isinstance(step, Progress):  # which is told to whoever looks on: here nobody does
        assert isinstance(step, Sleep)
        time.sleep(step.seconds)
    return None


def _awaited(made: Any, seconds: float | None) -> Any:
    """What an awaitable gives, in a thread and a loop of its own: this thread may have a loop that waits for us."""
    import contextvars
    from threading import Thread

    import anyio

    found: list[Any] = []

    async def wait() -> Any:
        with anyio.fail_after(seconds):
            return await made

    def work() -> None:
        try:
            found.extend((True, anyio.run(wait)))
        except BaseException as failed:
            found.extend((False, failed))

    thread = Thread(target=contextvars.copy_context().run, args=(work,), name="x402-await", daemon=True)
    thread.start()
    thread.join()
    if not found[0]:
        raise found[1]
    return found[1]


async def _perform_async(step: Any, lines: Lines) -> Any:
    import anyio

    if isinstance(step, Fetch):
        return await fetch_async(step, lines)
    if isinstance(step, Call):
        with anyio.CancelScope(shield=step.ours), anyio.fail_after(step.seconds):
            # in a list: trio takes no awaitable out of a thread
            (made,) = await anyio.to_thread.run_sync(lambda: [step.work()], abandon_on_cancel=not step.ours)
            return await made if hasattr(made, "__await__") else made
    if not isinstance(step, Progress):
        assert isinstance(step, Sleep)
        await anyio.sleep(step.seconds)
    return None


def _pace(step: Fetch) -> dict[str, Any]:
    """How a harmless question is asked again: after 0.1 to 2 s, with jitter; the last answer stands."""
    from tenacity import retry_if_result, stop_after_attempt, wait_random_exponential

    return {
        "retry": retry_if_result(lambda got: got.status in _AGAIN),
        "stop": stop_after_attempt(1 + step.retries),
        "wait": wait_random_exponential(multiplier=0.1, max=2),
        "retry_error_callback": lambda state: state.outcome.result(),
    }


def _request(lib: Any, step: Fetch) -> Any:
    """The request, with the URL's userinfo as basic authentication, as a Client would make it."""
    url = lib.URL(step.url)
    if url.scheme not in ("http", "https"):
        raise lib.UnsupportedProtocol(f"no request goes to {url.scheme}:")
    timeout = {"connect": step.timeout, "read": step.timeout, "write": step.timeout, "pool": step.timeout}
    headers = {"accept-encoding": "identity", "user-agent": "x402-agent", **step.headers}
    if url.userinfo:
        made = lib.Request("GET", "http://localhost/")
        flow = lib.BasicAuth(url.username, url.password).sync_auth_flow(made)
        headers["authorization"] = next(flow).headers["authorization"]
    content = step.content or None
    return lib.Request(step.method, url, content=content, headers=headers, extensions={"timeout": timeout})


def _full(body: bytearray, chunk: bytes, step: Fetch) -> bool:
    """Whether that is as much of an answer as is read."""
    body += chunk
    return len(body) >= step.limit


def _fetched(reply: Any, body: bytearray, step: Fetch) -> Fetched:
    if len(body) < step.limit:  # it was read to its end
        suspect(reply, reply.stream)
    return Fetched(reply.status_code, dict(reply.headers), bytes(body[: step.limit]))


def _fetch(step: Fetch, lines: Lines, client: Any) -> Fetched:
    import httpx2

    end = time.monotonic() + step.timeout
    outer = DEADLINE.get()
    token = DEADLINE.set(end if outer is None else min(end, outer))  # a drip lasts no longer than a silence
    try:
        reply = lines.reply(step, _request(httpx2, step), client)
        try:
            body = bytearray()
            for chunk in reply.iter_raw():
                if _full(body, chunk, step):
                    break
            return _fetched(reply, body, step)
        finally:
            reply.close()
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError, AddressRefused):
        return _NONE
    except BaseException as why:  # the library's frames have the address, the key and the body
        without_frames(why)
        raise
    finally:
        DEADLINE.reset(token)


async def _fetch_async(step: Fetch, lines: Lines, client: Any) -> Fetched:
    import anyio
    import httpx2

    try:
        with anyio.fail_after(step.timeout):
            reply = await lines.areply(step, _request(httpx2, step), client)
            try:
                body = bytearray()
                stream: Any = getattr(reply.stream, "_httpcore_stream", reply.stream)  # httpx2 leaves its generator
                async with aclosing(aiter(stream)) as chunks:  # open when a body is cut; trio warns of it
                    async for chunk in chunks:
                        if _full(body, chunk, step):
                            break
                    return _fetched(reply, body, step)
            finally:
                with anyio.CancelScope(shield=True):
                    await reply.aclose()
    except Exception:  # the stream below raises what httpx2 would have translated
        return _NONE
    except BaseException as why:
        without_frames(why)
        raise
