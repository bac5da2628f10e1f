"""A pretend seller whose goods are tools: what the shop sells, bought by tool calls over MCP at `/mcp`.

`app` speaks MCP (JSON-RPC over streamable HTTP, a JSON answer to each request) and asks, checks and settles with the
shop's own paywall; `manners` are its scenarios. x402 over MCP: the challenge is a result with `isError`, or error 402;
the proof comes in `_meta`.
"""

__all__: list[str] = []
