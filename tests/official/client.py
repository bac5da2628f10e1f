"""The official httpx client pays one URL, run by the Python of its own environment; the key comes on stdin."""

import asyncio
import sys

from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm import EthAccountSigner
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.evm.upto import UptoEvmClientScheme


async def main():
    """Print status and body."""
    client = x402Client()
    signer = EthAccountSigner(Account.from_key("0x" + sys.stdin.read().strip()))
    register_exact_evm_client(client, signer)
    client.register("eip155:*", UptoEvmClientScheme(signer))
    async with x402HttpxClient(client) as http:
        reply = await http.get(sys.argv[1])
        sys.stdout.write(f"{reply.status_code} {reply.text}")


asyncio.run(main())
