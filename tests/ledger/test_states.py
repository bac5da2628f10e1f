"""Every legal and every illegal move, on the real file."""

import logging

import pytest

from x402_agent.errors import LedgerError
from x402_agent.ledger.moves import known, move
from x402_agent.ledger.states import COUNTED, MOVES, STATES, legal, outcome

REACHABLE = sorted(STATES)


@pytest.mark.parametrize("before", REACHABLE)
@pytest.mark.parametrize("after", REACHABLE)
def test_move_happens_exactly_when_the_table_says_so(desk, ledger, at_state, before, after):
    hold = at_state(ledger, before)
    counted = desk.counted(ledger)

    def attempt(store):
        row = known(store, hold.payment_id)
        move(store, row, after)

    job = ledger._job(attempt, write=True)
    if legal(before, after) or before == after:
        job.run()
        assert ledger.payment(hold.payment_id).state == after
    else:
        with pytest.raises(LedgerError):
            job.run()
        assert ledger.payment(hold.payment_id).state == before
    freed = before in COUNTED and ledger.payment(hold.payment_id).state not in COUNTED
    assert desk.counted(ledger) == counted - (10_000 if freed else 0)
    assert ledger.verify() == []


def test_only_released_and_dead_are_not_counted():
    assert {"RELEASED", "DEAD"} == STATES - COUNTED
    assert all(not MOVES[state] for state in ("RELEASED", "DEAD", "CONFIRMED"))


def test_money_is_freed_only_from_reserved_or_by_proof():
    assert {before for before, moves in MOVES.items() if "RELEASED" in moves} == {"RESERVED"}
    assert "DEAD" not in MOVES["RESERVED"]


@pytest.mark.parametrize(
    ("state", "refused", "word"),
    [("CLAIMED", False, "spent"), ("CONFIRMED", True, "spent"), ("PAID_UNDELIVERED", False, "spent"),
     ("INFLIGHT", False, "in_doubt"), ("UNKNOWN", False, "in_doubt"), ("UNKNOWN", True, "refused"),
     ("QUARANTINE", False, "in_doubt"), ("RELEASED", False, "released"), ("DEAD", True, "released")],
)  # fmt: skip
def test_outcome_words(state, refused, word):
    assert outcome(state, refused=refused) == word


def test_illegal_close_is_logged_and_the_row_stays_counted(desk, ledger, caplog):
    hold = desk.pay(ledger)
    with caplog.at_level(logging.ERROR):
        ledger.close(hold, "NONSENSE").run()
        ledger.flush()
    assert "stays counted" in caplog.text
    assert ledger.payment(hold.payment_id).state == "INFLIGHT"
    assert desk.counted(ledger) == 10_000


def test_released_frees_a_reserved_row_and_nothing_else(desk, ledger):
    reserved = ledger.hold(desk.ask("/a"), desk.offer(), desk.terms(), (), reserve=True).run()
    inflight = desk.pay(ledger, desk.ask("/b"))
    planned = ledger.hold(desk.ask("/b"), desk.offer(), desk.terms(), ()).run()
    for hold in (reserved, inflight, planned):
        ledger.close(hold, "RELEASED").run()
    ledger.flush()
    assert [p.state for p in ledger.payments()] == ["INFLIGHT", "RELEASED"]
    assert desk.counted(ledger) == 10_000


def test_a_later_worse_answer_takes_nothing_back(desk, ledger):
    hold = desk.pay(ledger)
    ledger.close(hold, "CLAIMED", status=200).run()
    ledger.close(hold, "UNKNOWN", refused=True, status=402).run()
    ledger.flush()
    assert ledger.payment(hold.payment_id).outcome == "spent"


def test_events_tell_every_move(desk, ledger):
    hold = desk.pay(ledger, reserve=True)
    ledger.close(hold, "UNKNOWN", status=500, note="boom", milliseconds=7).run()
    ledger.close(hold, "PAID_UNDELIVERED", status=502, transaction="0xabc").run()
    ledger.close(hold, "CLAIMED", status=200).run()
    ledger.flush()
    events = ledger.events(hold.payment_id)
    assert [(e.from_state, e.state) for e in events] == [
        ("", "RESERVED"), ("RESERVED", "INFLIGHT"), ("INFLIGHT", "UNKNOWN"), ("UNKNOWN", "PAID_UNDELIVERED"),
        ("PAID_UNDELIVERED", "CLAIMED"),
    ]  # fmt: skip
    assert events[2].data == {"ms": 7, "note": "boom", "refused": 0, "status": 500, "tx": ""}
    paid = ledger.payment(hold.payment_id[:6])
    assert (paid.transaction, paid.status, paid.delivered, paid.outcome) == ("0xabc", 200, True, "spent")
