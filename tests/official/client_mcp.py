"""The official MCP client pays one tool, run by the Python of its own environment (mcp 1); the key comes on stdin."""

import asyncio
import json
import sys

from eth_account import Account
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from x402 import x402Client
from x402.mcp import x402MCPSession
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact.register import register_exact_evm_client


async def main():
    """Print what came of it."""
    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(Account.from_key("0x" + sys.stdin.read().strip())))
    async with streamable_http_client(sys.argv[1]) as streams, ClientSession(*streams[:2]) as session:
        paying = x402MCPSession(session, client)
        await paying.initialize()
        listed = await paying.list_tools()
        made = await paying.call_tool(sys.argv[2], {"note": "hello"})
        told = made.payment_response
        found = {"tools": [tool.name for tool in listed.tools], "error": made.is_error, "paid": made.payment_made,
                 "text": made.content[0].text, "transaction": told.transaction if told else ""}  # fmt: skip
        sys.stdout.write(json.dumps(found))


asyncio.run(main())
