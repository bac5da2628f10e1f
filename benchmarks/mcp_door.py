"""The MCP server beside a bare one of the SDK, in one run: how soon a host has its tools, what a quote adds to the request it makes,
how many tokens definitions and a large answer take, and whether ten thousand calls leave anything behind.

A start is a new process over stdio, driven by the official client; the other numbers are of a server in this process. Tokens are
UTF-8 bytes / 4.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
from mcp import Client, StdioServerParameters
from mcp_types import Implementation
from x402_agent_mcp.clients import Clients
from x402_agent_mcp.server import made

from x402_agent import Payer
from x402_agent.sandbox.messages import Answer
from x402_agent.sandbox.seller import Visits

__all__ = ["answer_tokens", "definition_tokens", "growth_kib", "quote_milliseconds", "start_seconds"]

BARE = "from mcp.server import MCPServer; m = MCPServer('bare'); m.add_tool(lambda n: n, 'same'); m.run('stdio')"
OURS = "from x402_agent_mcp import main; main()"


def start_seconds(rounds: int = 5) -> float:
    """From the start of the process to the first answer to tools/list, over a bare MCPServer's: the best of interleaved rounds."""
    with tempfile.TemporaryDirectory() as home:
        env = {**os.environ, "X402_AGENT_HOME": home, "PYTHONPYCACHEPREFIX": str(Path(home) / "compiled")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)

        async def start(code: str) -> float:
            began = time.perf_counter()
            async with Client(StdioServerParameters(command=sys.executable, args=["-c", code], env=env)) as client:
                await client.list_tools()
                return time.perf_counter() - began

        found = [(anyio.run(start, OURS), anyio.run(start, BARE)) for _ in range(rounds + 1)][1:]
        return min(ours for ours, _ in found) - min(bare for _, bare in found)


@asynccontextmanager
async def _session(payer: Payer) -> AsyncIterator[Client]:
    async with Client(made(Clients(lambda: payer, loopback=True)), client_info=Implementation(name="bench", version="1")) as client:
        yield client


def _size(model: Any) -> float:
    return len(json.dumps(model.model_dump(mode="json", by_alias=True, exclude_none=True), ensure_ascii=False, separators=(",", ":")).encode()) / 4


def _with_session(work: Callable[[Payer, Client], Any], **options: Any) -> float:
    async def run() -> float:
        with Payer.sandbox(**options) as payer:
            async with _session(payer) as client:
                return float(await work(payer, client))

    return anyio.run(run)


def definition_tokens() -> float:
    """All that tools/list says."""

    async def work(_: Payer, client: Client) -> float:
        return sum(_size(each) for each in (await client.list_tools()).tools)

    return _with_session(work)


def answer_tokens() -> float:
    """An answer whose paid body has 5 MB."""
    body = json.dumps([{"id": number, "name": "x" * 60} for number in range(60_000)]).encode()

    async def work(payer: Payer, client: Client) -> float:
        good = Answer(200, (("content-type", "application/json"),), (body,))
        payer.sandbox.routes["/rows"] = replace(payer.sandbox.routes["/joke"], path="/rows", handler=lambda _: good)  # type: ignore[attr-defined]
        answer = await client.call_tool("fetch", {"url": payer.sandbox.url("/rows")})  # type: ignore[attr-defined]
        assert not answer.is_error
        return _size(answer)

    return _with_session(work)


def quote_milliseconds(rounds: int = 40) -> float:
    """A quote over the same request by a plain client, to a seller on loopback: the best of interleaved calls, wall."""

    async def work(payer: Payer, client: Client) -> float:
        url = payer.sandbox.url("/joke")  # type: ignore[attr-defined]
        plain, ours = [], []
        async with httpx2.AsyncClient(trust_env=False) as http:
            for _ in range(rounds):
                began = time.perf_counter()
                await http.get(url)
                middle = time.perf_counter()
                await client.call_tool("quote", {"url": url})
                plain.append(middle - began)
                ours.append(time.perf_counter() - middle)
        return (min(ours) - min(plain)) * 1e3

    return _with_session(work, serve=True)


def growth_kib(calls: int = 10_000) -> float:
    """What the second half of so many calls leaves behind: KiB of resident memory. A third are quotes, a third repeated purchases."""

    async def work(payer: Payer, client: Client) -> float:
        url, half = payer.sandbox.url("/joke"), 0  # type: ignore[attr-defined]
        payer.sandbox.seller.visits = Visits(8)  # type: ignore[attr-defined]
        kinds = [("quote", {"url": url}), ("fetch", {"url": url}), ("spending", {})]
        for number in range(calls):
            name, arguments = kinds[number % 3]
            assert not (await client.call_tool(name, arguments)).is_error
            if number == calls // 2:
                half = _resident()
        return _resident() - half

    return _with_session(work)


def _resident() -> int:
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return pages * resource.getpagesize() // 1024


def main() -> None:
    """Print them."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--calls", type=int, default=10_000)
    given = words.parse_args()
    logging.disable(logging.INFO)
    print(f"start to first tools/list over a bare MCPServer   {start_seconds():8.3f} s     promised 0.3")
    print(f"a quote over its HTTP request                     {quote_milliseconds():8.3f} ms    promised 10")
    print(f"all tool definitions                              {definition_tokens():8.0f} tokens promised 1800")
    print(f"an answer with a paid body of 5 MB                {answer_tokens():8.0f} tokens promised 2000")
    print(f"left behind by the second half of {given.calls:6} calls   {growth_kib(given.calls):8.0f} KiB")


if __name__ == "__main__":
    main()
