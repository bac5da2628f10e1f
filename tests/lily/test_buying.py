"""Calls are bought one by one or ahead: a proof, a session that is opened once and used until it is empty."""

from __future__ import annotations


def rows(payer):
    payer.ledger.flush()
    return [(row.state, row.amount) for row in payer.ledger.payments()]


def test_a_single_call_is_paid_and_its_transaction_shown(payer, shop):
    before = shop.earned
    with payer.client(timeout=60) as http:
        reply = http.get(shop.url())
    assert reply.text == "goods" and reply.extensions["payment"].outcome == "spent"
    assert shop.earned - before == 10_000 and rows(payer) == [("CLAIMED", 10_000)]
    (said,) = shop.shown
    assert list(said) == ["proof", "wallet", "amount", "currency", "timestamp"]


def test_a_session_is_opened_once_and_used_until_it_is_empty(payer, shop):
    before = shop.earned
    with payer.task("many", expect_calls=10) as task, task.client(timeout=60) as http:
        assert [http.get(shop.url()).text for _ in range(10)] == ["goods"] * 10
        assert http.get(shop.url("/agents/other")).text == "goods"
    assert shop.earned - before == 200_000 and rows(payer) == [("CLAIMED", 100_000)] * 2
    assert len(shop.sessions) == 2 and len(shop.shown) == 11
