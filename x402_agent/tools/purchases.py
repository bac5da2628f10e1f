"""One request, paid for at most once: who asks for the same meanwhile waits, who asks soon after is told what came of it.

The identity of a purchase is the client and the request. Its key goes to the ledger, which keeps to one proof under it;
the shelf knows the key before anything leaves, so that a process after a crash goes on with it.
"""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anyio import CancelScope, Event, to_thread
from anyio.lowlevel import current_token

from ..errors import LedgerError, NoAcceptableOffer, PaymentInDoubt
from . import told
from .fence import INLINE, fence
from .results import Bought, Handle, Problem
from .web import read, showing

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..approvals import Approver
    from ..model import Receipt
    from ..payer import Payer
    from .shelf import Begun, Shelf
    from .wanted import Wanted
    from .web import Web

__all__ = ["Purchases", "unpaid"]

log = logging.getLogger("x402_agent")


@dataclass(slots=True)
class _Running:
    """A request under way: who asks for the same waits for it."""

    over: Event
    result: Bought | None = None


class Purchases:
    """The purchases of one client of one payer. `ask` is the Approver at the client's end."""

    def __init__(self, payer: Payer, web: Web, shelf: Shelf, ask: Approver | None) -> None:
        self.payer, self.web, self.shelf, self.ask = payer, web, shelf, ask
        self._running: dict[Any, _Running] = {}

    async def buy(self, wanted: Wanted, payment: dict[str, Any], *, again: bool) -> Bought:
        """The outcome of a request, paid for if it must be and may be; raises what a client that pays raises."""
        name = current_token().native_token, wanted.name
        while (other := self._running.get(name)) is not None:
            await other.over.wait()
            if other.result is not None and not (again and other.result.repeated):  # what was bought just now is the new one
                return replace(other.result, repeated=True)
        mine = self._running[name] = _Running(Event())
        try:
            mine.result = await self._once(wanted, payment, again=again)
            return mine.result
        finally:
            del self._running[name]
            mine.over.set()

    def lately(self, wanted: Wanted) -> Bought | None:
        """What the same request bought within the last ten minutes. Raises LedgerError."""
        done = self.shelf.lately(wanted.name)
        return told.bought_in(done) if done else None

    async def _once(self, wanted: Wanted, payment: dict[str, Any], *, again: bool) -> Bought:
        from ..approvals import asking

        begun: Begun = await to_thread.run_sync(lambda: self.shelf.begin(wanted.name, again=again))
        if begun.done:
            return replace(told.bought_in(begun.done), repeated=True)
        try:
            with asking(self.ask, otherwise=True), showing() as shown:
                async with self.web.sent(wanted, {**payment, **begun.payment}) as reply:
                    body, cut = await read(reply)
            body = told.blotted(_leads(reply) + body, shown)
        except Exception as why:
            if begun.new and not isinstance(why, PaymentInDoubt):
                await self._kept(lambda: self.shelf.forget(begun))
            raise
        receipt: Receipt | None = reply.extensions.get("payment")
        if receipt is not None and receipt.again and reply.status_code >= 400:
            first: Bought | None = await self._kept(lambda: self.lately(wanted))
            if first is not None:
                return replace(first, repeated=True)  # another process was at it, and has what it brought
        made = await self._delivered(wanted, reply, body, cut=cut)
        with CancelScope(shield=True):
            if not made.payment_id and begun.new:
                await self._kept(lambda: self.shelf.forget(begun))
            elif made.outcome == "spent" and made.status < 400:
                await self._kept(lambda: self.shelf.done(begun, told.bought_out(made)))
        return made

    async def _kept(self, work: Callable[[], Any]) -> Any:
        """What the shelf does after a purchase: where it fails, what was bought is still told."""
        try:
            return await to_thread.run_sync(work)
        except LedgerError as why:
            log.warning("%s", why.what)
            return None

    async def _delivered(self, wanted: Wanted, reply: Any, body: bytes, *, cut: bool) -> Bought:
        receipt: Receipt | None = reply.extensions.get("payment")
        made = _outcome(wanted, reply.status_code, receipt, self.payer)
        kind = told.kind_of(reply.headers.get("content-type", ""))
        text = _text(body)
        shown = fence(wanted.origin, text) if text else None
        short = shown is not None and not shown.cut and not cut
        if body and (made.payment_id or not short):
            with CancelScope(shield=True):
                more = await self._kept(lambda: self._shelved(made.payment_id or secrets.token_hex(8), wanted.origin, kind, body, cut=cut))
            made = replace(made, more=more)
        if text is not None and shown is not None and not short:
            shown = fence(wanted.origin, text, told.HEAD)
        return replace(made, body=shown)

    def _shelved(self, name: str, origin: str, kind: str, body: bytes, *, cut: bool) -> Handle:
        kept = self.shelf.put(name, origin, kind, body, cut=cut)
        return Handle(kept.uri, kind, kept.size, kept.sha256, told.shape(origin, body) if len(body) > INLINE else None)


def _leads(reply: Any) -> bytes:
    """Where an answer leads instead of saying something: no redirect is followed, and the model may ask there."""
    there = 300 <= reply.status_code < 400 and "location" in reply.headers
    return f"location: {reply.headers['location']}\n".encode() if there else b""


def _text(body: bytes) -> str | None:
    """The body as text; None for what is binary."""
    try:
        return None if b"\x00" in body else body.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _outcome(wanted: Wanted, status: int, receipt: Receipt | None, payer: Payer) -> Bought:
    if receipt is None or receipt.outcome is None or receipt.offer is None:
        if status != 402:
            return Bought("free", status, wanted.origin)
        why = NoAcceptableOffer("402 without an offer that anything here understands")
        return Bought("unpaid", status, wanted.origin, problem=told.problem(why, wanted.origin, payer))
    made = Bought(receipt.outcome, status, wanted.origin, receipt.payment_id, told.amount(receipt.offer.money, sandbox=payer.sandboxed),
                  receipt.offer.pay_to, told.transaction(receipt.transaction), receipt.again)  # fmt: skip
    same = "the same call shows the same proof again and pays nothing; or resume"
    if receipt.outcome != "spent":
        what = f"{wanted.origin} was shown a proof and answered {status}: the money stays counted until the chain shows that it cannot move"
        return replace(made, problem=Problem("PaymentInDoubt", what, "one request, one proof", same))
    if status >= 400:
        return replace(made, problem=Problem("NotDelivered", f"paid, and {wanted.origin} answered {status}", "one request, one proof", same, retry_safe=True))
    return made


def unpaid(said: Problem, why: Exception, origin: str) -> Bought:
    """What came of a request that ended in an error: its payment may be in doubt all the same."""
    if isinstance(why, PaymentInDoubt):
        return Bought("in_doubt", 0, origin, why.payment_id, problem=said)
    return Bought("unpaid", 0, origin, problem=said)
