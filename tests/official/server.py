"""An official x402 FastAPI server, run by the Python of its own environment. Its first line is its port."""

import socket
import sys

import uvicorn
from fastapi import FastAPI, Response
from x402 import x402ResourceServer
from x402.http import FacilitatorConfig, HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI, set_settlement_overrides
from x402.mechanisms.evm.exact.register import register_exact_evm_server
from x402.mechanisms.evm.upto import UptoEvmServerScheme

facilitator, pay_to = sys.argv[1:3]
server = x402ResourceServer(HTTPFacilitatorClient(FacilitatorConfig(url=facilitator)))
register_exact_evm_server(server, "eip155:84532")
server.register("eip155:84532", UptoEvmServerScheme())
exact = {"scheme": "exact", "payTo": pay_to, "price": "$0.01", "network": "eip155:84532"}
domain = {"name": "USDC", "version": "2", "assetTransferMethod": "permit2"}
cents = {"amount": "10000", "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "extra": domain}
upto = exact | {"scheme": "upto", "price": "$0.05"}
routes = {"/weather": exact, "/permit2": exact | {"price": cents}, "/metered": upto, "/unmetered": upto}
app = FastAPI()
app.add_middleware(
    PaymentMiddlewareASGI,
    routes={f"GET {path}": {"accepts": accepts} for path, accepts in routes.items()},
    server=server,
)


@app.get("/weather")
@app.get("/permit2")
async def weather():
    """The paid page."""
    return {"weather": "sunny"}


@app.get("/metered")
async def metered(response: Response):
    """It costs less than was allowed."""
    set_settlement_overrides(response, {"amount": "12000"})
    return {"weather": "sunny"}


@app.get("/unmetered")
async def unmetered(response: Response):
    """It costs nothing."""
    set_settlement_overrides(response, {"amount": "0"})
    return {"weather": "sunny"}


listening = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listening.getsockname()[1]}\n")
sys.stdout.flush()
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
