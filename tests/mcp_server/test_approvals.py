"""A person's yes by way of the host: in both eras, about one offer, once; and who is asked where the host cannot ask."""

from __future__ import annotations

from dataclasses import replace

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import ElicitResult, InputRequiredResult

pytestmark = pytest.mark.anyio
YES, NO = {"action": "accept", "content": {"approve": True}}, {"action": "accept", "content": {"approve": False}}


@pytest.fixture(params=["auto", "legacy"])
def era(request):
    return request.param


@pytest.fixture
def payer(payer):
    payer.policy = replace(payer.policy, approve_above=5_000)
    return payer


@pytest.fixture
def person():
    """A person who answers each question in turn, and the last for ever; `heard` is what was asked."""

    def make(*answers):
        heard = []

        async def answer(context, params):
            heard.append(params.message)
            return ElicitResult(**answers[min(len(heard), len(answers)) - 1])

        answer.heard = heard
        return answer

    return make


async def test_buy_asks_about_the_terms_and_pays_after_a_yes(connect, payer, joke, era, person):
    who = person(YES)
    async with connect(mode=era, elicitation_callback=who) as client:
        quoted = (await client.call_tool("quote", {"url": joke})).structured_content
        assert quoted["policy"] == "asks" and quoted["asks"]
        bought = await client.call_tool("buy", {"offer_id": quoted["offer_id"]})
        assert bought.structured_content["outcome"] == "spent", bought
        again = await client.call_tool("buy", {"offer_id": quoted["offer_id"]})
        assert again.is_error and "bought already" in again.structured_content["problem"]["what"]
    (asked,) = who.heard
    assert "0.0100 USDC" in asked and payer.sandbox.pay_to in asked and joke in asked
    assert len(payer.sandbox.settlements) == 1


async def test_fetch_asks_too_and_pays_what_was_asked_about(connect, payer, joke, era, person):
    who = person(YES)
    async with connect(mode=era, elicitation_callback=who) as client:
        bought = await client.call_tool("fetch", {"url": joke})
        assert bought.structured_content["outcome"] == "spent", bought
        again = await client.call_tool("fetch", {"url": joke})
        assert again.structured_content["repeated"]
    assert len(who.heard) == 1 and len(payer.sandbox.settlements) == 1
    assert "approved by a person at the client's end" in str(payer.ledger.events(bought.structured_content["payment_id"]))


@pytest.mark.parametrize("answer", [NO, {"action": "decline"}, {"action": "cancel"}])
@pytest.mark.parametrize("tool", ["buy", "fetch"])
async def test_anything_but_a_yes_pays_nothing_and_is_told(connect, payer, joke, era, person, answer, tool):
    async with connect(mode=era, elicitation_callback=person(answer)) as client:
        arguments = {"url": joke}
        if tool == "buy":
            arguments = {"offer_id": (await client.call_tool("quote", {"url": joke})).structured_content["offer_id"]}
        refused = await client.call_tool(tool, arguments)
        assert refused.is_error and "did not say yes" in refused.structured_content["problem"]["what"]
    assert not payer.sandbox.settlements


async def test_a_yes_is_for_one_purchase(connect, payer, joke, era, person):
    who = person(YES, NO, YES)
    async with connect(mode=era, elicitation_callback=who) as client:
        assert not (await client.call_tool("fetch", {"url": joke})).is_error
        assert (await client.call_tool("fetch", {"url": joke, "again": True})).is_error
        assert len(payer.sandbox.settlements) == 1
        assert not (await client.call_tool("fetch", {"url": joke, "again": True})).is_error
    assert len(who.heard) == 3 and len(payer.sandbox.settlements) == 2


async def test_a_host_that_cannot_ask_leaves_it_to_the_channels(connect, payer, joke, era):
    async with connect(mode=era) as client:
        refused = await client.call_tool("fetch", {"url": joke})
        assert refused.is_error and "nobody can be asked" in refused.structured_content["problem"]["what"]
        payer.approve = lambda request: True
        assert (await client.call_tool("fetch", {"url": joke})).structured_content["outcome"] == "spent"


async def test_a_yes_to_one_price_is_none_to_another(connect, payer, era, person):
    """The seller raises its price while the person thinks: what was seen is bought, or nothing."""
    url = payer.sandbox.url("/joke")

    async def slow(context, params):
        route = payer.sandbox.routes["/joke"]
        payer.sandbox.routes["/joke"] = replace(route, price=route.price * 2)
        return ElicitResult(**YES)

    async with connect(mode=era, elicitation_callback=slow) as client:
        assert (await client.call_tool("fetch", {"url": url})).is_error
    assert not payer.sandbox.settlements


async def test_M5_an_answer_is_good_for_its_own_question_alone(connect, payer, joke, person):
    """On 2026-07-28 the answer comes back with the next call: neither it nor the sealed state helps another offer."""
    async with connect(elicitation_callback=person(YES)) as client:
        one, two = [(await client.call_tool("quote", {"url": joke})).structured_content["offer_id"] for _ in range(2)]
        asked = await client.session.call_tool("buy", {"offer_id": one}, allow_input_required=True)
        other = await client.session.call_tool("buy", {"offer_id": two}, allow_input_required=True)
        assert asked.input_requests != other.input_requests  # the same terms, and another question
        yes = {key: ElicitResult(**YES) for key in asked.input_requests}

        async def again(offer_id, state):
            return await client.session.call_tool("buy", {"offer_id": offer_id}, input_responses=yes, request_state=state, allow_input_required=True)

        for state in (asked.request_state, None, "forged", asked.request_state[:-2]):
            try:
                answer = await again(two, state)
            except MCPError:
                continue
            assert isinstance(answer, InputRequiredResult) or answer.is_error, answer
        assert not payer.sandbox.settlements
        assert (await again(one, asked.request_state)).structured_content["outcome"] == "spent"
        stale = await again(one, asked.request_state)
        assert stale.is_error and "bought already" in stale.structured_content["problem"]["what"]
    assert len(payer.sandbox.settlements) == 1
