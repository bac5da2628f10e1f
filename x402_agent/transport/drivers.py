"""Two drivers, sync and async, for one conversation; every hop of a request passes here alone.

A transport, not an Auth or a hook: it sees the real exception of the paid leg, leaves `response.request` without the
proof, never carries a proof over a redirect, and composes with the user's own auth (docs/architecture.md).
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
from anyio import fail_after, move_on_after, sleep
from anyio.lowlevel import checkpoint

from ..steps import MAX_BODY, Aside, Close, Fetch, Goods, Reply, Send, Sleep
from . import wire
from .fetch import drive, drive_async, fetch, fetch_async
from .streams import DEADLINE, install, suspect
from .talk import Talk
from .waiting import wait

if TYPE_CHECKING:
    from ..steps import Step
    from .talk import Rooms

__all__ = ["PaymentTransport", "Pays"]


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
        try:
            if hold is not None:
                await checkpoint()  # a cancellation that was held back comes here: where it came later, nobody would hear that the answer is lost
        except BaseException:
            await self._adrop(talk.walk.result.response)
            raise
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
                await checkpoint()  # from here they are the caller's, who awaits nothing before he has them
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
