"""What a policy would have said of payments that were made: so that a person sees what a line does before it does it."""

from __future__ import annotations

import stat
import time
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import BudgetExceeded, PaymentError
from .budget import dollars
from .choose import refusal
from .facts import Nothing, Price

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from ..model import Asset, Hold, Limit
    from .rules import Policy

__all__ = ["Made", "Stopped", "replay", "warnings"]

_BUCKETS = {"minute": "%Y-%m-%dT%H:%M", "hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m", "total": ""}


class Made(Protocol):
    """A payment that was made, at `at` (unix seconds); `micros` is what was counted for it."""

    @property
    def hold(self) -> Hold: ...
    @property
    def at(self) -> int: ...
    @property
    def micros(self) -> int: ...


class Stopped(NamedTuple):
    """A payment that would not have been made, and the error that would have said so."""

    payment: Made
    error: PaymentError


class _Then(Nothing):
    def __init__(self, at: int) -> None:
        self._at = at

    def now(self) -> float:
        return float(self._at)

    def price(self, asset: Asset) -> Price:
        """It was good enough then: what it was worth stands in the ledger."""
        return Price(1, 0, self._at)


def replay(policy: Policy, payments: Iterable[Made]) -> list[Stopped]:
    """Judge payments again, oldest first, limits over time counted from the first of them. Nobody is asked anything.

    Test money is judged only by a policy that pays in it.
    """
    counted: dict[tuple[str, str, str, str], int] = {}
    stopped = []
    for each in payments:
        ask, offer = each.hold.ask, each.hold.offer
        if offer.network.testnet and not (policy.mix_networks or policy.only_tests()):
            continue
        if offer.asset.peg != "USD":
            offer = replace(offer, value=each.micros)
        error = refusal(policy, ask, offer, _Then(each.at))
        limits = policy.limits(ask, offer) if error is None else ()
        adds = {"micros": each.micros, "payments": 1, "units": offer.money.amount}
        keys = {limit: (limit.scope, limit.window, limit.unit, time.strftime(_BUCKETS[limit.window], time.gmtime(each.at))) for limit in limits}
        over = [limit for limit, key in keys.items() if counted.get(key, 0) + adds[limit.unit] > limit.most]
        if over:
            error = BudgetExceeded(f"more than {_amount(over[0])} for {over[0].scope}", rule=over[0].rule, hint=over[0].hint)
        if error is not None:
            stopped.append(Stopped(each, error))
            continue
        for key, unit in {key: limit.unit for limit, key in keys.items()}.items():
            counted[key] = counted.get(key, 0) + adds[unit]
    return stopped


def _amount(limit: Limit) -> str:
    most = f"{dollars(limit.most)} USD" if limit.unit == "micros" else f"{limit.most} {limit.unit}"
    return f"{most} in total" if limit.window == "total" else f"{most} per {limit.window}"


def warnings(policy: Policy, path: Path, now: float) -> list[str]:
    """What stands in a policy and does nothing, or not what one may think."""
    found = []
    try:
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            found.append(f"{path} may be written by others than you")
    except OSError:
        found.append(f"{path} is not there: the built-in default holds")
    every = {(limit.window, limit.unit): limit for limit in policy.every()["all"].limits}
    for scope, rule in policy.every().items():
        if rule.state != "active":
            found.append(f"the budget of {scope} is {rule.state}   {policy.place('state', scope)}")
        if rule.end is not None and now >= rule.end:
            found.append(f"the budget of {scope} has expired   {policy.place('until', scope)}")
        for limit in rule.limits:
            wide = every.get((limit.window, limit.unit))
            if wide is not None and scope != "all" and limit.most > wide.most:
                found.append(f"never reached, all payments together may be {_amount(wide)}   {limit.rule}")
        if rule.cap is not None and rule.cap.micros > policy.per_call:
            found.append(f"never reached, no call may be above {dollars(policy.per_call)} USD   {rule.cap.rule}")
        kind, _, name = scope.partition(":")
        if kind == "host" and policy.allow and name not in policy.allow and not any(name in each for each in policy.allow):
            found.append(f"{name} is not on the allow list   {policy.place('allow')}")
        if kind == "category" and name not in policy.categories:
            found.append(f"nothing in [categories] is {name}: only tasks can be   {policy.place('category', scope)}")
    asks = [rule for rule in ("approve_above", "ask_new_origin", "ask_new_payee", "drift") if getattr(policy, rule)]
    asks += ["evidence"] if policy.evidence is not None and policy.evidence.otherwise == "ask" else []
    if asks and not policy.approval.how:
        found.append(f"{', '.join(asks)}: without [approval], or approve=… in code, asking is refusing")
    return found
