"""Tools: the verbs for one client, which may be a model that obeys whatever it read last. It asks; policy pays.

A verb takes a URL and an intent, never a recipient or an amount to sign, and raises nothing but a cancellation: what went
wrong is in `problem`. The docstrings of the verbs are what a model is told of them.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread

from ..errors import PaymentError, PolicyDenied
from ..policy import micros
from . import quoting
from .offers import Offers
from .purchases import Purchases
from .results import Bought, Quoted, Spending
from .shelf import Shelf
from .told import problem
from .wanted import client_name, origin_of, wanted
from .web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..approvals import Approver
    from ..payer import Payer
    from .offers import Offered
    from .shelf import Kept

__all__ = ["Tools"]

T = TypeVar("T")
log = logging.getLogger("x402_agent")


class Tools:
    """The verbs for one client, by whose name (a-z, 0-9, `.`, `_`, `-`) its payments are counted: `agent:NAME`.

    `payer` may be a function that makes it, called in a thread when it is first needed. `loopback` lets URLs lead to this
    machine, for a sandbox. `ask` is the Approver for a person at the client's end; `shelf` is where what was bought is kept,
    else a private file beside the ledger. `await aclose()` ends what was opened here, and not the payer.
    """

    def __init__(
        self, payer: Payer | Callable[[], Payer], *, client: str = "agent", loopback: bool = False, ask: Approver | None = None,
        shelf: Shelf | None = None,
    ) -> None:  # fmt: skip
        self.client = client_name(client)
        self._given, self._loopback, self._ask, self._shelf = payer, loopback, ask, shelf
        self._offers = Offers()
        self._made: Purchases | None = None
        self._lock = threading.Lock()

    # -- the verbs ----------------------------------------------------------------------------------------------------

    async def quote(self, url: str, method: str = "GET", body: str | None = None) -> Quoted:
        """What a URL costs and what policy says. Sends the request once without money; spends nothing. offer_id buys it on these terms, once, for five minutes."""

        async def work() -> Quoted:
            ask = wanted(url, method, body)
            return await quoting.quote(await self._purchases(), self._offers, ask)

        return await self._told(work, lambda why: Quoted("unknown", origin=origin_of(url), problem=why), url)

    async def buy(self, offer_id: str) -> Bought:
        """SPENDS MONEY. Buys what quote offered, on those terms or not at all. An offer_id is used once; a second try is refused, not paid."""

        async def work() -> Bought:
            offered = self._offers.take(offer_id)
            return await (await self._purchases()).buy(offered.wanted, {"offer": offered.offer}, again=False)

        return await self._told(work, lambda why: Bought("unpaid", problem=why))

    async def fetch(self, url: str, max_price: str | None = None, method: str = "GET", body: str | None = None, again: bool = False) -> Bought:
        """MAY SPEND MONEY, within policy. Fetches a URL and pays if it asks. max_price (dollars, "0.05") only lowers what may be paid. The same request within ten minutes gives the first outcome and pays nothing, unless again=true."""

        async def work() -> Bought:
            ask = wanted(url, method, body)
            payment: dict[str, Any] = {}
            if max_price is not None:
                micros(max_price, "max_price")
                payment["max"] = max_price
            return await (await self._purchases()).buy(ask, payment, again=again is True)

        return await self._told(work, lambda why: Bought("unpaid", origin=origin_of(url), problem=why), url)

    async def spending(self, period: str = "today") -> Spending:
        """What you spent (period: today, month or all), what is in doubt, what limits leave. Spends nothing."""

        async def work() -> Spending:
            from . import books

            return await books.spending(await self._purchases(), period)

        return await self._told(work, lambda why: Spending(period="", problem=why))

    # -- for doors ----------------------------------------------------------------------------------------------------

    def offered(self, offer_id: str) -> Offered | None:
        """What an offer_id of this client stands for, so that a person can be asked; None where it may not be bought."""
        try:
            return self._offers.get(offer_id)
        except PolicyDenied:
            return None

    async def kept(self, handle: str) -> Kept | None:
        """A body that this client bought, by its `purchase://` handle; None where there is none. Raises PaymentError."""
        made = await self._purchases()
        return await to_thread.run_sync(made.shelf.get, handle)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _told(self, work: Callable[[], Awaitable[T]], failed: Callable[[Any], T], url: object = "") -> T:
        """What work gives, or what it raised as a result. Raises nothing but a cancellation."""
        try:
            return await work()
        except Exception as why:
            if not isinstance(why, PaymentError):
                log.warning("a tool call of %s failed: %s", self.client, type(why).__name__)
            return failed(problem(why, origin_of(url), self._made.payer if self._made else None))

    async def _purchases(self) -> Purchases:
        if self._made is None:
            self._made = await to_thread.run_sync(self._make)
        return self._made

    def _make(self) -> Purchases:
        with self._lock:
            if self._made is not None:
                return self._made
            payer = self._given() if callable(self._given) else self._given
            shelf = self._shelf or Shelf(_beside(payer) / f"{self.client}.db", clock=payer.clock)
            return Purchases(payer, Web(payer, self.client, loopback=self._loopback), shelf, self._ask)

    async def aclose(self) -> None:
        """Close the clients of this event loop, and the shelf."""
        if self._made is not None:
            await self._made.web.aclose()
            self._made.shelf.close()

    async def __aenter__(self) -> Tools:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _beside(payer: Payer) -> Any:
    """The folder of the shelves of one ledger: an outcome is good for the ledger that it was written in."""
    if payer.settings.signer is not None:
        return payer.settings.data_dir / "tools"
    return payer.ledger.path.with_suffix(".tools")
