"""What serves one call at a time is one call's at a time: of threads, tasks, processes and ledgers; nobody who is gone is waited for."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from x402_agent.ledger import Token, Used
from x402_agent.steps import Busy

NAME = "a" * 32


def session(uses=9, payment_id=""):
    return Token(NAME, payment_id, "https://a", "/", uses, None, "0xA", "x402", b"sealed", serial=1)


def test_the_second_waits_for_the_first_in_this_process_and_in_another(desk, ledger):
    ledger.keep(session()).run()
    other = desk.open()
    lease, left = ledger.use(NAME, serial=True).run()
    assert left == 8
    assert [each.use(NAME, serial=True).run() for each in (ledger, other, other)] == [Busy("", how="shows")] * 3
    ledger.used(Used(NAME, lease, left=5, serial=True)).run()
    assert other.use(NAME, serial=True).run()[1] == 4, "what the first one's answer said is known to the second"
    assert ledger.use(NAME, serial=True).run() == Busy("", how="shows")


def test_waiting_writes_nothing_until_somebody_else_has_written(desk, ledger):
    ledger.keep(session()).run()
    other = desk.open()
    ledger.use(NAME, serial=True).run()
    other.use(NAME, serial=True).run()
    before = ledger._store.generation()
    for _ in range(5):
        assert isinstance(other.use(NAME, serial=True).run(), Busy) and isinstance(ledger.use(NAME, serial=True).run(), Busy)
    assert ledger._store.generation() == before


def test_nobody_waits_for_a_process_that_is_gone(desk, ledger, monkeypatch):
    from x402_agent.ledger import serial

    monkeypatch.setattr(serial, "AGAIN", 0.0)
    ledger.keep(session()).run()
    other = desk.open()
    other.use(NAME, serial=True).run()
    assert isinstance(ledger.use(NAME, serial=True).run(), Busy)
    desk.crash(other)
    assert ledger.use(NAME, serial=True).run()[1] == 7, "and its use was used (c2)"


def test_a_lease_of_ours_that_could_not_be_taken_back_stops_nobody_here(ledger):
    ledger.keep(session()).run()
    lease, _ = ledger.use(NAME, serial=True).run()
    ledger._serial.back(lease)  # as where the file could not be written then
    assert ledger.use(NAME, serial=True).run()[1] == 7


def test_the_payment_that_has_just_bought_it_has_the_first_turn(desk, ledger):
    hold = desk.pay(ledger, desk.ask("/x"))
    ledger.keep(session(payment_id=hold.payment_id)).run()
    other = desk.open()
    assert [each.use(NAME, serial=True).run() for each in (ledger, other)] == [Busy(hold.payment_id, how="shows")] * 2
    ledger.close(hold, "CLAIMED", status=200).run()
    ledger.flush()
    assert other.use(NAME, serial=True).run()[1] == 8


def test_others_know_nothing_of_turns(desk, ledger):
    ledger.keep(Token(NAME, "", "https://a", "/", 9, None, "0xA", "x402", b"sealed")).run()
    assert [ledger.use(NAME).run()[1] for _ in range(3)] == [8, 7, 6]
    assert ledger._serial._ours == {}


WORKER = """
import sys, threading, time
from pathlib import Path
from x402_agent.ledger import SqliteLedger, Used
from x402_agent.steps import Busy
ledger, mark, done = SqliteLedger(Path(sys.argv[1])), Path(sys.argv[2]), 0
lock = threading.Lock()
def work():
    global done
    while (found := ledger.use("a" * 32, serial=True).run()) is not None:
        if isinstance(found, Busy):
            time.sleep(0.002)
            continue
        mark.touch(exist_ok=False)  # raises where another one is at it
        time.sleep(0.001)
        mark.unlink()
        ledger.used(Used("a" * 32, found[0], left=found[1], serial=True)).run()
        with lock: done += 1
threads = [threading.Thread(target=work) for _ in range(3)]
[one.start() for one in threads]; [one.join() for one in threads]
print(done)
ledger.shut()
"""


@pytest.mark.full
def test_c3_threads_and_processes_take_turns(desk, ledger, tmp_path):
    ledger.keep(session(uses=60)).run()
    ledger.shut()
    run = [subprocess.Popen([sys.executable, "-c", WORKER, str(desk.path), str(tmp_path / "at-it")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
           for _ in range(3)]  # fmt: skip
    told = [each.communicate(timeout=120) for each in run]
    assert not any(errors for _, errors in told), told
    assert sum(int(out) for out, _ in told) == 60 and threading.active_count() < 50


def test_nobody_gives_back_the_turn_of_another_agent(ledger):
    ledger.keep(session()._replace(agent="research")).run()
    lease, _ = ledger.use(NAME, serial=True).run()
    ledger.used(Used("b" * 32, lease, agent="thief")).run()
    ledger.flush()
    assert isinstance(ledger.use(NAME, serial=True).run(), Busy)
