"""solana-py asks the sandbox's node everything that a payment needs, and sends one transfer; the key comes on stdin, as hex."""

import asyncio
import json
import sys

from solana.rpc.async_api import AsyncClient
from solana.rpc.core import RPCException
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

USDC = Pubkey.from_string("4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU")


async def asked(node, owner):
    """What is read before a payment."""
    account = get_associated_token_address(owner, USDC)
    mint = (await node.get_account_info(USDC)).value
    parsed = (await node.get_account_info_json_parsed(account)).value.data.parsed
    return {
        "genesis": str((await node.get_genesis_hash()).value),
        "decimals": mint.data[44],
        "units": parsed["info"]["tokenAmount"]["amount"],
        "same": (await node.get_token_account_balance(account)).value.amount,
        "accounts": len((await node.get_multiple_accounts([USDC, account])).value),
        "behind": (await node.get_slot()).value - (await node.get_block_height()).value,
        "rent": (await node.get_minimum_balance_for_rent_exemption(165)).value,
        "connected": await node.is_connected(),
    }


async def sent(node, key):
    """An airdrop, and a transfer of lamports from it, read back; the same one again is refused."""
    owner, to = key.pubkey(), Keypair().pubkey()
    await node.request_airdrop(owner, 10**9)
    blockhash = (await node.get_latest_blockhash()).value.blockhash
    step = transfer(TransferParams(from_pubkey=owner, to_pubkey=to, lamports=5_000_000))
    message = MessageV0.try_compile(owner, [step], [], blockhash)
    tx = VersionedTransaction(message, [key])
    found = {"fee": (await node.get_fee_for_message(message)).value, "dry": str((await node.simulate_transaction(tx)).value.err)}
    signature = (await node.send_transaction(tx)).value
    found["confirmed"] = str((await node.confirm_transaction(signature)).value[0].confirmation_status)
    found["history"] = [str(row.signature) for row in (await node.get_signatures_for_address(owner)).value].index(str(signature))
    for encoding in ("base64", "json"):
        row = (await node.get_transaction(signature, encoding, max_supported_transaction_version=0)).value
        found[encoding] = row.transaction.meta.fee
    found["arrived"] = (await node.get_balance(to)).value
    try:
        await node.send_transaction(tx)
    except RPCException as refused:
        found["again"] = "AlreadyProcessed" in str(refused)
    return found


async def main():
    """Print what was found, as JSON."""
    key = Keypair.from_seed(bytes.fromhex(sys.stdin.read().strip()))
    async with AsyncClient(sys.argv[1]) as node:
        print(json.dumps({**await asked(node, key.pubkey()), **await sent(node, key)}))


asyncio.run(main())
