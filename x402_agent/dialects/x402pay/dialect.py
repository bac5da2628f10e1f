"""The dialect door of x402Pay. The gateway's document looks like x402 version 2; that dialect leaves it to this one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ...errors import ChallengeInvalid
from ...model import Claim
from .. import strict
from ..desks import keyed
from .desk import NOBODY, desk
from .shapes import NAME, PROOF, challenge

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ...model import Ask, Challenge, Credential, Hold, Offer, Proof
    from ...steps import Presented, Reply, Steps
    from .desk import Desk

__all__ = ["X402Pay"]

TOKENS = 2  # that one request may try
_OURS = (b'"challengeToken"', b'"paymentEndpoint"', b'"recipient"')


class X402Pay:
    """Content sold on Stacks. Stateless: one instance serves every thread. `settings` are tables by origin (see settings.py)."""

    name = NAME

    def __init__(self, settings: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._desks = {origin: desk(said) for origin, said in (settings or {}).items()}

    def read(self, reply: Reply, ask: Ask) -> Challenge | None:
        """The challenge in a 402, None when it is not this dialect's; raises ChallengeInvalid when it is broken."""
        if reply.status != 402:
            return None
        header = reply.header("payment-required")
        try:
            fields = strict.parse(reply.content if header is None else strict.decode64(header)).fields
        except ChallengeInvalid:
            if b'"payment' in reply.start and any(each in reply.start for each in _OURS):
                raise
            return None
        return challenge(fields, ", ".join(reply.headers.get_list("www-authenticate")), ask, self._desk(ask))

    def owned(self, challenge: Challenge, ask: Ask, account: str, paid: Sequence[tuple[str, str]], now: int,
              refused: Sequence[Credential] = ()) -> Steps[Credential | None]:  # fmt: skip
        """Before anything is paid: what opens the door where the seller knows that we have paid. `paid` are our payments for this very
        request; of each way one is tried, `refused` are those that were: a token, another one, the id itself."""
        from .till import access, shown, token_for

        first, at = challenge.offers[0], self._desk(ask)
        spelling, content, nonce = first.wire[:3]
        if spelling == "gateway":
            door = access(account, first.network, now)
            return None if any(each.headers == door.headers for each in refused) else door
        proofs = [each.headers.get(PROOF, "") for each in refused]
        asks = at.api and content and len(proofs) < TOKENS
        for payment_id, txid in paid if spelling != "bearer" and asks else ():
            found: Credential | None = yield from token_for(ask, content, nonce, txid, at, now, tries=2)
            if found is not None:
                return replace(found, payment_id=payment_id)
        if not paid or spelling == "bearer" or any(each.startswith("0x") for each in proofs):
            return None
        dead = [each for each in paid if each[0] in {one.payment_id for one in refused}]
        return shown(*(dead or paid)[0], nonce, now)

    def left(self, reply: Reply, credential: Credential) -> int | None:
        """None of it, where what was shown is called no proof; else nothing is said."""
        return 0 if reply.status == 401 and PROOF in credential.headers else None

    def present(self, hold: Hold, proof: Proof) -> Steps[Presented]:
        """The token that the transaction bought, or its id."""
        from .till import present

        return present(hold, proof, self._desk(hold.ask))

    def otherwise(self, hold: Hold, proof: Proof, reply: Reply, presented: Presented) -> Steps[Presented | None]:
        """The id itself, where a token that it bought is called no proof."""
        from .till import itself

        shown = presented.headers.get(PROOF, "0x")
        return None if reply.status not in (401, 402) or shown.startswith("0x") else (yield from itself(hold, proof, self._desk(hold.ask)))

    def witness(self, hold: Hold, transaction: str, sign: Callable[[str], str], now: float) -> Steps[str]:
        """What the seller's own history says of a payment, in words; "" where settings name no API. It is signed in to with `sign`."""
        from .account import witness

        at = self._desk(hold.ask)
        if not at.api or not transaction:
            return ""
        return (yield from witness(hold, transaction, at, sign, now))

    def receipt(self, reply: Reply, offer: Offer) -> Claim:
        """Nothing but that it waits: its sellers send no receipt with content."""
        del offer
        return Claim(waiting=reply.status == 402)

    def _desk(self, ask: Ask) -> Desk:
        return keyed(self._desks, ask.origin, NOBODY)
