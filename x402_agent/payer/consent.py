"""A person's yes, between Hold and Sign: asked for on time of its own, and judged again by the rules as they stand when it comes."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .. import tasks
from ..bought import wait
from ..errors import NoAcceptableOffer, PolicyDenied
from ..model import FOREVER, Challenge
from ..policy import choose
from ..steps import Busy, Call, Sleep

if TYPE_CHECKING:
    from ..model import Ask, Hold
    from ..policy import Choice, Reason
    from ..steps import Steps
    from .kit import Kit
    from .payer import Payer

__all__ = ["asking"]

FRESH = 60  # seconds that what a node said before counts as the life of terms that no clock ends
STILL = 10  # looks at a policy that is being written


def asking(kit: Kit, hold: Hold) -> Steps[Hold]:
    """Ask about a reserved Hold. -> the Hold to sign; raises PolicyDenied, BudgetExceeded, LedgerError.

    What a person narrows while somebody is asked binds this payment, too. It is held anew, in one transaction with the
    release of the old row, under other rules, at another value, where its chain counts account nonces, or once the answer took more
    than half the life of its terms.
    """
    from .. import approvals  # a payment that nobody is asked about loads none of this

    payer, rules, before = kit.payer, kit.payer.policy.approval, kit.rules
    who = approvals.approver(rules, payer.approve, payer.settings.approvals, payer.env)
    left = yield Call(lambda: kit.left_of(hold), ours=True)
    now = payer.clock()
    request = approvals.Request.about(hold, kit.asks, left, now=now, seconds=rules.seconds, nonce=payer.nonce())
    note = yield from approvals.ask(who, request, payer.clock)
    yield from _still(payer)
    choice = yield Call(lambda: _again(kit, hold), ours=True)
    held, ends = _under(kit, hold, choice), hold.terms.valid_before
    end = now + FRESH if ends == FOREVER else ends
    anew = kit.later or kit.rules != before or held.offer.micros != hold.offer.micros or (end - payer.clock()) * 2 < end - now
    terms = None
    if anew:
        anchor = yield from kit.anchor(held.offer)
        held, terms = replace(held, gas=kit.gas(held.offer, anchor)), kit.terms(held.offer, anchor)
    until = time.monotonic() + payer.deadline
    while True:
        made: Hold | Busy = yield Call(lambda: payer.ledger.approve(held, note, terms).run(), ours=True)
        if not isinstance(made, Busy):
            break
        yield from wait(held.ask, made, over=time.monotonic() > until)
    try:
        yield Sleep(0)  # who was cancelled meanwhile signs nothing
    except BaseException:
        yield Call(payer.ledger.close(made, "RELEASED").run, ours=True)
        raise
    return made


def _still(payer: Payer) -> Steps[None]:
    """Wait until an edited policy.toml has been read; raises PolicyDenied when it never stands still."""
    for _ in range(STILL):
        if payer.live is None or payer.live.door(payer) is not None or not payer.live.moving:
            return
        yield Sleep(payer.live.pause)
    raise PolicyDenied("policy.toml was edited while a person was asked, and is still being written",
                       rule="a policy is read once it stands still", hint="the same call again")  # fmt: skip


def _again(kit: Kit, hold: Hold) -> Choice:
    """The same offer, judged by the rules of now. Its own row is no purchase before it, and no promise against its allowance."""
    payer, ask = kit.payer, hold.ask
    door = tasks.refusal(ask, *kit.standing)
    if payer.live is not None:
        door = payer.live.door(payer) or door
    kit.rules = payer.policy
    challenge = Challenge(hold.offer.dialect, (replace(hold.offer, value=None),))
    facts: Any = _Besides(kit.paying.facts)
    return choose(kit.rules, ask, challenge, kit.paying.refuses, door=door, facts=facts)


def _under(kit: Kit, hold: Hold, choice: Choice) -> Hold:
    """The Hold under what was judged; raises what forbids it, and PolicyDenied for a reason that no person has seen."""
    if choice.offer is None:
        raise choice.error or NoAcceptableOffer("nothing on offer")
    seen = {_name(reason) for reason in kit.asks}
    for reason in choice.asks:
        if _name(reason) not in seen:
            raise PolicyDenied(f"{reason.what}: that came up while a person was asked about something else",
                               rule=reason.rule, hint="the same call again asks anew", payment_id=hold.payment_id)  # fmt: skip
    return replace(hold, offer=kit.costed(choice.offer, hold.terms.anchor), limits=choice.limits, stop=kit.rules.stop)


def _name(reason: Reason) -> str:
    """The rule, wherever it stands by now."""
    return reason.rule.partition(" in ")[0]


class _Besides:
    """What is known, this one payment aside, which is written down already."""

    def __init__(self, known: Any) -> None:
        self._known = known

    def repeats(self, ask: Ask, seconds: int) -> int:
        return int(self._known.repeats(ask, seconds)) - 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._known, name)
