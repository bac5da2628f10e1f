"""Fifty calls at a time with full durability, beside two plain GETs a call in the same library, interleaved in one run.

Every call has a URL of its own; each round, fifty tasks take the next call from one queue. Both sides keep as many connections.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from paid_request import KEY, Round, seller

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger

__all__ = ["fifty", "shares", "table"]

TASKS = 50
Call = Callable[[str], Awaitable[object]]


async def _round(call: Call, urls: list[str]) -> Round:
    """Seconds of wall and CPU a call, fifty at a time."""
    wall, cpu = time.perf_counter(), time.process_time()
    left = iter(urls)

    async def task() -> None:
        for url in left:
            await call(url)

    await asyncio.gather(*(task() for _ in range(TASKS)))
    return (time.perf_counter() - wall) / len(urls), (time.process_time() - cpu) / len(urls)


async def _library(name: str, base: str, home: Path, rounds: int, calls: int) -> dict[str, list[Round]]:
    lib = __import__(name)
    limits: Any = lib.Limits(max_connections=TASKS, max_keepalive_connections=TASKS)
    policy = Policy(networks=("testnet",), day=10**15, per_call=10**9)
    ledger = SqliteLedger(home / f"{name}.db", journal="full")
    settings = Settings.load({"X402_AGENT_HOME": str(home)})
    payer = Payer(wallet=Wallet.from_key(KEY), policy=policy, ledger=ledger, settings=settings)
    proof = {"payment-signature": "x" * 1000}
    async with AsyncExitStack() as stack:
        stack.callback(payer.close)
        plain = await stack.enter_async_context(lib.AsyncClient(trust_env=False, limits=limits))
        ours = await stack.enter_async_context(payer.async_client(library=name, limits=limits))

        async def two(url: str) -> None:
            assert (await plain.get(url)).status_code == 402
            assert (await plain.get(url, headers=proof)).status_code == 200

        async def paid(url: str) -> None:
            assert (await ours.get(url)).status_code == 200

        ways: dict[str, Call] = {f"{name}, two plain GETs": two, f"{name}, ours, durable": paid}
        found: dict[str, list[Round]] = {way: [] for way in ways}
        for number in range(rounds + 1):  # the first warms up
            for way, call in ways.items():
                measured = await _round(call, [f"{base}/paid?n={number}-{i}" for i in range(calls)])
                found[way] += [measured] if number else []
        return found


def fifty(rounds: int, calls: int) -> dict[str, list[Round]]:
    """Every way, by name, for httpx and httpx2."""
    found: dict[str, list[Round]] = {}
    with seller() as base, tempfile.TemporaryDirectory() as home:
        for name in ("httpx", "httpx2"):
            found |= asyncio.run(_library(name, base, Path(home), rounds, calls))
    return found


def shares(found: dict[str, list[Round]]) -> dict[str, float]:
    """Calls a second of ours by those of two plain GETs, per library: the median of the rounds' own ratios."""
    ratios = {}
    for name in ("httpx", "httpx2"):
        pairs = zip(found[f"{name}, two plain GETs"], found[f"{name}, ours, durable"], strict=True)
        ratios[name] = statistics.median(plain[0] / ours[0] for plain, ours in pairs)
    return ratios


def table(found: dict[str, list[Round]]) -> str:
    """Markdown: calls a second (best and median round) and CPU a call."""
    lines = ["| fifty at a time | calls/s, best | median | CPU ms, best |", "|---|---|---|---|"]
    for name, rounds in found.items():
        walls, cpus = zip(*rounds, strict=True)
        lines.append(f"| {name} | {1 / min(walls):.0f} | {1 / statistics.median(walls):.0f} | {min(cpus) * 1e3:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calls", type=int, default=1000)
    options = parser.parse_args()
    sniffio = "installed" if importlib.util.find_spec("sniffio") else "not installed"
    print(f"CPython {sys.version.split()[0]}, sniffio {sniffio}, {os.cpu_count()} cores\n")
    found = fifty(options.rounds, options.calls)
    print(table(found))
    for name, share in shares(found).items():
        print(f"\n{name}: {share:.2f} x the calls a second of two plain GETs")


if __name__ == "__main__":
    main()
