"""What the signer service adds to a paid call: the same seller and journal, the key in this process or behind the socket.

A payment through the service waits for one answer of its (the proof) and tells it the outcome without waiting. Three
processes: client, seller, service.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from paid_request import KEY, seller

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.signer import AgentPayer

__all__ = ["measure"]


@contextmanager
def service(home: Path) -> Iterator[Path]:
    """The socket of a service in another process, run as on the command line."""
    (home / "policy.toml").write_text(f'per_call = "1000"\nday = "1000000"\n[signer.agents]\n{os.getuid()} = "bench"\n')
    (home / "policy.toml").chmod(0o600)
    path = home / "run" / "signer.sock"
    env = {**os.environ, "X402_AGENT_HOME": str(home), "X402_AGENT_EVM_KEY": KEY, "X402_AGENT_NETWORKS": "testnet"}
    code = "from x402_agent.cli import main; main()"
    line = [sys.executable, "-c", code, "signer", "run", "--json", "--socket", str(path)]
    process = subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        assert json.loads(process.stdout.readline())["ready"]
        yield path
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def measure(rounds: int, calls: int) -> dict[str, float]:
    """Microseconds of a call, the best of the rounds: plain question and answer, paid here, paid through the service."""
    with ExitStack() as stack:
        base = stack.enter_context(seller())
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = stack.enter_context(service(home))
        settings = Settings.load({"X402_AGENT_HOME": str(home / "own")})
        own = Payer(wallet=Wallet.from_key(KEY), policy=Policy(networks=("testnet",), day=10**15, per_call=10**9),
                    ledger=SqliteLedger(home / "own.db"), settings=settings)  # fmt: skip
        agent = AgentPayer(replace(settings, signer=path))
        here, there = stack.enter_context(own.client()), stack.enter_context(agent.client())
        ways: dict[str, Callable[[], object]] = {
            "question": lambda: agent.desk.link.ask({"op": "open", "payment_id": ""}),
            "here": lambda: here.get(base + "/paid").raise_for_status(),
            "there": lambda: there.get(base + "/paid").raise_for_status(),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, way in ways.items():
                start = time.perf_counter()
                for _ in range(calls):
                    way()
                if number:
                    found[name].append((time.perf_counter() - start) / calls * 1e6)
        own.close()
        agent.close()
    return {name: min(times) for name, times in found.items()}


def main() -> None:
    """Print the three numbers and their difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calls", type=int, default=60)
    options = parser.parse_args()
    found = measure(options.rounds, options.calls)
    print(f"a paid call, key in this process   {found['here']:7.0f} us")
    print(f"a paid call, through the service   {found['there']:7.0f} us")
    print(f"a question to the service          {found['question']:7.0f} us")
    print(f"the service adds                   {found['there'] - found['here']:7.0f} us")


if __name__ == "__main__":
    main()
