"""An official x402 FastAPI server with one priced route, run by the Python of its own environment. Its first line is its port."""

import socket
import sys

import uvicorn
from fastapi import FastAPI
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.evm.exact.register import register_exact_evm_server

facilitator, pay_to = sys.argv[1:3]
server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=facilitator)))
register_exact_evm_server(server, "eip155:84532")
accepts = {"scheme": "exact", "payTo": pay_to, "price": "$0.01", "network": "eip155:84532"}
app = FastAPI()
app.add_middleware(PaymentMiddlewareASGI, routes={"GET /weather": {"accepts": accepts}}, server=server)


@app.get("/weather")
async def weather():
    """The paid page."""
    return {"weather": "sunny"}


listening = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listening.getsockname()[1]}\n")
sys.stdout.flush()
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
