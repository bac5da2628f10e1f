"""One process, many sessions: one payer for all of them, and the tools of each client by the name that its host gives.

A name chooses which budget counts beside those that count for everybody; it opens nothing. Who signed in by OAuth is a client
of his own, whatever his host calls itself.
"""

from __future__ import annotations

import threading
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from anyio import CancelScope

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.mcpserver import Context

    from x402_agent import Payer
    from x402_agent.tools import Tools

__all__ = ["Clients", "client_name"]

MOST = 64  # names; who comes later shares one, so that names fill no memory
SHOWN = 40  # characters of what a host calls itself
LATE = "other-agents"


class Clients:
    """The tools of every client over one payer, which `make` makes at the first use that needs it."""

    def __init__(self, make: Callable[[], Payer], *, loopback: bool = False) -> None:
        self._make, self._loopback = make, loopback
        self._lock = threading.Lock()
        self._payer: Payer | None = None
        self._doors = 0
        self._tools: dict[str, Tools] = {}

    def payer(self) -> Payer:
        """The one payer; a wallet is unlocked here, once, so it may take a second. Raises PaymentError."""
        with self._lock:
            if self._payer is None:
                self._payer = self._make()
            return self._payer

    def tools(self, name: str) -> Tools:
        """The tools of the client of this name."""
        from x402_agent.tools import Tools

        found = Tools(self.payer, client=name, loopback=self._loopback)
        if found.client not in self._tools and len(self._tools) >= MOST:
            found = Tools(self.payer, client=LATE, loopback=self._loopback)
        return self._tools.setdefault(found.client, found)

    def of(self, ctx: Context[Any, Any]) -> Tools:
        """The tools of whoever makes this call."""
        return self.tools(client_name(ctx))

    async def __aenter__(self) -> Clients:
        self._doors += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the tools when the last session's door is shut; the payer stays."""
        self._doors -= 1
        if self._doors:
            return
        with CancelScope(shield=True):
            for each in self._tools.values():
                await each.aclose()
            self._tools.clear()

    def close(self) -> None:
        """Close the payer, if one was made here."""
        payer, self._payer = self._payer, None
        if payer is not None:
            payer.close()


def client_name(ctx: Context[Any, Any]) -> str:
    """What the host calls itself; after OAuth with a mark of who signed in behind it, which no other can take."""
    from mcp.server.auth.middleware.auth_context import get_access_token
    from mcp.server.auth.provider import principal_components

    params = ctx.session.client_params
    name = params.client_info.name if params is not None else ""
    token = get_access_token()
    if token is None or not (token.client_id or token.subject):
        return name[:SHOWN]
    whose = sha256(repr(principal_components(token)).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{name[:SHOWN]}-{whose}"
