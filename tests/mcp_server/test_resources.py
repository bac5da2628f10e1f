"""What a host reads without a tool: each client its own, strangers' words fenced, bytes as blobs; and the prompt."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from anyio import to_thread
from mcp.shared.exceptions import MCPError

from market import Market, row
from x402_agent.sandbox.messages import Answer

pytestmark = pytest.mark.anyio
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40


def sells(payer, path, body, kind):
    """Another route of the sandbox's shop, for a cent."""
    good = Answer(200, (("content-type", kind),), (body,))
    payer.sandbox.routes[path] = replace(payer.sandbox.routes["/joke"], path=path, handler=lambda _: good)
    return payer.sandbox.url(path)


async def bought(client, url):
    return (await client.call_tool("fetch", {"url": url})).structured_content


async def test_what_was_spent_and_each_payment_can_be_read(connect, joke):
    async with connect() as client:
        paid = await bought(client, joke)
        today = json.loads((await client.read_resource("spending://today")).contents[0].text)
        assert (today["spent"], today["payments"]) == ("0.01", 1)
        receipt = json.loads((await client.read_resource(f"receipts://{paid['payment_id']}")).contents[0].text)
        assert receipt["outcome"] == "spent" and receipt["payment_id"] == paid["payment_id"]
        assert {each.uri_template for each in (await client.list_resource_templates()).resource_templates} == {"receipts://{payment_id}", "purchase://{handle}", "catalog://{service}"}
        assert [str(each.uri) for each in (await client.list_resources()).resources] == ["spending://today"]


async def test_M8_no_client_reads_what_another_bought_and_no_uri_leads_elsewhere(connect, joke):
    async with connect("one") as one, connect("two") as two:
        paid = await bought(one, joke)
        uris = [f"receipts://{paid['payment_id']}", paid["more"]["uri"], "file:///etc/passwd", "purchase://../../ledger.db", "purchase://%2e%2e/x",
                "receipts://", "receipts://%", "spending://all", "purchase://" + "a" * 10_000, "http://127.0.0.1/"]  # fmt: skip
        for uri in uris:
            with pytest.raises(MCPError) as refused:
                await two.read_resource(uri)
            assert "/etc/" not in str(refused.value) or uri.startswith("file:")


async def test_a_shelf_that_cannot_be_read_is_an_error_without_a_path(connect, payer, joke, tmp_path):
    async with connect("one") as client:
        uri = (await bought(client, joke))["more"]["uri"]
        (shelf,) = payer.ledger.path.with_suffix(".tools").glob("*one*.db")
        for each in shelf.parent.glob(f"{shelf.name}*"):
            each.write_bytes(b"no database at all, and long enough to be looked at" * 200)
        with pytest.raises(MCPError) as refused:
            await client.read_resource(uri)
    assert str(payer.ledger.path.parent) not in str(refused.value) and "cannot be" in str(refused.value), refused.value


async def test_a_large_body_is_a_handle_and_its_answer_is_short(connect, payer):
    rows = json.dumps([{"id": number, "name": "x" * 50} for number in range(70_000)])
    assert len(rows) > 5_000_000
    async with connect() as client:
        answer = await client.call_tool("fetch", {"url": sells(payer, "/rows", rows.encode(), "application/json")})
        assert not answer.is_error
        assert len(answer.model_dump_json(by_alias=True, exclude_none=True).encode()) / 4 <= 2_000
        more = answer.structured_content["more"]
        assert (more["type"], more["size"]) == ("application/json", len(rows)) and "id" in more["shape"]["text"]
        read = (await client.read_resource(more["uri"])).contents[0]
        assert read.text.startswith("[untrusted: text of ") and rows[:200] in read.text
    assert len(payer.sandbox.settlements) == 1


async def test_binary_content_is_a_blob(connect, payer):
    async with connect() as client:
        answer = await bought(client, sells(payer, "/picture", PNG, "image/png"))
        assert "body" not in answer and answer["more"]["type"] == "image/png"
        (read,) = (await client.read_resource(answer["more"]["uri"])).contents
        assert base64.b64decode(read.blob) == PNG and read.mime_type == "image/png"


async def test_the_prompt_plans_under_a_budget_and_quotes_first(connect):
    async with connect() as client:
        (listed,) = (await client.list_prompts()).prompts
        assert listed.name == "plan_purchase" and [each.name for each in listed.arguments] == ["goal", "budget"]
        told = (await client.get_prompt("plan_purchase", {"goal": "a {weather} report", "budget": "0.50"})).messages[0].content.text
        assert "a {weather} report" in told and "0.50 USD" in told and told.index("quote") < told.index("buy with")


async def test_what_search_found_can_be_read_whole_and_without_a_catalogue_both_say_what_to_do(connect, payer, seller, tmp_path):
    async with connect() as client:
        answer = await client.call_tool("search", {"words": "weather"})
        assert answer.is_error and "x402-agent discover crawl" in answer.structured_content["problem"]["hint"]
        with pytest.raises(MCPError, match="discover crawl"):
            await client.read_resource("catalog://0123456789abcdef")
    market = Market(seller, tmp_path)
    market.path, market.rows = payer.settings.catalogue_path, [row(f"https://s{n}.example/w{'x' * 200}", description="weather " * 50) for n in range(40)]
    await to_thread.run_sync(market.crawl)
    async with connect() as client:
        answer = await client.call_tool("search", {"words": "weather", "max_price": "0.05"})
        assert not answer.is_error and len(answer.model_dump_json(by_alias=True, exclude_none=True).encode()) / 4 <= 2_000
        first = answer.structured_content["services"][0]
        whole = json.loads((await client.read_resource(f"catalog://{first['id']}")).contents[0].text)
        assert whole["service"]["price"]["atomic"] == "10000" and whole["listed"][0].startswith("bazaar ")
        for uri in ("catalog://", "catalog://%", "catalog://../x", "catalog://ffffffffffffffff"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)
