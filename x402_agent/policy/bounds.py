"""What one scope may spend, and what that means for the ledger: caps on a call, limits over time, a state and an end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..model import Cap, Limit, Window
from .budget import WINDOWS, dollars

if TYPE_CHECKING:
    from .rules import Policy

__all__ = ["STATES", "Bounds", "Often", "Rule", "State", "compiled"]

State = Literal["active", "paused", "revoked"]
STATES: tuple[State, ...] = ("active", "paused", "revoked")


@dataclass(frozen=True)
class Bounds:
    """Limits of one scope: money in millionths of a dollar per call and per window of the UTC calendar.

    `calls` are (count, window); `units` are (atomic units, window or `per_call`), for a scope of one asset. What is not
    `active`, or past the end of `until` (a UTC day), pays nothing at all. `top_up` is how much may be paid ahead at once to an
    account at a seller, of one host or origin.
    """

    per_call: int | None = None
    minute: int | None = None
    hour: int | None = None
    day: int | None = None
    month: int | None = None
    total: int | None = None
    calls: tuple[tuple[int, Window], ...] = ()
    units: tuple[tuple[int, Window | Literal["per_call"]], ...] = ()
    state: State = "active"
    until: date | None = None
    top_up: int = 0


class Often(NamedTuple):
    """The same purchase, so many times in so many seconds."""

    times: int
    seconds: int


class Rule(NamedTuple):
    """Bounds of one scope, ready to be looked up. `end` is the unix second at which they expire."""

    limits: tuple[Limit, ...] = ()
    cap: Cap | None = None
    unit_cap: Cap | None = None
    state: State = "active"
    end: float | None = None


def compiled(policy: Policy, scope: str, own: Bounds) -> Rule:
    """The look-up form of one scope's bounds, each with the line it stands on and the command that widens it."""
    limits = []
    for window in WINDOWS:
        if (most := getattr(own, window)) is not None:
            hint = policy.wider(scope, window, f"{dollars(most * 2)}/{window}")
            limits.append(Limit(scope, window, most, policy.place(window, scope), hint))
    for count, window in own.calls:
        hint = policy.wider(scope, "calls", f"--calls {count * 2}/{window}")
        limits.append(Limit(scope, window, count, policy.place("calls", scope), hint, "payments"))
    unit_cap = None
    for most, span in own.units:
        rule = policy.place(f"{span}_units", scope)
        if span == "per_call":
            unit_cap = Cap(most, rule, policy.wider(scope, f"{span}_units", "--per-call-units {amount}"))
        else:
            limits.append(Limit(scope, span, most, rule, "a larger number in that line", "units"))
    cap = None
    if own.per_call is not None:
        cap = Cap(own.per_call, policy.place("per_call", scope), policy.wider(scope, "per_call", "--per-call {amount}"))
    end = None if own.until is None else _midnight(own.until + timedelta(days=1))
    return Rule(tuple(limits), cap, unit_cap, own.state, end)


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
