"""Where the time of one paid call goes: between the steps of the conversation, and by package (cProfile).

    python benchmarks/where.py          # the tables of docs/performance.md
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

sys.path.insert(0, str(Path(__file__).parent))
import itertools

from paid_request import KEY, seller

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger

__all__: list[str] = []

LEGS = {
    ("", "Send"): "first leg: httpx, loopback, the seller",
    ("Send", "Look"): "look again for what was bought earlier, by somebody else meanwhile",
    ("Look", "Find"): "read the challenge, look for an open payment",
    ("Find", "Hold"): "choose by policy, plan the hold",
    ("Hold", "Approve"): "approval hooks (none set)",
    ("Approve", "Sign"): "EIP-712 digest and signature",
    ("Sign", "Commit"): "ledger: row, event, commit",
    ("Commit", "Send"): "payment header, second leg",
    ("Send", "Close"): "read the receipt, note the outcome",
    ("Close", ""): "hand the answer over, httpx reads the body",
}
PACKAGES = ("x402_agent", "httpx", "httpcore", "h11", "sniffio", "anyio", "coincurve", "asyncio")


def _package(file: str, function: str) -> str:
    if file == "~":
        for word, name in (("sqlite3", "sqlite3"), ("socket", "sockets"), ("secp256k1", "coincurve"), ("poll", "sockets")):
            if word in function:
                return name
        return "Python's built-ins"
    path = Path(file).parts
    found = next((name for name in PACKAGES if name in path), "")
    return "x402_agent, " + path[path.index("x402_agent") + 1].removesuffix(".py") if found == "x402_agent" else found or "stdlib"


def _legs(payer: Payer, http: Any, url: str, calls: int, marks: list[tuple[str, float]]) -> dict[str, float]:
    """Median microseconds of each leg."""
    took: dict[str, list[float]] = defaultdict(list)
    for _ in range(calls):
        marks.clear()
        marks.append(("", time.perf_counter()))
        http.get(url)
        marks.append(("", time.perf_counter()))
        for (before, since), (after, at) in itertools.pairwise(marks):
            took[LEGS[before, after]].append((at - since) * 1e6)
    return {leg: statistics.median(took[leg]) for leg in LEGS.values()}


def _packages(http: Any, url: str, calls: int) -> dict[str, float]:
    """Share of the profiled seconds, by package."""
    profile = cProfile.Profile()
    profile.enable()
    for _ in range(calls):
        http.get(url)
    profile.disable()
    spent: dict[str, float] = defaultdict(float)
    for (file, _, function), (_, _, own, _, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        spent[_package(file, function)] += own
    whole = sum(spent.values())
    return {name: own / whole for name, own in sorted(spent.items(), key=lambda pair: -pair[1])}


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1500)
    options = parser.parse_args()
    marks: list[tuple[str, float]] = []
    with ExitStack() as stack:
        base = stack.enter_context(seller())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        policy = Policy(networks=("testnet",), day=10**15, per_call=10**9)
        payer = stack.enter_context(Payer(
            wallet=Wallet.from_key(KEY), policy=policy, settings=Settings.load({"X402_AGENT_HOME": str(home)}),
            ledger=SqliteLedger(home / "full.db"),
            trace=lambda _, step, __: marks.append((type(step).__name__, time.perf_counter())),
        ))  # fmt: skip
        http = stack.enter_context(payer.client())
        for _ in range(200):
            http.get(base + "/paid")
        legs = _legs(payer, http, base + "/paid", options.calls, marks)
        print(f"httpx {httpx.__version__}, CPython {sys.version.split()[0]}, durable\n\n| leg | median us | share |\n|---|---|---|")
        for leg, median in legs.items():
            print(f"| {leg} | {median:.0f} | {median / sum(legs.values()):.0%} |")
        print("\n| package | share of the profile |\n|---|---|")
        shares = _packages(http, base + "/paid", options.calls)
    for name, share in shares.items():
        if share >= 0.01:
            print(f"| {name} | {share:.0%} |")


if __name__ == "__main__":
    main()
