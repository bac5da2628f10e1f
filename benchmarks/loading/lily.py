"""Lily's seller with many sessions open: users who think, four promised times, and books that must fit every answer."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loading.measuring import SHOWN, numbers, serving

if TYPE_CHECKING:
    import argparse

    from loading.measuring import Told

__all__ = ["PROMISED", "Found", "main", "measure"]

PROMISED = (  # what it is called, who timed it, milliseconds at p95
    ("session judged, its price taken, logged", "session", 50),
    ("credits taken, after the signature", "credits", 30),
    ("database write: the whole transaction", "write", 100),
    ("the seller's part of a call", "all", 200),
    ("the call as its payer sees it", "", 200),
)
SHARE = 0.99


class Found(NamedTuple):
    """How many sessions were open, how it went, what the seller timed, what its books say."""

    open: int
    told: Told
    times: dict[str, dict[str, float]]
    books: dict[str, Any]

    def of(self, name: str) -> dict[str, float]:
        """min, mean, p50, p95, p99, max of one thing."""
        return self.times.get(name, {}) if name else self.told.took

    @property
    def exact(self) -> bool:
        """Whether not one deduction is lost, made twice, or another than its answer said."""
        return bool(self.books["exact"]) and not any(self.books[each] for each in ("lost", "double", "wrong"))


def measure(options: argparse.Namespace) -> Found:
    """Open, load, judge."""
    with tempfile.TemporaryDirectory(prefix="x402-load-") as folder, serving("lily", "lily_serving.py") as seller:
        answers = str(Path(folder, "answers.json"))
        found = seller.ask("open", sessions=options.sessions, users=options.users)
        count = int(1.5 * options.rate * (options.warm + options.seconds)) + 2 * options.users  # who thinks little needs more
        told = seller.load(count, "--rate", options.rate, "--seconds", options.seconds, "--warm", options.warm, "--users", options.users, "--answers", answers)
        return Found(found["open"], told, seller.ask("times")["times"], seller.ask("judge", answers=answers))


def main(options: argparse.Namespace) -> int:
    """Measure, print; 1 where a promise is not kept."""
    if options.quick:
        options.sessions, options.users, options.rate, options.seconds, options.warm = 200, 20, 50.0, 2.0, 0.5
    found = measure(options)
    enough = found.told.good > SHARE * found.told.sent
    passed = {name: 0 < found.of(name).get("p95", 0) < most for _, name, most in PROMISED} | {"books": found.exact, "good": enough}
    if options.json:
        print(json.dumps({"open": found.open, "told": found.told._asdict(), "times": found.times, "books": found.books, "pass": passed}))
        return 0 if all(passed.values()) else 1
    print(f"{found.open} sessions open, {options.users} users, {found.told.good} of {found.told.sent} calls good, {found.told.rate:.0f} a second, "
          f"{1000 * found.told.cpu:.2f} ms of CPU each")  # fmt: skip
    print(f"\n| ms | {' | '.join(SHOWN)} | promised p95 | |\n|---{'|---' * len(SHOWN)}|---|---|")
    for words, name, most in PROMISED:
        print(f"| {words} | {numbers(found.of(name))} | {most} | {_said(passed[name])} |")
    books = found.books
    print(f"\nbooks: {books['sold']} answers, {books['logged']} lines of the log; lost {books['lost']}, double {books['double']}, "
          f"told otherwise {books['wrong']}: {_said(passed['books'])}; good answers: {_said(enough)}")  # fmt: skip
    return 0 if all(passed.values()) else 1


def _said(good: bool) -> str:
    return "PASS" if good else "FAIL"
