"""How many calls a dollar buys: what the seller's pages say decides, what nobody says is not hoped for, and none counts more than it bought."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kamiyo.test_choice import moved, states
from kamiyo.test_shapes import ask, golden, read
from x402_agent import PolicyDenied
from x402_agent.dialects.kamiyo.pages import agrees
from x402_agent.dialects.kamiyo.shapes import most
from x402_agent.steps import Fetched

NONE = Fetched(404, {}, b"")


def told(pricing=None, chains=None, expect=200, body="native", **changes):
    """The offers on Base as these pages make them: atomic units, calls, calls that are believed at most; and what was passed over."""
    steps = agrees(read(golden(body, **changes), expect), ask(expect))
    urls = [next(steps).url]
    urls.append(steps.send(page(chains)).url)
    with pytest.raises(StopIteration) as done:
        steps.send(page(pricing))
    assert urls == ["https://api.kamiyo.ai/x402/supported-chains", "https://api.kamiyo.ai/x402/pricing"]
    challenge = done.value.value
    return [(o.amount, o.serves, most(o)) for o in challenge.offers if o.network.name == "base" and o.flow == "quota"], challenge.passed_over


def page(found):
    if found is None or isinstance(found, Fetched):
        return found or NONE
    return Fetched(200, {}, found if isinstance(found, bytes) else json.dumps(found).encode())


def use(rate):
    return {"pricing_tiers": {"pay_per_use": {"price_per_call": 0.01, "min_payment": 0.01, "requests_per_dollar": rate}, "subscription_included": {"pro": {"included_calls": 50000}}}}


@pytest.mark.parametrize(("pricing", "amounts"), [
    (use(1000.0), [(200_000, 200, 200), (100_000, 100, 100)]),
    (use(100), [(2_000_000, 200, 200), (100_000, 10, 10)]),
    (use(10.0), [(20_000_000, 200, 200), (100_000, 1, 1)]),
    (use(3.0), [(66_666_667, 200, 200), (333_334, 1, 1)]),
    (use(1e9), [(100_000, 100_000, 100_000)]),
    (use(2000), [(100_000, 200, 200)]),
    ({"pricing": {"price_per_call": 0.1, "min_payment_usd": 0.1, "requests_per_dollar": 10.0}}, [(20_000_000, 200, 200), (100_000, 1, 1)]),
])  # fmt: skip
def test_what_is_advertised_decides(pricing, amounts):
    assert told(pricing)[0] == amounts


@pytest.mark.parametrize("pricing", [
    None, {}, [], b"{", use("1000"), use(True), use(-5), use(0), use(None), {"pricing_tiers": [{"requests_per_dollar": 1000}]}, {"pricing_tiers": {"pay_per_use": 7}},
    Fetched(500, {}, json.dumps(use(1000)).encode()), Fetched(0, {}, b""),
])  # fmt: skip
def test_what_nobody_says_is_not_hoped_for(pricing):
    """Ten calls, at what one alone costs; if it gives more, more than a thousand a dollar is not believed."""
    assert told(pricing)[0] == [(100_000, 10, 100)]
    assert told(pricing, amount_usdc=0.25)[0] == [(250_000, 1, 250)]
    assert told(pricing, amount_usdc=0.0001)[0] == [(100_000, 100, 100)]


def test_a_dollar_that_buys_next_to_nothing():
    for rate in (1e-300, 0.0001):
        offers, passed = told(use(rate))
        assert offers == [] and any("next to no calls" in each for each in passed)


def test_the_facilitators_offers_stay_as_they_are_and_each_chain_is_judged_alone():
    body = golden("gateway")
    body["payment_options"][0]["x402_standard"]["accepts"][0]["extra"] = None
    pages = {"supported_chains": ["ethereum", "solana"], "payment_addresses": {"solana": "11111111111111111111111111111112"}}
    steps = agrees(read(body, 200), ask(200))
    next(steps)
    steps.send(page(pages))
    with pytest.raises(StopIteration) as done:
        steps.send(page(use(1000)))
    found = done.value.value
    assert [(o.network.name, o.flow) for o in found.offers] == [("base", "authorization"), ("ethereum", "quota"), ("ethereum", "quota")]
    assert [each.partition(":")[0] for each in found.passed_over[-2:]] == ["base", "solana"] and "R3" in found.passed_over[-1]


@pytest.mark.parametrize(("rate", "way", "pays"), [(1000, "token", 200_000), (101, "token", 1_980_199), (100, "x-payment", 0), (20, "x-payment", 0), (None, "x-payment", 0)])
def test_the_cheaper_way_by_what_the_seller_says_is_taken_and_quoted(payer, gateway, rate, way, pays):
    payer.policy = replace(payer.policy, per_call=30_000_000)
    gateway.rate = rate or 1000
    if rate is None:
        gateway.seller.serves("/x402/pricing", lambda hit: gateway.json({}, 404))
    with payer.task("watch", expect_calls=200), payer.client() as http:
        quote = payer.quote(gateway.url())
        assert (quote.chosen.amount if quote.chosen.flow == "quota" else 0) == pays
        assert http.get(gateway.url(), extensions={"payment": {"offer": quote.chosen}}).content == b"goods", "what was quoted is what is paid"
    assert gateway.opened == [way] and moved(payer) == pays and states(payer) == ["CLAIMED"]


def test_a_price_that_changes_after_the_quote_is_not_paid(payer, gateway):
    payer.policy = replace(payer.policy, per_call=30_000_000)
    with payer.task("watch", expect_calls=200), payer.client() as http:
        quote = payer.quote(gateway.url())
        gateway.rate = 150
        with pytest.raises(PolicyDenied, match="other terms than were locked"):
            http.get(gateway.url(), extensions={"payment": {"offer": quote.chosen}})
    assert moved(payer) == 0


def test_one_call_asks_no_page(payer, gateway):
    asked = []
    gateway.seller.serves("/x402/pricing", lambda hit: asked.append(hit) or gateway.json({}))
    with payer.client() as http:
        assert http.get(gateway.url()).content == b"goods"
    assert asked == [] and gateway.opened == ["x-payment"]


def test_fewer_calls_than_were_said_count_as_they_are(payer, shop):
    shop.seller.serves("/x402/pricing", lambda hit: shop.json(use(1000)))
    shop.rate = 30  # three calls for the least
    with payer.client() as http:
        assert [http.get(shop.url()).content for _ in range(3)] == [b"goods"] * 3
    assert moved(payer) == 100_000 and [each.uses_left for each in payer.ledger.tokens()] == [0]


def test_more_calls_than_were_bought_do_not_count(payer, shop):
    shop.rate = 10**6
    shop.seller.serves("/x402/pricing", lambda hit: shop.json(use(1000)))
    with payer.client() as http:
        assert http.get(shop.url()).content == b"goods"
    assert [each.uses_left for each in payer.ledger.tokens()] == [99]
