"""The dialect door of Lily: a price in a 402, who is paid from the service's own row, proofs and sessions by transfers of ours."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from ...errors import ChallengeInvalid
from ...model import Claim
from ...secret import Secret, Veiled
from .. import strict
from ..desks import keyed
from .credits import shown, spends, wanted
from .desk import NOBODY, amount_in, desk
from .header import HEADER, at, calls, number, parts
from .shapes import NAME, asked, challenge, details_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from decimal import Decimal

    from ...model import Ask, Challenge, Credential, Hold, Offer, Proof
    from ...steps import Presented, Reply, Steps
    from .credits import Credits
    from .desk import Desk

__all__ = ["Lily"]

_REMAINING = "x-402-remaining"


def _token() -> Secret:
    """32 random bytes, as 64 hex digits."""
    return Secret(secrets.token_hex(32))


class Lily:
    """Calls sold for SOL or USDC on Solana. Stateless: one instance serves every thread. `settings` are tables by origin (settings.py);
    `chance` makes the token of a session, `clock` says unix seconds: since when it lives, and when its header is shown."""  # fmt: skip

    name = NAME

    def __init__(self, settings: Mapping[str, Mapping[str, str]] | None = None, chance: Callable[[], Secret] = _token, clock: Callable[[], float] = time.time) -> None:
        self._desks = {origin: desk(said) for origin, said in (settings or {}).items()}
        self._chance, self._clock = chance, clock

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        """The challenge in a 402, None when it is not this dialect's; raises ChallengeInvalid when it is broken."""
        if reply.status != 402 or reply.headers.get_list("payment-required"):
            return None
        return challenge(reply, ask, self._desks.get(ask.origin))

    def agrees(self, challenge: Challenge, ask: Ask) -> Steps[Challenge]:
        """Its offers, by the service's own row and by settings."""
        from .pages import agrees

        return agrees(challenge, ask, self._desk(ask), self._clock())

    def present(self, hold: Hold, proof: Proof) -> Steps[Presented]:
        """The transaction's id, or the session that it has paid for; raises PaymentInDoubt where that cannot be opened yet."""
        from .till import present

        return present(hold, proof, self._desk(hold.ask), self._chance, self._clock())

    def fresh(self, credential: Credential, now: float, sign: Callable[[str, str, str], str]) -> Mapping[str, str]:
        """The header of a session that was kept, with the time of the request that it goes with (unix seconds); of credits, signed, where
        settings still want them spent at this origin, else none."""  # fmt: skip
        header, milliseconds = credential.headers[HEADER], int(now * 1000)
        if spends(header) and not wanted(self._desks.get(credential.origin, NOBODY)):
            return Veiled({})
        made = shown(header, milliseconds, sign) if spends(header) else at(header, milliseconds)
        return Veiled({**credential.headers, HEADER: made.text})

    def credits(self, challenge: Challenge, ask: Ask) -> Steps[Credits]:
        """What our account has at the service that a 402 is of."""
        from .pages import credits_at

        return credits_at(challenge, self._desk(ask))

    def revokes(self, credential: Credential) -> Steps[str]:
        """The seller is told that a session of ours is over; what came of it, in words, "" for what is no session."""
        from .till import revoked

        return revoked(credential, keyed(self._desks, credential.origin, NOBODY))

    def left(self, reply: Reply, credential: Credential) -> int | None:
        """How many calls its session still has, by the amount that an answer says is left; None where it says nothing. Credits that are signed for
        less than is asked now have none: how many there are is asked anew."""  # fmt: skip
        header = credential.headers.get(HEADER, "")
        price = number(parts(header).get("amount", ""))
        if price and spends(header) and (asked(reply) or price) > price:
            return 0
        said = [number(text) for text in reply.headers.get_list(_REMAINING)] or [_balance(reply)]
        return calls(said[0], price) if price and len(said) == 1 and said[0] is not None else None

    def receipt(self, reply: Reply, offer: Offer) -> Claim:
        """Nothing: a seller gives the goods and says no more."""
        del reply, offer
        return Claim()

    def _desk(self, ask: Ask) -> Desk:
        return keyed(self._desks, ask.origin, NOBODY)


def _balance(reply: Reply) -> Decimal | None:
    """`details.currentBalance` of an error, None where there is none."""
    if reply.status < 400:
        return None
    try:
        return amount_in(details_of(strict.parse(reply.content)), "currentBalance")
    except ChallengeInvalid:
        return None
