"""A conversation that only asks for the price: what is asked is judged as if it were to be paid, and nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..steps import Send
from . import before
from .kit import Kit, Quote
from .paying import Paying

if TYPE_CHECKING:
    from ..model import Ask, Challenge
    from ..steps import Reply, Steps
    from .payer import Payer

__all__ = ["HELD", "QuoteKit"]

HELD = "credits that lie there are spent before anything is paid"


class QuoteKit(Kit):
    """A conversation that ends where policy has spoken."""

    __slots__ = ("found",)

    def __init__(self, payer: Payer, ask: Ask, found: list[Quote]) -> None:
        super().__init__(payer, ask)
        self.found = found

    def conversation(self) -> Steps[Reply]:
        reply: Reply = yield Send()
        if reply.status == 402 and (challenge := self.read(reply, self.ask)) is not None:
            yield from self.payer.balances.ask(challenge.offers, Paying(self.payer, self.ask).wallet)
            challenge = yield from self.agreed(self.ask, challenge)
            self.found.append(self._quote(challenge))
        return reply

    def _quote(self, challenge: Challenge) -> Quote:
        made = self.judge(self.ask, challenge)
        over = (((made.offer, ""),) if made.offer else ()) + made.passed_over
        if made.offer:
            before.signed(challenge, self.ask, made.offer, self.payer.clock())
        unread = made.unread if challenge.held is None else (*made.unread, HELD)
        return Quote(402, True, made.offer, over, unread, made.error, made.limits, made.asks,
                     tuple(made.micros(offer) for offer, _ in over), challenge.dialect)  # fmt: skip
