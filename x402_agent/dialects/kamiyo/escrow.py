"""x402resolve's escrow on Solana: recognised by its headers, and returned untouched. It shares `x-payment-proof` with another system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...model import Challenge, Claim
from ...steps import Presented

if TYPE_CHECKING:
    from ...model import Ask, Hold, Offer, Proof
    from ...steps import Reply, Steps

__all__ = ["Escrow"]


class Escrow:
    """It asks for an account of its own program and decides by itself what comes back of it: nothing that a rule here could bound."""

    name = "x402resolve"

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        """A Challenge that nobody pays, and that no other dialect may take for its own; None when it is not theirs."""
        del ask
        named = all(reply.headers.get_list(name) for name in ("x-escrow-address", "x-program-id"))
        if reply.status != 402 or not named or reply.headers.get_list("payment-required"):
            return None
        return Challenge(self.name, (), ("an escrow of x402resolve on Solana: it is left untouched",), untouched=True)

    def present(self, hold: Hold, proof: Proof) -> Steps[Presented]:
        """Nothing: it has no offers."""
        yield from ()
        return Presented({})

    def receipt(self, reply: Reply, offer: Offer) -> Claim:
        """Nothing, likewise."""
        del reply, offer
        return Claim()
