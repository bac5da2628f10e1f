"""Paid tools of an MCP server: asked, paid, delivered, and every way of lying about it."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, TextContent

from giving_up import KINDS, given_up
from x402_agent import Budget, Payer, PaymentInDoubt, PolicyDenied, SettingsError
from x402_agent.sandbox import scenarios

pytestmark = pytest.mark.anyio


async def test_a_tool_is_paid_and_its_result_has_the_receipt(made, opened):
    payer = made()
    async with opened(payer) as session:
        listed = await session.list_tools()
        assert "joke" in {tool.name for tool in listed.tools}
        free = await session.call_tool("free")
        assert free.structured_content == {"free": True} and free.payment is None
        for name in ("joke", "v1_joke"):
            result = await session.call_tool(name, {"note": "a"})
            assert "joke" in result.structured_content and not result.is_error
            assert result.payment.outcome == "spent" and result.payment.money.amount == 10_000
            assert "the seller names" not in result.payment.offer.description
            assert result.meta["x402/payment-response"]["transaction"] == result.payment.transaction
    assert len(payer.box.settlements) == 2


async def test_it_counts_for_its_host_its_origin_its_path_and_as_the_tool_of_its_host(made, opened):
    payer = made()
    async with opened(payer) as session, payer.task("research", budget="0.50") as task:
        await session.call_tool("joke")
        assert task.spent == "0.01"
    payer.ledger.flush()
    where = payer.box.origin.partition("://")[2]
    for scope in (f"host:{where}", f"origin:{payer.box.origin}", f"path:{payer.box.origin}/mcp", f"tool:{where}/joke", "task:research"):
        assert payer.ledger.counted(scope) == 10_000, scope
    assert payer.ledger.counted("tool:joke") == 0
    (paid,) = payer.ledger.payments()
    assert (paid.method, paid.url) == ("CALL", f"{payer.box.origin}/mcp/joke")


async def test_a_budget_of_the_tool_binds_and_an_option_only_tightens(made, opened):
    payer = made()
    async with opened(payer) as session:
        with pytest.raises(PolicyDenied, match="the limit for one call"):
            await session.call_tool("joke", payment={"max": "0.005"})
        with pytest.raises(SettingsError):
            await session.call_tool("joke", payment={"most": "9"})
    assert payer.box.settlements == [] and payer.ledger.payments() == []


# scenario -> what the first call gives, what a second one gives, transfers in all
LIES = {
    "charged_again": ("refused", "refused", 1),
    "settles_then_error": ("in_doubt", "in_doubt", 1),
    "settles_without_content": ("spent", "spent", 2),
    "price_raised": ("refused", "refused", 0),
    "wrong_resource": ("spent", "spent", 2),
    "error_form": ("spent", "spent", 2),
    "text_form": ("spent", "spent", 2),
    "never_settles": ("spent", "spent", 0),
    "honest": ("spent", "spent", 2),
    "rug_pull": ("spent", "spent", 2),
}


@pytest.mark.parametrize("tool", ["joke", "v1_joke"])
@pytest.mark.parametrize("scenario", LIES)
async def test_no_seller_is_paid_twice_for_one_call(made, opened, scenario, tool):
    first, second, moved = LIES[scenario]
    payer = made(scenario)
    async with opened(payer) as session:
        for expected in (first, second):
            result = await session.call_tool(tool)
            assert result.payment.outcome == expected
            assert result.is_error == (expected != "spent")
    box, proofs = payer.box, {visit.digest for visit in payer.box.requests if visit.proof}
    assert len(box.settlements) == moved
    if "spent" not in (first, second):
        assert len(proofs) == 1 and len(payer.ledger.payments()) == 1  # the same proof, never another


def test_every_scenario_is_judged():
    assert set(LIES) | {"answer_lost", "settles_then_hangs"} == set(scenarios("mcp"))


async def test_W12_what_another_tools_name_says_is_shown_and_not_believed(made, opened):
    payer = made("wrong_resource")
    async with opened(payer) as session:
        result = await session.call_tool("joke")
    offer = result.payment.offer
    assert offer.amount == 10_000 and offer.resource.endswith("/mcp/joke")
    assert "(the seller names another tool: dear)" in offer.description


async def test_a_lost_answer_is_in_doubt_and_the_same_proof_is_shown_again(made, opened):
    payer = made("answer_lost")
    with pytest.raises((PaymentInDoubt, BaseExceptionGroup)):
        async with opened(payer) as session:
            await session.call_tool("joke")
    async with opened(payer) as session:
        result = await session.call_tool("joke")
    assert result.payment.outcome == "spent" and result.payment.again and result.structured_content["joke"]
    assert len(payer.box.settlements) == 1


@pytest.mark.full
async def test_T9_our_deadline_ends_the_wait_whatever_the_seller_asks(made, opened):
    payer = made("settles_then_hangs")
    payer.deadline = 4.0  # room for what comes before the proof, on a slow machine
    async with opened(payer) as session:
        with anyio.fail_after(120), pytest.raises(PaymentInDoubt) as doubt:
            await session.call_tool("joke")
    assert payer.ledger.payment(doubt.value.payment_id).outcome == "in_doubt"


async def test_M12_a_cancelled_call_is_in_doubt_and_its_proof_is_shown_by_nobody_but_a_session(made, opened):
    payer = made("settles_then_hangs")
    async with opened(payer) as session:
        with anyio.fail_after(60), anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(session.call_tool, "joke")
                while not any(visit.proof for visit in payer.box.requests):  # noqa: ASYNC110
                    await anyio.sleep(0.01)
                scope.cancel()
        assert scope.cancelled_caught
    payer.ledger.flush()
    (open_,) = payer.ledger.payments()
    assert (open_.outcome, open_.method) == ("in_doubt", "CALL") and payer.ledger.request(open_.payment_id) is None
    before = payer.box.requests
    assert all("call the tool again" in one.note for one in payer.resume())
    assert payer.box.requests == before


async def test_M8_a_tool_that_is_described_otherwise_is_not_paid_until_it_is_accepted(made, opened):
    payer = made("rug_pull")
    async with opened(payer) as session:
        await session.list_tools()
        assert (await session.call_tool("free")).structured_content == {"free": True}
        with pytest.raises(PolicyDenied, match="describes the tool 'joke' otherwise"):
            await session.call_tool("joke")
        assert payer.ledger.payments() == [] and payer.box.settlements == []
        session.accept("joke")
        assert (await session.call_tool("joke")).payment.outcome == "spent"


class Session:
    """A server behind a pipe, as its client sees it: what it answers is the test's to say."""

    def __init__(self, *answers):
        self.answers, self.sent = list(answers), []

    async def call_tool(self, name, arguments, timeout, progress, *, meta=None):
        self.sent.append((name, arguments, timeout, meta))
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(found, Exception):
            raise found
        return found(meta) if callable(found) else found


