"""Sealed checkpoints: what they sum up, what they seal, and that opening reads no further back."""

import hashlib
import json
import random
import sqlite3

import pytest

from x402_agent.errors import LedgerError
from x402_agent.ledger import checkpoints, states
from x402_agent.ledger.events import digest
from x402_agent.ledger.moves import known, move


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(checkpoints, "EVERY", 7)
    monkeypatch.setattr(checkpoints, "TIDY", 3)


def sealed(ledger):
    query = "SELECT seq, data FROM x402_events WHERE state = 'SEALED' ORDER BY seq"
    return [(seq, json.loads(data)) for seq, data in ledger._store.db.execute(query)]


def wander(desk, ledger, dice, steps):
    """Payments in every state, by legal moves and by staying, which is recorded, too: two processes may free the same one."""
    held = []
    for number in range(steps):
        if not held or dice.random() < 0.4:
            scheme = {"scheme": "upto", "method": "", "facilitator": ""} if dice.random() < 0.3 else {}
            offer = desk.offer(dice.choice([100, 250, 4000]), fee_cap=dice.choice([0, 7]), **scheme)
            held.append(desk.pay(ledger, desk.ask(f"/{number}"), offer, reserve=dice.random() < 0.5))
            continue
        hold = dice.choice(held)
        now = ledger.payment(hold.payment_id).state
        if after := [*sorted(states.MOVES[now]), now]:
            to = dice.choice(after)
            ledger._job(lambda store, h=hold, s=to: move(store, known(store, h.payment_id), s), write=True).run()
        elif hold.offer.scheme == "upto" and now == "CONFIRMED":
            ledger.true_up(hold.payment_id, dice.randrange(hold.offer.amount))


@pytest.mark.parametrize("seed", range(5))
def test_sums_are_what_the_rows_make_whatever_moved_between(desk, often, seed):
    ledger = desk.open()
    wander(desk, ledger, random.Random(seed), 60)
    ledger._job(checkpoints.seal, write=True).run()
    found = sealed(ledger)
    assert len(found) > 5
    ((rows, micros, open_micros),) = found[-1][1]["sums"].values()
    payments = ledger.payments()
    assert (rows, micros) == (len(payments), desk.counted(ledger))
    db = ledger._store.db
    assert open_micros == db.execute("SELECT SUM(micros) FROM x402_payments WHERE is_open = 1").fetchone()[0]
    assert ledger.verify() == []
    ledger.shut()
    desk.open().shut()


def test_a_clean_end_seals_and_an_idle_one_does_not(desk, often):
    ledger = desk.open()
    for number in range(4):
        desk.pay(ledger, desk.ask(f"/{number}"))
    ledger.shut()
    again = desk.open()
    assert [seq for seq, _ in sealed(again)] == [5]
    again.shut()
    assert [seq for seq, _ in sealed(desk.open())] == [5]


def test_a_thousand_entries_later_there_is_one_and_opening_begins_there(desk, monkeypatch):
    ledger = desk.open()
    ask = desk.ask("/again")
    hold = desk.pay(ledger, ask)
    for _ in range(checkpoints.EVERY + 5):
        ledger._job(lambda store: move(store, known(store, hold.payment_id), "INFLIGHT"), write=True).run()
    ((first, _),) = sealed(ledger)
    assert first == checkpoints.EVERY + 1
    ledger.shut()
    walked = []
    true_digest = checkpoints.digest
    monkeypatch.setattr(checkpoints, "digest", lambda before, row: walked.append(row[0]) or true_digest(before, row))
    desk.open().shut()
    assert walked == list(range(first, first + 7))


def rewrite(desk, at, change):
    """Somebody without the secret changes an entry and makes the whole chain after it anew, checkpoints included."""
    db = sqlite3.connect(desk.path, isolation_level=None)
    db.execute("DROP TRIGGER x402_events_no_update")
    rows = [list(row) for row in db.execute("SELECT * FROM x402_events ORDER BY seq")]
    change(rows[at])
    head = rows[at][7]
    for row in rows[at:]:
        row[7], row[8] = head, digest(head, tuple(row[:7]))
        head = row[8]
        db.execute("UPDATE x402_events SET data = ?, prev_hash = ?, hash = ? WHERE seq = ?", (row[6], row[7], row[8], row[0]))
    db.close()
    with desk.path.with_name("ledger.db.lock").open("r+b") as file:  # and the copy of the head
        file.seek(8)
        file.write(len(rows).to_bytes(8, "little") + head.encode())


@pytest.mark.parametrize("at", [0, 6, 7, 9])
def test_a_chain_made_anew_without_the_secret_is_refused(desk, often, at):
    ledger = desk.open(journal="full")
    for number in range(5):
        hold = desk.pay(ledger, desk.ask(f"/{number}"))
        ledger.close(hold, "CLAIMED", status=200).run()
    ledger.shut()

    def change(row):
        data = json.loads(row[6])
        data["sums" if row[4] == "SEALED" else "note"] = {} if row[4] == "SEALED" else "x"
        row[6] = json.dumps(data)

    rewrite(desk, at, change)
    if at < 7:  # before the last checkpoint
        with pytest.raises(LedgerError, match="not sealed by this ledger"):
            desk.pay(desk.open(), desk.ask("/new"))
    assert desk.open().verify()


def test_a_secret_that_was_exchanged_is_noticed(desk, often):
    ledger = desk.open()
    for number in range(8):
        desk.pay(ledger, desk.ask(f"/{number}"))
    ledger.shut()
    desk.path.with_name("ledger.db.secret").write_bytes(hashlib.sha256(b"another").digest())
    with pytest.raises(LedgerError, match="not sealed by this ledger"):
        desk.pay(desk.open(), desk.ask("/new"))


def test_a_broken_ledger_is_not_sealed(desk, often):
    ledger = desk.open()
    for number in range(6):
        desk.pay(ledger, desk.ask(f"/{number}"))
    ledger._store.broken = "for a test"
    ledger.shut()
    assert sealed(desk.open()) == []
