"""Many paid requests at once, on asyncio or trio, under one budget."""

import anyio

from x402_agent import Payer


async def main() -> None:
    with Payer.sandbox() as payer:
        async with payer.async_client() as http, anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(buy, http, payer.sandbox.url("/joke"), number)


async def buy(http, url: str, number: int) -> None:
    reply = await http.get(url)
    print(number, reply.status_code, reply.extensions["payment"].outcome)


anyio.run(main)
