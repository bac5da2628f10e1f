"""An Ask that may be paid on one offer's terms alone: those that a quote or a plan has shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import PolicyDenied
from ..model import INVOICE

if TYPE_CHECKING:
    from ..model import Ask, Challenge, Offer
    from .facts import Facts

__all__ = ["locked"]

_TAIL = 10_000  # atomic units: what is below a cent tells one invoice from another, and is no other price


def locked(ask: Ask, challenge: Challenge, facts: Facts) -> Challenge:
    """The challenge with those of its offers that are on the Ask's locked terms; raises PolicyDenied where none is.

    The same digest, or one that differs in the envelope alone: what is echoed, the lifetime, what the chain must know
    to make this one proof, an invoice's fractions of a cent. Asset, amount, recipient, scheme, way and every fee are as they were.
    """
    if ask.offer is None:
        return challenge
    fixed = ask.offer
    same = tuple(each for each in challenge.offers
                 if each.digest == fixed.digest or (_terms(each, fixed) and facts.fee(each) == facts.fee(fixed)))  # fmt: skip
    if same:
        return replace(challenge, offers=same)
    now = "; ".join(_shown(each) for each in challenge.offers[:4]) or "nothing that is understood here"
    raise PolicyDenied(f"{ask.host} asks other terms than were locked: {_shown(ask.offer)} then, {now} now",
                       rule="the offer that was locked by its digest", hint="a new quote, or a new plan")  # fmt: skip


def _terms(asked: Offer, fixed: Offer) -> bool:
    if asked.flow == INVOICE and asked.amount // _TAIL == fixed.amount // _TAIL:
        asked = replace(asked, amount=fixed.amount)
    return replace(asked, wire=fixed.wire, lifetime=fixed.lifetime, description=fixed.description, details=fixed.details) == fixed


def _shown(offer: Offer) -> str:
    return f"{offer.money} to {offer.pay_to} [{offer.digest[:12]}]"
