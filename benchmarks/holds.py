"""Hold and commit under three limits, durably, beside the barest loop that keeps the same promise, interleaved in one run.

The bare loops set one number aside in one table and settle it again: two small transactions a payment, nothing else. One groups
the calls of 64 tasks into one commit; the other lets four processes of eight threads take turns by a file lock. Ours checks three
limits, the recipient's pin and freezes, and writes a row, an offer and an entry of a hash chain; where processes take turns it
closes the payment as well, since what is open is read again after another process has written.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import itertools
import multiprocessing
import secrets
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from x402_agent.assets import assets
from x402_agent.ledger import SqliteLedger
from x402_agent.model import Ask, Limit, Offer, Stop, Terms

__all__ = ["Figure", "four_processes", "many_tasks", "shares", "table"]

TASKS, PROCESSES, THREADS = 64, 4, 8
ASSET = next(each for each in assets() if each.network.name == "base-sepolia" and each.symbol == "USDC")
PAYEE = "0x209693bc6afc0c5328ba36faf03c514ef312287c"
LIMITS = (
    Limit("all", "day", 10**15),
    Limit("host:api.example.com", "hour", 10**15),
    Limit(f"payee:{ASSET.network.id}/{PAYEE}", "total", 10**15),
)
BARE = """
CREATE TABLE budget (id INTEGER PRIMARY KEY, lim INTEGER, spent INTEGER, reserved INTEGER);
CREATE TABLE held (id TEXT PRIMARY KEY, budget INTEGER, amount INTEGER, state TEXT, at REAL) WITHOUT ROWID;
INSERT INTO budget VALUES (1, 1000000000, 0, 0);
"""
TAKE = "UPDATE budget SET reserved = reserved + 1 WHERE id = 1 AND spent + reserved + 1 <= lim RETURNING id"
HELD = "INSERT INTO held VALUES (?, 1, 1, 'R', ?)"
DONE = "UPDATE held SET state = 'C' WHERE id = ? AND state = 'R' RETURNING budget"
PAID = "UPDATE budget SET reserved = reserved - 1, spent = spent + 1 WHERE id = 1"


class Figure(NamedTuple):
    """Payments a second, and what one of a hundred took longer than, in milliseconds."""

    rate: float
    p99: float


def _bare(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60, cached_statements=128)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    return db


def _step(db: sqlite3.Connection, kind: str, name: str) -> None:
    if kind == "hold":
        assert db.execute(TAKE).fetchone() is not None
        db.execute(HELD, (name, time.time()))
    else:
        assert db.execute(DONE, (name,)).fetchone() is not None
        db.execute(PAID)


def _figure(took: list[float], seconds: float) -> Figure:
    took.sort()
    return Figure(len(took) / seconds, took[int(len(took) * 0.99)] * 1000)


# -- 64 tasks of one event loop ---------------------------------------------------------------------------------------


async def _tasks(pay: Callable[[int], Any], count: int) -> Figure:
    took: list[float] = []
    numbers = iter(range(count))

    async def task() -> None:
        for number in numbers:
            start = time.perf_counter()
            await pay(number)
            took.append(time.perf_counter() - start)

    start = time.perf_counter()
    await asyncio.gather(*(task() for _ in range(TASKS)))
    return _figure(took, time.perf_counter() - start)


async def _bare_tasks(folder: Path, count: int) -> Figure:
    db, loop, pool = _bare(folder / "bare.db"), asyncio.get_running_loop(), ThreadPoolExecutor(1)
    db.executescript(BARE)
    queue: list[tuple[str, str, asyncio.Future[None]]] = []
    busy: list[asyncio.Task[None]] = []

    def run(batch: list[tuple[str, str, asyncio.Future[None]]]) -> None:
        db.execute("BEGIN IMMEDIATE")
        for kind, name, _ in batch:
            _step(db, kind, name)
        db.execute("COMMIT")

    async def pump() -> None:
        while queue:
            batch = queue[:]
            queue.clear()
            await loop.run_in_executor(pool, run, batch)
            for _, _, future in batch:
                future.set_result(None)
        busy.clear()

    def step(kind: str, name: str) -> asyncio.Future[None]:
        future: asyncio.Future[None] = loop.create_future()
        queue.append((kind, name, future))
        if not busy:
            busy.append(loop.create_task(pump()))
        return future

    async def pay(number: int) -> None:
        await step("hold", str(number))
        await step("settle", str(number))

    found = await _tasks(pay, count)
    pool.shutdown()
    db.close()
    return found


def _payment(number: object) -> tuple[Ask, Offer, Terms]:
    ask = Ask("GET", f"https://api.example.com/{number}", "https://api.example.com", "api.example.com", "/report")
    offer = Offer("x402", "exact", ASSET, 10_000, PAYEE, 60, wire=("2", "{}", "", ""))
    now = int(time.time())
    return ask, offer, Terms("0x" + "11" * 20, "0x" + secrets.token_hex(32), now - 60, now + 60)


async def _our_tasks(folder: Path, count: int) -> Figure:
    ledger, loop, stop = SqliteLedger(folder / "ours.db"), asyncio.get_running_loop(), Stop(3, "stop_after")

    async def wait(job: Any) -> Any:
        if not job.ready:
            done: asyncio.Future[None] = loop.create_future()
            job.start(lambda: done.set_result(None), loop.call_soon_threadsafe)
            await done
        return job.run()

    payments = [_payment(number) for number in range(count + TASKS)]

    async def pay(_: int) -> None:
        hold = await wait(ledger.hold(*payments.pop(), LIMITS, stop=stop))
        await wait(ledger.commit(hold))

    await _tasks(pay, TASKS)
    found = await _tasks(pay, count)
    ledger.shut()
    return found


def many_tasks(rounds: int, count: int = 4000) -> list[tuple[Figure, Figure]]:
    """(bare, ours) of each round."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            found.append((asyncio.run(_bare_tasks(Path(folder), count)), asyncio.run(_our_tasks(Path(folder), count))))
    return found


