"""On TRON too a payment stands on the chain before the seller is shown its id: through drivers, approvals and a resume."""

from __future__ import annotations

import dataclasses

import pytest

from first import First, moved, shop, states
from x402_agent import NoAcceptableOffer, Payer, PaymentInDoubt, PolicyDenied
from x402_agent.chains.tron import reads, transfer
from x402_agent.model import FOREVER, ChainRules

PRICE = 10_000


@pytest.fixture
def payer():
    with Payer.sandbox(chain="tron", serve=True) as made:
        made.dialects = (First(),)
        yield made


def test_what_was_not_handed_over_goes_out_later_byte_for_byte(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    sent, honest = [], reads.send_raw

    def stopped(node, wire):
        sent.append(wire)
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(reads, "send_raw", stopped)
    with payer.client() as http, pytest.raises(KeyboardInterrupt):
        http.get(url, extensions={"payment": {"key": "one"}})
    assert shown == [] and moved(payer) == 0 and states(payer) == ["UNKNOWN"]

    def spoken(node, wire):
        sent.append(wire)
        return (yield from honest(node, wire))

    monkeypatch.setattr(reads, "send_raw", spoken)
    with payer.client() as http:
        assert http.get(url, extensions={"payment": {"key": "one"}}).status_code == 200
    assert len(set(sent)) == 1 and len(sent) == 2 and moved(payer) == PRICE and states(payer) == ["CLAIMED"]


def test_one_that_expired_is_dead_and_only_then_another_is_signed(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    monkeypatch.setattr(transfer, "PATIENCE", 0.4)
    payer.box.ground.chain.mining = False
    with payer.client() as http:
        for _ in range(2):
            with pytest.raises(PaymentInDoubt) as caught:
                http.get(url)
        assert "x402-agent resume" in caught.value.hint and states(payer) == ["SEEN"]
        payer.box.warp(60 + 60 + 10)
        payer.box.ground.chain.mining = True
        monkeypatch.setattr(transfer, "PATIENCE", 20)
        assert http.get(url).status_code == 200
    assert sorted(states(payer)) == ["CLAIMED", "DEAD"] and moved(payer) == PRICE and len(shown) == 1


def test_resume_ends_one_that_was_settled_and_not_told(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    monkeypatch.setattr(transfer, "PATIENCE", 0.4)
    payer.box.ground.chain.depth = 19
    with payer.client() as http, pytest.raises(PaymentInDoubt, match="no solid block"):
        http.get(url)
    assert moved(payer) == PRICE and shown == []
    (row,) = payer.resume()
    assert row.after == "MINED" and "until the chain shows its end" in row.todo
    payer.box.warp(60)
    payer.resume()
    assert len(shown) == 1 and set(states(payer)) <= {"CLAIMED", "CONFIRMED"} and moved(payer) == PRICE


def test_an_answer_that_takes_longer_than_half_its_minute_is_given_to_fresh_terms(payer, seller):
    url, _ = shop(seller, payer.box)
    asked = []

    def slow(offer, ask):
        (row,) = payer.ledger.payments()
        asked.append(row.nonce)
        clock = payer.clock
        payer.clock = lambda: clock() + 31
        return True

    payer.policy, payer.approve = dataclasses.replace(payer.policy, approve_above=0), slow
    with payer.client() as http:
        assert http.get(url).status_code == 200
    rows = payer.ledger.payments()
    assert sorted(row.state for row in rows) == ["CLAIMED", "RELEASED"] and len(asked) == 1
    (paid,) = (row for row in rows if row.state == "CLAIMED")
    assert paid.nonce != asked[0] and paid.valid_before == FOREVER and moved(payer) == PRICE


def test_without_a_node_or_the_trx_or_beyond_the_cap_nothing_is_signed(payer, seller):
    url, shown = shop(seller, payer.box)
    payer.policy = dataclasses.replace(payer.policy, chains=ChainRules(fees={"tron": 1}))
    with payer.client() as http, pytest.raises(PolicyDenied, match="C9"):
        http.get(url)
    payer.policy = dataclasses.replace(payer.policy, chains=ChainRules())
    payer.box.ground.chain.endow(bytes.fromhex(payer.box.ground.payer.address[2:]), 1)
    with payer.client() as http, pytest.raises(NoAcceptableOffer, match="sun of TRX") as caught:
        http.get(url)
    assert "stake for energy" in caught.value.hint
    payer.settings = dataclasses.replace(payer.settings, nodes={})
    with payer.client() as http, pytest.raises(NoAcceptableOffer, match="needs a node"):
        http.get(url)
    assert shown == [] and states(payer) == []
