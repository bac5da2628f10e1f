"""A person's yes that was given before the call: to one offer, once, and soon."""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from .told import bare

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..approvals import Request
    from ..model import Ask, Offer
    from ..steps import Steps
    from .offers import Offered

__all__ = ["Yes", "identity"]

SOON = 120.0  # seconds that a yes is good for


class Yes:
    """An Approver that says yes once: to the offer that a person was shown, for the same request, for no other reason."""

    name = "a person at the client's end"

    def __init__(self, offered: Offered, clock: Callable[[], float] = time.monotonic) -> None:
        self._offered, self._clock, self._ends = offered, clock, clock() + SOON
        self._used = False

    def ask(self, request: Request) -> Steps[bool]:
        """Whether this is what was said yes to."""
        yield from ()
        if self._used or self._clock() >= self._ends:
            return False
        self._used = True
        seen = {rule.partition(" in ")[0] for rule in self._offered.asks}
        return (
            identity(request.ask) == self._offered.identity
            and _terms(request.offer) == _terms(self._offered.offer)
            and all(bare(each.rule).partition(" in ")[0] in seen for each in request.reasons)
        )


def identity(ask: Ask) -> str:
    """sha256 of method, URL and body, without the caller's key."""
    return hashlib.sha256(f"{ask.method}\n{ask.url}\n{ask._digest_body().hex()}".encode()).hexdigest()


def _terms(offer: Offer) -> Offer:
    """What moves money; what is echoed in a fresh 402 does not."""
    return replace(offer, wire=(), lifetime=0, description="", details="")