# -- four processes of eight threads ----------------------------------------------------------------------------------


def _bare_process(folder: Path, count: int, threads: Callable[[Callable[[str], None]], None]) -> None:
    db, mine = _bare(folder / "bare.db"), threading.Lock()
    with (folder / "bare.lock").open("a+") as file:

        def step(kind: str, name: str) -> None:
            with mine:
                fcntl.flock(file, fcntl.LOCK_EX)
                db.execute("BEGIN IMMEDIATE")
                _step(db, kind, name)
                db.execute("COMMIT")
                fcntl.flock(file, fcntl.LOCK_UN)

        def pay(name: str) -> None:
            step("hold", name)
            step("settle", name)

        threads(pay)
    db.close()


def _our_process(folder: Path, count: int, threads: Callable[[Callable[[str], None]], None]) -> None:
    ledger, stop = SqliteLedger(folder / "ours.db"), Stop(3, "stop_after")

    def pay(name: str) -> None:
        hold = ledger.commit(ledger.hold(*_payment(name), LIMITS, stop=stop).run()).run()
        assert hold is not None
        ledger.close(hold, "CLAIMED", status=200).run()

    threads(pay)
    ledger.shut()


def _process(work: Callable[..., None], folder: Path, count: int, start: Any, told: Any) -> None:
    took: list[float] = []
    numbers = itertools.count()

    def threads(pay: Callable[[str], None]) -> None:
        def one() -> None:
            while next(numbers) < count:
                name, begun = secrets.token_hex(8), time.perf_counter()
                pay(name)
                took.append(time.perf_counter() - begun)

        made = [threading.Thread(target=one) for _ in range(THREADS)]
        start.wait()
        for thread in made:
            thread.start()
        for thread in made:
            thread.join()
        told.put(took)

    work(folder, count, threads)


def _processes(work: Callable[..., None], folder: Path, count: int) -> Figure:
    context = multiprocessing.get_context("spawn")
    start, told = context.Barrier(PROCESSES + 1), context.Queue()
    made = [context.Process(target=_process, args=(work, folder, count, start, told)) for _ in range(PROCESSES)]
    for each in made:
        each.start()
    start.wait()
    begun = time.perf_counter()
    took = [seconds for _ in made for seconds in told.get()]
    seconds = time.perf_counter() - begun
    for each in made:
        each.join()
    return _figure(took, seconds)


def four_processes(rounds: int, count: int = 300) -> list[tuple[Figure, Figure]]:
    """(bare, ours) of each round, `count` payments a process."""
    found = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            db = _bare(folder / "bare.db")
            db.executescript(BARE)
            db.close()
            SqliteLedger(folder / "ours.db").shut()
            found.append((_processes(_bare_process, folder, count), _processes(_our_process, folder, count)))
    return found


# -- telling ----------------------------------------------------------------------------------------------------------


def shares(found: list[tuple[Figure, Figure]]) -> tuple[float, float]:
    """Ours by bare: the rate (best of the rounds each), and the p99."""
    bare, ours = ([pair[side] for pair in found] for side in (0, 1))
    rate = max(each.rate for each in ours) / max(each.rate for each in bare)
    return rate, min(each.p99 for each in ours) / min(each.p99 for each in bare)


def table(name: str, found: list[tuple[Figure, Figure]]) -> str:
    """For people."""
    lines = [f"{name}: payments a second (p99 in ms)"]
    lines += [f"  bare {bare.rate:8.0f} ({bare.p99:6.1f})   ours {ours.rate:8.0f} ({ours.p99:6.1f})" for bare, ours in found]
    rate, p99 = shares(found)
    return "\n".join([*lines, f"  ours by bare: rate {rate:.2f}, p99 {p99:.2f}"])


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    print(table(f"{TASKS} tasks of one loop, FULL, three limits", many_tasks(rounds)))
    print(table(f"{PROCESSES} processes of {THREADS} threads, FULL, three limits", four_processes(rounds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
