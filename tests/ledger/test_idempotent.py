"""I8: recovery may run never, once or many times, and be killed at any write between: it always ends the same."""

from __future__ import annotations

import os
import shutil

import pytest

from x402_agent.ledger import SqliteLedger, Transaction, checkpoints
from x402_agent.ledger.events import Journal
from x402_agent.ledger.moves import known, move
from x402_agent.ledger.store import Store

TXID = "0x" + "7a" * 32


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def left(desk):
    """What a process left behind: three payments set aside, one built, two under way, one unanswered, one transaction."""
    ledger = desk.open(journal="full")
    for number in range(3):
        ledger.hold(desk.ask(f"/reserved/{number}"), desk.offer(), desk.terms(), (), reserve=True).run()
    built = ledger.hold(desk.ask("/built"), desk.offer(), desk.terms(), (), reserve=True).run()
    ledger._job(lambda store: move(store, known(store, built.payment_id), "BUILT"), write=True).run()
    desk.pay(ledger, desk.ask("/a"))
    desk.pay(ledger, desk.ask("/b"))
    ledger.close(desk.pay(ledger, desk.ask("/c")), "UNKNOWN", status=500).run()
    ledger.build(Transaction(TXID, "eip155:84532", "0x" + "11" * 20, 0, "approve", "x", "y", 1, 1, 1, b"\x02"), 0)
    ledger.flush()
    desk.crash(ledger)
    seen = desk.folder / "left"
    seen.mkdir()
    for each in desk.folder.iterdir():
        if each.is_file() and not each.name.endswith("-shm"):
            shutil.copy(each, seen / each.name)
    return seen


def fresh(desk, left):
    for each in desk.folder.iterdir():
        if each.is_file():
            each.unlink()
    for each in left.iterdir():
        shutil.copy(each, desk.folder / each.name)


def books(ledger):
    """Everything that matters of what is written down."""
    assert ledger.verify() == []
    rows = [(p.payment_id, p.state, p.micros, p.outcome) for p in ledger.payments()]
    return sorted(rows), [t.state for t in ledger.transactions()], [e.state for row in sorted(rows) for e in ledger.events(row[0])]


def expected(desk, left):
    fresh(desk, left)
    ledger = desk.open()
    try:
        return books(ledger), desk.counted(ledger)
    finally:
        desk.opened.pop().shut()


@pytest.mark.parametrize("times", [0, 1, 4])
def test_I8_as_often_as_one_likes(desk, left, times):
    wanted, counted = expected(desk, left)
    fresh(desk, left)
    for _ in range(times):
        ledger = desk.open()
        assert ledger.recover() == 0, "opening did it all"
        desk.crash(ledger)
    ledger = desk.open()
    assert (books(ledger), desk.counted(ledger)) == (wanted, counted)
    assert counted == 30_000
    assert [state for _, state, _, _ in wanted[0]].count("RELEASED") == 4 and wanted[1] == ["RELEASED"]


def gone(what):
    """A killed process lets go of its files, and writes nothing more."""
    if isinstance(what, Store):
        what.owners.close()
        what.db.close()
        os.close(what.fd)
    raise Killed


def die(monkeypatch, where, number):
    """The `number`th call of a method kills, before or after its work."""
    owner, name, after = where
    real, calls = getattr(owner, name), [0]

    def call(self, *args):
        calls[0] += 1
        if calls[0] == number and not after:
            gone(self)
        made = real(self, *args)
        if calls[0] == number:
            gone(self)
        return made

    monkeypatch.setattr(owner, name, call)
    return calls


POINTS = [(Journal, "append", False), (Journal, "append", True), (Store, "_commit", False), (Store, "_write", False),
          (Store, "_write", True)]  # fmt: skip


@pytest.mark.parametrize("where", POINTS, ids=lambda point: f"{point[1]}{'-after' if point[2] else ''}")
def test_I8_killed_at_every_write_it_ends_the_same(desk, left, monkeypatch, where):
    """Enumerated: the first write, the second, … until a run needs no more of them."""
    wanted = expected(desk, left)
    kills = 0
    for number in range(1, 40):
        fresh(desk, left)
        with monkeypatch.context() as patch:
            calls = die(patch, where, number)
            try:
                ledger = SqliteLedger(desk.path, clock=desk.clock, journal="normal")
                done = calls[0] < number
                ledger._store.owners.close()
                ledger._store.db.close()
                ledger._store = None
            except Killed:
                kills, done = kills + 1, False
        again = desk.open()
        assert (books(again), desk.counted(again)) == wanted, f"killed at {where[1]} {number}"
        desk.opened.pop().shut()
        if done:
            break
    assert kills >= 3
    assert done


def test_I8_a_checkpoint_that_was_not_finished_is_made_again(desk, monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 4)
    ledger = desk.open()
    desk.pay(ledger, desk.ask("/1"))
    desk.pay(ledger, desk.ask("/2"))
    hold = desk.pay(ledger, desk.ask("/3"))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_seal", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            desk.pay(ledger, desk.ask("/4"))
    desk.crash(ledger)
    again = desk.open()
    assert len(again.payments()) == 3 and again.payment(hold.payment_id).state == "INFLIGHT"
    desk.pay(again, desk.ask("/4"))
    assert again.stats().checkpoints == 1 and again.verify() == []
