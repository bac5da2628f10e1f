"""A seller and its load in two processes of their own, and what came of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Seller", "Told", "numbers", "python", "serving"]

HERE = Path(__file__).parent
SHOWN = ("min", "mean", "p50", "p95", "p99", "max")


class Told(NamedTuple):
    """One load: what was sent and answered well, in how many seconds, times in milliseconds, CPU of the server for each request in seconds."""

    sent: int
    good: int
    seconds: float
    took: dict[str, float]
    statuses: dict[str, int]
    late: float
    cpu: float
    shares: dict[str, float]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return self.good / self.seconds if self.seconds else 0.0

    def meets(self, p95: float, share: float) -> bool:
        """Whether it was quick and good enough."""
        return self.good > share * self.sent and self.took.get("p95", float("inf")) < p95


def python() -> str:
    """The Python that has aiohttp: of the official client's environment."""
    found = os.environ.get("X402_OFFICIAL_PYTHON", "")
    if not found:
        sys.exit("the load comes from aiohttp: set X402_OFFICIAL_PYTHON to a Python that has it; make .venv-official/.ok makes one")
    return found


class Seller:
    """The process that serves, and the file of requests that it makes."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._file = process, folder / "shots.jsonl"
        self.origin = str(self._line()["origin"])

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the seller's process has ended")
        found: dict[str, Any] = json.loads(line)
        return found

    def ask(self, do: str, **more: Any) -> dict[str, Any]:
        """One order, and its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
        self._process.stdin.flush()
        return self._line()

    def load(self, count: int, *options: object, profiled: bool = False) -> Told:
        """So many requests made, then sent as the options of generator.py say; `shares` are the profile's."""
        before = self.make(count)
        return self.send(before, *options, profiled=profiled)

    def make(self, count: int) -> dict[str, Any]:
        """So many requests made: what had been spent when the last of them was."""
        return self.ask("make", count=count, file=str(self._file))

    def send(self, before: dict[str, Any], *options: object, profiled: bool = False) -> Told:
        """What was made, sent as the options of generator.py say."""
        if profiled:
            self.ask("look")
        command = [python(), str(HERE / "generator.py"), self.origin, str(self._file), *map(str, options)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        after = self.ask("looked" if profiled else "spent")
        came = max(1, after["requests"] - before["requests"])
        cpu = (after["cpu"] - before["cpu"]) / came
        return Told(found["sent"], found["good"], found["seconds"], found["took"], found["statuses"], found["late"].get("p99", 0.0), cpu, after.get("shares", {}))


@contextmanager
def serving(name: str, script: str = "serving.py") -> Iterator[Seller]:
    """A row's seller; it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="x402-load-") as folder:
        command = [sys.executable, str(HERE / script), name]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            try:
                yield Seller(process, Path(folder))
            finally:
                assert process.stdin is not None
                process.stdin.close()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()


def numbers(took: dict[str, float]) -> str:
    """Cells of a table: min, mean, p50, p95, p99, max."""
    return " | ".join(f"{took.get(name, 0):.1f}" for name in SHOWN)
