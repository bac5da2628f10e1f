"""Threads, tasks and real processes on one file: never over budget, nothing acknowledged is lost (I9)."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import nursery
from x402_agent.errors import BudgetExceeded, LedgerError
from x402_agent.ledger.writer import Job, Writer
from x402_agent.model import Limit

WORKER = """
import sys, threading, time, os
sys.path[:0] = {path!r}
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import Desk
from x402_agent.errors import BudgetExceeded
from x402_agent.model import Limit
desk = Desk(Path({folder!r}))
desk.clock = time.time
class Now:
    @property
    def now(self): return time.time()
    def __call__(self): return time.time()
desk.clock = Now()
ledger = desk.open(journal={journal!r})
limits = (Limit("all", "day", {budget}), Limit("all", "total", {budget}), Limit("host:api.example.com", "day", {budget}))
def work(number):
    for count in range({each}):
        try:
            hold = desk.pay(ledger, desk.ask(f"/{{os.getpid()}}/{{number}}/{{count}}"), limits=limits, reserve=count % 3 == 0)
        except BudgetExceeded:
            continue
        os.write(1, (hold.payment_id + "\\n").encode())
        ledger.close(hold, "CLAIMED" if count % 2 else "UNKNOWN", status=200).run()
threads = [threading.Thread(target=work, args=(number,)) for number in range({threads})]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""


def start(desk, *, processes: int, **values):
    options = {"journal": "normal", "budget": 10**12, "each": 10**6, "threads": 2, **values}
    source = WORKER.format(path=sys.path, tests=str(Path(__file__).parent), folder=str(desk.folder), **options)
    command = [sys.executable, "-c", source]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(processes)]


@pytest.mark.parametrize(
    ("processes", "threads", "each", "journal"),
    [(2, 4, 30, "full"), pytest.param(4, 8, 60, "normal", marks=pytest.mark.full)],
)
def test_processes_and_threads_spend_the_budget_exactly(desk, processes, threads, each, journal):
    total = processes * threads * each
    budget = 10_000 * (total - 7)
    running = start(desk, processes=processes, threads=threads, each=each, budget=budget, journal=journal)
    acked = []
    answers = [(process, *process.communicate(timeout=300)) for process in running]
    for process, out, err in answers:
        assert (process.returncode, err) == (0, b""), err.decode()
        acked += out.decode().split()
    desk.clock.now = time.time()
    ledger = desk.open()
    rows = ledger.payments(limit=10**6)
    paid = [payment for payment in rows if payment.outcome != "released"]
    assert len(acked) == len(set(acked)) == len(paid) == total - 7
    assert desk.counted(ledger) == budget
    assert ledger.verify() == []


@pytest.mark.parametrize("rounds", [2, pytest.param(25, marks=pytest.mark.full)])
def test_kill_9_of_writers_loses_nothing_acknowledged(desk, rounds):
    acked: set[str] = set()
    for number in range(rounds):
        running = start(desk, processes=2, journal="normal" if number % 2 else "full")
        acked.update(running[0].stdout.readline().decode().strip() for _ in range(12))  # they work, however slow the machine
        time.sleep(0.05 * (number % 5))
        for process in running:
            process.send_signal(signal.SIGKILL)
        for process in running:
            out, _ = process.communicate(timeout=120)
            acked.update(out.decode().split())
        desk.clock.now = time.time()
        ledger = desk.open()
        rows = {payment.payment_id: payment for payment in ledger.payments(limit=10**6)}
        assert acked <= set(rows)
        assert all(rows[each].outcome != "released" for each in acked)
        assert not [row for row in rows.values() if row.state == "RESERVED"]
        assert ledger.verify() == []
        ledger.shut()
    assert len(acked) > 20


def test_threads_of_one_process_never_overspend(desk, ledger):
    limit = Limit("all", "day", 10_000 * 57)
    done, refused = [], []

    def work(name):
        for number in range(20):
            try:
                done.append(desk.pay(ledger, desk.ask(f"/{name}/{number}"), limits=(limit,)).payment_id)
            except BudgetExceeded:
                refused.append(number)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), len(refused)) == (57, 23)
    assert desk.counted(ledger) == limit.most


async def awaited(job):
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    job.start(done.set, loop.call_soon_threadsafe)
    await done.wait()
    return job.result()


def test_async_callers_share_transactions(desk):
    ledger = desk.open(journal="full")
    batches = []
    write = ledger._store._write
    ledger._store._write = lambda jobs: (batches.append(len(jobs)), write(jobs))

    async def one(number):
        ask = desk.ask(f"/{number}")
        plan = await awaited(ledger.hold(ask, desk.offer(), desk.terms(), ()))
        hold = await awaited(ledger.commit(plan))
        await awaited(ledger.close(hold, "CLAIMED"))

    async def main():
        await asyncio.gather(*(one(number) for number in range(64)))

    asyncio.run(main())
    ledger.flush()
    assert len(ledger.payments(outcome="spent")) == 64
    assert max(batches) > 8
    assert ledger.verify() == []


def test_a_batch_asks_each_loop_once_and_a_closed_loop_harms_nobody(desk, ledger):
    told, asked = [], []

    def loop(name, *, closed=False):
        def soon(call):
            asked.append(name)
            if closed:
                raise RuntimeError("Event loop is closed")
            call()

        return soon

    loops = [loop("one"), loop("gone", closed=True), loop("two")]
    jobs = [ledger.commit(ledger.hold(desk.ask(f"/{n}"), desk.offer(), desk.terms(), ()).run()) for n in range(9)]
    with ledger._writer._turn:  # so that all of them wait for one batch
        for number, job in enumerate(jobs):
            job.start(lambda number=number: told.append(number), loops[number % 3])
    ledger._writer._step()
    deadline = time.monotonic() + 60
    while len(told) < 6 and time.monotonic() < deadline:
        time.sleep(0.005)
    assert sorted(told) == [0, 2, 3, 5, 6, 8] and sorted(asked) == ["gone", "one", "two"]
    assert all(job.result().state == "INFLIGHT" for job in jobs)


