"""The plain client behind the step Fetch: it never pays, follows no redirect, reads no proxy from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .steps import MAX_BODY, Fetched

if TYPE_CHECKING:
    from .steps import Fetch

__all__ = ["fetch", "fetch_async"]


def _options(step: Fetch) -> dict[str, Any]:
    return {"content": step.content or None, "headers": dict(step.headers), "timeout": step.timeout}


def fetch(step: Fetch) -> Fetched:
    """Perform one Fetch; no answer is status 0, never an exception."""
    import httpx2

    try:
        with (
            httpx2.Client(trust_env=False, follow_redirects=False) as client,
            client.stream(step.method, step.url, **_options(step)) as reply,
        ):
            body = b""
            for chunk in reply.iter_raw():
                body += chunk
                if len(body) >= MAX_BODY:
                    break
            return Fetched(reply.status_code, dict(reply.headers), body[:MAX_BODY])
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        return Fetched(0, {}, b"")


async def fetch_async(step: Fetch) -> Fetched:
    """The same, for asyncio and trio."""
    import httpx2

    try:
        async with (
            httpx2.AsyncClient(trust_env=False, follow_redirects=False) as client,
            client.stream(step.method, step.url, **_options(step)) as reply,
        ):
            body = b""
            async for chunk in reply.aiter_raw():
                body += chunk
                if len(body) >= MAX_BODY:
                    break
            return Fetched(reply.status_code, dict(reply.headers), body[:MAX_BODY])
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        return Fetched(0, {}, b"")
