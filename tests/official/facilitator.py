"""The official facilitator against a node, run by the Python of its own environment. Its first line is its port.

The key of its account comes on stdin. GET /look/TX is what web3.py makes of the node.
"""

import socket
import sys

import uvicorn
from fastapi import FastAPI, Request
from web3 import Web3
from web3.middleware import ExtraDataToPOAMiddleware
from x402 import x402FacilitatorSync
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact.register import register_exact_evm_facilitator
from x402.mechanisms.evm.upto import UptoEvmFacilitatorScheme
from x402.schemas import PaymentPayload, PaymentRequirements
from x402.schemas.v1 import PaymentPayloadV1, PaymentRequirementsV1

NETWORK = "eip155:84532"
rpc = sys.argv[1]
signer = FacilitatorWeb3Signer("0x" + sys.stdin.readline().strip(), rpc)
facilitator = x402FacilitatorSync()
register_exact_evm_facilitator(facilitator, signer, NETWORK)
facilitator.register([NETWORK], UptoEvmFacilitatorScheme(signer))
app = FastAPI()


async def read(request):
    """Payload and requirements of a facilitator request."""
    body = await request.json()
    one = body["x402Version"] == 1
    payload, wanted = (PaymentPayloadV1, PaymentRequirementsV1) if one else (PaymentPayload, PaymentRequirements)
    return payload.model_validate(body["paymentPayload"]), wanted.model_validate(body["paymentRequirements"])


def told(answer):
    """The JSON that goes over the wire."""
    return answer.model_dump(by_alias=True, exclude_none=True, mode="json")


@app.get("/supported")
def supported():
    """Kinds, extensions and signers."""
    return told(facilitator.get_supported())


@app.post("/verify")
async def verify(request: Request):
    """Whether a payment would settle."""
    return told(facilitator.verify(*await read(request)))


@app.post("/settle")
async def settle(request: Request):
    """Settle a payment."""
    return told(facilitator.settle(*await read(request)))


@app.get("/look/{tx}")
def look(tx: str, token: str, holder: str):
    """A transaction and its surroundings through web3.py, with its middleware and its strict formatters."""
    w3 = Web3(Web3.HTTPProvider(rpc))
    w3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    receipt = w3.eth.wait_for_transaction_receipt(tx, timeout=5)
    found = w3.eth.get_transaction(tx)
    block = w3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    history = w3.eth.fee_history(2, "latest", [50])
    logs = w3.eth.get_logs({"address": token, "fromBlock": block["number"], "toBlock": "latest"})
    abi = [{"name": "transfer", "type": "function", "stateMutability": "nonpayable", "outputs": [{"type": "bool"}],
            "inputs": [{"name": "to", "type": "address"}, {"name": "value", "type": "uint256"}]}]  # fmt: skip
    transfer = w3.eth.contract(address=token, abi=abi).functions.transfer
    try:
        transfer(holder, 10**15).estimate_gas({"from": holder})
        refusal = ""
    except Exception as error:
        refusal = f"{type(error).__name__}: {error}"
    return {
        "client": w3.client_version,
        "chain": w3.eth.chain_id,
        "sender": found["from"],
        "block": [block["number"], block["hash"].hex() == receipt["blockHash"].hex()],
        "transactions": [each["hash"].to_0x_hex() for each in block["transactions"]],
        "tags": [
            w3.eth.get_block(tag)["number"] >= block["number"] for tag in ("latest", "safe", "finalized", "pending")
        ],
        "logs": len([log for log in logs if log["transactionHash"].to_0x_hex() == tx]),
        "bloom": int.from_bytes(receipt["logsBloom"]) > 0,
        "fees": [history["baseFeePerGas"], w3.eth.gas_price, w3.eth.max_priority_fee, receipt["effectiveGasPrice"]],
        "gas": [receipt["gasUsed"], transfer(holder, 1).estimate_gas({"from": holder})],
        "counts": [w3.eth.get_transaction_count(holder, tag) for tag in ("latest", "pending")],
        "wei": w3.eth.get_balance(holder),
        "code": len(w3.eth.get_code(token)),
        "refusal": refusal,
    }


listening = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listening.getsockname()[1]}\n")
sys.stdout.flush()
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
