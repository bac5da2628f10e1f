"""Clients of others, and the entry that `mcp install --print` shows, reach every tool of the server over stdio and buy."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
TOOLS = {"search", "quote", "buy", "fetch", "spending", "why", "balance", "resume"}


def run(*words, codes=(0,), **options):
    done = subprocess.run([str(each) for each in words], capture_output=True, text=True, timeout=600, **options)
    assert done.returncode in codes, done.stderr[-2000:]
    return done.stdout


async def bought(entry, url):
    """What a host's own client gets that starts this entry as it stands, with nothing in the environment but what it says."""
    parameters = StdioServerParameters(command=entry["command"], args=entry["args"], env={"PATH": "", **entry.get("env", {})})
    async with Client(parameters) as client:
        listed = {each.name for each in (await client.list_tools()).tools}
        answer = await client.call_tool("fetch", {"url": url, "max_price": "0.05"})
    return listed, answer.structured_content


@pytest.mark.full
@pytest.mark.parametrize("host", ["claude", "codex"])
def test_what_is_printed_starts_lists_and_buys(host, up):
    text = run(BIN / "x402-agent", "mcp", "install", "--print", host)
    entry = json.loads(text)["mcpServers"]["x402-agent"] if host == "claude" else tomllib.loads(text)["mcp_servers"]["x402-agent"]
    listed, answer = asyncio.run(bought(entry, up))
    assert listed == TOOLS
    assert answer["outcome"] == "spent" and answer["paid"]["atomic"] == "10000" and "joke" in answer["body"]["text"]


@pytest.mark.full
def test_mcp_serve_is_the_same_server(up):
    home = {"X402_AGENT_HOME": os.environ["X402_AGENT_HOME"]}
    listed, answer = asyncio.run(bought({"command": str(BIN / "x402-agent"), "args": ["mcp", "serve", "--sandbox"], "env": home}, up))
    assert listed == TOOLS and answer["outcome"] == "spent"


@pytest.mark.full
def test_fastmcps_client_lists_and_calls_every_tool(up, python_of):
    heard = json.loads(run(python_of("X402_FRAMEWORKS_PYTHON"), HERE / "fastmcp_client.py", BIN / "x402-agent-mcp", "--sandbox", input=json.dumps({"url": up})))
    assert set(heard["tools"]) == TOOLS and not any(heard[name]["error"] for name in TOOLS - {"search"})
    assert "discover crawl" in heard["search"]["text"]  # there is no catalogue yet
    assert heard["buy"]["told"]["outcome"] == "spent" and heard["fetch"]["told"]["payment_id"] == heard["buy"]["told"]["payment_id"]
    assert heard["spending"]["told"]["spent"] == "0.01" and "0.01" in heard["resource"] and heard["prompts"]


@pytest.mark.full
def test_the_inspector_lists_and_calls_every_tool(up):
    folder = os.environ.get("INSPECTOR_DIR", "")
    assert folder, "set INSPECTOR_DIR to a folder where `npm install @modelcontextprotocol/inspector@2.12.0` ran; make test-all does"
    inspector = Path(folder) / "node_modules" / ".bin" / "mcp-inspector"

    def ask(*words):  # it ends with 5 where a tool says that something went wrong
        return json.loads(run(inspector, "--cli", BIN / "x402-agent-mcp", "--sandbox", "-e", f"X402_AGENT_HOME={os.environ['X402_AGENT_HOME']}", *words, codes=(0, 5)))

    def call(name, **arguments):
        words = [word for key, value in arguments.items() for word in ("--tool-arg", f"{key}={value}")]
        return ask("--method", "tools/call", "--tool-name", name, *words)

    assert {each["name"] for each in ask("--method", "tools/list")["tools"]} == TOOLS
    fetched = call("fetch", url=up)["structuredContent"]
    assert fetched["outcome"] == "spent"
    assert call("quote", url=up)["structuredContent"]["bought"] == fetched["payment_id"]
    assert call("why", payment_id=fetched["payment_id"])["structuredContent"]["outcome"] == "spent"
    assert call("spending")["structuredContent"]["spent"] == "0.01"
    assert not call("balance").get("isError") and not call("resume").get("isError")
    refused = call("buy", offer_id="offer_of_another_process")
    assert refused["isError"] and "offer" in refused["content"][0]["text"]
