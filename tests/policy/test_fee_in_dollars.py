"""What a network takes of us counts in budgets of dollars where the price source knows its coin, else in [gas.NETWORK] alone."""

from __future__ import annotations

import dataclasses
import time

import pytest

from x402_agent import BudgetExceeded, Payer
from x402_agent.model import ChainRules
from x402_agent.policy import Price


class Coin:
    """What one STX is worth, in millionths of a dollar; None for nobody knows."""

    def __init__(self, micros):
        self.micros = micros

    def price(self, asset):
        return Price(self.micros, 0, int(time.time())) if self.micros and asset.symbol == "STX" else None


@pytest.fixture
def payer():
    with Payer.sandbox(chain="stacks", serve=True) as made:
        yield made


def paid(payer, path="/joke"):
    with payer.client() as http:
        reply = http.get(payer.box.url(path))
    assert reply.status_code == 200
    row = payer.ledger.payment(reply.extensions["payment"].payment_id)
    return row.micros, row.gas


def test_it_counts_where_the_coin_has_a_price_and_by_the_upper_side_of_it(payer):
    price, fee = paid(payer)
    assert fee > 0 and price == 10_000
    payer.prices = Coin(2_000_000)  # a microSTX is two millionths of a dollar
    assert paid(payer) == (10_000 + 2 * fee, fee)
    assert payer.ledger.verify() == []


def test_a_budget_of_dollars_holds_it(payer):
    fee = paid(payer)[1]
    payer.policy = dataclasses.replace(payer.policy, day=20_000 + fee)
    payer.prices = Coin(1_000_000)
    assert paid(payer)[0] == 10_000 + fee  # to the last microSTX
    payer.policy = dataclasses.replace(payer.policy, day=30_000 + 2 * fee - 1)
    with pytest.raises(BudgetExceeded):
        paid(payer)
    payer.prices = None
    assert paid(payer)[0] == 10_000


def test_who_pays_none_of_it_counts_none(payer):
    payer.prices = Coin(2_000_000)
    assert paid(payer, "/sponsored") == (10_000, 0)


def test_a_coin_that_is_paid_with_counts_both(payer):
    payer.prices = Coin(500_000)
    price = payer.box.routes["/stx"].price
    micros, fee = paid(payer, "/stx")
    assert micros == -(-price // 2) + -(-fee // 2)


def test_a_plan_counts_the_most_that_it_may_be_and_is_paid_within_that(payer):
    payer.prices = Coin(2_000_000)
    plan = payer.plan([payer.box.url("/joke"), payer.box.url("/sponsored")])
    assert plan.total == "0.22" and [row.cost for row in plan.rows] == [210_000, 10_000]  # a tenth of an STX, and two prices
    assert [each.error for each in plan.run()] == [None, None]
    payer.ledger.flush()
    assert 20_000 < sum(row.micros for row in payer.ledger.payments()) < plan.micros
    payer.policy = dataclasses.replace(payer.policy, day=200_000)
    (short,) = payer.plan([payer.box.url("/joke")]).short()
    assert "takes 0.21 USD of all" in short.what
    payer.policy = dataclasses.replace(payer.policy, chains=ChainRules(fees={"stacks": 5_000}))
    assert payer.plan([payer.box.url("/joke")]).total == "0.02"
    payer.prices = None
    assert payer.plan([payer.box.url("/joke")]).total == "0.01"  # nobody knows: only [gas.stacks] holds it


def test_asked_and_judged_again_it_counts_the_same(payer):
    payer.prices = Coin(2_000_000)
    payer.policy = dataclasses.replace(payer.policy, approve_above=0)
    payer.approve = lambda offer, ask: True
    micros, fee = paid(payer)
    assert micros == 10_000 + 2 * fee
