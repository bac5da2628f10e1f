"""Two drivers, sync and async, for one conversation; every hop of a request passes here alone.

A transport, not an Auth or a hook: it sees the real exception of the paid leg, leaves `response.request` without the
proof, never carries a proof over a redirect, and composes with the user's own auth (docs/architecture.md).
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import httpx
from anyio import fail_after, move_on_after, sleep

from ..errors import PaymentError, PaymentInDoubt
from ..flow import in_doubt
from ..model import Receipt
from ..secret import without_frames
from ..steps import MAX_BODY, Aside, Close, Fetch, Goods, NoAnswer, Reply, Send, Sleep, Walk
from . import wire
from .fetch import drive, drive_async, fetch, fetch_async
from .lines import Lines
from .streams import DEADLINE, install, suspect
from .waiting import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..model import Ask, Hold
    from ..steps import Step

__all__ = ["PaymentTransport", "Pays"]


class Rooms(Protocol):
    """What a driver needs of a Payer."""

    deadline: float
    answer_timeout: float
    trace: Callable[[Ask, Step, Any], None] | None

    def talk(self, ask: Ask) -> Any:
        """The rooms for one conversation: a flow.Kit with `perform(step, milliseconds)`."""


class Talk:
    """One conversation: what both drivers share, and nothing that waits."""

    __slots__ = ("ask", "challenge", "deadline", "kit", "lib", "lines", "open", "request", "rooms", "start", "walk")

    def __init__(self, rooms: Rooms, lib: Any, request: Any) -> None:
        self.rooms = rooms
        self.lib = lib
        self.request = request
        self.start = time.monotonic()
        self.deadline = self._deadline()
        wire.readable(request)
        self.ask = wire.ask(request, lib)
        self.kit = rooms.talk(self.ask)
        self.challenge: Reply | None = None
        self.lines = Lines()
        self.open: Any = None  # an answer whose connection must go back to the pool before the next leg
        self.walk: Walk[Reply] = Walk(self.kit.conversation())

    def _deadline(self) -> float | None:
        """The caller's own longer read timeout stretches it; None means that a free answer may take for ever."""
        read = self.request.extensions.get("timeout", {}).get("read", 5.0)
        return None if read is None else self.start + max(self.rooms.deadline, read)

    @property
    def milliseconds(self) -> int:
        return int((time.monotonic() - self.start) * 1000)

    def done_with(self) -> Any:
        """The answer whose connection is still ours, once: given back, it may carry another conversation's bytes."""
        response, self.open = self.open, None
        return response

    def outgoing(self, step: Send) -> Any:
        """The request to put on the wire: the caller's own, or a copy that carries more headers."""
        if not step.headers and not step.paid:
            return self.request
        if step.paid:
            self.timed()
        least = self.rooms.answer_timeout if step.paid else 0.0
        cookies = self.challenge.response if step.paid and self.challenge else None
        return wire.copy(self.request, self.lib, step.headers, least=least, cookies=cookies)

    def timed(self) -> None:
        """Money is asked for: from here the deadline counts, whatever the caller's own timeout."""
        if self.deadline is None:
            self.deadline = time.monotonic() + self.rooms.deadline

    def challenged(self, step: Send, reply: Reply) -> bool:
        """Whether this is the 402 that says what is asked: the first one, to a request with or without a proof."""
        if reply.status != 402 or (step.paid and self.challenge is not None):
            return False
        self.challenge = reply
        self.timed()
        return True

    def left(self) -> float | None:
        return None if self.deadline is None else max(0.001, self.deadline - time.monotonic())

    def within(self, step: Fetch) -> Fetch:
        """The same question, with no more time than all legs have left: in threads DEADLINE sees to that."""
        left = self.left()
        return step if left is None else step._replace(timeout=min(step.timeout, left))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """The deadline waits meanwhile: what a person takes to answer is not the seller's time."""
        since = time.monotonic()
        try:
            yield
        finally:
            if self.deadline is not None:
                self.deadline += time.monotonic() - since

    def failed(self, step: Send, exc: BaseException) -> BaseException:
        """The exception as the conversation should see it; on a leg that carries a proof, without the frames that sent it."""
        if step.paid or step.headers:
            without_frames(exc)
        if isinstance(exc, TimeoutError):
            exc = self.lib.ReadTimeout("the deadline over all legs has passed")
        if step.paid and isinstance(exc, self.lib.TransportError) and not isinstance(exc, self.lib.TimeoutException):
            answerless = NoAnswer(type(exc).__name__)
            answerless.__cause__ = exc
            return answerless
        return exc

    def done(self, step: Step, value: Any) -> None:
        if self.rooms.trace is not None:
            self.rooms.trace(self.ask, step, value)

    def give(self, reply: Reply) -> Any:
        """The response for the caller, with the Receipt in its extensions when a proof was shown."""
        response = reply.response
        if reply.receipt is not None:
            response.extensions["payment"] = replace(reply.receipt, milliseconds=self.milliseconds)
            self.request.extensions[wire.PAID] = reply.receipt.payment_id
            if self.challenge is not None and self.challenge is not reply:
                wire.add_cookies(self.challenge.response, response)
        return response

    def untouched(self, error: BaseException, *, raises: bool) -> Any:
        """A rule said no: None where it is raised, in our own client; the untouched 402 in somebody else's."""
        mild = isinstance(error, PaymentError) and not isinstance(error, PaymentInDoubt)
        if raises or self.challenge is None or not mild:
            return None
        assert isinstance(error, PaymentError)
        response = self.challenge.response
        response.extensions["payment"] = Receipt(None, reason=error, payment_id=error.payment_id)
        return response

    def watch(self, reply: Reply, hold: Hold | None) -> None:
        """An answer to a proof that breaks after its headers: what was paid is not delivered, and the caller is told so."""
        if hold is not None and reply.receipt is not None:
            said = reply.receipt.outcome
            hold = replace(hold, state="CLAIMED" if said == "spent" else "UNKNOWN", refused=said == "refused")
            reply.response.stream = wire.stream_types(self.lib).watched(reply.response, self, hold)

    def broken(self, hold: Hold, exc: BaseException) -> tuple[Any, BaseException]:
        state = "PAID_UNDELIVERED" if hold.state == "CLAIMED" else "UNKNOWN"
        step = Close(hold, state, refused=hold.refused, note=f"the body broke: {type(exc).__name__}")
        error: BaseException = in_doubt(hold, f"the body broke: {type(exc).__name__}")
        return self.kit.perform(step, self.milliseconds), error if isinstance(exc, Exception) else exc


