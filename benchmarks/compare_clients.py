"""One client in one process, told by JSON what to fetch: `compare_clients.py ours|official JSON`; prints what came of it.

The official client runs in the Python of its own environment, with the scheme that its documentation registers and
its spend controls as they come.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

__all__: list[str] = []

KEY = "22" * 32


@asynccontextmanager
async def _official(_: dict[str, Any], options: dict[str, Any]) -> Any:
    from eth_account import Account
    from x402 import x402Client
    from x402.http.clients.httpx import x402HttpxClient
    from x402.mechanisms.evm import EthAccountSigner
    from x402.mechanisms.evm.exact.register import register_exact_evm_client

    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(Account.from_key("0x" + KEY)))
    async with x402HttpxClient(client, **options) as http:
        yield http


@asynccontextmanager
async def _ours(order: dict[str, Any], options: dict[str, Any]) -> Any:
    from x402_agent import Payer, Policy, Settings, Wallet

    settings = Settings.load({"X402_AGENT_HOME": order["home"]})
    policy = Policy(networks=("testnet",), total=order.get("budget", 5_000_000))
    with Payer(wallet=Wallet.from_key(KEY), policy=policy, settings=settings) as payer:
        async with payer.async_client(**options) as http:
            yield http


def _kilobytes(name: str) -> int:
    """VmRSS or VmHWM of this process; 0 where the system does not tell."""
    try:
        found = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    except OSError:
        return 0
    return int(found[1]) if found else 0


async def _call(http: Any, url: str) -> str:
    try:
        reply = await http.get(url)
    except Exception as error:  # whatever a client raises is what its caller gets
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else ''}"
    return f"{reply.status_code} {reply.text[:40]}"


async def main() -> None:
    """Make the calls, all at once or one after another."""
    order = json.loads(sys.argv[2])
    make = {"ours": _ours, "official": _official}[sys.argv[1]]
    options = {"timeout": order.get("timeout", 5), "follow_redirects": True}
    async with make(order, options) as http:
        await http.get(order["free"])  # what is imported late is imported now
        start, before = time.perf_counter(), _kilobytes("VmRSS")
        if order.get("parallel"):
            told = await asyncio.gather(*(_call(http, url) for url in order["urls"]))
        else:
            told = [await _call(http, url) for url in order["urls"]]
        facts = {"told": told, "seconds": time.perf_counter() - start, "megabytes": (_kilobytes("VmHWM") - before) / 1024}
    print(json.dumps({**facts, "recursion_limit": sys.getrecursionlimit()}))


if __name__ == "__main__":
    asyncio.run(main())
