"""The highest rate that each seller sustains, and what becomes of 100 requests a second in five minutes.

A guess comes from users who never think; four fifths of it, or less in steps of a tenth, were held for `--seconds` after a warm-up, at p95
below 500 ms and with more than 99 % of the answers good.
"""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from loading.measuring import SHOWN, numbers, serving
from loading.shots import ROWS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from loading.measuring import Seller, Told

__all__ = ["Found", "main", "measure"]

P95, SHARE = 500.0, 0.99  # milliseconds, of all answers
PROMISED, STEADY = 1_000, 100  # requests a second
USERS = 32  # who never think
FIRST, STEP = 0.8, 0.9  # of what they get, and of a rate that did not hold


class Found(NamedTuple):
    """What was found of one row. `rate` is what was asked for and held, 0 where nothing was; shares are of the server's thread."""

    name: str
    rate: float
    held: Told
    steady: Told
    shares: dict[str, float]

    @property
    def good(self) -> bool:
        """Whether it holds any rate, and the steady one."""
        return self.rate > 0 and self.steady.meets(P95, SHARE)


def measure(names: list[str], options: argparse.Namespace) -> Iterator[Found]:
    """The highest rate of one row after the other; then the steady rate, of as many at once as `--together` says, which is harder than alone."""
    highest = []
    for name in names:
        with serving(name) as seller:
            rate, held = _highest(seller, options)
            highest.append((name, rate, held, _shares(seller, rate, options) if options.where else {}))
        print(f"{name}: {rate:.0f}/s, good {_share(held)}, p95 {held.took.get('p95', 0):.1f} ms", file=sys.stderr, flush=True)
    for at in range(0, len(names), options.together):
        group = highest[at : at + options.together]
        for (name, rate, held, shares), steady in zip(group, _steady([each[0] for each in group], options), strict=True):
            yield Found(name, rate, held, steady, shares)


def _shares(seller: Seller, rate: float, options: argparse.Namespace) -> dict[str, float]:
    slow = max(10.0, 0.25 * rate)  # a profiler takes time of its own
    return seller.load(int(slow * options.probe), "--rate", slow, "--seconds", options.probe, profiled=True).shares


def _steady(names: list[str], options: argparse.Namespace) -> list[Told]:
    """Sellers at the steady rate at the same time: what is made for one is made before any load begins."""
    with ExitStack() as stack, ThreadPoolExecutor(len(names)) as pool:
        sellers = [stack.enter_context(serving(name)) for name in names]
        made = list(pool.map(lambda seller: seller.make(int(STEADY * options.steady)), sellers))
        return list(pool.map(lambda seller, before: seller.send(before, "--rate", STEADY, "--seconds", options.steady), sellers, made))


def _highest(seller: Seller, options: argparse.Namespace) -> tuple[float, Told]:
    """The rate that was held, and how."""
    guess = seller.load(300, "--flat-out", USERS, "--seconds", options.probe).rate
    rate = seller.load(max(int(1.2 * guess * options.probe), 100), "--flat-out", USERS, "--seconds", options.probe).rate * FIRST
    whole = options.warm + options.seconds
    for _ in range(options.tries):
        held = seller.load(int(rate * whole), "--rate", rate, "--seconds", options.seconds, "--warm", options.warm)
        if held.meets(P95, SHARE):
            return rate, held
        rate *= STEP
    return 0.0, held


def main(options: argparse.Namespace) -> int:
    """Measure, print; 1 where a seller does not hold the steady rate."""
    if options.quick:
        options.seconds, options.warm, options.steady, options.probe, options.tries = 0.6, 0.2, 0.6, 0.3, 1
    rows = [row.name for row in ROWS if options.only.lower() in row.name.lower()]
    found: list[Found] = []
    for one in measure(rows, options):
        found.append(one)
        if not options.json:
            _line(one, first=len(found) == 1, options=options)
    if options.json:
        print(json.dumps([_facts(each) for each in found]))
    return 0 if found and all(each.good for each in found) else 1


def _line(one: Found, *, first: bool, options: argparse.Namespace) -> None:
    if first:
        print(f"| seller, {options.seconds:g} s at its rate; {options.steady:g} s at {STEADY}/s | held, /s | of {PROMISED}/s | good | CPU ms | "
              f"{' | '.join(f'{name} ms' for name in SHOWN)} | at {STEADY}/s: good | p95 ms | p99 ms | |")  # fmt: skip
        print("|---" * (9 + len(SHOWN)) + "|")
    held, steady = one.held, one.steady
    print(f"| {one.name} | {one.rate:.0f} | {one.rate / PROMISED:.2f} | {_share(held)} | {1000 * held.cpu:.2f} | {numbers(held.took)} | "
          f"{_share(steady)} | {steady.took.get('p95', 0):.1f} | {steady.took.get('p99', 0):.1f} | {'PASS' if one.good else 'FAIL'} |", flush=True)  # fmt: skip
    if options.where:
        print("    " + ", ".join(f"{name} {share:.0%}" for name, share in one.shares.items() if share >= 0.02), flush=True)


def _share(told: Told) -> str:
    return f"{100 * told.good / max(1, told.sent):.2f} %"


def _facts(one: Found) -> dict[str, Any]:
    return {"name": one.name, "rate": one.rate, "promised": PROMISED, "held": one.held._asdict(), "steady": one.steady._asdict(), "shares": one.shares, "pass": one.good}
