"""Paid tools: ours pays the official MCP server, and the official MCP client pays our seller of tools. Each once, exactly."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import anyio
import pytest
from mcp import Client

from x402_agent.sandbox import Sandbox

pytestmark = pytest.mark.full
HERE = Path(__file__).parent
PRICE = 10_000


@pytest.fixture(scope="module")
def python_mcp():
    found = os.environ.get("X402_OFFICIAL_MCP_PYTHON", "")
    assert found, "set X402_OFFICIAL_MCP_PYTHON to the Python that has x402[mcp] and mcp 1; make test-all does"
    return found


@pytest.fixture(scope="module", params=["events", "json"])
def server(request, box, official_by, python_mcp):
    how = [request.param] if request.param == "json" else []
    with official_by(python_mcp, "server_mcp.py", box.facilitator_url, box.pay_to, *how) as origin:
        yield f"{origin}/mcp"


@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # the SDK's own, on trio
@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_ours_pays_an_official_mcp_server(server, box, payer, world):
    before = len(box.settlements), box.balance(box.pay_to)

    async def call():
        async with Client(server) as client:
            session = payer.mcp(client)
            names = {tool.name for tool in (await session.list_tools()).tools}
            free = await session.call_tool("free")
            paid = await session.call_tool("weather", {"city": "Berlin"})
            broken = await session.call_tool("broken")
            return names, free, paid, broken

    names, free, paid, broken = anyio.run(call, backend=world)
    assert names == {"weather", "broken", "free"} and free.payment is None
    assert json.loads(paid.content[0].text) == {"city": "Berlin", "weather": "sunny"}
    last = box.settlements[-1]
    assert (paid.payment.outcome, paid.payment.transaction, paid.payment.money.amount) == ("spent", last.tx, PRICE)
    assert (len(box.settlements), box.balance(box.pay_to)) == (before[0] + 1, before[1] + PRICE)
    assert broken.is_error and broken.payment.outcome == "in_doubt"  # verified and never settled: counted until its proof is dead
    assert [row.outcome for row in payer.ledger.payments()] == ["in_doubt", "spent"]


@pytest.mark.parametrize("tool", ["joke", "upfront"])  # it stumbles over version 1 by itself
def test_the_official_mcp_client_pays_our_seller_of_tools(python_mcp, tool):
    with Sandbox(seller="mcp") as box:
        box.serve()
        ended = subprocess.run([python_mcp, HERE / "client_mcp.py", box.url("/mcp"), tool], input=box.payer_key.hex(),
                               capture_output=True, text=True, timeout=120)  # fmt: skip
        assert ended.returncode == 0, ended.stderr[-2000:]
        found = json.loads(ended.stdout)
        assert found["paid"] and not found["error"] and "joke" in json.loads(found["text"]) and tool in found["tools"]
        (settled,) = box.settlements
        assert (settled.tx, settled.amount) == (found["transaction"], PRICE)