@pytest.fixture
def asked(made):
    """What the sandbox's seller asks for a joke: a document to be twisted."""
    payer = made()
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "joke"}}
    with payer.client() as http:
        return payer, http.post(payer.box.url("/mcp"), json=request).json()["result"]["structuredContent"]


def says(document, *, error=True, text=None):
    return CallToolResult(content=[TextContent(type="text", text=text or json.dumps(document))], structured_content=document, is_error=error)


DONE = CallToolResult(content=[TextContent(type="text", text="here")])


async def test_a_server_behind_a_pipe_has_the_name_that_its_person_gave_it(asked):
    payer, document = asked
    behind = Session(says(document), DONE)
    with pytest.raises(SettingsError, match="nobody says which server"):
        payer.mcp(behind)
    session = payer.mcp(behind, "weather")
    result = await session.call_tool("a,b/../c", {"x": 1}, meta={"mine": 1, "x402/payment": "no"})
    assert result.payment.outcome == "spent"
    (_, _, _, first), (_, _, timeout, second) = behind.sent
    assert first == {"mine": 1} and second["mine"] == 1 and isinstance(second["x402/payment"], dict)
    assert timeout >= payer.deadline  # no shorter timeout of the session gives up on money
    payer.ledger.flush()
    for scope in ("host:weather.alt", "origin:mcp://weather.alt", "tool:weather.alt/a%2Cb%2F..%2Fc"):
        assert payer.ledger.counted(scope) == 10_000, scope
    assert payer.ledger.counted("host:weather") == 0


