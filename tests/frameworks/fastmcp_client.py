"""fastmcp_client.py COMMAND…: fastmcp's client lists the server's tools over stdio and calls each. Reads {"url"} from stdin. -> JSON."""

import asyncio
import json
import os
import sys

from fastmcp import Client
from fastmcp.client.transports import StdioTransport


async def main(command, url):
    transport = StdioTransport(command[0], command[1:], env={"X402_AGENT_HOME": os.environ["X402_AGENT_HOME"]})
    async with Client(transport) as client:
        heard = {"tools": sorted(each.name for each in await client.list_tools())}

        async def call(name, **arguments):
            answer = await client.call_tool(name, arguments, raise_on_error=False)
            heard[name] = {"error": answer.is_error, "told": answer.structured_content, "text": answer.content[0].text}
            return answer.structured_content

        await call("search", words="a joke")
        quoted = await call("quote", url=url)
        bought = await call("buy", offer_id=quoted["offer_id"])
        await call("fetch", url=url)
        await call("why", payment_id=bought["payment_id"])
        for name in ("spending", "balance", "resume"):
            await call(name)
        heard["resource"] = (await client.read_resource("spending://today"))[0].text
        heard["prompts"] = [each.name for each in await client.list_prompts()]
    print(json.dumps(heard))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:], json.load(sys.stdin)["url"]))
