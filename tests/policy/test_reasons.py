"""What a person is asked about: prices that walk, strangers, tokens of doubtful worth; and fees, which are never asked about."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from x402_agent import assets
from x402_agent.errors import BudgetExceeded, NoAcceptableOffer, PolicyDenied, SettingsError
from x402_agent.model import Ask, Cap, Challenge, Offer
from x402_agent.policy import Bounds, Policy, Price, choose
from x402_agent.policy.facts import Nothing
from x402_agent.policy.file import parse
from x402_agent.policy.reasons import level

USDC = next(a for a in assets.assets() if a.network.name == "base" and a.symbol == "USDC")
COIN = replace(USDC, id=USDC.id[:-4] + "beef", address="0x" + "ee" * 20, symbol="COIN", decimals=18, peg="")
NOW = 1_800_000_000


class Facts(Nothing):
    def __init__(self, paid=(), origins=(), payees=(), price=None):
        self.days, self.origins, self.payees, self.quoted, self.asked = tuple(paid), origins, payees, price, 0

    def now(self):
        return float(NOW)

    def paid(self, ask):
        self.asked += 1
        return self.days

    def knows_origin(self, ask):
        return ask.origin in self.origins

    def knows_payee(self, offer):
        return offer.pay_to in self.payees

    def price(self, asset):
        if isinstance(self.quoted, Exception):
            raise self.quoted
        return self.quoted


def offer(amount=10_000, asset=USDC, **options):
    return Offer("x402", "exact", asset, amount, "0x" + "ab" * 20, 60, **options)


def judged(policy, *offers, facts=None, **options):
    what = Ask("GET", "https://api.example.com/x", "https://api.example.com", "api.example.com", "/x", **options)
    return choose(policy, what, Challenge("x402", offers), lambda _: "", facts=facts or Facts())


# -- drift (P15) ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "asks"), [(20_000, False), (20_001, True), (5, False)])
def test_P15_a_price_past_the_ratio_of_the_last_asks(asked, asks):
    policy = parse('drift = "2.0"\n', "policy.toml")
    found = judged(policy, offer(asked), facts=Facts([("2026-11-20", 10_000)]))
    assert found.offer is not None and bool(found.asks) is asks
    if asks:
        (reason,) = found.asks
        assert "0.020001 USDC" in reason.what and "0.01 USD" in reason.what and reason.rule == "drift in policy.toml:1" and "2026-11-20" in reason.what


def test_P15_it_denies_where_policy_says_so():
    policy = parse('drift = "1.5"\non_drift = "deny"\n', "policy.toml")
    error = judged(policy, offer(15_001), facts=Facts([("2026-11-20", 10_000)])).error
    assert isinstance(error, PolicyDenied) and error.rule == "drift in policy.toml:1"
    assert judged(policy, offer(15_000), facts=Facts([("2026-11-20", 10_000)])).offer is not None


def test_P15_a_slow_walk_is_seen():
    policy = Policy(drift=Fraction(2), per_call=10**9)
    price, days = 10_000, []
    for day in range(30):
        found = judged(policy, offer(price), facts=Facts(days))
        if found.asks:
            break
        days.append((f"2026-11-{day:02}", price))
        price += price // 2
    assert day == 2, "half as much again a day is caught before it has doubled twice"


def test_P15_a_jump_that_a_person_allowed_is_the_new_base():
    two = Fraction(2)
    assert level([("1", 100), ("2", 150), ("3", 199)], two) == ("1", 100)
    assert level([("1", 100), ("2", 300), ("3", 310)], two) == ("2", 300)
    assert level([("1", 100), ("2", 300), ("3", 90)], two) == ("3", 90)
    assert level([], two) is None


def test_P15_a_listed_price_is_compared_even_without_a_rule():
    assert judged(Policy(), offer(20_001), listed=10_000).asks and not judged(Policy(), offer(20_000), listed=10_000).asks
    assert not judged(Policy(drift=Fraction(3)), offer(30_000), listed=10_000).asks
    error = judged(Policy(on_drift="deny"), offer(20_001), listed=10_000).error
    assert isinstance(error, PolicyDenied) and "listed" in error.what


def test_rules_that_are_off_look_nothing_up():
    facts = Facts()
    assert judged(Policy(), offer(), facts=facts).asks == () and facts.asked == 0


def test_what_nobody_must_be_asked_about_comes_before_what_is_cheaper():
    policy = Policy(ask_new_payee=True)
    known = replace(offer(10_000), pay_to="0x" + "cd" * 20)
    found = judged(policy, offer(9_000), known, facts=Facts(payees=(known.pay_to,)))
    assert found.offer == known and found.asks == ()
    both = judged(policy, offer(9_000), known)
    assert both.offer == offer(9_000) and len(both.asks) == 1


# -- strangers (R4) ---------------------------------------------------------------------------------------------------------


def test_strangers_are_asked_about_and_the_hint_pins_them():
    policy = parse("ask_new_origin = true\nask_new_payee = true\n", "policy.toml")
    asks = judged(policy, offer()).asks
    assert [each.rule for each in asks] == ["ask_new_origin in policy.toml:1", "ask_new_payee in policy.toml:2"]
    assert all(each.hint == f"x402-agent pin https://api.example.com 0x{'ab' * 20} --network base" for each in asks)
    assert judged(policy, offer(), facts=Facts(origins=("https://api.example.com",), payees=("0x" + "ab" * 20,))).asks == ()


def test_above_a_threshold():
    policy = Policy(approve_above=10_000)
    assert judged(policy, offer(10_000)).asks == () and judged(policy, offer(10_001)).asks


# -- fees (P17) -------------------------------------------------------------------------------------------------------------


def test_P17_a_fee_of_fifty_dollars_is_denied_under_any_cap_on_the_call():
    policy = Policy(per_call=10**12, max_fee=20_000)
    error = judged(policy, offer(10_000, fee_cap=50_000_000)).error
    assert isinstance(error, PolicyDenied) and not isinstance(error, BudgetExceeded) and "max_fee" in error.rule and "50.0000 USDC" in error.what
    assert judged(policy, offer(10_000, fee_cap=20_000)).offer is not None
    assert judged(policy, offer(10_000, fee_cap=20_001)).offer is None
    assert judged(Policy(max_fee=0), offer(10_000, fee_cap=1)).offer is None


# -- what a token is worth (P18) ----------------------------------------------------------------------------------------------


def priced(micros=2_000_000, spread=0, age=0):
    return Facts(price=Price(micros, spread, NOW - age))


def test_P18_the_upper_side_of_the_spread_is_counted_and_rounded_up():
    policy = Policy(per_call=10**9, price_max_spread=Fraction(1, 10))
    found = judged(policy, offer(5 * 10**15 + 1, COIN), facts=priced(2_000_000, 100_000))
    assert found.offer.micros == 10_501 and found.offer.digest == offer(5 * 10**15 + 1, COIN).digest and found.offer == offer(5 * 10**15 + 1, COIN)
    assert [limit.unit for limit in found.limits] == ["micros"]
    fees = judged(policy, offer(5 * 10**15, COIN, fee_cap=10**15), facts=priced())
    assert fees.offer.micros == 12_000


def test_P18_the_cap_on_a_call_is_on_what_it_is_worth():
    facts = priced(2_000_000)
    assert judged(Policy(per_call=100_000), offer(5 * 10**16, COIN), facts=facts).offer is not None
    assert isinstance(judged(Policy(per_call=100_000), offer(5 * 10**16 + 1, COIN), facts=facts).error, BudgetExceeded)


def test_P18_the_cheapest_is_cheapest_by_worth():
    found = judged(Policy(), offer(10_000), offer(4 * 10**15, COIN), facts=priced(2_000_000))
    assert found.offer.asset == COIN


NONSENSE = [None, (2_000_000, 0), (2.0e6, 0, NOW), Price(0, 0, NOW), Price(-1, 0, NOW), Price(1, -1, NOW), Price(True, 0, NOW), Price(2**60, 0, NOW), "1",
            RuntimeError("down")]  # fmt: skip
DOUBTFUL = [priced(age=301), priced(age=-301), priced(2_000_000, 40_001)]


@pytest.mark.parametrize("facts", [*(Facts(price=each) for each in NONSENSE), *DOUBTFUL])
def test_P18_doubtful_prices_are_refused(facts):
    found = judged(Policy(), offer(10**15, COIN), facts=facts)
    assert isinstance(found.error, NoAcceptableOffer) and "no budget can count it" in found.error.what


@pytest.mark.parametrize("facts", DOUBTFUL)
def test_P18_a_doubtful_price_is_asked_about_and_counted_where_policy_says_so(facts):
    found = judged(Policy(unknown_price="ask"), offer(10**15, COIN), facts=facts)
    assert len(found.asks) == 1 and found.offer.micros >= 2_000 and found.asks[0].rule.startswith("price_max_")


def test_P18_what_nobody_can_price_says_which_rules_would_pay_it():
    error = judged(Policy(), offer(10**15, COIN)).error
    assert "unknown_price" in error.rule and f"--asset {COIN.id}" in error.hint and "Payer(prices=…)" in error.hint


def test_P18_what_nobody_can_price_is_paid_only_under_a_budget_in_its_units(monkeypatch):
    monkeypatch.setattr(assets, "assets", lambda found=assets.assets: (*found(), COIN))
    monkeypatch.setattr(assets, "asset_by_id", lambda name, found=assets.asset_by_id: COIN if name == COIN.id else found(name))
    money = offer(10**15, COIN)
    error = judged(Policy(unknown_price="ask"), money).error
    assert isinstance(error, BudgetExceeded) and f"--asset {COIN.id}" in error.hint
    policy = parse(f'unknown_price = "ask"\n[budgets."asset:{COIN.id}"]\nday_units = "0.5"\n', "policy.toml")
    found = judged(policy, money)
    assert len(found.asks) == 1 and [(limit.unit, limit.most) for limit in found.limits] == [("units", 5 * 10**17)]
    assert judged(policy, money, caps=(Cap(10**9, "max"),)).offer is None, "a cap in dollars cannot judge it"


def test_a_drift_below_one_is_no_drift():
    for options in ({"drift": Fraction(1, 2)}, {"on_drift": "allow"}, {"unknown_price": "allow"}, {"max_fee": -1}, {"budgets": {"all": Bounds(state="off")}}):
        with pytest.raises(SettingsError):
            Policy(**options)
