"""What offers cost on whatever chain, in one currency, and whose turn it is among those that may be paid. Nothing is swapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .budget import dollars
from .value import worth

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Offer
    from .facts import Facts
    from .rules import Policy

__all__ = ["Turn", "cheapest_first", "preferred_first", "why_not"]

_MICRO = 10**12
_UNKNOWN = 1 << 512


class Turn(NamedTuple):
    """An offer and what it costs all told, in 10^-18 dollars: price, fees in its token, the network's fee; None when a part has no price.

    `whole` is the same for all the calls that are expected: what is bought by the call, as often as it takes.
    """

    offer: Offer
    cost: int | None
    whole: int | None

    @property
    def micros(self) -> int | None:
        """The same in millionths of a dollar, rounded up."""
        return None if self.cost is None else -(-self.cost // _MICRO)


def cheapest_first(offers: Iterable[Offer], facts: Facts, expect: int = 1) -> list[Turn]:
    """By cost of as many calls as are expected, then flows in which a failing handler costs nothing, then what needs no allowance, then what pays for more of them at once, then by name: whatever
    order a seller lists them in, the same one comes first."""  # fmt: skip
    return sorted((_turn(offer, _cost(offer, facts), expect) for offer in offers), key=lambda turn: _place(turn, expect))


def _turn(offer: Offer, cost: int | None, expect: int) -> Turn:
    return Turn(offer, cost, None if cost is None else cost * -(-expect // offer.serves))


def _place(turn: Turn, expect: int) -> tuple[int, bool, bool, int, str, str, str]:
    offer = turn.offer
    cost = _UNKNOWN if turn.whole is None else turn.whole
    return cost, offer.flow != "authorization", offer.method != "", -min(offer.serves, expect), offer.asset.id, offer.pay_to, offer.method


def _cost(offer: Offer, facts: Facts) -> int | None:
    if offer.value is not None:
        price = offer.value * _MICRO
    elif offer.asset.peg == "USD":
        price = offer.money.amount * 10 ** (18 - min(18, offer.asset.decimals))
    else:
        return None
    fee = facts.fee(offer)
    if fee is None or not fee.amount:
        return price
    more = worth(facts, fee.asset, fee.amount)
    return None if more is None else price + more * _MICRO


def preferred_first(policy: Policy, turns: list[Turn]) -> list[Turn]:
    """What a person prefers comes first while it costs at most `prefer_within` times the cheapest; `turns` are sorted."""
    if not policy.prefer or len(turns) < 2:
        return turns
    least = turns[0].whole
    liked = [turn for turn in turns if policy.liking(turn.offer.network) is not None
             and (least is None or (turn.whole is not None and turn.whole <= least * policy.prefer_within))]  # fmt: skip
    liked.sort(key=lambda turn: policy.liking(turn.offer.network) or 0)
    return liked + [turn for turn in turns if turn not in liked]


def why_not(policy: Policy, turn: Turn, chosen: Turn, expect: int = 1) -> str:
    """Why an offer that may be paid is not the one that is."""
    if turn.whole is None or chosen.whole is None:
        return "no cheaper" if turn.whole == chosen.whole else "nobody knows what its network's fee is worth in dollars"
    more = turn.whole - chosen.whole
    if more < 0:
        return f"{chosen.offer.network.name} is preferred ({policy.place('prefer')})"
    calls = f" for {expect} calls" if expect > 1 else ""
    return f"costs {dollars(-(-more // _MICRO))} USD more{calls}" if more else "no cheaper"
