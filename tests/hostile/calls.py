"""The same call by a sync client, on asyncio and on trio, with httpx or httpx2."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import httpx2

from hostile.arena import Arena, Case

LIBS = {"httpx": httpx, "httpx2": httpx2}


def _parts(arena: Arena, case: Case, lib: Any) -> tuple[dict[str, Any], dict[str, Any], int | None]:
    request = dict(case.request)
    made = {
        "timeout": request.pop("timeout", 5.0), "follow_redirects": True,
        "limits": lib.Limits(max_connections=2), **arena.client_options,
    }  # fmt: skip
    return made, request, request.pop("stream", None)


def sync(arena: Arena, case: Case, url: str) -> Any:
    """The last of `case.times` answers, by httpx; with `stream`, only that many bytes of it are read."""
    payer = arena.payer_for(case)
    made, request, stream = _parts(arena, case, httpx)
    with payer.client(**made) as client:
        for _ in range(case.times):
            if stream is None:
                reply = client.get(url, **request)
                continue
            with client.stream("GET", url, **request) as reply:
                seen = 0
                for chunk in reply.iter_raw(65536) if stream else ():
                    seen += len(chunk)
                    if seen >= stream:
                        break
        return reply


def in_world(library: str, backend: str) -> Callable[[Arena, Case, str], Any]:
    """The same with an async client."""

    def call(arena: Arena, case: Case, url: str) -> Any:
        payer = arena.payer_for(case)
        made, request, stream = _parts(arena, case, LIBS[library])

        async def go() -> Any:
            async with payer.async_client(library=library, **made) as client:
                for _ in range(case.times):
                    if stream is None:
                        reply = await client.get(url, **request)
                        continue
                    async with client.stream("GET", url, **request) as reply:
                        seen = 0
                        async with aclosing(reply.aiter_raw(65536)) as chunks:
                            async for chunk in chunks:
                                seen += len(chunk)
                                if seen >= stream:
                                    break
                return reply

        return anyio.run(go, backend=backend)

    return call
