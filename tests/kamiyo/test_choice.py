"""Which of its two ways is taken: the cheapest for as many calls as are expected, within policy; and why, in words."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from x402_agent import BudgetExceeded, SettingsError
from x402_agent.policy import Price, load


def moved(payer):
    return payer.box.balance(payer.box.pay_to)


def states(payer):
    payer.ledger.flush()
    return [row.state for row in payer.ledger.payments()]


def test_one_call_is_bought_by_its_facilitator(payer, gateway):
    with payer.client() as http:
        assert http.get(gateway.url()).content == b"goods"
    assert gateway.opened == ["x-payment"] and moved(payer) == 0 and states(payer) == ["CLAIMED"]


def test_many_are_bought_on_chain_and_the_quote_says_why(payer, gateway):
    payer.policy = replace(payer.policy, per_call=200_000)
    with payer.task("watch", expect_calls=200):
        found = payer.quote(gateway.url())
        assert (found.chosen.flow, found.chosen.amount) == ("quota", 200_000)
        assert [why for offer, why in found.offers if offer.scheme == "exact"] == ["costs 1.80 USD more for 200 calls"]
        assert "about 200 calls within a day" in found.chosen.description


def test_where_policy_lets_so_much_not_be_paid_at_once_the_least_is_bought(payer, gateway):
    with payer.task("watch", expect_calls=200), payer.client() as http:
        assert http.get(gateway.url()).content == b"goods"
    assert moved(payer) == 100_000 and gateway.opened == ["token"]


class Ether:
    """Somebody knows what one ETH is worth: a hundred dollars."""

    def price(self, asset):
        return Price(100_000_000, 0, int(time.time())) if asset.symbol == "ETH" else None


def test_a_plan_holds_the_gas_that_its_purchase_will_count(payer, shop):
    payer.prices = Ether()
    plan = payer.plan([shop.url()])
    assert (plan.total, plan.rows[0].cost) == ("0.30", 100_000)  # 0.002 ETH at most, by which nothing is ranked
    (done,) = plan.run()
    assert done.error is None and done.response.content == b"goods"
    payer.ledger.flush()
    (row,) = payer.ledger.payments()
    assert 100_000 < row.micros < plan.micros


def test_within_policy(payer, gateway):
    with payer.task("watch", expect_calls=200, per_call="0.05"), payer.client() as http:
        assert http.get(gateway.url()).content == b"goods"
    assert gateway.opened == ["x-payment"] and moved(payer) == 0


def test_the_minimum_counts_whole(payer, shop):
    with payer.task("one", budget="0.09"), payer.client() as http, pytest.raises(BudgetExceeded):
        http.get(shop.url())
    assert moved(payer) == 0 and states(payer) == []


def test_policy_says_it_for_all(payer, gateway, tmp_path):
    (tmp_path / "policy.toml").write_text("[defaults]\nexpect_calls = 50\n")
    payer.policy = replace(payer.policy, expect_calls=load(tmp_path / "policy.toml").expect_calls)
    assert payer.quote(gateway.url()).chosen.amount == 100_000
    with payer.task("few", expect_calls=2):
        assert payer.quote(gateway.url()).chosen.amount == 10_000


@pytest.mark.parametrize("bad", [0, -1, True, 1.5, "200", 10**7])
def test_what_is_no_number_of_calls(payer, bad):
    with pytest.raises(SettingsError, match="expected in whole numbers"):
        payer.task("x", expect_calls=bad)


@pytest.mark.parametrize("text", ["[defaults]\nexpect = 2\n", "defaults = 3\n", "[defaults]\nexpect_calls = 0\n", "expect_calls = 3\n"])
def test_what_is_no_default(tmp_path, text):
    (tmp_path / "policy.toml").write_text(text)
    with pytest.raises(SettingsError):
        load(tmp_path / "policy.toml")


def test_two_at_once_buy_once(payer, shop):
    with payer.client() as http, ThreadPoolExecutor(4) as pool:
        assert [each.content for each in pool.map(lambda path: http.get(shop.url(path)), ["/exploits", "/protocols/risk-score"] * 2)] == [b"goods"] * 4
    assert moved(payer) == 100_000 and states(payer) == ["CLAIMED"] and shop.left[1] == 96
