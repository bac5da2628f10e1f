"""A paid MCP server of the official package, run by the Python of its own environment (mcp 1). Its first line is its port."""

import asyncio
import contextlib
import socket
import sys

import uvicorn
from mcp.server.fastmcp import FastMCP
from x402 import ResourceConfig, x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.mcp import create_payment_wrapper
from x402.mechanisms.evm.exact.register import register_exact_evm_server

facilitator, pay_to = sys.argv[1:3]
server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=facilitator)))
register_exact_evm_server(server, "eip155:84532")
initialized = server.initialize()
if asyncio.iscoroutine(initialized):
    asyncio.run(initialized)
exact = ResourceConfig(scheme="exact", network="eip155:84532", pay_to=pay_to, price="$0.01")
paid = create_payment_wrapper(server, accepts=server.build_payment_requirements(exact))
mcp = FastMCP("official", stateless_http=True, json_response=len(sys.argv) > 3)


@mcp.tool()
@paid
async def weather(city: str) -> str:
    """The weather."""
    return f'{{"city": "{city}", "weather": "sunny"}}'


@mcp.tool()
@paid
async def broken() -> str:
    """Fails after the payment was verified."""
    raise RuntimeError("no weather")


@mcp.tool()
async def free() -> str:
    """Costs nothing."""
    return "free"


with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listening:
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(mcp.streamable_http_app(), log_level="warning")).run(sockets=[listening])
