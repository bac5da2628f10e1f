"""What a paid request costs, beside a plain one and the official client, interleaved in one run.

Sync httpx; the seller is another process that answers fixed bytes; CPU is that of the client's process. The official
client is async (it has no sync httpx client) and runs in its own environment, named by X402_OFFICIAL_PYTHON.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger

__all__ = ["KEY", "PROOF", "Round", "header_microseconds", "measure", "paying", "seller", "table", "timed"]

HERE = Path(__file__).parent
Round = tuple[float, float]
KEY = "22" * 32
PROOF = {"payment-signature": "x" * 1000}  # as large as ours


@contextmanager
def seller() -> Iterator[str]:
    """The base URL of a seller in another process."""
    process = subprocess.Popen([sys.executable, HERE / "seller.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def timed(call: Callable[[], object]) -> Callable[[int], Round]:
    """So many calls, timed: seconds of wall and CPU for each."""
    def run(times: int) -> Round:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            call()
        return (time.perf_counter() - wall) / times, (time.process_time() - cpu) / times

    return run


def paying(stack: ExitStack, policy: Policy) -> list[httpx.Client]:
    """Two clients that pay under one policy, each from a new ledger: journal NORMAL, and durable."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    settings = Settings.load({"X402_AGENT_HOME": str(home)})
    found = []
    for journal in ("normal", "full"):
        ledger = SqliteLedger(home / f"{journal}.db", journal=journal)  # type: ignore[arg-type]
        payer = Payer(wallet=Wallet.from_key(KEY), policy=policy, ledger=ledger, settings=settings)
        stack.callback(payer.close)
        found.append(stack.enter_context(payer.client()))
    return found


def _official(python: str, url: str, stack: ExitStack, *, coincurve: bool) -> Callable[[int], Round]:
    env = dict(os.environ)
    if not coincurve:
        env["ECC_BACKEND_CLASS"] = "eth_keys.backends.native.NativeECCBackend"
    process = subprocess.Popen([python, HERE / "official.py", url], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, env=env, stderr=subprocess.DEVNULL)  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)

    def run(times: int) -> Round:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(f"{times}\n")
        process.stdin.flush()
        wall, cpu = process.stdout.readline().split()
        return float(wall) / times, float(cpu) / times

    return run


def measure(rounds: int, calls: int, python: str = "") -> dict[str, list[Round]]:
    """Seconds of wall and CPU a call, per round, for every way."""
    with ExitStack() as stack:
        base = stack.enter_context(seller())
        policy = Policy(networks=("testnet",), day=10**15, per_call=10**9)

        plain = stack.enter_context(httpx.Client(trust_env=False))
        normal, full = paying(stack, policy)

        def two() -> None:
            plain.get(base + "/paid")
            plain.get(base + "/paid", headers=PROOF)

        ways = {
            "plain GET": timed(lambda: plain.get(base + "/free")),
            "two plain GETs": timed(two),
            "ours, not asked to pay": timed(lambda: normal.get(base + "/free")),
            "ours, paid, journal NORMAL": timed(lambda: normal.get(base + "/paid")),
            "ours, paid, durable": timed(lambda: full.get(base + "/paid")),
        }
        if python:
            ways["official, with coincurve"] = _official(python, base + "/paid", stack, coincurve=True)
            ways["official, without"] = _official(python, base + "/paid", stack, coincurve=False)
        found: dict[str, list[Round]] = {name: [] for name in ways}
        for way in ways.values():
            way(max(5, calls // 4))
        for _ in range(rounds):
            for name, way in ways.items():
                few = max(5, calls // 10) if name == "official, without" else calls
                found[name].append(way(few))
        return found


def header_microseconds(rounds: int = 7, calls: int = 400) -> float:
    """CPU from a parsed offer to the payment header: terms, signature, header text. Best of the rounds."""
    from x402_agent.chains import Evm
    from x402_agent.dialects import X402
    from x402_agent.model import Ask, Hold
    from x402_agent.steps import Reply

    sys.path.insert(0, str(HERE))
    from seller import ASKS

    head = ASKS.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    headers = httpx.Headers([tuple(line.split(b": ", 1)) for line in head])  # type: ignore[misc]
    ask = Ask("GET", "http://127.0.0.1/paid", "http://127.0.0.1", "127.0.0.1", "/paid")
    dialect, chain = X402(), Evm()
    challenge = dialect.read(Reply(402, headers), ask)
    assert challenge is not None
    offer, signer = challenge.offers[0], Wallet.from_key(KEY).signer("eip155")
    assert signer is not None

    def once() -> None:
        terms = chain.terms(offer, signer.address("eip155"), now=int(time.time()), nonce=os.urandom(32), max_lifetime=600)
        proof = chain.prove(offer, terms, signer)
        steps = dialect.present(Hold("0" * 16, ask, offer, terms), proof)
        try:
            next(steps)
        except StopIteration:
            pass

    run = timed(once)
    run(calls)
    return min(run(calls)[1] for _ in range(rounds)) * 1e6


def table(found: dict[str, list[Round]]) -> str:
    """Markdown: best and median of the rounds in milliseconds, and the best as a multiple of a plain GET."""
    base = [min(column) for column in zip(*found["plain GET"], strict=True)]
    lines = ["| call | wall ms, best | median | CPU ms, best | median | wall x plain | CPU x plain |", "|---|---|---|---|---|---|---|"]
    for name, rounds in found.items():
        walls, cpus = zip(*rounds, strict=True)
        numbers = (min(walls) * 1e3, statistics.median(walls) * 1e3, min(cpus) * 1e3, statistics.median(cpus) * 1e3,
                   min(walls) / base[0], min(cpus) / base[1])  # fmt: skip
        lines.append(f"| {name} | " + " | ".join(f"{number:.2f}" for number in numbers) + " |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--calls", type=int, default=100)
    parser.add_argument("--official", default=os.environ.get("X402_OFFICIAL_PYTHON", ""), help="its Python")
    options = parser.parse_args()
    sniffio = "installed" if importlib.util.find_spec("sniffio") else "not installed"
    print(f"httpx {httpx.__version__}, CPython {sys.version.split()[0]}, sniffio {sniffio}\n")
    print(table(measure(options.rounds, options.calls, options.official)))
    print(f"\nparsed offer to payment header: {header_microseconds():.0f} us of CPU, best")


if __name__ == "__main__":
    main()
