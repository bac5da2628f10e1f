"""Sends requests that lie in a file, as many a second as it is told, whatever comes back: aiohttp, in a process of its own.

    PYTHON generator.py ORIGIN FILE --rate 500 --seconds 60 --warm 5 [--users 1000] [--flat-out 32] [--answers FILE]

A time is counted from when its request was due, not from when there was room for it: who waits behind others waits. With `--users` each
one sends, thinks, and sends again, half to one and a half times as long as the rate gives it. `--flat-out` asks how many answers so
many users get who never think. It imports nothing of x402_agent: its Python is any that has aiohttp. It prints a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).parent.parent))
from loading.summed import summary

__all__: list[str] = []

LINKS = 256  # connections
IDLE = 2  # seconds after which a connection is not used again: servers close theirs after five
MANY = 4_000  # unanswered requests at which nobody needs to see more
PATIENCE = aiohttp.ClientTimeout(total=10)
REMAINING = "X-402-Remaining"


class Load:
    """What was sent and what came back. Times are in seconds."""

    def __init__(self, http: aiohttp.ClientSession, origin: str, warm_until: float) -> None:
        self._http, self._origin, self._warm = http, origin, warm_until
        self.took: list[float] = []
        self.late: list[float] = []
        self.statuses: Counter[str] = Counter()
        self.answers: list[tuple[int, str, str]] = []
        self.open = 0

    async def send(self, number: int, shot: list[Any], due: float) -> None:
        """One request, to its end."""
        method, path, headers, body = shot
        loop = asyncio.get_running_loop()
        counted = due >= self._warm
        self.open += 1
        if counted:
            self.late.append(loop.time() - due)
        try:
            async with self._http.request(method, self._origin + path, headers=headers, data=body.encode() if body else None) as reply:
                await reply.read()
                status = str(reply.status)
                self.answers.append((number, status, reply.headers.get(REMAINING, "")))
        except (aiohttp.ClientError, TimeoutError, OSError) as why:
            status = type(why).__name__
            self.answers.append((number, status, ""))
        self.open -= 1
        if counted:
            self.took.append(loop.time() - due)
            self.statuses[status] += 1


async def _at_rate(load: Load, shots: Any, rate: float, start: float) -> None:
    loop, tasks = asyncio.get_running_loop(), set()
    for number, shot in enumerate(shots):
        due = start + number / rate
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        if load.open > MANY:
            load.statuses["overrun"] += MANY
            break
        task = asyncio.create_task(load.send(number, shot, due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def _users(load: Load, shots: list[Any], rate: float, users: int, start: float, end: float) -> None:
    """Each has every `users`-th request, as many of them as come due before the end."""
    loop, chance = asyncio.get_running_loop(), random.Random(1)  # noqa: S311 - when somebody clicks is no secret
    pause = users / rate

    async def one(first: int, due: float) -> None:
        for number in range(first, len(shots), users):
            if due > end:
                return
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            await load.send(number, shots[number], due)
            due = loop.time() + pause * chance.uniform(0.5, 1.5)

    await asyncio.gather(*(one(each, start + pause * chance.random()) for each in range(users)))


async def _flat_out(load: Load, shots: Any, users: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds

    async def one() -> None:
        for number, shot in shots:
            if (now := loop.time()) > end:
                return
            await load.send(number, shot, now)

    await asyncio.gather(*(one() for _ in range(users)))


async def main() -> None:
    """Read, send, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("origin")
    parser.add_argument("file", type=Path)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--warm", type=float, default=0.0)
    parser.add_argument("--users", type=int, default=0)
    parser.add_argument("--flat-out", type=int, default=0)
    parser.add_argument("--answers", type=Path, help="where to write of each request its line, status, and what the seller says is left")
    said = parser.parse_args()
    whole = said.warm + said.seconds
    count = int(said.rate * whole) if said.rate and not said.users else None
    with said.file.open(encoding="utf-8") as file:
        shots = [json.loads(line) for line in islice(file, count)]
    loop = asyncio.get_running_loop()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=LINKS, keepalive_timeout=IDLE), timeout=PATIENCE) as http:
        start = loop.time() + 0.05
        load = Load(http, said.origin, start + said.warm)
        cpu = time.process_time()
        if said.flat_out:
            await _flat_out(load, enumerate(shots), said.flat_out, said.seconds)
        elif said.users:
            await _users(load, shots, said.rate, said.users, start, start + whole)
        else:
            await _at_rate(load, shots, said.rate, start)
        spent = loop.time() - start if not said.users else whole
    if said.answers:
        said.answers.write_text(json.dumps(load.answers), encoding="utf-8")
    good = sum(count for status, count in load.statuses.items() if status in ("200", "201"))
    sent = sum(load.statuses.values())
    print(json.dumps({
        "sent": sent, "good": good, "statuses": dict(load.statuses), "seconds": round(spent - said.warm, 3), "took": summary(load.took),
        "late": summary(load.late), "cpu": round(time.process_time() - cpu, 3),
    }))  # fmt: skip


if __name__ == "__main__":
    asyncio.run(main())
