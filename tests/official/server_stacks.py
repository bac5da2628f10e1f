"""A seller that is not ours: PyPI's x402-stacks on FastAPI, run by the Python of its own environment. Its first line is its port."""

import socket
import sys

import uvicorn
from fastapi import FastAPI
from x402_stacks.http.middleware_fastapi import PaymentMiddleware, PaymentMiddlewareConfig, PaymentMiddlewareV1
from x402_stacks.types import TokenContract

facilitator, pay_to = sys.argv[1:3]
usdcx = TokenContract(address="ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM", name="usdcx")


def goods():
    """The paid page."""
    return {"goods": True}


app = FastAPI()
two, one = FastAPI(), FastAPI()
two.add_middleware(
    PaymentMiddleware,
    config=PaymentMiddlewareConfig(network="testnet", amount=5000, pay_to=pay_to, token_type="USDCx", token_contract=usdcx, facilitator_url=facilitator),
)
one.add_middleware(
    PaymentMiddlewareV1, amount=5000, address=pay_to, network="testnet", token_type="USDCx", token_contract=usdcx, facilitator_url=facilitator,
)
for path, each in (("/v2", two), ("/v1", one)):
    each.get("/usdcx")(goods)
    app.mount(path, each)

listening = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listening.getsockname()[1]}\n")
sys.stdout.flush()
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