def test_an_unforeseen_error_in_a_loops_batch_is_told_to_those_who_wait_and_leaves_the_ledger_usable(desk, ledger):
    class Unforeseen(Exception):
        pass

    def bad(_):
        raise Unforeseen

    good = ledger.commit(ledger.hold(desk.ask("/good"), desk.offer(), desk.terms(), ()).run())
    told = threading.Event()
    with ledger._writer._turn:
        Job(ledger._writer, bad, write=True, full=False).start(lambda: None, lambda call: call())
        good.start(told.set, lambda call: call())
    ledger._writer._step()
    assert told.wait(60)
    with pytest.raises(LedgerError):
        good.result()
    assert ledger.payments() == [] and ledger.verify() == []
    assert desk.pay(ledger, desk.ask("/next")).state == "INFLIGHT"


def test_a_close_reaches_the_disk_by_itself(desk, ledger):
    hold = desk.pay(ledger)
    ledger.close(hold, "CLAIMED").run()
    other = desk.open()
    end = time.monotonic() + 60
    while other.payment(hold.payment_id).state != "CLAIMED":
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_process_that_ends_writes_what_waits(desk):
    source = WORKER.format(path=sys.path, tests=str(Path(__file__).parent), folder=str(desk.folder), journal="normal",
                           budget=10**9, each=2, threads=1)  # fmt: skip
    done = nursery.run(source)
    assert done.returncode == 0, done.stderr
    desk.clock.now = time.time()
    ledger = desk.open()
    assert {payment.state for payment in ledger.payments()} == {"CLAIMED", "UNKNOWN"}
    assert len(os.listdir(f"{desk.path}.owners")) == 1


def test_one_bad_job_harms_no_other_of_its_batch(desk, ledger):
    terms = desk.terms()
    plans = [ledger.hold(desk.ask(f"/{n}"), desk.offer(), terms if n in (1, 3) else desk.terms(), ()).run()
             for n in range(5)]  # fmt: skip
    jobs = [ledger.commit(plan) for plan in plans]
    ledger._store.perform(jobs)
    for job in jobs:
        job.publish()
    failed = []
    for number, job in enumerate(jobs):
        try:
            job.result()
        except LedgerError:
            failed.append(number)
    assert failed == [3]
    assert len(ledger.payments()) == 4
    assert ledger.verify() == []


def test_results_appear_only_after_commit(desk, ledger):
    plan = ledger.hold(desk.ask(), desk.offer(), desk.terms(), ()).run()
    job = ledger.commit(plan)
    seen = []
    real = ledger._store.db

    class Watch:
        def execute(self, statement, *values):
            seen.append((statement.split()[0], job.finished))
            return real.execute(statement, *values)

    ledger._store.db = Watch()
    job.run()
    ledger._store.db = real
    assert ("COMMIT", False) in seen
    assert job.finished


@pytest.mark.parametrize(("mode", "expected"), [("full", ["FULL", "NORMAL"]), ("normal", ["NORMAL"])])
def test_commits_are_durable_and_closes_are_not_waited_for(desk, mode, expected):
    ledger = desk.open(journal=mode)
    seen = []
    real = ledger._store._set_synchronous
    ledger._store._set_synchronous = lambda db, how: (seen.append(how), real(db, how))
    hold = desk.pay(ledger)
    assert seen[-1] == expected[0]
    ledger.close(hold, "CLAIMED").run()
    ledger.flush()
    assert seen[-1] == "NORMAL"
    value = ledger._store.db.execute("PRAGMA synchronous").fetchone()[0]
    assert value == 1


def test_an_interrupted_drainer_fails_the_others_and_blocks_nobody():
    class Interrupt(BaseException):
        pass

    def perform(jobs):
        for job in jobs:
            job.value = job.operation(None)

    writer = Writer(SimpleNamespace(perform=perform, begin=lambda _: False, finish=None))
    entered, go = threading.Event(), threading.Event()

    def slow(_):
        entered.set()
        go.wait(60)

    def bad(_):
        raise Interrupt

    results = {}

    def call(name, operation):
        try:
            results[name] = Job(writer, operation, write=True, full=False).run()
        except (Interrupt, LedgerError) as cause:
            results[name] = cause

    first = threading.Thread(target=call, args=("slow", slow))
    first.start()
    entered.wait(60)
    others = [threading.Thread(target=call, args=(n, bad if n == 0 else lambda _: "ok")) for n in range(4)]
    for thread in others:
        thread.start()
    while len(writer._queue) < 4:
        time.sleep(0.001)
    go.set()
    for thread in [first, *others]:
        thread.join(60)
        assert not thread.is_alive()
    assert results["slow"] is None
    assert all(isinstance(results[n], (Interrupt, LedgerError)) or results[n] == "ok" for n in range(4))
    call("after", lambda _: "ok")
    assert results["after"] == "ok"
    writer.stop()


def test_many_threads_through_one_writer_lose_no_job_and_no_wake_up():
    def perform(jobs):
        for job in jobs:
            job.value = job.operation(None)

    writer = Writer(SimpleNamespace(perform=perform, begin=lambda _: False, finish=None))
    done = []

    def call(n):
        for k in range(300):
            done.append(Job(writer, lambda _, n=n, k=k: (n, k), write=True, full=False).run())

    threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert len(set(done)) == 2400
    writer.stop()
