"""The first paid request: test money, a real signature, a real EVM."""

from x402_agent import Payer

with Payer.sandbox() as payer, payer.client() as http:
    reply = http.get(payer.sandbox.url("/joke"))
    print(reply.text)
    print(reply.extensions["payment"])