@pytest.mark.parametrize("name", ["Weather", "weather.example", "localhost", "a b", "../x", "ftp://a/b", "http:///x", "-a"])
def test_who_is_behind_a_pipe_cannot_be_called_like_a_host(asked, name):
    with pytest.raises(SettingsError):
        asked[0].mcp(Session(DONE), name)


async def test_the_clients_own_url_says_who_is_paid():
    with Payer.sandbox() as payer:
        client = Client("https://user:secret@seller.example:8443/mcp/?key=secret")
        session = payer.mcp(client)
        assert session.origin == "https://seller.example:8443" and session._path == "/mcp"
        with pytest.raises(SettingsError, match="is one with"):
            payer.mcp(client, "https://other.example/mcp")
        with pytest.raises(SettingsError):
            payer.mcp(client, "weather")


def twisted(document, **changes):
    made = json.loads(json.dumps(document))
    for key, value in changes.items():
        target = made["accepts"][0] if key in made["accepts"][0] else made
        target[key] = value
    return made


def nested(levels):
    made = []
    for _ in range(levels):
        made = [made]
    return made


HOSTILE = {
    "not an error": lambda d: says(d, error=False),
    "no version": lambda d: says({"accepts": d["accepts"]}),
    "a float": lambda d: says(twisted(d, amount=10000.0)),
    "negative": lambda d: says(twisted(d, amount="-1")),
    "NaN": lambda d: says(twisted(d, amount=float("nan"))),
    "another token": lambda d: says(twisted(d, asset="0x" + "11" * 20)),
    "ten dollars": lambda d: says(twisted(d, amount="10000000000")),
    "version 3": lambda d: says(twisted(d, x402Version=3)),
    "version true": lambda d: says(twisted(d, x402Version=True)),
    "deep": lambda d: says({**d, "x": json.loads("[" * 150 + "]" * 150)}),
    "large": lambda d: says({**d, "x": "y" * 70_000}),
    "a number of 5,000 digits": lambda d: says({**d, "x": 10**5000}, text="-"),
    "a thousand levels": lambda d: says({**d, "x": nested(3000)}, text="-"),
    "NUL": lambda d: says({**d, "error": "\0"}),
    "half a character": lambda d: says({**d, "error": "\ud800"}),
    "another document in the text": lambda d: says({"x": 1}, text=json.dumps(d)),
    "no content": lambda d: CallToolResult(content=[], is_error=True),
    "text that is no JSON": lambda d: CallToolResult(content=[TextContent(type="text", text='{"x402Version":')], is_error=True),
    "error 402 without data": lambda d: MCPError(402, "pay"),
    "error 402 with text": lambda d: MCPError(402, "pay", json.dumps(d)),
    "another error with data": lambda d: MCPError(-32000, "pay", d),
}


@pytest.mark.parametrize("which", HOSTILE)
async def test_what_is_no_challenge_or_a_broken_one_is_never_paid(asked, which):
    payer, document = asked
    behind = Session(HOSTILE[which](document))
    session = payer.mcp(behind, "weather")
    try:
        result = await session.call_tool("joke")
        assert result.payment is None
    except Exception as why:
        assert "secret" not in str(why)
    assert [meta for *_, meta in behind.sent] == [None] and payer.ledger.payments() == []


