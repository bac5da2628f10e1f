"""The one way from a tool to the web: a client that pays, over a guard that judges addresses, on behalf of one client name."""

from __future__ import annotations

import time
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, move_on_after
from anyio.lowlevel import current_token

from ..errors import PolicyDenied
from ..guard import Guard
from ..steps import Send
from ..transport.lines import authorities
from .consent import identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from ..model import Ask
    from ..payer import Payer, Quote
    from ..payer.kit import Kit
    from .wanted import Wanted

__all__ = ["MOST", "Asked", "Web", "read", "showing"]

MOST = 32 << 20  # bytes that are read of an answer
READ = 120.0  # seconds after which no more of a body is waited for
_SHOWN: ContextVar[list[str] | None] = ContextVar("x402_agent.tools.shown", default=None)
_ASKED: ContextVar[Asked | None] = ContextVar("x402_agent.tools.asked", default=None)


@dataclass(slots=True)
class Asked:
    """What an unpaid request brought: the quote, where money is asked, and whose identity it is."""

    quotes: list[Quote] = field(default_factory=list)
    identity: str = ""


class Web:
    """Clients of one payer, one for each event loop, whose payments count for `agent:NAME`, and behind a signer for `tool:NAME`."""

    def __init__(self, payer: Payer, name: str, *, loopback: bool) -> None:
        self.payer, self.name = payer, name
        self._guard = Guard(loopback=loopback or payer.box is not None)
        if payer.guard is None:
            payer.guard = self._guard  # `resume` asks what a model chose, too
        self._clients: dict[Any, Any] = {}

    @asynccontextmanager
    async def sent(self, wanted: Wanted, payment: dict[str, Any], asked: Asked | None = None) -> AsyncIterator[Any]:
        """The answer to a request, its body not read yet; with `asked` nothing is paid, and what is asked goes there. Raises
        what a client that pays raises. No redirect is followed: where it leads, the model may ask."""  # fmt: skip
        token = _ASKED.set(asked)
        try:
            client = self._client()
            request = client.build_request(wanted.method, wanted.url, headers=wanted.headers, content=wanted.body, extensions={"payment": payment})
            reply = await client.send(request, stream=True, follow_redirects=False)
        finally:
            _ASKED.reset(token)
        try:
            yield reply
        finally:
            with CancelScope(shield=True), suppress(Exception), move_on_after(5):
                await reply.aclose()

    def _client(self) -> Any:
        loop = current_token().native_token
        if loop not in self._clients:
            for old in [each for each in self._clients if getattr(each, "is_closed", bool)()]:
                del self._clients[old]
            from http.cookiejar import CookieJar, DefaultCookiePolicy

            jar = CookieJar(DefaultCookiePolicy(allowed_domains=[]))  # nothing is remembered from one call to the next
            options: dict[str, Any] = {"timeout": 60.0, "cookies": jar, "verify": authorities()}
            client = self._guard.over(self.payer.async_client(library="httpx2", **options))
            self._clients[loop] = self.payer.led(client, self._talk, self._heard)
        return self._clients[loop]

    def _talk(self, ask: Ask) -> Kit:
        self.place(ask)
        asked = _ASKED.get()
        if asked is None:
            return self.payer.talk(ask)
        asked.identity = identity(ask)
        return self.payer.quote_kit(ask, asked.quotes)

    def _heard(self, ask: Ask, step: Any, value: Any) -> None:
        if isinstance(step, Send) and (shown := _SHOWN.get()) is not None:
            shown += step.headers.values()
        if self.payer.trace is not None:
            self.payer.trace(ask, step, value)

    def place(self, ask: Ask) -> None:
        """Write the client's name on an Ask. Raises PolicyDenied for a name that policy pays for from an account of its own:
        a client names itself, and must not choose who pays."""  # fmt: skip
        policy, own = self.payer.policy, self.payer.settings
        if not own.agent and f"agent:{self.name}" in policy.wallet:
            raise PolicyDenied(f"a client calls itself {self.name}, which is an agent with an account of its own",
                               rule=policy.place(f"wallet.agent:{self.name}"), hint="another name for the client")  # fmt: skip
        tool = self.name if own.signer is not None else ask.under.tool
        ask.under = ask.under._replace(agent=self.name, tool=tool)

    async def aclose(self) -> None:
        """Close the clients of this event loop."""
        client = self._clients.pop(current_token().native_token, None)
        if client is not None:
            await client.aclose()


@contextmanager
def showing() -> Iterator[list[str]]:
    """Inside, what sellers are shown of proofs and credentials is remembered, so that none of it is told to a model."""
    found: list[str] = []
    token = _SHOWN.set(found)
    try:
        yield found
    finally:
        _SHOWN.reset(token)


async def read(reply: Any) -> tuple[bytes, bool]:
    """An answer's body, and whether it went on beyond MOST bytes or READ seconds: what is cut was delivered, as far as it goes.
    Raises PaymentInDoubt where a paid one breaks, or says nothing for as long as the client waits."""  # fmt: skip
    held, end = bytearray(), time.monotonic() + READ
    async with aclosing(reply.aiter_bytes()) as chunks:
        async for chunk in chunks:
            held += chunk
            if len(held) > MOST or time.monotonic() >= end:
                return bytes(held[:MOST]), True
    return bytes(held), False
