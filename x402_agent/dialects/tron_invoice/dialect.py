"""The dialect door of TRON invoices: a 402 with one, its status page before and after the transfer, and both ids to show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import ChallengeInvalid
from ...model import Challenge, Claim, Credential
from ...secret import Veiled
from ...steps import Presented
from .. import strict
from ..x402.passed import Passed
from .invoice import LIFE, NAME, SHOP, offers, read
from .status import Pace, before, noticed

if TYPE_CHECKING:
    from ...model import Ask, Hold, Offer, Proof
    from ...steps import Reply, Steps

__all__ = ["TronInvoice"]

_OURS = frozenset({"payment_id", "wallet_address", "status_url"})
_DONE = frozenset({"CLAIMED", "PAID_UNDELIVERED"})
_HINT = "x402-agent get --dry-run URL"


class TronInvoice:
    """The shop's 402 of docs/tron-invoices.md. What it keeps is when which origin may be asked again; it serves every thread."""

    name = NAME

    def __init__(self) -> None:
        self._pace = Pace()

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        """The invoice in a 402, None when it is not this dialect's; raises ChallengeInvalid when it is broken."""
        if reply.status != 402 or reply.headers.get_list("payment-required"):
            return None
        try:
            fields = strict.parse(reply.content).fields
        except ChallengeInvalid:
            if all(f'"{name}"'.encode() in reply.start for name in _OURS):
                raise
            return None
        if not fields.keys() >= _OURS or "accepts" in fields or "x402Version" in fields:
            return None
        try:
            return Challenge(NAME, offers(read(fields, ask.origin), ask.url, SHOP))
        except Passed as why:
            if why.broken:
                raise ChallengeInvalid("the invoice cannot be read", rule=why.reason, hint=_HINT) from None
            return Challenge(NAME, (), (why.reason,))

    def agrees(self, challenge: Challenge, ask: Ask) -> Steps[Challenge]:
        """The challenge, if its status page says that somebody waits for exactly this payment; else without an offer, and with the reason."""
        del ask
        if not challenge.offers or not (why := (yield from before(challenge.offers[0]))):  # one invoice, on whichever network
            return challenge
        return replace(challenge, offers=(), passed_over=(*challenge.passed_over, why))

    def present(self, hold: Hold, proof: Proof) -> Steps[Presented]:
        """Its id and our transaction's, once the monitor has noticed that; raises PaymentInDoubt when it does not."""
        offer, transaction = hold.offer, str(proof.payload["transaction"])
        shown = Veiled({"x-payment-id": offer.wire[2], "x-payment-transaction": transaction})
        note = "" if hold.state in _DONE else (yield from noticed(hold, transaction, self._pace))
        good = Credential("", "", shown, expires=float(hold.terms.valid_after + LIFE)) if offer.wire[6] == SHOP else None
        return Presented(shown, good=good, note=note)

    def receipt(self, reply: Reply, offer: Offer) -> Claim:
        """Nothing: a shop gives the goods and says no more."""
        del reply, offer
        return Claim()
