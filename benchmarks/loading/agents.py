"""Our client under load: agents that buy from five sellers on four chains while requests, answers and nodes fail at random. Judged at the end, exactly.

    python benchmarks/load.py agents --seconds 300 --agents 200

First as tasks of one process; then as several processes on one ledger, which are killed and started again. What a run must show: no budget was exceeded, the
ledger agrees with itself and with the chains, nothing was paid twice, every payment ends with a reason, no call hangs, and memory,
connections and threads stay as they were. The chains' clocks run faster than the machine's, for the client too, so that depth takes seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from judged import Judged, judge

__all__ = ["main"]

HERE = Path(__file__).parent
DEFAULTS: dict[str, Any] = {
    "seconds": 300.0,  # of buying, in each variant
    "agents": 200,
    "seed": 1,
    "faults": 0.15,  # share of all requests that something happens to
    "pause": 0.0,  # seconds at most between two purchases of an agent; 0: as many as sellers in one process bear
    "processes": 4,
    "kill_every": 5.0,
    "resumes": 8.0,  # seconds between two `resume`s while agents buy
    "grace": 150.0,  # seconds that calls may take to end
    "stop_after": 0,  # policy's rule for sellers that deliver nothing: 0 is none
    "only": "",  # one, or several
    "trace": False,  # tracemalloc in the one process: slower, and names what grows
    "keep": "",  # a folder for the ledgers
    "json": False,
}
SPEED = 4.0


class Street:
    """The sellers' process."""

    def __init__(self, options: Any, start: float) -> None:
        words = [str(options.seed), str(options.faults), repr(start), str(SPEED)]
        self.process = subprocess.Popen([sys.executable, HERE / "street.py", *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.told = self._line()

    def _line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("the sellers' process has ended")
        return json.loads(line)

    def do(self, what: str, **told: Any) -> Any:
        """A command, and its answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what, **told}) + "\n")
        self.process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()  # type: ignore[union-attr]
        self.process.wait(20)
        self.process.stdout.close()  # type: ignore[union-attr]


def swarm(told: dict[str, Any]) -> subprocess.Popen[str]:
    """One process of agents: it says when it is ready, and without `until` it is told then how long to go on."""
    plain = {**os.environ, "MALLOC_ARENA_MAX": "1"}  # else glibc keeps for each new thread what it once needed, up to 16 times: no growth of ours
    made = subprocess.Popen([sys.executable, HERE / "swarm.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=plain)
    assert made.stdin is not None
    made.stdin.write(json.dumps(told) + "\n")
    made.stdin.flush()
    return made


def off(processes: list[subprocess.Popen[str]], seconds: float) -> float:
    """Wait for all, and let them go. -> the unix second at which they end."""
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    until = time.time() + seconds
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(f"{until}\n")
        process.stdin.flush()
    return until


def heard(processes: list[subprocess.Popen[str]]) -> list[dict[str, Any]]:
    """What those say that end by themselves."""
    said = [process.communicate()[0] for process in processes]
    return [json.loads(out.splitlines()[-1]) for out, process in zip(said, processes, strict=True) if process.returncode == 0]


def purse(options: Any) -> dict[str, int]:
    """Millionths of a dollar, so few that limits are met: for an agent, for a seller's host, for all."""
    agent = 100_000 + int(2_000 * options.seconds)
    return {"agent": agent, "host": agent * options.agents // 6, "total": agent * options.agents // 2}


def together(told: dict[str, Any], options: Any, street: Street) -> tuple[list[dict[str, Any]], int]:
    """All agents in one process. -> what it says, and how many were killed."""
    process = swarm({**told, "first": 0, "each": options.agents, "seed": options.seed, "piece": 0})
    off([process], options.seconds)
    time.sleep(options.seconds)
    street.do("calm")
    return heard([process]), 0


def apart(told: dict[str, Any], options: Any, street: Street) -> tuple[list[dict[str, Any]], int]:
    """The same agents in several processes on one ledger; every few seconds one of them is killed, and another takes its place."""
    chance = random.Random(options.seed)  # noqa: S311 - chance is seeded
    each = max(1, options.agents // options.processes)
    killed = 0

    def started(slot: int, serial: int, **more: float) -> subprocess.Popen[str]:
        return swarm({**told, "first": slot * each, "each": each, "seed": options.seed + 1000 * serial, "piece": 40 * serial, "traced": False, **more})

    running = [started(slot, slot) for slot in range(options.processes)]
    until = off(running, options.seconds)
    while until - time.time() > 2 * options.kill_every:
        time.sleep(chance.uniform(0.5, 1.5) * options.kill_every)
        slot = chance.randrange(options.processes)
        running[slot].kill()  # SIGKILL
        running[slot].communicate()
        killed += 1
        running[slot] = started(slot, options.processes + killed, until=until)
    time.sleep(max(0.0, until - time.time()))
    street.do("calm")
    return heard(running), killed


def one(name: str, options: Any, home: Path) -> Judged:
    """One variant, from the opening of the stalls to the verdict."""
    start = time.time()
    street = Street(options, start)
    try:
        told = {**street.told, **purse(options), "home": str(home), "ledger": str(home / "sandbox.db"), "start": start, "speed": SPEED, "agents": options.agents,
                "pause": options.pause or options.agents / 10, "gives_up": 0.03, "resumes": options.resumes, "grace": options.grace, "traced": options.trace, "stop_after": options.stop_after}  # fmt: skip
        said, killed = (together if name == "one process" else apart)(told, options, street)
        return judge(name, told, street, said, killed, processes=1 if name == "one process" else options.processes)
    finally:
        street.close()


def _options(given: argparse.Namespace) -> argparse.Namespace:
    """What was given, and the rest as it is meant; `quick` is a few seconds of each variant."""
    quick = getattr(given, "quick", False)
    found = {**DEFAULTS, **({"seconds": 12.0, "agents": 24} if quick else {})}
    said = {name: value for name, value in vars(given).items() if not (quick and name in ("seconds", "agents"))}
    return argparse.Namespace(**{**found, **said})


def main(options: Any) -> int:
    """Both variants; 0 when every verdict is PASS."""
    options = _options(options)
    names = [name for name in ("one process", "several processes") if name.startswith(options.only)]
    found = []
    for name in names:
        with tempfile.TemporaryDirectory() as made:
            home = Path(options.keep or made) / name.replace(" ", "-")
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            found.append(one(name, options, home))
        if not options.json:
            print(found[-1].text(), flush=True)
    if options.json:
        print(json.dumps([each.document() for each in found], indent=2))
    return 0 if all(each.passed for each in found) else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in DEFAULTS.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(flag, action="store_true", default=argparse.SUPPRESS)
        else:
            parser.add_argument(flag, type=type(value), default=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", default=argparse.SUPPRESS)
    sys.exit(main(parser.parse_args()))
