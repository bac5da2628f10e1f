"""One request of the crawl: bounded in bytes and in time, whatever comes back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any

import anyio

from ..steps import MAX_BODY
from .probe import BODY

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..guard import Guard

__all__ = ["Clients", "Got", "get", "token"]

_CLIENTS, _KEPT = 16, 4  # connections that each keeps when nobody uses them
_TOKEN = 512  # characters of an ETag


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


async def get(clients: Clients, url: str, method: str, headers: Mapping[str, str], seconds: float, *, page: int = 0) -> Got:
    """Ask once, and follow nowhere. At most `page` bytes of what came are read; without it nothing but a 402. Raises what the client raises, TimeoutError, AddressRefused."""
    raw = bytearray()
    complete = True
    with anyio.fail_after(seconds):
        async with clients.of(url).stream(method, url, headers=dict(headers), content=BODY if method == "POST" else None) as reply:
            status = reply.status_code
            most = page if page and status == 200 else MAX_BODY if status == 402 else 0
            if most:
                async for piece in reply.aiter_raw():
                    raw += piece
                    if len(raw) > most:
                        complete = False
                        break
    return Got(status, reply.headers, bytes(raw), complete)


def token(headers: Mapping[str, str], name: str, otherwise: str = "") -> str:
    """What is shown to the server again at the next pass; nothing that is long, or that a header cannot hold."""
    value = headers.get(name, otherwise)
    return value if len(value) <= _TOKEN and value.isascii() and value.isprintable() else ""


class Clients:
    """Guarded clients, each for some of the hosts: a pool looks at all of its connections for each request, so small ones are quicker. At most `most`
    connections at a time in each; `seconds` is what one step of a request may take. They keep no cookie: nobody is to know them again, and a jar has no end."""

    def __init__(self, guard: Guard, headers: Mapping[str, str], most: int, seconds: float) -> None:
        import httpx2

        limits = httpx2.Limits(max_connections=most, max_keepalive_connections=_KEPT)
        verify = httpx2.create_ssl_context(trust_env=False)  # read once
        self._all = [guard.async_client(library="httpx2", timeout=seconds, headers=dict(headers), limits=limits, verify=verify) for _ in range(_CLIENTS)]
        for each in self._all:
            each.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def of(self, url: str) -> Any:
        """The one for a URL's host."""
        return self._all[zlib.crc32(url.split("/", 3)[2].encode("utf-8", "replace")) % _CLIENTS if url.count("/") > 1 else 0]

    async def __aenter__(self) -> Clients:
        return self

    async def __aexit__(self, *why: object) -> None:
        with anyio.CancelScope(shield=True):
            for each in self._all:
                await each.aclose()
