"""Fees: what an offer adds to its price, by kind, and what our own transactions cost in their network's own coin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from .. import assets
from ..errors import BudgetExceeded, PolicyDenied, SettingsError
from ..model import FEES, Limit, Money
from .budget import WINDOWS, dollars

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Ask, Network, Offer
    from .rules import Policy

__all__ = ["Gas", "gas_of", "over", "read_gas"]

_COINS = re.compile(r"([0-9]{1,12})(?:\.([0-9]{1,18}))?", re.ASCII)


class Gas(NamedTuple):
    """What transactions of ours may cost on one network, in atomic units of its own coin: one of them, and all of them in a window."""

    per_call: int | None = None
    windows: tuple[tuple[str, int], ...] = ()


def over(policy: Policy, ask: Ask, offer: Offer, asked: int) -> PolicyDenied | None:
    """Why the fees of an offer are too high: together, or those of one kind; `asked` is what it costs in micro-dollars.

    What no kind is named for may be of any, so it counts against each.
    """
    if not offer.fee_cap and not offer.fees:
        return None
    named = dict(offer.fees)
    rest = offer.fee_cap - sum(named.values())
    if rest < 0 or len(named) < len(offer.fees) or any(kind not in FEES or units < 0 for kind, units in offer.fees):
        return PolicyDenied(f"the fees that {ask.host} asks do not add up", rule="fees are parts of the fee cap (P17)")
    kinds = [("", offer.fee_cap, policy.max_fee)]
    kinds += [(f"{kind} ", named.get(kind, 0) + rest, most) for kind in FEES if (most := getattr(policy, f"max_{kind}_fee")) is not None]
    for kind, units, most in kinds:
        if asked * units > most * offer.money.amount:
            rule = f"max_{kind.strip()}_fee" if kind else "max_fee"
            return PolicyDenied(
                f"{ask.host} asks {kind}fees of {Money(units, offer.asset)}, at most {dollars(most)} USD are paid",
                rule=policy.place(rule), hint=f'{rule} = "…" in policy.toml',
            )  # fmt: skip
    return None


def gas_of(policy: Policy, network: Network, cost: int) -> tuple[Limit, ...]:
    """What the ledger must enforce over time for a transaction of ours that may cost `cost` units of the network's coin; raises
    BudgetExceeded for one that costs too much by itself."""  # fmt: skip
    own = policy.gas.get(network.id, Gas())
    if own.per_call is not None and cost > own.per_call:
        raise BudgetExceeded(
            f"it may cost {network.coins(cost)} of the coin of {network.name}, the limit for one is {network.coins(own.per_call)}",
            rule=policy.place(f"gas.{network.name}.per_call"), hint=f'per_call = "{network.coins(cost)}" there, or try later',
        )  # fmt: skip
    return tuple(
        Limit(f"gas:{network.id}", window, most, policy.place(f"gas.{network.name}.{window}"), "a larger number in that line", "units")  # type: ignore[arg-type]
        for window, most in own.windows
    )


def read_gas(value: Any, place: Callable[..., str], where: dict[str, str]) -> dict[str, Gas]:
    """`[gas.base] per_call = "0.001"`, `day = "0.002"`: by network id; raises SettingsError."""
    if not isinstance(value, dict) or not all(isinstance(own, dict) for own in value.values()):
        raise SettingsError("gas has a table for each network", rule=place("gas"), hint='[gas.base] day = "0.002"')
    made: dict[str, Gas] = {}
    for name, own in value.items():
        network = assets.network(name)
        if network is None or network.id in made:
            raise SettingsError(f"{name!r} is no network of the table, or stands twice", rule=place("gas", name), hint="base, polygon, …")
        found: dict[str, int] = {}
        for key, text in own.items():
            line = where[f"gas.{network.name}.{key}"] = place("gas", name, key)
            parts = _COINS.fullmatch(text) if isinstance(text, str) else None
            if key not in ("per_call", *WINDOWS) or parts is None or len(parts[2] or "") > network.decimals:
                known = ", ".join(("per_call", *WINDOWS))
                raise SettingsError(f"{key} = {text!r:.40} is no limit of gas", rule=line, hint=f'day = "0.002", in whole coins; {known}')
            found[key] = int(parts[1] + (parts[2] or "").ljust(network.decimals, "0"))
        made[network.id] = Gas(found.pop("per_call", None), tuple(found.items()))
    return made
