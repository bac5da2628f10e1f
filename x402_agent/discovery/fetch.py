"""One request of the crawl: bounded in bytes and in time, whatever comes back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from ..steps import MAX_BODY
from .probe import BODY
from .sources.rows import MAX_PAGE

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Got", "get", "limits"]


@dataclass(slots=True)
class Got:
    """An answer: `raw` is what came on the wire, not all of it when `complete` is False."""

    status: int
    headers: Any
    raw: bytes = field(repr=False)
    complete: bool = True

    @property
    def plain(self) -> dict[str, str]:
        """Header names in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}

    def inflated(self, most: int) -> tuple[bytes, bool]:
        """The body without its coding, at most so many bytes, and whether there was more (S3). Raises ValueError."""
        if self.headers.get("content-encoding", "").strip().lower() not in ("gzip", "x-gzip", "deflate"):
            return self.raw[:most], not self.complete or len(self.raw) > most
        inflater = zlib.decompressobj(wbits=47)
        try:
            body = inflater.decompress(self.raw, most + 1)
        except zlib.error as why:
            raise ValueError("it does not inflate") from why
        return body[:most], not self.complete or len(body) > most


async def get(client: Any, url: str, method: str, headers: Mapping[str, str], seconds: float, *, page: bool) -> Got:
    """Ask once, and follow nowhere. Only a `page` that came and a 402 are read. Raises what the client raises, TimeoutError, AddressRefused."""
    raw = bytearray()
    complete = True
    with anyio.fail_after(seconds):
        async with client.stream(method, url, headers=dict(headers), content=BODY if method == "POST" else None) as reply:
            status = reply.status_code
            most = MAX_PAGE if page and status == 200 else MAX_BODY if status == 402 and not page else 0
            if most:
                async for piece in reply.aiter_raw():
                    raw += piece
                    if len(raw) > most:
                        complete = False
                        break
    return Got(status, reply.headers, bytes(raw), complete)


def limits(most: int) -> Any:
    """Of a client that has so many connections at a time."""
    import httpx2

    return httpx2.Limits(max_connections=most, max_keepalive_connections=most)
