"""What a host is told of the tools: few words, true hints, and nothing by which a model could choose whom to pay or how much."""

from __future__ import annotations

import json

import pytest

pytestmark = pytest.mark.anyio

EIGHT = {"search", "quote", "buy", "fetch", "spending", "why", "balance", "resume"}
ARGUMENTS = {"url", "method", "body", "max_price", "again", "offer_id", "payment_id", "period", "words", "live"}


@pytest.fixture
async def tools(connect):
    async with connect() as client:
        return {each.name: each for each in (await client.list_tools()).tools}


async def test_eight_tools_in_at_most_1800_tokens(tools):
    assert set(tools) == EIGHT
    listed = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in tools.values()]
    assert len(json.dumps(listed, ensure_ascii=False, separators=(",", ":")).encode()) / 4 <= 1800


async def test_M1_M3_no_argument_chooses_a_recipient_an_amount_a_limit_or_a_key(tools):
    found = {name for each in tools.values() for name in each.input_schema["properties"]}
    assert found == ARGUMENTS
    for each in tools.values():
        assert each.input_schema["additionalProperties"] is False
        for facts in each.input_schema["properties"].values():
            assert facts["type"] in ("string", "boolean")


async def test_a_host_is_told_which_tools_spend(tools):
    hints = {name: each.annotations for name, each in tools.items()}
    assert {name for name, each in hints.items() if each.read_only_hint} == {"search", "quote", "spending", "why", "balance"}
    assert {name for name, each in hints.items() if each.destructive_hint} == {"buy", "fetch"}
    assert {name for name, each in hints.items() if each.idempotent_hint} == {"buy", "resume"}
    assert {name for name, each in hints.items() if not each.open_world_hint} == {"search", "spending", "why"}
    for name, each in tools.items():
        assert ("SPEND" in each.description) == (name in ("buy", "fetch")), name
        assert name in ("buy", "fetch") or "nothing" in each.description or "Never pays" in each.description, name


async def test_every_tool_has_a_schema_of_its_answer(tools):
    for each in tools.values():
        assert each.output_schema["type"] == "object" and each.output_schema["properties"], each.name
        assert "problem" not in each.output_schema["properties"]


async def test_an_argument_that_no_tool_has_is_refused_and_nothing_is_done(connect, payer, joke):
    async with connect() as client:
        for extra in ({"amount": "5"}, {"pay_to": "0x" + "11" * 20}, {"policy": "none"}, {"max_price ": "9"}):
            answer = await client.call_tool("fetch", {"url": joke, **extra})
            assert answer.is_error and "Nothing was done" in answer.content[0].text
        answer = await client.call_tool("fetch", {"url": joke, "max_price": 5})
        assert answer.is_error and answer.content[0].text.startswith("fetch: max_price:")
        assert (await client.call_tool("set_budget", {"day": "500"})).is_error
    assert payer.ledger.payments() == []
