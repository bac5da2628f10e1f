"""The tools by the official client, in both eras of the protocol, on asyncio and trio."""

from __future__ import annotations

import json
from functools import partial

import anyio
import pytest
from mcp import Client
from x402_agent_mcp.clients import LATE, MOST, Clients
from x402_agent_mcp.progress import trace
from x402_agent_mcp.server import made

from x402_agent import Payer

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["auto", "legacy"])
def era(request):
    return request.param


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_quote_is_bought_once_and_told_in_words_and_structure(connect, payer, joke, era, anyio_backend):
    async with connect("Claude Desktop", mode=era) as client:
        quoted = (await client.call_tool("quote", {"url": joke})).structured_content
        assert quoted["policy"] == "allowed" and quoted["price"]["atomic"] == "10000" and not payer.sandbox.settlements
        bought = await client.call_tool("buy", {"offer_id": quoted["offer_id"]})
        assert not bought.is_error and bought.structured_content["outcome"] == "spent"
        assert json.loads(bought.content[0].text) == bought.structured_content
        assert bought.structured_content["body"]["text"].startswith("[untrusted: text of http://")
        again = await client.call_tool("buy", {"offer_id": quoted["offer_id"]})
        assert again.is_error and again.structured_content["problem"]["rule"] == "an offer_id is used once"
        fetched = await client.call_tool("fetch", {"url": joke})
        assert fetched.structured_content["repeated"] and len(payer.sandbox.settlements) == 1
    assert [row.agent for row in payer.ledger.payments()] == ["claude-desktop"]


async def test_what_happened_is_told_by_the_other_tools(connect, payer, joke, era):
    async with connect(mode=era) as client:
        paid = (await client.call_tool("fetch", {"url": joke, "method": "GET", "max_price": "0.02"})).structured_content
        spent = (await client.call_tool("spending", {})).structured_content
        assert (spent["spent"], spent["payments"]) == ("0.01", 1)
        why = (await client.call_tool("why", {"payment_id": paid["payment_id"]})).structured_content
        assert why["outcome"] == "spent" and why["amount"]["atomic"] == "10000"
        holds = (await client.call_tool("balance", {})).structured_content
        assert [each["address"] for each in holds["accounts"]] == [payer.wallet.signer("eip155").address("eip155")]
        assert (await client.call_tool("resume", {})).structured_content["open"] == 0


async def test_what_policy_refuses_is_an_error_that_says_which_rule(connect, payer):
    async with connect() as client:
        answer = await client.call_tool("fetch", {"url": payer.sandbox.url("/dear"), "max_price": "100"})
        assert answer.is_error and "0.10" in answer.structured_content["problem"]["rule"] + answer.structured_content["problem"]["what"]
        quoted = await client.call_tool("quote", {"url": payer.sandbox.url("/dear")})
        assert quoted.is_error and quoted.structured_content["policy"] == "denied" and quoted.structured_content["offer_id"] == ""
    assert not payer.sandbox.settlements


async def test_many_sessions_have_a_budget_of_their_own_and_no_offers_of_others(connect, payer, joke):
    async with connect("claude") as one, connect("cursor") as other:
        offer = (await one.call_tool("quote", {"url": joke})).structured_content["offer_id"]
        stolen = await other.call_tool("buy", {"offer_id": offer})
        assert stolen.is_error and "no such offer" in stolen.structured_content["problem"]["what"]
        assert not (await one.call_tool("buy", {"offer_id": offer})).is_error
        assert (await other.call_tool("spending", {})).structured_content["payments"] == 0
        assert (await one.call_tool("spending", {})).structured_content["payments"] == 1


async def test_the_same_fetch_at_once_pays_once(connect, payer, joke):
    found = []

    async with connect() as client:

        async def fetch():
            found.append((await client.call_tool("fetch", {"url": joke})).structured_content)

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(fetch)
    assert len(payer.sandbox.settlements) == 1 and len({each["payment_id"] for each in found}) == 1
    assert sorted(each["repeated"] for each in found) == [False, True, True, True, True]


async def test_progress_is_told_in_rising_numbers(connect, joke, era):
    told = []

    async def heard(progress, total, message):
        told.append((progress, message))

    async with connect(mode=era) as client:
        await client.call_tool("fetch", {"url": joke}, progress_callback=heard)
    assert [number for number, _ in told] == list(range(1, len(told) + 1))
    assert "signed and written down; the seller has the proof and settles" in [words for _, words in told]


async def test_a_settlement_that_is_waited_for_is_told_again_and_again(era, monkeypatch):
    monkeypatch.setattr("x402_agent_mcp.progress.TICK", 0.02)
    waiting = anyio.Event()

    async def heard(progress, total, message):
        if progress > 5 and message.endswith("(still waiting)"):
            assert message.startswith("signed and written down")
            waiting.set()

    with Payer.sandbox("slow_settlement", serve=True, trace=trace) as payer:
        async with Client(made(Clients(lambda: payer, loopback=True)), mode=era) as client, anyio.create_task_group() as group:
            group.start_soon(partial(client.call_tool, "fetch", {"url": payer.sandbox.url("/joke")}, progress_callback=heard))
            with anyio.fail_after(60):
                await waiting.wait()
            group.cancel_scope.cancel()


async def test_names_fill_no_memory(server, payer):
    names = {server.clients.tools(f"name-{number}").client for number in range(MOST + 50)}
    assert len(names) == MOST + 1 and LATE in names
    assert server.clients.tools("name-7").client == "name-7"
    assert server.clients.tools("Name 7") is server.clients.tools("NAME-7!") is server.clients.tools("name-7")


async def until(true):
    with anyio.fail_after(60):
        while True:
            if true():
                return
            await anyio.sleep(0.01)


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_M12_a_cancelled_call_leaves_a_payment_that_the_next_one_settles(anyio_backend, era):
    with Payer.sandbox("slow_settlement", serve=True) as payer:
        server = made(Clients(lambda: payer, loopback=True))
        url = payer.sandbox.url("/joke")
        async with Client(server, mode=era) as client:
            async with anyio.create_task_group() as group:
                group.start_soon(client.call_tool, "fetch", {"url": url})
                await until(lambda: any(each.proof for each in payer.sandbox.requests))
                group.cancel_scope.cancel()
            await until(lambda: [each.outcome for each in payer.ledger.payments()] == ["in_doubt"])
            settled = (await client.call_tool("resume", {})).structured_content
            bought = (await client.call_tool("fetch", {"url": url})).structured_content
            assert bought["outcome"] == "spent" and "joke" in bought["body"]["text"], (settled, bought)
        assert len(payer.sandbox.settlements) == 1 and len(payer.ledger.payments()) == 1
