"""Credentials as rows: uses are taken once, by whoever was first, and given back by who took them, or never."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from x402_agent.errors import LedgerError
from x402_agent.ledger import Token, Used


def token(name="a" * 32, uses=None, expires=None, origin="https://a"):
    return Token(name, "p1", origin, "/x", uses, expires, "0xA", "x402", b"sealed")


def kept(ledger, *tokens):
    for each in tokens:
        ledger.keep(each).run()
    return ledger


def names(ledger, origin="https://a"):
    return [each.name for each in ledger.live().run().tokens.get(origin, ())]


def test_they_are_kept_by_origin_and_found_again_in_another_process(desk, ledger):
    kept(ledger, token("a" * 32, 2), token("b" * 32), token("c" * 32, origin="https://b"))
    other = desk.open()
    assert names(other) == ["a" * 32, "b" * 32] and names(other, "https://b") == ["c" * 32]
    found = other.token("aaaa")
    assert (found.uses_left, found.sealed, found.account, found.dialect, found.path) == (2, b"sealed", "0xA", "x402", "/x")
    assert b"sealed" not in repr(found).encode()
    for bad in ("aaa", "ffff"):
        with pytest.raises(LedgerError, match="no credential begins"):
            other.token(bad)


def test_memory_is_trusted_only_while_no_other_process_writes(desk, ledger):
    kept(ledger, token())
    assert ledger.known_live() is None
    names(ledger)
    assert [each.name for each in ledger.known_live().tokens["https://a"]] == ["a" * 32]
    other = desk.open()
    assert ledger.known_live() is None
    assert other.forget_token("a" * 32) and not other.forget_token("a" * 32)
    assert names(ledger) == []


def test_a_use_is_taken_before_it_is_sent_and_the_last_one_once(desk, ledger):
    kept(ledger, token(uses=2))
    other = desk.open()
    assert [each.use("a" * 32).run() for each in (ledger, other, ledger, other)] == [(1, 1), (2, 0), None, None]
    assert names(ledger) == []
    assert ledger.token("aaaa").in_use == 2
    desk.crash(other)
    assert ledger.token("aaaa").in_use == 1, "a use of a process that is gone is under way no more"
    assert ledger.token("aaaa").uses_left == 0, "and it was used: what is not known to be unsent counts"


def test_an_expired_one_gives_no_use(desk, ledger):
    kept(ledger, token(uses=2, expires=int(desk.clock.now) + 10))
    assert ledger.use("a" * 32).run()
    desk.clock.now += 10
    assert ledger.use("a" * 32).run() is None
    assert ledger.cleanup() == 0, "a use of it is still under way"
    ledger.used(Used("a" * 32, 1)).run()
    ledger.flush()
    assert ledger.cleanup() == 1 and ledger.tokens() == []


def test_what_provably_never_left_is_given_back_once(ledger):
    kept(ledger, token(uses=1))
    lease, _ = ledger.use("a" * 32).run()
    for _ in range(3):
        ledger.used(Used("a" * 32, lease, unsent=True)).run()
    ledger.used(Used("a" * 32, lease + 1, unsent=True)).run()
    assert ledger.token("aaaa").uses_left == 1


@pytest.mark.parametrize(("local", "server", "holds"), [(5, 3, 3), (3, 5, 3), (None, 4, 4), (5, 0, 0), (5, None, 5)])
def test_K2_of_two_counts_the_lower_one_holds(ledger, local, server, holds):
    kept(ledger, token(uses=local))
    ledger.used(Used("a" * 32, left=server)).run()
    ledger.flush()
    assert ledger.token("aaaa").uses_left == holds


def test_a_refused_one_is_forgotten_by_every_process(desk, ledger):
    kept(ledger, token(uses=5))
    other = desk.open()
    names(other)
    lease, _ = other.use("a" * 32).run()
    ledger.used(Used("a" * 32, refused=True)).run()
    assert other.use("a" * 32).run() is None and names(other) == []
    other.used(Used("a" * 32, lease, unsent=True)).run()
    assert other.tokens() == []


WORKER = """
import sys, threading
from pathlib import Path
from x402_agent.ledger import SqliteLedger
ledger = SqliteLedger(Path(sys.argv[1]))
taken = []
def work():
    while (found := ledger.use("a" * 32).run()) is not None:
        taken.append(found)
threads = [threading.Thread(target=work) for _ in range(5)]
[one.start() for one in threads]; [one.join() for one in threads]
print(len(taken), *(lease for lease, _ in taken))
ledger.shut()
"""


def test_c3_processes_and_threads_never_share_a_use(desk, ledger):
    ledger.shut()
    desk.clock.now = 1.0
    from x402_agent.ledger import SqliteLedger

    own = SqliteLedger(desk.path)
    kept(own, token(uses=200))
    running = [subprocess.Popen([sys.executable, "-c", WORKER, str(desk.path)], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    taken = []

    def work():
        while (found := own.use("a" * 32).run()) is not None:
            taken.append(found[0])

    threads = [threading.Thread(target=work) for _ in range(5)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for each in running:
        count, *leases = map(int, each.communicate(timeout=180)[0].split())
        assert count == len(leases)
        taken += leases
    assert len(taken) == len(set(taken)) == 200
    assert own.token("aaaa").uses_left == 0
    own.shut()