@pytest.mark.parametrize("last", [MCPError(-32603, "broken"), MCPError(-32000, "Connection closed"), RuntimeError("invalid structured content"), ValueError("x")])
async def test_whatever_breaks_after_the_proof_is_in_doubt_and_shown_again(asked, last):
    payer, document = asked
    behind = Session(says(document), last, says(document), DONE)
    session = payer.mcp(behind, "weather")
    with pytest.raises(PaymentInDoubt):
        await session.call_tool("joke")
    assert (await session.call_tool("joke")).payment.again
    shown = [meta["x402/payment"] for *_, meta in behind.sent if meta]
    assert len(shown) == 2 and shown[0] == shown[1] and len(payer.ledger.payments()) == 1


@pytest.mark.parametrize("meta", [None, {}, {"x402/payment-response": "text"}, {"x402/payment-response": {"success": "yes", "x": "\ud800"}},
                                  {"x402/payment-response": {"x": "y" * 70_000}}, {"x402/payment-response": {"x": 10**5000}},
                                  {"x402/payment-response": {"x": nested(3000)}}], ids=range(7))  # fmt: skip
async def test_a_receipt_that_cannot_be_read_is_none(asked, meta):
    payer, document = asked
    paid = CallToolResult(content=[TextContent(type="text", text="here")])
    paid.meta = meta
    result = await payer.mcp(Session(says(document), paid), "weather").call_tool("joke")
    assert result.payment.outcome == "spent" and result.payment.transaction == ""


@pytest.mark.parametrize("name", ["", ".", "..", "a\nb", "x\u202ey", "\ud800"])
async def test_what_is_no_name_of_a_tool_is_not_called(asked, name):
    behind = Session(DONE)
    with pytest.raises(SettingsError):
        await asked[0].mcp(behind, "weather").call_tool(name)
    assert behind.sent == []


async def test_two_tools_and_two_arguments_are_purchases_of_their_own(made, opened):
    payer = made("charged_again")
    async with opened(payer) as session:
        for name, arguments in (("joke", {"note": "a"}), ("joke", {"note": "b"}), ("report", {"note": "a"}), ("joke", {"note": "a"})):
            await session.call_tool(name, arguments)
    assert len(payer.box.settlements) == 3 and len(payer.ledger.payments()) == 3


async def test_fifty_at_once_are_paid_once_each(made, opened):
    payer = made()
    async with opened(payer) as session:
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(session.call_tool, "joke", {"note": str(n)})
    assert len(payer.box.settlements) == 20


async def test_over_loopback_by_the_clients_own_transport():
    with Payer.sandbox(seller="mcp", serve=True, budget=Budget("1.00", per_call="0.02")) as payer:
        async with Client(payer.box.url("/mcp")) as client:
            session = payer.mcp(client)
            assert (await session.call_tool("joke")).payment.outcome == "spent"
            with pytest.raises(PolicyDenied):
                await session.call_tool("report")


async def test_a_client_may_be_entered_as_what_it_is_wrapped_in():
    with Payer.sandbox(seller="mcp", serve=True) as payer:
        async with payer.mcp(Client(payer.box.url("/mcp"))) as session:
            assert (await session.call_tool("joke")).payment.outcome == "spent"
        with pytest.raises(AttributeError):
            copy.copy(object.__new__(type(session))).call_tools  # noqa: B018


async def test_a_client_session_is_wrapped_too(made):
    from mcp import ClientSession

    payer = made()
    async with (
        httpx2.AsyncClient(transport=payer.box.transport()) as http,
        streamable_http_client(payer.box.url("/mcp"), http_client=http) as streams,
        ClientSession(*streams[:2]) as session,
    ):
        await session.initialize()
        paid = payer.mcp(session, payer.box.url("/mcp"))
        await paid.list_tools()
        assert (await paid.call_tool("joke")).payment.outcome == "spent"


@pytest.mark.parametrize("kind", KINDS)
def test_M12_who_gives_up_at_any_moment_gets_what_was_paid_with_the_next_call(made, opened, kind):
    payer = made()
    payer.policy = replace(payer.policy, stop_after=0)

    async def call(session, number):
        result = await session.call_tool("joke", {"note": str(number)})
        assert "joke" in result.structured_content

    many = given_up(kind, lambda: opened(payer), call)
    assert 2 < many and len(payer.box.settlements) == many + 1
