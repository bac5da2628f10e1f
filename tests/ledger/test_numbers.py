"""Account nonces: on chains where a payment takes one, the ledger hands each out once, and what never left gives it back (C6)."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from x402_agent import LedgerError, NoAcceptableOffer
from x402_agent.ledger import Transaction, broadcasts
from x402_agent.ledger.numbers import SIGNS
from x402_agent.model import CROWDED, NO_ANCHOR, Anchor, Hold
from x402_agent.steps import Busy

BASE, OWN = "eip155:84532", "0x" + "11" * 20


def numbered(desk, first, text="fee=200"):
    return replace(desk.terms(), anchor=Anchor(text, first))


def held(desk, ledger, first, path, **how):
    return ledger.hold(desk.ask(path), desk.offer(), numbered(desk, first), (), reserve=True, **how).run()


def left(desk, ledger, first, path):
    return ledger.commit(held(desk, ledger, first, path)).run()


def soon(desk, ledger, first, path):
    """Held, once memory has looked into the file again."""
    end = time.monotonic() + 20
    while isinstance(made := held(desk, ledger, first, path), Busy):
        assert time.monotonic() < end
        time.sleep(0.02)
    return made


def test_each_payment_takes_the_first_number_that_is_free(desk):
    ledger = desk.open()
    first, second = left(desk, ledger, 5, "/a"), left(desk, ledger, 5, "/b")
    assert [each.terms.anchor for each in (first, second)] == [Anchor("fee=200", 5), Anchor("fee=200", 6)]
    third = held(desk, ledger, 5, "/c")
    ledger.close(third, "RELEASED").run()
    assert third.terms.anchor.number == 7
    assert left(desk, ledger, 5, "/d").terms.anchor.number == 7, "what never left gives its number back"
    assert left(desk, ledger, 9, "/e").terms.anchor.number == 9, "the chain is further"


@pytest.mark.parametrize("beside", [False, True])
def test_no_number_is_given_while_another_is_being_signed(desk, beside):
    """The lower one may never leave, and the chain would hold the higher one back for ever."""
    ledger = desk.open()
    other = desk.open() if beside else ledger
    first = held(desk, ledger, 5, "/a")
    assert held(desk, other, 5, "/b") == Busy(first.payment_id, how="signs")
    assert isinstance(desk.pay(other, desk.ask("/plain")), Hold), "what has no account nonce waits for nobody"
    assert len(ledger.payments()) == 2, "nothing is set aside for who waits"
    ledger.close(first, "RELEASED").run()
    again = held(desk, other, 5, "/b")
    assert again.terms.anchor.number == 5
    other.commit(again).run()
    assert held(desk, ledger, 5, "/c").terms.anchor.number == 6


def test_the_number_of_who_was_to_sign_and_is_gone_goes_to_the_next(desk):
    """Other processes live on, and open no ledger: passed over, it would hold theirs back for ever."""
    ledger, other = desk.open(), desk.open()
    first = held(desk, ledger, 5, "/a")
    assert isinstance(held(desk, other, 5, "/b"), Busy)
    desk.crash(ledger)
    assert soon(desk, other, 5, "/b").terms.anchor.number == 5 and other.payment(first.payment_id).state == "RELEASED"


@pytest.mark.parametrize("beside", [False, True])
def test_what_is_signed_for_ever_gives_its_number_up_and_never_leaves(desk, beside):
    ledger = desk.open()
    other = desk.open() if beside else ledger
    first = held(desk, ledger, 5, "/a")
    desk.clock.now += SIGNS - 1
    assert isinstance(held(desk, other, 5, "/b"), Busy)
    desk.clock.now += 1
    made = other.commit(soon(desk, other, 5, "/c")).run()
    assert made.terms.anchor.number == 5 and ledger.commit(first).run() is None, "its signer comes too late"
    assert [each.state for each in other.payments()] == ["INFLIGHT", "RELEASED"]
    ledger.close(first, "RELEASED").run()
    assert held(desk, ledger, 5, "/a").terms.anchor.number == 6 and ledger.verify() == []


def test_another_agents_payment_is_not_named(desk):
    ledger = desk.open()
    held(desk, ledger, 5, "/a")
    ask = desk.ask("/b")
    ask.under = ask.under._replace(agent="writer")
    for _ in range(2):
        assert ledger.hold(ask, desk.offer(), numbered(desk, 5), (), reserve=True).run() == Busy("", how="signs")


def test_waiting_writes_nothing_until_somebody_has_written(desk):
    ledger = desk.open()
    first = held(desk, ledger, 5, "/a")
    assert isinstance(held(desk, ledger, 5, "/b"), Busy)
    before = ledger._store.generation()
    assert isinstance(held(desk, ledger, 5, "/b"), Busy) and ledger._store.generation() == before
    ledger.close(first, "RELEASED").run()
    assert isinstance(held(desk, ledger, 5, "/b"), Hold)


def test_nobody_is_asked_about_what_nodes_would_refuse(desk):
    ledger = desk.open()
    crowd = replace(numbered(desk, 5), anchor=Anchor("fee=200", 5, 0, 4))
    with pytest.raises(NoAcceptableOffer) as caught:
        ledger.hold(desk.ask("/a"), desk.offer(), crowd, (), reserve=True, later=True).run()
    assert caught.value.rule == CROWDED and ledger.payments() == []


def test_a_persons_yes_waits_for_its_number_too(desk):
    ledger = desk.open()
    asked = held(desk, ledger, 5, "/a", later=True)
    assert asked.terms.anchor.number == -1
    first = held(desk, ledger, 5, "/b")
    assert isinstance(first, Hold), "nobody waits for a person"
    terms = replace(numbered(desk, 5), nonce="0x" + "ee" * 32)
    assert ledger.approve(asked, "yes", terms).run() == Busy(first.payment_id, how="signs")
    ledger.commit(first).run()
    yes = ledger.approve(asked, "yes", terms).run()
    assert yes.terms.anchor.number == 6 and ledger.commit(yes).run() is not None


def test_our_own_transaction_waits_for_one_that_is_being_signed(desk, monkeypatch):
    ledger = desk.open()
    first = held(desk, ledger, 5, "/a")
    monkeypatch.setattr(broadcasts, "_LOOKS", 3)
    with pytest.raises(LedgerError, match="is being signed, and has not ended"):
        ledger.next_nonce(BASE, first.terms.payer, 5)
    closing = threading.Timer(0.1, lambda: ledger.close(first, "RELEASED").run())
    monkeypatch.setattr(broadcasts, "_LOOKS", 200)
    closing.start()
    assert ledger.next_nonce(BASE, first.terms.payer, 5) == 5
    closing.join()


def test_no_number_is_given_that_nodes_would_refuse(desk):
    ledger = desk.open()
    bounded = replace(desk.terms(), anchor=Anchor("fee=200", 5, 0, 6))
    made = [ledger.hold(desk.ask(path), desk.offer(), replace(bounded, nonce="0x" + nonce * 32), (), reserve=True).run() for path, nonce in (("/a", "aa"),)]
    ledger.commit(made[0]).run()
    made.append(ledger.hold(desk.ask("/b"), desk.offer(), replace(bounded, nonce="0x" + "bb" * 32), (), reserve=True).run())
    assert [each.terms.anchor for each in made] == [Anchor("fee=200", 5), Anchor("fee=200", 6)]
    third = replace(bounded, nonce="0x" + "cc" * 32)
    assert isinstance(ledger.hold(desk.ask("/c"), desk.offer(), third, (), reserve=True).run(), Busy)
    ledger.commit(made[1]).run()
    with pytest.raises(NoAcceptableOffer, match="its next account nonce is 7, nodes take 6 at most") as caught:
        ledger.hold(desk.ask("/c"), desk.offer(), third, (), reserve=True).run()
    assert caught.value.rule == CROWDED and len(ledger.payments()) == 2
    further = replace(third, anchor=third.anchor._replace(most=7))
    assert ledger.hold(desk.ask("/c"), desk.offer(), further, (), reserve=True).run().terms.anchor.number == 7


def test_a_number_that_left_is_never_given_again(desk):
    ledger = desk.open()
    hold = ledger.commit(held(desk, ledger, 5, "/a")).run()
    ledger.close(hold, "UNKNOWN").run()
    desk.crash(ledger)
    again = desk.open()
    assert left(desk, again, 5, "/b").terms.anchor.number == 6
    again.close(hold, "DEAD").run()
    assert held(desk, again, 5, "/c").terms.anchor.number == 7, "a dead payment's number was spent otherwise"


def test_our_own_transactions_and_payments_take_from_one_row(desk):
    ledger = desk.open()
    terms = numbered(desk, 3)
    made = Transaction("0x" + "ab" * 32, BASE, terms.payer, 3, "approve", "x", "y", 1, 1, 1, b"\x02")
    assert ledger.build(made, 3)
    assert left(desk, ledger, 3, "/a").terms.anchor.number == 4
    assert ledger.next_nonce(BASE, terms.payer, 3) == 5
    assert ledger.next_nonce(BASE, OWN, 3) == 3, "another account"


def test_terms_come_back_with_what_the_node_said(desk):
    ledger = desk.open()
    hold = ledger.commit(held(desk, ledger, 7, "/a")).run()
    plain = desk.pay(ledger, desk.ask("/plain"))
    desk.crash(ledger)
    found = {each.payment_id: each.terms for each in desk.open().open_payments()}
    assert found == {hold.payment_id: hold.terms, plain.payment_id: plain.terms}
    assert plain.terms.anchor == NO_ANCHOR and hold.terms.anchor == Anchor("fee=200", 7)


def test_threads_and_two_ledgers_share_no_number(desk):
    ledgers, numbers, lock = [desk.open(), desk.open()], [], threading.Lock()

    def pay(mine):
        for turn in range(10):
            while isinstance(found := held(desk, ledgers[mine % 2], 0, f"/{mine}/{turn}"), Busy):
                time.sleep(0.001)
            ledgers[mine % 2].commit(found).run()
            with lock:
                numbers.append(found.terms.anchor.number)

    threads = [threading.Thread(target=pay, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(40))


@pytest.mark.parametrize("column", ["anchor", "account_nonce"])
def test_a_ledger_with_a_changed_anchor_signs_nothing(desk, column):
    import sqlite3

    ledger = desk.open()
    ledger.commit(held(desk, ledger, 7, "/a")).run()
    desk.crash(ledger)
    db = sqlite3.connect(desk.path)
    db.execute(f"UPDATE x402_payments SET {column} = 8")
    db.commit()
    db.close()
    with pytest.raises(LedgerError):
        desk.pay(desk.open(), desk.ask("/new"))
