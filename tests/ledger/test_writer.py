"""The writer thread: it outlives a batch that fails, and where the system gives no thread nobody waits for one."""

from __future__ import annotations

import logging
import threading
import time

import anyio
import pytest

from x402_agent import LedgerError
from x402_agent.ledger.writer import Forgiving, Job, Late, Writer
from x402_agent.transport.waiting import wait


class Store:
    """Operations without a file; `halves` as the ledger's: all but the COMMIT where the caller is."""

    def __init__(self, *, halves=True):
        self.halves = halves

    def perform(self, jobs):
        for job in jobs:
            job.value = job.operation(None)

    def begin(self, jobs):
        if self.halves:
            self.perform(jobs)
        return self.halves

    def finish(self, jobs):
        assert self.halves


def broken(_):
    raise KeyError("0xsecret")


def forty_two(_):
    return 42


def job(writer, operation=forty_two, kind=Job):
    return kind(writer, operation, write=True, full=False)


def awaited(backend, *works):
    async def go():
        found = []
        with anyio.fail_after(60):
            for work in works:
                try:
                    found.append(await wait(work))
                except LedgerError as why:
                    found.append(why)
        return found

    return anyio.run(go, backend=backend)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_batch_that_fails_in_an_unforeseen_way_leaves_a_writer_for_the_next(backend, caplog):
    caplog.set_level(logging.DEBUG)
    writer = Writer(Store(halves=False))
    error, value = awaited(backend, job(writer, broken), job(writer))
    assert isinstance(error, LedgerError) and value == 42
    assert "KeyError" in caplog.text and "secret" not in caplog.text
    writer.stop()


@pytest.fixture
def threadless(monkeypatch):
    """A system that gives the ledger no thread, as one at its limit of processes does."""
    start = threading.Thread.start

    def refused(self):
        if self.name == "x402-ledger":
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", refused)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.usefixtures("threadless")
@pytest.mark.parametrize("halves", [False, True])
def test_without_a_thread_async_jobs_are_done_all_the_same(backend, halves):
    writer, done = Writer(Store(halves=halves)), []
    for _ in range(300):  # more than one batch waits in front
        job(writer, done.append, kind=Late).run()
    assert awaited(backend, job(writer), job(writer)) == [42, 42]
    assert len(done) == 300


@pytest.mark.usefixtures("threadless")
def test_without_a_thread_late_jobs_ride_with_the_next(monkeypatch):
    writer, done = Writer(Store()), []
    job(writer, done.append, kind=Late).run()
    assert done == []
    job(writer, forty_two, kind=Forgiving).run()
    assert len(done) == 1
    monkeypatch.undo()
    job(writer, done.append, kind=Late).run()  # the system has threads again
    end = time.monotonic() + 60
    while len(done) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    assert len(done) == 2
    writer.stop()


def test_a_close_that_could_not_be_written_rides_in_the_next_batch(desk, ledger, monkeypatch):
    """Or its row would look under way to other processes, and the same Ask would get a second proof there."""
    hold = desk.pay(ledger)

    def full(self, jobs):
        self._undo(OSError(28, "No space left on device"))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(ledger._store), "_commit", full)
        ledger.close(hold, "UNKNOWN").run()
    other = desk.open()
    assert other.payment(hold.payment_id).state == "INFLIGHT"
    assert other.find(desk.ask()).run().payment_id == hold.payment_id  # not "somebody is at it": bought anew it would be twice
    desk.pay(ledger, desk.ask("/other"))
    assert other.payment(hold.payment_id).state == "UNKNOWN"


def test_a_hold_that_a_person_interrupts_gives_its_budget_back(desk, ledger, monkeypatch):
    whole = ledger._writer.run

    def stopped(made):
        whole(made)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ledger._writer, "run", stopped)
        with pytest.raises(KeyboardInterrupt):
            ledger.hold(desk.ask(), desk.offer(), desk.terms(), (), reserve=True).run()
    ledger.flush()
    assert [each.state for each in ledger.payments()] == ["RELEASED"] and desk.counted(ledger) == 0
