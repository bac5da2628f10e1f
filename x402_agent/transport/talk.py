"""One request on its way through a driver: its clock, the conversation about it, and what both drivers do without waiting."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import PaymentError, PaymentInDoubt
from ..flow import in_doubt
from ..model import Receipt
from ..secret import without_frames
from ..steps import Close, Fetch, NoAnswer, Reply, Send, Walk
from . import wire
from .lines import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..model import Ask, Hold
    from ..steps import Step

__all__ = ["Rooms", "Talk"]


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
