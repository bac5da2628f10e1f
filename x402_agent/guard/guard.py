"""Guard: what is put under a client so that it reaches the public internet and nothing else."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from ..transport.streams import beneath
from .addresses import LOOPBACK, address, refusal
from .backend import AsyncPinned, Pinned
from .names import checked, refused, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import httpx

__all__ = ["Guard", "lookup"]


def lookup(host: str, port: int) -> list[str]:
    """The addresses that this system's resolver gives for a name, in its order. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(each[4][0]) for each in found))


@dataclass(frozen=True, slots=True)
class Guard:
    """Under a client it lets through http and https to public addresses, on every hop of a redirect and at every connection.

    `loopback` is for a seller of your own, as the sandbox is: it adds this machine, no other private address. `resolve` is
    a function of (host, port) that gives addresses as text; it runs in a thread. Frozen: one may be under many clients.
    """

    loopback: bool = False
    resolve: Callable[[str, int], Sequence[str]] = lookup

    def client(self, *, library: str = "httpx", **options: Any) -> httpx.Client:
        """A guarded httpx.Client (or httpx2's); options are the client's own. Raises SettingsError for a proxy."""
        return self.over(getattr(_library(library), "Client")(**{"trust_env": False, **options}))  # type: ignore[no-any-return]  # noqa: B009

    def async_client(self, *, library: str = "httpx", **options: Any) -> httpx.AsyncClient:
        """The same for asyncio and trio."""
        return self.over(getattr(_library(library), "AsyncClient")(**{"trust_env": False, **options}))  # type: ignore[no-any-return]  # noqa: B009

    def over(self, client: Any) -> Any:
        """Guard a client of httpx or httpx2 in place, one that pays included, or a transport; -> the same client, or a transport around.

        Raises SettingsError where it could not be kept: a proxy looks up names itself, a transport without a pool connects in
        its own way, and a connection that is open was never judged. With `loopback` a transport in this process may do without.
        """
        if not hasattr(client, "_transport") or not hasattr(client, "_mounts"):
            return self._under(client)
        client._transport = self._under(client._transport)
        client._mounts = {pattern: None if inner is None else self._under(inner) for pattern, inner in client._mounts.items()}
        return client

    def check(self, url: Any) -> None:
        """Judge how a URL (of httpx or httpx2) is spelt, and the address in it; a name is looked up at the connection. Raises AddressRefused."""
        checked(url)
        host = url.raw_host.decode("ascii")
        if (found := address(host)) is not None:
            self._judged(host, [str(found)])

    def addresses(self, host: str, port: int) -> Sequence[str]:
        """The addresses of a name, all of them judged: one that is not public, and none is connected to. Raises AddressRefused, OSError."""
        plain = address(host)
        return self._judged(host, [str(plain)] if plain is not None else self.resolve(host, port))

    def _judged(self, host: str, found: Sequence[str]) -> Sequence[str]:
        for text in found:
            which = address(text)
            rule = "it is no address" if which is None else refusal(which)
            if not rule or (self.loopback and rule.startswith(LOOPBACK)):
                continue
            where = shown(host) if text == host else f"{shown(host)} is {shown(text)}: it"
            hint = "for a seller of your own on this machine: Guard(loopback=True), --sandbox" if rule.startswith(LOOPBACK) else ""
            raise refused(f"{where} was not asked", f"public addresses alone: this one is {rule}", *([hint] if hint else []))
        return found

    def _under(self, transport: Any) -> Any:
        """The guard goes as deep as it can: below what pays, so that each leg of a payment passes it."""
        if isinstance(transport, _Guarded) and transport.guard == self:
            return transport
        if hasattr(transport, "rooms"):  # transport.drivers.Pays
            transport.inner = self._under(transport.inner)
            return transport
        pool = getattr(transport, "_pool", None)
        if pool is not None:
            self._pin(pool)
        elif not self.loopback:
            raise SettingsError(f"{type(transport).__name__} connects in its own way, so no address of it can be judged",
                                rule="Guard.over(client)", hint="guard.client(), or a client with httpx.HTTPTransport()")  # fmt: skip
        return _Guarded(transport, self)

    def _pin(self, pool: Any) -> None:
        if getattr(pool, "_proxy", None) or getattr(pool, "_proxy_url", None) or getattr(pool, "_uds", None):
            raise SettingsError("a guarded client goes through no proxy and no socket: names would be looked up elsewhere",
                                rule="Guard.over(client)", hint="httpx.Client(trust_env=False), without proxy= and uds=")  # fmt: skip
        if pool.connections:
            raise SettingsError("a client is guarded before its first request: its connections were never judged", rule="Guard.over(client)", hint="guard.client(), or a client that is new")
        pinned = AsyncPinned if hasattr(pool, "handle_async_request") else Pinned
        beneath(pool, lambda backend: pinned(backend, self.addresses, pool))


class _Guarded:
    """A transport that sends no request to a URL that is spelt oddly; where it connects to, its pool's backend judges."""

    def __init__(self, inner: Any, guard: Guard) -> None:
        self.inner = inner
        self.guard = guard

    @property
    def _pool(self) -> Any:
        return self.inner._pool  # for whoever wraps connections above us

    def handle_request(self, request: Any) -> Any:
        self.guard.check(request.url)
        return self.inner.handle_request(request)

    async def handle_async_request(self, request: Any) -> Any:
        self.guard.check(request.url)
        return await self.inner.handle_async_request(request)

    def close(self) -> None:
        self.inner.close()

    async def aclose(self) -> None:
        await self.inner.aclose()

    def __enter__(self) -> _Guarded:
        self.inner.__enter__()
        return self

    def __exit__(self, *why: object) -> None:
        self.inner.__exit__(*why)

    async def __aenter__(self) -> _Guarded:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *why: object) -> None:
        await self.inner.__aexit__(*why)


def _library(name: str) -> Any:
    if name not in ("httpx", "httpx2"):
        raise SettingsError(f"no HTTP library is called {name!r}", rule="library", hint="httpx or httpx2")
    return __import__(name)
