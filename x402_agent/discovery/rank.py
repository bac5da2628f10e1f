"""What a service stands on: evidence, in points, and the words for each. Nothing that its seller wrote about itself counts.

The same function gives the rank by which the index is ordered and the reasons that `search` and `show` print, so they cannot differ.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .nouns import counted

__all__ = ["HIDDEN", "MOST", "SHARE", "VERDICTS", "Evidence", "Judged", "judge"]

MOST = 1_000  # points
DEAR = 1_000 * 10**6  # micros: who asks this much for one call is bait until a person says otherwise
OUTLIER = 20  # times the median of its category
SHARE = 0.02  # of a catalogue: a provider who has more is damped
DAY = 86_400.0
FRESH = 7 * DAY
VERDICTS = {  # what a probe says -> points
    "live-402": 300,
    "gate-after-validation": 120,
    "free": 60,
    "redirect": -60,
    "dead": -300,
    "hostile": -600,
}
AGREEMENT = {"agreement": 150, "drift": -80, "conflict": -200}
HIDDEN = frozenset({"hostile", "price-bait", "price-outlier", "dead", "gone", "conflict"})  # not shown unless asked for


class Evidence(NamedTuple):
    """All that is known of one service but words. `share` is how much of the catalogue its provider has, from 0 to 1; `sources` are sites."""

    verdict: str = ""
    probed: float | None = None
    agreement: str = ""
    payers: int | None = None
    sources: int = 1
    good: int = 0
    bad: int = 0
    micros: int | None = None
    median: int | None = None
    payable: bool = False
    share: float = 0.0
    missed: int = 0
    template: bool = False
    flags: tuple[str, ...] = ()


class Judged(NamedTuple):
    """Points from 0 to MOST, why it stands where it does, and what is suspicious: words of the closed list in docs/discovery.md."""

    points: int
    why: tuple[str, ...]
    suspicious: tuple[str, ...]


def judge(one: Evidence, now: float) -> Judged:
    """Weigh the evidence at this moment."""
    why: list[tuple[int, str]] = [(200, "")]
    odd = list(_suspicious(one))
    why += _probed(one, now)
    if one.good or one.bad:
        why.append((min(250, 100 * one.good) - min(400, 150 * one.bad), _bought(one.good, one.bad)))
    if one.payers:
        why.append((min(150, int(20 * math.log2(1 + one.payers))), f"{counted(one.payers, 'payer')} in 30 days, as its facilitator counts"))
    if one.sources > 1:
        why.append((min(90, 30 * (one.sources - 1)), f"listed by {one.sources} sites"))
    if one.micros is not None and one.median:
        why.append(_price(one.micros, one.median))
    if not one.payable:
        why.append((-150, "no way to pay that we have"))
    if one.share > SHARE:
        why.append((-min(150, int(600 * one.share)), f"its provider has {one.share:.0%} of the catalogue"))
    if one.missed:
        why.append((-100 * one.missed, "missing in the last pass" if one.missed == 1 else f"missing in the last {one.missed} passes"))
    points = sum(each for each, _ in why) - 60 * len(odd)
    said = [f"{text} ({each:+d})" for each, text in sorted(why[1:], key=lambda pair: -abs(pair[0])) if each]
    return Judged(max(0, min(MOST, points)), tuple(said), tuple(odd))


def _probed(one: Evidence, now: float) -> list[tuple[int, str]]:
    if not one.verdict or one.probed is None:
        return [(0, "never probed")]
    days = int((now - one.probed) / DAY)
    when = f"{counted(days, 'day')} ago" if days > 0 else "today"
    weight = VERDICTS.get(one.verdict, 0)
    if weight > 0 and now - one.probed > FRESH:
        weight //= 3
    found = [(weight, f"{one.verdict}, probed {when}")]
    if one.agreement in AGREEMENT:
        found.append((AGREEMENT[one.agreement], {"agreement": "asks what the catalogues say", "drift": "asks another price than the catalogues say",
                                                 "conflict": "pays somebody else, or in another token, than the catalogues say"}[one.agreement]))  # fmt: skip
    return found


def _bought(good: int, bad: int) -> str:
    times = "once" if good + bad == 1 else f"{good + bad} times"
    return f"you bought here {times}" + (f", and {'it' if good + bad == 1 else bad} went wrong" if bad else "")


def _price(micros: int, median: int) -> tuple[int, str]:
    if micros > 4 * median:
        return -120, "dearer than four times its category's median"
    if micros <= median:
        return 40, "not dearer than its category's median"
    return 0, ""


def _suspicious(one: Evidence) -> list[str]:
    found = [each for each in one.flags if each in _ODD]
    if one.micros is not None and one.micros >= DEAR:
        found.append("price-bait")
    elif one.micros is not None and one.median and one.micros > OUTLIER * one.median:
        found.append("price-outlier")
    if one.verdict in ("hostile", "dead"):
        found.append(one.verdict)
    if one.agreement in ("conflict", "drift"):
        found.append(one.agreement)
    if one.missed >= 3:
        found.append("gone")
    return found


_ODD = frozenset({"hidden-text", "credentials-stripped", "listed-by-another", "listed-twice", "payees-differ", "prices-differ", "price-in-decimals", "two-prices-in-one", "entry-unreadable"})
