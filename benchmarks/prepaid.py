"""What a prepaid call costs beside a plain GET: sync httpx, ledger NORMAL and durable, interleaved in one run."""

from __future__ import annotations

import argparse
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parent))
from paid_request import PROOF, Round, paying, seller, table, timed

from x402_agent import Policy

__all__ = ["prepaid"]


def prepaid(rounds: int, calls: int) -> dict[str, list[Round]]:
    """Seconds of wall and CPU a call, per round, for every way."""
    with ExitStack() as stack:
        base = stack.enter_context(seller())
        policy = Policy(networks=("testnet",), day=10**15, per_call=10**9, prepay=(base,), prepay_age=10**6, prepay_uses=10**9)

        plain = stack.enter_context(httpx.Client(trust_env=False))
        normal, full = paying(stack, policy)
        ways = {
            "plain GET": timed(lambda: plain.get(base + "/free")),
            "plain GET with a proof-sized header": timed(lambda: plain.get(base + "/paid", headers=PROOF)),
            "ours, prepaid, journal NORMAL": timed(lambda: normal.get(base + "/paid")),
            "ours, prepaid, durable": timed(lambda: full.get(base + "/paid")),
        }
        found: dict[str, list[Round]] = {name: [] for name in ways}
        for way in ways.values():
            way(max(5, calls // 4))
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(way(calls))
        return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=100)
    options = parser.parse_args()
    print(table(prepaid(options.rounds, options.calls)))


if __name__ == "__main__":
    main()
