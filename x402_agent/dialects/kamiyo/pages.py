"""What the seller's own pages say of calls on chain, asked before any are paid for: the least, the payee, and how many a dollar buys.

A 402 says none of it. The number of calls decides whether they are cheaper than single ones, so one that nobody advertises is not
hoped for: then no more than the least is bought at once, and ranked as so many calls as it would buy one by one.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ChallengeInvalid
from ...model import BUY, QUOTA
from ...steps import Fetch, Fetched
from .. import strict
from ..x402.passed import Passed
from .shapes import CALL, MINIMUM, described, same, usdc

if TYPE_CHECKING:
    from ...model import Ask, Challenge, Offer
    from ...steps import Steps

__all__ = ["agrees"]

RATES = Fraction(1, 1000), Fraction(10**6)  # calls for a dollar that anybody is believed to sell


class _Said(NamedTuple):
    """The pages, as far as they say something: atomic units, chains by the seller's names, calls for a dollar."""

    least: int = 0
    chains: tuple[Any, ...] | None = None
    addresses: dict[str, Any] | None = None
    rate: Fraction | None = None


def agrees(challenge: Challenge, ask: Ask) -> Steps[Challenge]:
    """The challenge with its calls on chain as the seller's own pages have them; what they contradict is passed over, with the reason.

    A seller without such pages is taken by its 402.
    """
    chains = yield from _page(f"{ask.origin}/x402/supported-chains")
    pricing = yield from _page(f"{ask.origin}/x402/pricing")
    said = _said(chains, pricing)
    offers: dict[Offer, None] = {}
    passed = dict.fromkeys(challenge.passed_over)
    for offer in challenge.offers:
        try:
            offers |= dict.fromkeys(_sized(offer, ask, said) if offer.flow == QUOTA else (offer,))
        except Passed as why:
            passed[f"{offer.network.name}: {why.reason}"] = None
    return replace(challenge, offers=tuple(offers), passed_over=tuple(passed))


def _page(url: str) -> Steps[strict.Document | None]:
    got: Fetched = yield Fetch("GET", url, theirs=True)
    try:
        return strict.parse(got.content) if got.status == 200 else None
    except ChallengeInvalid:
        return None


def _said(chains: strict.Document | None, pricing: strict.Document | None) -> _Said:
    said = _Said(rate=_rate(pricing.fields) if pricing else None)
    if chains is None:
        return said
    try:
        least = usdc(chains.raw["min_payment_amount"]) if "min_payment_amount" in chains.raw else 0
    except Passed:
        return said
    listed, addresses = chains.fields.get("supported_chains"), chains.fields.get("payment_addresses")
    return said._replace(least=least, chains=tuple(listed) if isinstance(listed, list) else None,
                         addresses=addresses if isinstance(addresses, dict) else None)  # fmt: skip


def _rate(fields: dict[str, Any]) -> Fraction | None:
    """`requests_per_dollar`, where published servers have it, or had; None where nobody says it in a number that is believed."""
    tiers = fields.get("pricing_tiers")
    for place in (tiers.get("pay_per_use") if isinstance(tiers, dict) else None, fields.get("pricing"), fields):
        found: Any = place.get("requests_per_dollar") if isinstance(place, dict) else None
        if type(found) in (int, float) and found > 0:
            return min(Fraction(str(found)), RATES[1])
    return None


def _sized(offer: Offer, ask: Ask, said: _Said) -> list[Offer]:
    """As many calls as are expected, and the fewest, by what a dollar buys there; a person who buys so many gets no fewer. Raises Passed."""
    chain, price, rate = offer.wire[1], int(offer.wire[2]), said.rate
    named = (said.addresses or {}).get(chain, offer.pay_to)
    if said.chains is not None and chain not in said.chains:
        raise Passed("its own page does not take it (/x402/supported-chains)", broken=False)
    if not isinstance(named, str) or not same(named, offer.pay_to):
        raise Passed("it names one recipient in its 402 and another on its own page (R3)", broken=False)
    least = max(MINIMUM, price, said.least)
    if rate is None:
        calls = min(max(1, least // price if price else 1), least // CALL)
        return [_of(offer, least, calls, least // CALL)]
    if rate < RATES[0]:
        raise Passed("a dollar buys next to no calls there (/x402/pricing)", broken=False)
    amounts = dict.fromkeys(max(least, -(-calls * 10**6 // rate)) for calls in ((ask.expect,) if ask.method == BUY else (ask.expect, 1)))
    return [_of(offer, amount, made, made) for amount in amounts for made in (int(amount * rate // 10**6),)]


def _of(offer: Offer, amount: int, calls: int, most: int) -> Offer:
    """The same way, for so much: ranked as so many calls, of which at most so many are believed to have been bought."""
    return replace(offer, amount=amount, serves=calls, description=described(calls, int(offer.wire[2])), wire=(*offer.wire[:3], str(most)))
