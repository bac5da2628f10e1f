"""What an offer is worth in dollars: by the table's peg, else by a price source whose word is fresh and narrow enough."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

from .facts import Price

if TYPE_CHECKING:
    from ..model import Asset, Offer
    from .facts import Facts
    from .rules import Policy

__all__ = ["doubt", "priced", "ratio", "valued", "with_fee", "worth"]

_MOST = 2**53


def valued(policy: Policy, offer: Offer, facts: Facts) -> Offer:
    """The offer with the value that budgets count: the upper side of the spread, rounded up. Unchanged without a price."""
    if offer.asset.peg == "USD" or (value := worth(facts, offer.asset, offer.amount + offer.fee_cap)) is None:
        return offer
    return replace(offer, value=value)


def with_fee(offer: Offer, coin: Asset | None, units: int, facts: Facts) -> Offer:
    """The offer with what its network takes of us, at most `units` of its own coin, counted in dollars, too, where the price source knows that coin."""
    more = None if coin is None or not units or offer.micros is None else worth(facts, coin, units)
    return offer if more is None else replace(offer, value=(offer.micros or 0) + more)


def worth(facts: Facts, asset: Asset, units: int) -> int | None:
    """Millionths of a dollar that so many atomic units are worth at most, rounded up; None without peg and price."""
    if asset.peg == "USD":
        return asset.micros(units)
    found = _price(facts, asset)
    return None if found is None else -(-units * (found.micros + found.spread) // 10**asset.decimals)


def priced(facts: Facts, asset: Asset) -> tuple[int, int] | None:
    """Millionths of a dollar that one whole coin is worth, give or take so many; None where nobody knows."""
    found = _price(facts, asset)
    return None if found is None else (found.micros, found.spread)


def doubt(policy: Policy, offer: Offer, facts: Facts) -> tuple[str, str]:
    """Why its value in dollars cannot be relied on, and which rule says so; "" for both when it can."""
    asset = offer.asset
    if asset.peg == "USD":
        return "", ""
    found = _price(facts, asset)
    if found is None:
        return f"nobody knows what {asset.symbol} is worth in dollars", "unknown_price"
    age = facts.now() - found.at
    if not -policy.price_max_age <= age <= policy.price_max_age:
        return f"the price of {asset.symbol} is {int(age)} s old, at most {policy.price_max_age} s are good", "price_max_age"
    if Fraction(found.spread, found.micros) > policy.price_max_spread:
        apart = f"{100 * found.spread / found.micros:.1f} %"
        return f"the price of {asset.symbol} is uncertain by {apart}", "price_max_spread"
    return "", ""


def _price(facts: Facts, asset: Asset) -> Price | None:
    """A price that is one; whatever a plug-in does wrong means that there is none."""
    try:
        found = facts.price(asset)
        good = found is not None and all(type(part) is int for part in found) and found.micros > 0 <= found.spread
        return found if good and found is not None and found.micros + found.spread <= _MOST else None
    except Exception:
        return None


def ratio(number: Fraction) -> str:
    """`2`, `1.5`: a ratio as policy.toml has it."""
    return f"{float(number):g}"
