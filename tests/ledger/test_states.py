"""Every legal and every illegal move, on the real file."""

import logging

import pytest

from x402_agent.errors import LedgerError, PaymentInDoubt
from x402_agent.ledger.moves import known, move
from x402_agent.ledger.states import COUNTED, FREED, MOVES, STATES, UNSENT, is_open, legal, outcome

REACHABLE = sorted(STATES)
WORDS = ("spent", "in_doubt", "refused", "released")


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
    now = ledger.payment(hold.payment_id).state
    freed = now != before and now in FREED | {"REVERTED"}
    assert desk.counted(ledger) == counted - (10_000 if freed else 0)
    assert ledger.verify() == []


@pytest.mark.parametrize("state", REACHABLE)
def test_every_state_is_reached_and_counts_what_the_table_says(desk, ledger, at_state, state):
    hold = at_state(ledger, state)
    left = 0 if state in FREED | {"REVERTED"} else 10_000
    assert desk.counted(ledger) == left == sum(total.micros for total in ledger.totals("host"))
    assert ledger.payment(hold.payment_id).micros == (0 if state == "REVERTED" else 10_000)
    words = {word: [p.payment_id for p in ledger.payments(outcome=word)] for word in WORDS}
    assert words == {word: [hold.payment_id] if word == outcome(state, refused=False) else [] for word in WORDS}
    desk.crash(ledger)
    again = desk.open()
    if state == "QUARANTINE":
        with pytest.raises(PaymentInDoubt, match="damaged"):
            again.find(desk.ask(hold.ask.path)).run()
        return
    asked = again.find(desk.ask(hold.ask.path)).run()
    assert (asked is not None) == (is_open(state, delivered=False) and state not in UNSENT), "one Ask, one proof"
    assert again.payment(hold.payment_id).state == ("RELEASED" if state in UNSENT else state)
    assert again.verify() == []


@pytest.mark.parametrize(("via", "after"), sorted((via, after) for via in MOVES["INFLIGHT"] for after in MOVES[via] if after != "RELEASED"))
def test_a_close_goes_on_from_where_another_process_has_moved_it(desk, ledger, at_state, via, after):
    hold, other = at_state(ledger, "INFLIGHT"), desk.open()
    for mover, state in ((other, via), (ledger, after)):
        mover.close(hold, state, status=200 if state == "CLAIMED" else 500).run()
        mover.flush()
    assert [each.payment(hold.payment_id).state for each in (ledger, other)] == [after, after]
    assert ledger.verify() == []


def test_only_released_and_dead_are_not_counted():
    assert {"RELEASED", "DEAD"} == STATES - COUNTED
    assert all(not MOVES[state] for state in ("RELEASED", "DEAD", "CONFIRMED", "REVERTED"))


def test_money_is_freed_only_when_nothing_left_or_by_proof():
    assert {before for before, moves in MOVES.items() if "RELEASED" in moves} == UNSENT
    assert not any({"DEAD", "REVERTED"} & MOVES[state] for state in UNSENT)
    assert all("UNKNOWN" not in MOVES[state] for state in ("SEEN", "MINED", "PROVING")), "what the chain shows stays known"


def test_reverted_gives_the_price_back_and_keeps_the_whole_fee(desk, ledger):
    """b8: the fee of a transaction that failed is gone; the price is not."""
    hold = desk.pay(ledger, offer=desk.offer(10_000, fee_cap=700))
    assert desk.counted(ledger) == 10_700
    ledger.close(hold, "SEEN").run()
    ledger.close(hold, "REVERTED", note="failed in block 7").run()
    paid = ledger.payment(hold.payment_id)
    assert (paid.state, paid.outcome, paid.micros, paid.charged) == ("REVERTED", "released", 700, 0)
    assert desk.counted(ledger) == 700
    assert ledger.find(hold.ask).run() is None
    assert ledger.verify() == []


def test_a_broadcast_payment_is_shown_again_until_it_is_delivered(desk, ledger):
    """b5, b6: mined, then the process dies; what is known of the chain is not forgotten by an answer that failed."""
    hold = desk.pay(ledger)
    for state in ("SEEN", "MINED", "INFLIGHT", "MINED", "PROVING"):  # with a reorganisation between
        ledger.close(hold, state).run()
        assert ledger.payment(hold.payment_id).state == state
    ledger.close(hold, "UNKNOWN", status=500).run()
    assert ledger.payment(hold.payment_id).state == "PROVING"
    found = ledger.find(hold.ask).run()
    assert (found.payment_id, found.resumed) == (hold.payment_id, True)
    ledger.commit(found).run()
    ledger.close(found, "CLAIMED", status=200).run()
    ledger.flush()
    assert ledger.payment(hold.payment_id).outcome == "spent"
    assert ledger.find(hold.ask).run() is None


@pytest.mark.parametrize(
    ("state", "refused", "word"),
    [("CLAIMED", False, "spent"), ("CONFIRMED", True, "spent"), ("PAID_UNDELIVERED", False, "spent"),
     ("INFLIGHT", False, "in_doubt"), ("UNKNOWN", False, "in_doubt"), ("UNKNOWN", True, "refused"),
     ("QUARANTINE", False, "in_doubt"), ("RELEASED", False, "released"), ("DEAD", True, "released"),
     ("BUILT", False, "in_doubt"), ("SEEN", False, "in_doubt"), ("MINED", True, "in_doubt"),
     ("PROVING", False, "in_doubt"), ("REVERTED", False, "released")],
)  # fmt: skip
def test_outcome_words(state, refused, word):
    assert outcome(state, refused=refused) == word


def test_illegal_close_is_logged_and_the_row_stays_counted(desk, ledger, caplog):
    hold = desk.pay(ledger)
    with caplog.at_level(logging.ERROR):
        ledger.close(hold, "NONSENSE").run()
        ledger.flush()
    assert "stays as it stood" in caplog.text
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
