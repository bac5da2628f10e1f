"""A FastAPI server of PyPI's bankofai-x402, run by the Python of its own environment. Its first line is its port.

It settles by the facilitator that it is given, and then asks a node of TRON itself: here the one that it is given, too.
"""

import socket
import sys

import uvicorn
from bankofai.x402.facilitator import FacilitatorClient
from bankofai.x402.fastapi import X402Middleware
from bankofai.x402.server import X402Server
from bankofai.x402.utils import tron_client
from fastapi import FastAPI, Request

facilitator, pay_to, tron_client.TRON_NILE_FALLBACK_URL = sys.argv[1:4]
server = X402Server().set_facilitator(FacilitatorClient(facilitator))
app = FastAPI()


@app.get("/weather")
@X402Middleware(server).protect(prices=["0.01 USDT"], schemes=["exact_permit"], network="tron:nile", pay_to=pay_to)
async def weather(request: Request):
    """The paid page."""
    return {"weather": "sunny"}


listening = socket.create_server(("127.0.0.1", 0))
sys.stdout.write(f"{listening.getsockname()[1]}\n")
sys.stdout.flush()
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
