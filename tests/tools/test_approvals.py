"""Where policy wants a person: asked at the client's end, or before the call; a yes is for one offer, once, and soon."""

from __future__ import annotations

from dataclasses import replace

import pytest

from x402_agent.tools import Tools, Yes, asking

pytestmark = pytest.mark.anyio


class Person:
    """Somebody at the client's end."""

    name = "somebody"

    def __init__(self, says):
        self.says, self.asked = says, []

    def ask(self, request):
        yield from ()
        self.asked.append(request)
        return self.says


@pytest.fixture
def asks(payer):
    """A payer that asks a person about everything."""
    payer.policy = replace(payer.policy, approve_above=0)
    return payer


async def test_nobody_at_hand_is_a_no(asks):
    async with Tools(asks) as tools:
        quoted = await tools.quote(asks.sandbox.url("/joke"))
        assert quoted.policy == "asks" and "approve_above" in quoted.asks[0]
        assert (await tools.buy(quoted.offer_id)).problem.kind == "PolicyDenied"
        assert not asks.sandbox.settlements


@pytest.mark.parametrize("says", [True, False, "yes", 1])
async def test_the_person_at_the_clients_end_is_asked(asks, says):
    person = Person(says)
    async with Tools(asks, ask=person) as tools:
        made = await tools.fetch(asks.sandbox.url("/joke"))
    assert len(person.asked) == 1 and person.asked[0].money == "0.0100 USDC (base-sepolia)"
    assert (made.outcome == "spent") == (says is True) == (len(asks.sandbox.settlements) == 1)


async def test_a_yes_before_the_call_is_for_that_offer_once(asks):
    async with Tools(asks) as tools:
        joke, report = [await tools.quote(asks.sandbox.url(path)) for path in ("/joke", "/report")]
        assert tools.offered(joke.offer_id).money == "0.0100 USDC (base-sepolia)"
        yes = Yes(tools.offered(joke.offer_id))
        with asking(yes):
            assert (await tools.buy(report.offer_id)).problem.kind == "PolicyDenied"  # said yes to the joke, and that is used now
            assert (await tools.buy(joke.offer_id)).problem.kind == "PolicyDenied"
        assert not asks.sandbox.settlements
        joke = await tools.quote(asks.sandbox.url("/joke"))
        with asking(Yes(tools.offered(joke.offer_id))):
            assert (await tools.buy(joke.offer_id)).outcome == "spent"
            assert (await tools.fetch(asks.sandbox.url("/joke"), again=True)).problem.kind == "PolicyDenied"
        assert len(asks.sandbox.settlements) == 1


async def test_a_yes_is_soon_and_for_the_reasons_that_were_seen(asks):
    now = [0.0]
    async with Tools(asks) as tools:
        for late in (True, False):
            quoted = await tools.quote(asks.sandbox.url("/joke"))
            yes = Yes(tools.offered(quoted.offer_id), clock=lambda: now[0])
            now[0] += 120 if late else 0
            if not late:
                asks.policy = replace(asks.policy, ask_new_origin=True)  # came up since the person was asked
            with asking(yes):
                assert (await tools.buy(quoted.offer_id)).problem.kind == "PolicyDenied"
        assert not asks.sandbox.settlements


async def test_a_yes_is_for_the_same_body(asks):
    async with Tools(asks) as tools:
        quoted = await tools.quote(asks.sandbox.url("/upload"), "POST", "a")
        for body, outcome in (("b", "unpaid"), ("a", "spent")):
            with asking(Yes(tools.offered(quoted.offer_id))):
                assert (await tools.fetch(asks.sandbox.url("/upload"), method="POST", body=body)).outcome == outcome


async def test_a_yes_pays_no_other_terms_than_were_shown(asks):
    async with Tools(asks) as tools:
        quoted = await tools.quote(asks.sandbox.url("/joke"))
        asks.sandbox.scenario = "price_flips"
        await tools.quote(asks.sandbox.url("/joke"))  # the first look at the flipping price
        with asking(Yes(tools.offered(quoted.offer_id))):
            made = await tools.buy(quoted.offer_id)
        assert made.outcome == "spent" or made.problem.kind == "PolicyDenied"
        assert all(each.amount == 10_000 for each in asks.sandbox.settlements)
