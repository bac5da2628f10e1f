"""An official x402 FastAPI server on Solana, run by the Python of its own environment. Its first line is its port.

Arguments: facilitator, recipient, and the node whose blockhashes it hands to its clients.
"""

import socket
import sys

import uvicorn
from fastapi import FastAPI
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.svm.exact.register import register_exact_svm_server

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
facilitator, pay_to, node = sys.argv[1:4]


def paid(app, path, price, rpc_url=None):
    """Ask this price below a path; with `rpc_url` each 402 names a fresh blockhash."""
    server = register_exact_svm_server(x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=facilitator))), NETWORK, rpc_url)
    accepts = {"scheme": "exact", "payTo": pay_to, "price": price, "network": NETWORK}
    app.add_middleware(PaymentMiddlewareASGI, routes={f"GET {path}": {"accepts": accepts}}, server=server)


app = FastAPI()
noted = {"amount": "10000", "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "extra": {"memo": "order 7"}}
paid(app, "/weather", "$0.01")
paid(app, "/memo", noted)
paid(app, "/blockhash", "$0.01", node)


@app.get("/weather")
@app.get("/memo")
@app.get("/blockhash")
async def weather():
    """The paid page."""
    return {"weather": "sunny"}


listening = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listening.getsockname()[1]}\n")
sys.stdout.flush()
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
