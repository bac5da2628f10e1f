"""The dialect door of KAMIYO: its facilitator is x402 version 1 and goes through that dialect; calls on chain are its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ChallengeInvalid
from ...model import QUOTA
from .. import strict
from ..x402 import X402
from .shapes import NAME, challenge

if TYPE_CHECKING:
    from ...model import Ask, Challenge, Claim, Credential, Hold, Offer, Proof
    from ...steps import Presented, Reply, Steps

__all__ = ["Kamiyo"]


class Kamiyo:
    """Its current gateway and its first version. Stateless: one instance serves every thread."""

    name = NAME

    def __init__(self) -> None:
        self._x402 = X402()

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        """The challenge in a 402, None when it is not this dialect's; raises ChallengeInvalid when it is broken."""
        if reply.status != 402 or reply.headers.get_list("payment-required"):
            return None
        try:
            found = strict.parse(reply.content, "payment_options")
        except ChallengeInvalid:
            start = reply.start
            if b'"payment_required"' in start and (b'"payment_options"' in start or b'"payment_methods"' in start):
                raise
            return None
        return challenge(found, ask)

    def agrees(self, challenge: Challenge, ask: Ask) -> Steps[Challenge]:
        """Before calls on chain are chosen: the least, the payee and how many a dollar buys, by the seller's own pages."""
        from .pages import agrees

        return agrees(challenge, ask)

    def present(self, hold: Hold, proof: Proof) -> Steps[Presented]:
        """X-PAYMENT; after a transfer of ours the token that it bought, or its id."""
        if hold.offer.flow != QUOTA:
            return self._x402.present(hold, proof)
        from .native import present

        return present(hold, proof)

    def refuses(self, reply: Reply, credential: Credential) -> bool:
        """Whether a 402 may be about what it sold: all but plain x402, which does not know of tokens. Its own says no reason, so each of those is."""
        del credential
        if reply.headers.get_list("payment-required"):
            return False
        try:
            fields = strict.parse(reply.content).fields
        except ChallengeInvalid:
            return True
        return "payment_required" in fields or not ("x402Version" in fields and "accepts" in fields)

    def receipt(self, reply: Reply, offer: Offer) -> Claim:
        """x402's receipt where there is one: published servers send none."""
        return self._x402.receipt(reply, offer)
