"""Tools: the verbs for one client, which may be a model that obeys whatever it read last. It asks; policy pays.

A verb takes a URL and an intent, never a recipient or an amount to sign, and raises nothing but a cancellation: what went
wrong is in `problem`. The docstrings of the verbs are what a model is told of them.
"""

from __future__ import annotations

import logging
import threading
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from anyio import to_thread

from ..errors import PaymentError, PolicyDenied
from . import quoting
from .offers import Offers
from .portal import Portal, blocking
from .purchases import Purchases, unpaid
from .results import Bought, Entry, Holdings, Quoted, Services, Settled, Spending, Why
from .shelf import MOST, Shelf
from .told import problem
from .wanted import client_name, most, origin_of, wanted
from .web import Web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from ..approvals import Approver
    from ..payer import Payer
    from .offers import Offered
    from .results import Problem
    from .shelf import Kept

__all__ = ["Tools", "Verbs"]

T = TypeVar("T")
log = logging.getLogger("x402_agent")


class Tools:
    """The verbs for one client, by whose name (a-z, 0-9, `.`, `_`, `-`) its payments are counted: `agent:NAME`.

    `payer` may be a function that makes it, called in a thread when it is first needed; one without a guard has one from then on. `loopback` lets URLs lead to this
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

    async def search(self, words: str, max_price: str | None = None, live: bool = False) -> Services:
        """Who sells this, offline, best evidence first; spends nothing. live: answered 402 when probed. Line one of says is the URL."""
        from . import finding

        return await self._told(lambda made: finding.search(made.payer, words, max_price, live), lambda said, _: Services(problem=said))

    async def quote(self, url: str, method: str = "GET", body: str | None = None) -> Quoted:
        """What a URL costs, what policy says. Sends the request once without money; spends nothing. offer_id buys these terms, once, for five minutes."""

        async def work(made: Purchases) -> Quoted:
            return await quoting.quote(made, self._offers, wanted(url, method, body))

        return await self._told(work, lambda said, _: Quoted("unknown", origin=origin_of(url), problem=said), url)

    async def buy(self, offer_id: str) -> Bought:
        """SPENDS MONEY. Buys what quote offered, on those terms or not at all. An offer_id is used once; a second try is refused."""

        async def work(made: Purchases) -> Bought:
            offered = self._offers.take(offer_id)
            return await made.buy(offered.wanted, {"offer": offered.offer}, again=False)

        return await self._told(work, lambda said, why: unpaid(said, why, ""))

    async def fetch(self, url: str, max_price: str | None = None, method: str = "GET", body: str | None = None, again: bool = False) -> Bought:
        """MAY SPEND MONEY, within policy. Fetches a URL and pays if it asks. max_price (dollars, "0.05") only lowers that. The same request within ten minutes gives the first outcome and pays nothing, unless again=true."""

        async def work(made: Purchases) -> Bought:
            return await made.buy(wanted(url, method, body), most(max_price), again=again is True)

        return await self._told(work, lambda said, why: unpaid(said, why, origin_of(url)), url)

    async def spending(self, period: str = "today") -> Spending:
        """What you spent (period: today, month or all), what is in doubt, what limits leave. Spends nothing."""
        from . import books

        return await self._told(lambda made: books.spending(made, period), lambda said, _: Spending("", problem=said))

    async def why(self, payment_id: str) -> Why:
        """What happened to one payment of yours: each move, and what to do. Spends nothing."""
        from . import books

        return await self._told(lambda made: books.why(made, payment_id), lambda said, _: Why("", problem=said))

    async def balance(self) -> Holdings:
        """Which accounts pay, and what they have where known. Spends nothing."""
        from . import books

        return await self._told(books.balance, lambda said, _: Holdings(problem=said))

    async def resume(self) -> Settled:
        """Settles your payments in doubt: asks the chain, shows the same proof again. Never pays anew. Use it after in_doubt."""
        from . import books

        return await self._told(books.resume, lambda said, _: Settled(problem=said))

    # -- for doors ----------------------------------------------------------------------------------------------------

    def offered(self, offer_id: str) -> Offered | None:
        """What an offer_id of this client stands for, so that a person can be asked; None where it may not be bought."""
        try:
            return self._offers.get(offer_id)
        except PolicyDenied:
            return None

    async def kept(self, handle: str, start: int = 0, length: int = MOST) -> Kept | None:
        """A body that this client bought, or a part of it, by its `purchase://` handle; None where there is none. Raises PaymentError."""
        shelf = (await self._purchases()).shelf
        return await to_thread.run_sync(lambda: shelf.get(handle, start, length))

    async def entry(self, service: str) -> Entry:
        """One service of the owner's catalogue whole, by its id, or a beginning of it."""
        from . import finding

        return await self._told(lambda made: finding.entry(made.payer, service), lambda said, _: Entry(problem=said))

    @cached_property
    def sync(self) -> Verbs:
        """The verbs for callers without an event loop."""
        return Verbs(self)

    # -- inside -------------------------------------------------------------------------------------------------------

    async def _told(self, work: Callable[[Purchases], Awaitable[T]], failed: Callable[[Problem, Exception], T], url: object = "") -> T:
        """What work gives, or what it raised as a result. Raises nothing but a cancellation."""
        try:
            return await work(await self._purchases())
        except Exception as why:
            if not isinstance(why, PaymentError):
                log.warning("a tool call of %s failed: %s", self.client, type(why).__name__)
            return failed(problem(why, origin_of(url), self._made.payer if self._made else None), why)

    async def _purchases(self) -> Purchases:
        return await to_thread.run_sync(self._make) if self._made is None else self._made

    def _make(self) -> Purchases:
        with self._lock:
            if self._made is None:
                payer = self._given() if callable(self._given) else self._given
                shelf = self._shelf or Shelf(_beside(payer) / f"{self.client}.db", clock=payer.clock)
                self._made = Purchases(payer, Web(payer, self.client, loopback=self._loopback), shelf, self._ask)
            return self._made

    async def aclose(self) -> None:
        """Close the clients of this event loop, and the shelf."""
        if self._made is not None:
            await self._made.web.aclose()
            await to_thread.run_sync(self._made.shelf.close)

    async def __aenter__(self) -> Tools:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Verbs:
    """The verbs of a Tools, each of which waits for its answer. Closed with `close()`, or by `with`."""

    def __init__(self, tools: Tools) -> None:
        self.tools, self.portal = tools, Portal()

    search = blocking(Tools.search)
    quote = blocking(Tools.quote)
    buy = blocking(Tools.buy)
    fetch = blocking(Tools.fetch)
    spending = blocking(Tools.spending)
    why = blocking(Tools.why)
    balance = blocking(Tools.balance)
    resume = blocking(Tools.resume)
    kept = blocking(Tools.kept)
    entry = blocking(Tools.entry)

    def close(self) -> None:
        """Close what the verbs opened, and end their thread."""
        self.portal.call(self.tools.aclose)
        self.portal.close()

    def __enter__(self) -> Verbs:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _beside(payer: Payer) -> Path:
    """The folder of the shelves of one ledger: an outcome is good for the ledger that it was written in."""
    if payer.settings.signer is not None:
        return payer.settings.data_dir / "tools"
    return payer.ledger.path.with_suffix(".tools")
