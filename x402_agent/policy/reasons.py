"""Why an offer that is within every limit still needs a person's yes, or gets a no: its price, its recipient, its origin."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from .approval import Reason
from .budget import dollars
from .evidence import listed_at, unproven
from .value import doubt, ratio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import Ask, Offer
    from .facts import Facts
    from .rules import Policy

__all__ = ["drifted", "level", "reasons"]

_LISTED = Fraction(2)  # times the listed price, where no drift is set


def level(days: Sequence[tuple[str, int]], most: Fraction) -> tuple[str, int] | None:
    """The day and price to compare with: the least of the days, from the last jump on that a person must have allowed.

    A seller who walks up slowly is compared with where he began; a jump past `most` that was paid all day is the new base.
    """
    base: tuple[str, int] | None = None
    for day, least in days:
        if base is None or least < base[1] or least > most * base[1]:
            base = day, least
    return base


def drifted(policy: Policy, ask: Ask, offer: Offer, facts: Facts) -> Reason | None:
    """What is dearer than it was, or than it is listed, by more than the ratio of policy."""
    asked = offer.micros
    if asked is None:
        return None
    most = policy.drift or _LISTED
    rule, hint = policy.place("drift"), f'drift = "{ratio(most * 2)}" in policy.toml'
    if (listed := listed_at(policy, ask, offer, facts)) is not None and asked > most * listed:
        what = f"{ask.host} asks {offer.money}, more than {ratio(most)} times the {dollars(listed)} USD it is listed at"
        return Reason(what, rule, hint)
    if policy.drift is None:
        return None
    base = level(facts.paid(ask), most)
    if base is None or asked <= most * base[1]:
        return None
    what = f"{ask.host} asks {offer.money}, more than {ratio(most)} times the {dollars(base[1])} USD that was paid on {base[0]}"
    return Reason(what, rule, hint)


def reasons(policy: Policy, ask: Ask, offer: Offer, facts: Facts) -> tuple[Reason, ...]:
    """Everything that a person must be asked about; () for most offers, at no cost where no rule asks."""
    found = []
    above = policy.approve_above
    if above is not None and (offer.micros is None or offer.micros > above):
        what = f"{ask.host} asks {offer.money}, which is above {dollars(above)}"
        found.append(Reason(what, policy.place("approve_above")))
    if offer.metered:
        what = f"{ask.host} counts {offer.metered}, so nobody knows what a call costs; {offer.money} would be paid ahead"
        found.append(Reason(what, "a price that is not known before the call", 'max_payment = "…" in settings.toml'))
    doubtful, rule = doubt(policy, offer, facts)
    if doubtful:
        found.append(Reason(doubtful, policy.place(rule), "Payer(prices=…)"))
    if (policy.drift is not None or ask.listed is not None or policy.evidence is not None) and (drift := drifted(policy, ask, offer, facts)):
        found.append(drift)
    pin = f"x402-agent pin {ask.origin} {offer.pay_to} --network {offer.network.name}"
    if policy.ask_new_origin and not facts.knows_origin(ask):
        found.append(Reason(f"{ask.origin} was never paid before", policy.place("ask_new_origin"), pin))
    if policy.ask_new_payee and not facts.knows_payee(offer):
        found.append(Reason(f"{offer.pay_to} was never paid before", policy.place("ask_new_payee"), pin))
    if policy.evidence is not None and policy.evidence.otherwise == "ask" and (short := unproven(policy, ask, offer, facts)):
        found.append(short)
    if policy.repeat is not None and facts.repeats(ask, policy.repeat.seconds) >= policy.repeat.times:
        what = f"{ask.method} {ask.origin}{ask.path} was bought {policy.repeat.times} times in {policy.repeat.seconds} seconds"
        found.append(Reason(what, policy.place("repeat"), 'repeat = "20 in 10 minutes" in policy.toml'))
    return tuple(found)
