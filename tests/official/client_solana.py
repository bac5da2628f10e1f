"""The official httpx client pays URLs on Solana, asking the node of its first argument; the key comes on stdin, as hex."""

import asyncio
import sys

from solders.keypair import Keypair
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.svm import KeypairSigner
from x402.mechanisms.svm.exact.register import register_exact_svm_client


async def main():
    """Print a status for each URL."""
    node, *urls = sys.argv[1:]
    client = x402Client()
    signer = KeypairSigner(Keypair.from_seed(bytes.fromhex(sys.stdin.read().strip())))
    register_exact_svm_client(client, signer, rpc_url=node)
    async with x402HttpxClient(client) as http:
        for url in urls:
            reply = await http.get(url)
            sys.stdout.write(f"{reply.status_code} {reply.text}\n")


asyncio.run(main())
