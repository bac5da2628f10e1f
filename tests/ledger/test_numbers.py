"""Account nonces: on chains where a payment takes one, the ledger hands each out once, and what never left gives it back (C6)."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from x402_agent import NoAcceptableOffer
from x402_agent.ledger import Transaction
from x402_agent.model import CROWDED, NO_ANCHOR, Anchor

BASE, OWN = "eip155:84532", "0x" + "11" * 20


def numbered(desk, first, text="fee=200"):
    return replace(desk.terms(), anchor=Anchor(text, first))


def held(desk, ledger, first, path):
    return ledger.hold(desk.ask(path), desk.offer(), numbered(desk, first), (), reserve=True).run()


def test_each_payment_takes_the_first_number_that_is_free(desk):
    ledger = desk.open()
    first, second = held(desk, ledger, 5, "/a"), held(desk, ledger, 5, "/b")
    assert [each.terms.anchor for each in (first, second)] == [Anchor("fee=200", 5), Anchor("fee=200", 6)]
    ledger.close(first, "RELEASED").run()
    assert held(desk, ledger, 5, "/c").terms.anchor.number == 5, "what never left gives its number back"
    assert held(desk, ledger, 9, "/d").terms.anchor.number == 9, "the chain is further"


def test_no_number_is_given_that_nodes_would_refuse(desk):
    ledger = desk.open()
    bounded = replace(desk.terms(), anchor=Anchor("fee=200", 5, 0, 6))
    made = [ledger.hold(desk.ask(path), desk.offer(), replace(bounded, nonce="0x" + nonce * 32), (), reserve=True).run() for path, nonce in (("/a", "aa"), ("/b", "bb"))]
    assert [each.terms.anchor for each in made] == [Anchor("fee=200", 5), Anchor("fee=200", 6)]
    third = replace(bounded, nonce="0x" + "cc" * 32)
    with pytest.raises(NoAcceptableOffer, match="its next account nonce is 7, nodes take 6 at most") as caught:
        ledger.hold(desk.ask("/c"), desk.offer(), third, (), reserve=True).run()
    assert caught.value.rule == CROWDED and len(ledger.payments()) == 2
    ledger.close(made[0], "RELEASED").run()
    assert ledger.hold(desk.ask("/c"), desk.offer(), third, (), reserve=True).run().terms.anchor.number == 5


def test_a_number_that_left_is_never_given_again(desk):
    ledger = desk.open()
    hold = ledger.commit(held(desk, ledger, 5, "/a")).run()
    ledger.close(hold, "UNKNOWN").run()
    desk.crash(ledger)
    again = desk.open()
    assert held(desk, again, 5, "/b").terms.anchor.number == 6
    again.close(hold, "DEAD").run()
    assert held(desk, again, 5, "/c").terms.anchor.number == 7, "a dead payment's number was spent otherwise"


def test_our_own_transactions_and_payments_take_from_one_row(desk):
    ledger = desk.open()
    terms = numbered(desk, 3)
    made = Transaction("0x" + "ab" * 32, BASE, terms.payer, 3, "approve", "x", "y", 1, 1, 1, b"\x02")
    assert ledger.build(made, 3)
    assert held(desk, ledger, 3, "/a").terms.anchor.number == 4
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
            found = held(desk, ledgers[mine % 2], 0, f"/{mine}/{turn}")
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

    from x402_agent.errors import LedgerError

    ledger = desk.open()
    ledger.commit(held(desk, ledger, 7, "/a")).run()
    desk.crash(ledger)
    db = sqlite3.connect(desk.path)
    db.execute(f"UPDATE x402_payments SET {column} = 8")
    db.commit()
    db.close()
    with pytest.raises(LedgerError):
        desk.pay(desk.open(), desk.ask("/new"))