class Pays:
    """The drivers. `lib` is httpx or httpx2; `raises` is False inside a client that is not ours."""

    lib: Any

    def __init__(self, inner: Any, rooms: Rooms, *, raises: bool = True) -> None:
        self.inner = inner
        self.rooms = rooms
        self.raises = raises
        install(inner)

    # -- sync ---------------------------------------------------------------------------------------------------------

    def handle_request(self, request: Any) -> Any:
        """Send, and pay if it must be and may be. Raises PaymentError, or what the inner transport raises."""
        talk = Talk(self.rooms, self.lib, request)
        hold = None
        token = DEADLINE.set(talk.deadline)
        try:
            for step in talk.walk:
                try:
                    talk.walk.got = self._do(talk, step)
                except BaseException as exc:
                    talk.walk.failed = exc
                if isinstance(step, Close):
                    hold = step.hold
        except BaseException as error:
            if (response := talk.untouched(error, raises=self.raises)) is not None:
                return response
            self._drop(talk.open)  # left to the garbage collector, its connection can lock the pool for ever
            raise
        finally:
            DEADLINE.reset(token)
            talk.lines.close()
        talk.watch(talk.walk.result, hold)
        return talk.give(talk.walk.result)

    def _do(self, talk: Talk, step: Step) -> Any:
        if isinstance(step, Send):
            value: Any = self._send(talk, step)
        elif isinstance(step, Fetch):
            value = fetch(step, talk.lines, self.inner)
        elif isinstance(step, Sleep):
            left = talk.left()
            time.sleep(step.seconds if left is None else min(step.seconds, left))
            if left is not None and left <= step.seconds:
                raise talk.lib.ReadTimeout("the deadline over all legs has passed")
            value = None
        else:
            value = talk.kit.perform(step, talk.milliseconds)
            if hasattr(value, "run"):
                value = value.run()
            elif isinstance(value, Aside):
                with talk.paused():
                    value = drive(value.steps, talk.lines)
                DEADLINE.set(talk.deadline)  # later by what was waited: else what is asked next has no time at all
            if isinstance(value, Goods):
                self._drop(talk.done_with())
                value = wire.stored(value, talk.request, talk.lib)
        talk.done(step, value)
        return value

    def _send(self, talk: Talk, step: Send) -> Reply:
        if (response := talk.done_with()) is not None:
            self._release(response)
        request = talk.outgoing(step)
        DEADLINE.set(talk.deadline)
        try:
            response = self.inner.handle_request(request)
        except BaseException as exc:
            raise talk.failed(step, exc) from exc.__cause__
        reply = Reply(response.status_code, response.headers, response=response)
        talk.open = response
        if talk.challenged(step, reply):
            DEADLINE.set(talk.deadline)
            if "payment-required" not in response.headers:
                try:
                    self._read(talk, reply)
                except TimeoutError as exc:
                    raise talk.failed(step, exc) from None
        return reply

    def _read(self, talk: Talk, reply: Reply) -> None:
        """At most MAX_BODY bytes of a 402; what was read is put back in front for a caller who gets it untouched."""
        held = bytearray()
        rest = iter(reply.response.stream)
        for chunk in rest:
            held += chunk
            if wire.full(held, talk.left(), talk.lib):
                reply.complete = False
                break
        reply.raw = bytes(held[:MAX_BODY])
        original = reply.response.stream
        if reply.complete:
            suspect(reply.response, original)
            original.close()
        reply.response.stream = wire.stream_types(talk.lib).replay([bytes(held)], rest, original)

    def _release(self, response: Any) -> None:
        """Hand the connection of a 402 back to the pool: drain what is small and quick, drop what is not."""
        DEADLINE.set(time.monotonic() + wire.DRAIN)
        try:
            with suppress(Exception):
                if wire.small(response):
                    for _ in response.stream:
                        pass
                    suspect(response, response.stream)
        finally:
            self._drop(response)

    @staticmethod
    def _drop(response: Any) -> None:
        """Close what nobody will read: an open answer keeps its connection out of the pool for ever."""
        if response is not None:
            with suppress(Exception):
                response.stream.close()

    def close(self) -> None:
        """Close the inner transport."""
        self.inner.close()

    # -- async --------------------------------------------------------------------------------------------------------

    async def handle_async_request(self, request: Any) -> Any:
        """The same on asyncio and trio."""
        talk = Talk(self.rooms, self.lib, request)
        hold = None
        try:
            for step in talk.walk:
                try:
                    talk.walk.got = await self._ado(talk, step)
                except BaseException as exc:
                    talk.walk.failed = exc
                if isinstance(step, Close):
                    hold = step.hold
        except BaseException as error:
            if (response := talk.untouched(error, raises=self.raises)) is not None:
                return response
            await self._adrop(talk.open)
            raise
        finally:
            await talk.lines.aclose()
        talk.watch(talk.walk.result, hold)
        return talk.give(talk.walk.result)

    async def _ado(self, talk: Talk, step: Step) -> Any:
        if isinstance(step, Send):
            value: Any = await self._asend(talk, step)
        elif isinstance(step, Fetch):
            value = await fetch_async(talk.within(step), talk.lines, self.inner)
        elif isinstance(step, Sleep):
            left = talk.left()
            await sleep(step.seconds if left is None else min(step.seconds, left))
            if left is not None and left <= step.seconds:
                raise talk.lib.ReadTimeout("the deadline over all legs has passed")
            value = None
        else:
            value = talk.kit.perform(step, talk.milliseconds)
            if hasattr(value, "run"):
                value = await wait(value)
            elif isinstance(value, Aside):
                with talk.paused():
                    value = await drive_async(value.steps, talk.lines)
            if isinstance(value, Goods):
                await self._adrop(talk.done_with())
                value = wire.stored(value, talk.request, talk.lib)
        talk.done(step, value)
        return value

    async def _asend(self, talk: Talk, step: Send) -> Reply:
        if (response := talk.done_with()) is not None:
            await self._arelease(response)
        request = talk.outgoing(step)
        try:
            with fail_after(talk.left()):
                response = await self.inner.handle_async_request(request)
        except BaseException as exc:
            raise talk.failed(step, exc) from exc.__cause__
        reply = Reply(response.status_code, response.headers, response=response)
        talk.open = response
        if talk.challenged(step, reply) and "payment-required" not in response.headers:
            await self._aread(talk, reply)
        return reply

    async def _aread(self, talk: Talk, reply: Reply) -> None:
        held = bytearray()
        rest = reply.response.stream.__aiter__()
        try:
            with fail_after(talk.left()):
                async for chunk in rest:
                    held += chunk
                    if wire.full(held, None, talk.lib):
                        reply.complete = False
                        break
        except TimeoutError:
            raise talk.lib.ReadTimeout("the deadline over all legs has passed") from None
        reply.raw = bytes(held[:MAX_BODY])
        original = reply.response.stream
        if reply.complete:
            suspect(reply.response, original)
            await original.aclose()
        reply.response.stream = wire.stream_types(talk.lib).replay([bytes(held)], rest, original)

    async def _arelease(self, response: Any) -> None:
        try:
            with suppress(Exception), move_on_after(wire.DRAIN):
                if wire.small(response):
                    async for _ in response.stream:
                        pass
                    suspect(response, response.stream)
        finally:
            await self._adrop(response)

    @staticmethod
    async def _adrop(response: Any) -> None:
        if response is not None:
            with suppress(Exception), move_on_after(1, shield=True):
                await response.stream.aclose()

    async def aclose(self) -> None:
        """Close the inner transport."""
        await self.inner.aclose()


class PaymentTransport(Pays, httpx.BaseTransport, httpx.AsyncBaseTransport):
    """An httpx transport that pays: `httpx.Client(transport=PaymentTransport(httpx.HTTPTransport(), payer))`."""

    lib = httpx
