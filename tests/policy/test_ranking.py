"""Offers across chains: compared by what they cost all told, by what a person prefers, and by what the accounts have."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from itertools import permutations

import pytest

from x402_agent import NoAcceptableOffer, Payer, SettingsError, Wallet, assets
from x402_agent.chains.stacks import Stacks
from x402_agent.model import Ask, ChainRules, Challenge, Money, Offer
from x402_agent.policy import Policy, Price, choose, load
from x402_agent.policy.facts import Nothing

STX = assets.asset_by_id("stacks:1/slip44:5757")
PAYEES = {"eip155": "0x" + "ab" * 20, "solana": "7" * 44, "stacks": "SP" + "2" * 39, "tron": "T" + "x" * 33}
NOW = 1_800_000_000


class Facts(Nothing):
    """Stacks takes a fee of ours in STX; `have` is what accounts have."""

    def __init__(self, fee=0, stx=None, **have):
        self.units, self.stx, self.have = fee, stx, have

    def now(self):
        return float(NOW)

    def fee(self, offer):
        return Money(self.units, STX) if offer.network.namespace == "stacks" else None

    def price(self, asset):
        return Price(self.stx, 0, NOW) if asset is STX and self.stx else None

    def balance(self, offer):
        return self.have.get(offer.network.name)


def on(name, amount=10_000, symbol="USDC", **options):
    where = assets.network(name)
    asset = next(each for each in assets.assets() if each.network == where and each.symbol == symbol)
    return Offer("x402", "exact", asset, amount, PAYEES[where.namespace], 60, **options)


def stacks(amount=10_000):
    return on("stacks", amount, "USDCx")


def judged(*offers, facts=None, refuses=lambda _: "", **rules):
    what = Ask("GET", "https://api.example.com/x", "https://api.example.com", "api.example.com", "/x")
    return choose(Policy(**rules), what, Challenge("x402", offers), refuses, facts=facts or Facts())


def words(choice):
    return {offer.network.name: why for offer, why in choice.passed_over}


# -- cost -------------------------------------------------------------------------------------------------------------------


def test_a_networks_own_fee_counts_in_the_comparison():
    facts = Facts(fee=3_000, stx=2_000_000)  # 0.003 STX at 2 dollars
    choice = judged(stacks(10_000), on("base", 15_000), facts=facts)
    assert choice.offer.network.name == "base" and words(choice)["stacks"] == "costs 0.001 USD more"
    assert [turn.micros for turn in choice.turns] == [15_000, 16_000]
    assert judged(stacks(10_000), on("base", 17_000), facts=facts).offer.network.name == "stacks"


def test_a_fee_that_nobody_can_value_comes_last():
    choice = judged(stacks(10_000), on("base", 90_000), facts=Facts(fee=1))
    assert choice.offer.network.name == "base" and "nobody knows" in words(choice)["stacks"]
    assert judged(stacks(10_000), facts=Facts(fee=1)).offer.network.name == "stacks"


def test_the_order_in_which_a_seller_lists_equal_offers_decides_nothing():
    offers = [on("base"), on("solana"), on("tron", symbol="USDT"), stacks(), on("polygon"), replace(on("base"), pay_to="0x" + "cd" * 20)]
    chosen = {judged(*each).offer for each in permutations(offers)}
    assert len(chosen) == 1


def test_each_reason_names_what_is_saved():
    choice = judged(on("base", 10_000), on("solana", 25_000), on("polygon", 10_000))
    assert words(choice) == {"solana": "costs 0.015 USD more", "polygon" if choice.offer.network.name == "base" else "base": "no cheaper"}


# -- preference -------------------------------------------------------------------------------------------------------------


def test_a_preferred_network_is_taken_at_the_same_price_and_a_little_above():
    offers = on("base", 10_000), on("solana", 11_000), on("polygon", 10_000)
    choice = judged(*offers, prefer=("solana", "polygon"), source="policy.toml")
    assert choice.offer.network.name == "solana"
    assert words(choice)["base"] == "solana is preferred (prefer in policy.toml)"
    assert judged(*offers, prefer=("polygon", "solana")).offer.network.name == "polygon"


def test_who_is_preferred_cannot_be_made_dear():
    assert judged(on("base", 10_000), on("solana", 11_001), prefer=("solana",)).offer.network.name == "base"
    dearer = judged(on("base", 10_000), on("solana", 20_000), prefer=("solana",), prefer_within=2)
    assert dearer.offer.network.name == "solana"
    assert judged(on("base", 10_000), on("solana", 10_001), prefer=("solana",), prefer_within=1).offer.network.name == "base"


def test_a_bait_that_cannot_be_paid_does_not_undo_a_preference():
    bait = on("tron", 1, "USDT")
    choice = judged(bait, on("base", 10_000), on("solana", 10_500), prefer=("solana",),
                    refuses=lambda offer: "no key for tron" if offer == bait else "")  # fmt: skip
    assert choice.offer.network.name == "solana"


def test_a_preference_never_pays_what_a_rule_forbids():
    choice = judged(on("base", 100_000), on("solana", 105_000), prefer=("solana",))
    assert choice.offer.network.name == "base" and "limit for one call" in words(choice)["solana"]


def test_what_nobody_is_asked_about_comes_before_what_is_preferred():
    choice = judged(on("base", 10_000), on("solana", 10_500), prefer=("solana",), approve_above=10_200)
    assert choice.offer.network.name == "base" and "a person would be asked" in words(choice)["solana"]


def test_both_rules_are_read_with_their_lines(tmp_path):
    path = tmp_path / "policy.toml"
    path.write_text('\nprefer = ["eip155:8453", "tron:mainnet"]\nprefer_within = "1.5"\n')
    policy = load(path)
    assert policy.place("prefer") == f"prefer in {path}:2" and policy.prefer_within * 2 == 3
    assert [policy.liking(assets.network(name)) for name in ("base", "tron", "solana")] == [0, 1, None]


@pytest.mark.parametrize("text", ['prefer = ["Base"]', 'prefer = "base"', 'prefer_within = "0.9"', "prefer_within = 1.1"])
def test_what_is_no_preference_names_its_line(tmp_path, text):
    path = tmp_path / "policy.toml"
    path.write_text("\n" + text + "\n")
    with pytest.raises(SettingsError) as caught:
        load(path)
    assert f"{path}:2" in caught.value.rule


# -- balances ---------------------------------------------------------------------------------------------------------------


def test_a_chain_with_too_little_is_passed_over_for_a_dearer_one():
    choice = judged(on("base", 10_000), on("solana", 20_000), facts=Facts(base=9_999, solana=20_000))
    assert choice.offer.network.name == "solana" and words(choice)["base"] == "the account has only 0.009999 USDC (base)"
    assert judged(on("base", 10_000), facts=Facts(base=10_000)).offer is not None


def test_a_refusal_says_which_asset_is_missing_where():
    error = judged(on("base"), on("solana"), facts=Facts(base=0, solana=5)).error
    assert isinstance(error, NoAcceptableOffer)
    assert "it takes USDC on base or USDC on solana, and nothing is ever swapped" in error.what
    assert "wallet show" in error.hint and error.rule == "balance on chain"


def test_a_quote_asks_the_node_and_what_it_said_holds_for_the_payment():
    with Payer.sandbox(serve=True) as rich:
        url = rich.sandbox.url("/joke")
        rich.ledger.flush()
        before = rich.sandbox.balance(rich.wallet.address("eip155"))
        assert rich.quote(url).costs == (10_000,) and rich.balances.known(rich.quote(url).chosen, rich.wallet.address("eip155")) == before
        with rich.client() as http:
            assert http.get(url).status_code == 200
        assert rich.balances.known(rich.quote(url).chosen, rich.wallet.address("eip155")) == before - 10_000  # what was signed away is not there any more
        poor = Payer(wallet=Wallet.generated(), policy=rich.policy, settings=rich.settings, ledger=rich.ledger)
        assert isinstance(poor.quote(url).reason, NoAcceptableOffer)
        with poor.client() as http, pytest.raises(NoAcceptableOffer, match=r"only 0\.0000 USDC"):
            http.get(url)
        assert len(rich.ledger.payments()) == 1


def test_without_an_answer_of_a_node_nothing_is_known_and_nothing_hindered():
    with Payer.sandbox(serve=True) as payer:
        payer.settings = dataclasses.replace(payer.settings, nodes={"eip155:84532": "http://127.0.0.1:9"})
        quote = payer.quote(payer.sandbox.url("/joke"))
        assert quote.chosen is not None and payer.balances.known(quote.chosen, payer.wallet.address("eip155")) is None


def test_what_stacks_takes_of_the_payer_is_its_ceiling_unless_a_sponsor_pays():
    ours, sponsored, broken = (replace(stacks(), details=text) for text in ("", '{"sponsored":true}', "{"))
    assert Stacks().fee(ours, ChainRules()) == Money(100_000, STX)
    assert Stacks().fee(ours, ChainRules(fees={"stacks": 7})) == Money(7, STX)
    assert Stacks().fee(sponsored, ChainRules()) is None and Stacks().fee(broken, ChainRules()) is None
    with Payer.sandbox() as payer:
        assert payer.facts.fee(ours) == Money(100_000, STX) and payer.facts.fee(on("base")) is None
