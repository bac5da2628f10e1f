"""The official client, run by the Python of its own environment: `N` on stdin pays N times and prints wall and CPU."""

from __future__ import annotations

import asyncio
import sys
import time

__all__: list[str] = []


async def main() -> None:
    """Serve rounds until stdin ends."""
    from eth_account import Account
    from x402 import x402Client
    from x402.http.clients.httpx import x402HttpxClient
    from x402.mechanisms.evm import EthAccountSigner
    from x402.mechanisms.evm.exact.register import register_exact_evm_client

    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(Account.from_key("0x" + "22" * 32)))
    async with x402HttpxClient(client) as http:
        for line in sys.stdin:
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(int(line)):
                reply = await http.get(sys.argv[1])
                assert reply.status_code == 200
            print(time.perf_counter() - wall, time.process_time() - cpu, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
