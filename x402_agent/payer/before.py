"""What is asked of a seller, and held against what he signed, before anything is set aside for him."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import PaymentError, PolicyDenied
from ..model import BUY, Credential
from ..steps import Keep, Look, Return
from .paying import Paying

if TYPE_CHECKING:
    from ..model import Ask, Challenge, Hold, Offer, Proof
    from ..steps import Presented, Reply, Steps
    from .kit import Kit

__all__ = ["lives", "otherwise", "owned", "signed"]


def owned(kit: Kit, ask: Ask, challenge: Challenge) -> Steps[bool]:
    """Whether something may serve this Ask that was paid for: its dialect has asked, and a credential is kept from now on.

    Dialects ask by `owned(challenge, ask, account, paid, now, refused)`; `paid` are payment and transaction of what was bought by this same
    request, `refused` what was shown by now and is worth nothing. Raises PolicyDenied where that lives, and there is nothing else to show.
    """
    asks = getattr(kit.dialect(challenge.dialect), "owned", None)
    if kit.owns == len(kit.refused) or not kit.asked:  # not by a signer, who talks to no stranger's host
        return False
    kit.owns = len(kit.refused)
    if ask.again is True or ask.method == BUY:
        return False
    if (held := challenge.held) is not None:  # its seller's own pages say that it opens
        return (yield from _held(replace(held, origin=ask.origin, path=held.path or ask.path, dialect=challenge.dialect), kit))
    if asks is None or not challenge.offers:
        return False
    payer = kit.payer
    try:
        account = Paying(payer, ask).address(challenge.offers[0])
        paid = payer.ledger.bought(ask.key) if account else []
        found = (yield from asks(challenge, ask, account, paid, int(payer.clock()), kit.refused)) if account else None
        if found is not None:
            yield Keep(replace(found, origin=ask.origin, path=found.path or ask.path, dialect=challenge.dialect))
    except PaymentError:  # no ledger, or a wallet that is locked: what is paid for says so
        return False
    if found is None:
        yield from _stands(kit, challenge, {payment for payment, _ in paid})
    return found is not None


def _held(held: Credential, kit: Kit) -> Steps[bool]:
    if any(each.headers == held.headers for each in kit.refused):
        return False
    try:
        yield Keep(held)
    except PaymentError:
        return False
    return True


def _stands(kit: Kit, challenge: Challenge, paid: set[str]) -> Steps[None]:
    """What this very request has bought and what lives is not bought again because it is refused: it is shown again until it ends."""
    now = kit.payer.clock()
    living = [each for each in kit.refused if each.dialect == challenge.dialect and each.uses_left is None and (each.expires or 0) > now]
    found = next((each for each in living if each.payment_id in paid), None)
    if found is None:
        return
    yield Keep(replace(found, name=""))
    raise lives(kit, found.payment_id)


def lives(kit: Kit, payment_id: str) -> PolicyDenied:
    """The error for what was bought, is refused, and is not bought again."""
    return PolicyDenied(
        f"{kit.ask.host} refuses what it sold, though that has not ended; nothing was paid again", payment_id=payment_id,
        rule="one purchase, one payment, as long as what was bought lives",
        hint=f"x402-agent why {payment_id[:8]}; to pay anew is yours to say: get --again",
    )  # fmt: skip


def otherwise(kit: Kit, hold: Hold, proof: Proof, reply: Reply, presented: Presented) -> Steps[Presented | None]:
    """What else shows a payment, where what it bought was refused by this answer, by its dialect; what can be had again is forgotten."""
    asks = getattr(kit.dialect(hold.offer.dialect), "otherwise", None)
    found: Presented | None = (yield from asks(hold, proof, reply, presented)) if asks else None
    if found is not None and kit.exchanges and isinstance(kept := (yield Look(hold.ask)), Credential) and kept.payment_id == hold.payment_id:
        yield Return(kept, 0, refused=True)
    return found


def signed(challenge: Challenge, ask: Ask, offer: Offer, now: float) -> str:
    """The seller's signature under the offer that we take, "" when he gave none; raises ChallengeInvalid (evidence.judge)."""
    if not challenge.signed:
        return ""
    from ..evidence import judge, read

    found = judge((read(each, "offer") for each in challenge.signed), ask, offer, now)
    return found.text if found else ""
