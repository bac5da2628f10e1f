"""Pay inside a client that you already have; a refusal is the untouched 402 with its reason."""

import httpx

from x402_agent import Payer

with Payer.sandbox(serve=True) as payer, httpx.Client(timeout=30) as mine:
    payer.attach(mine)
    print(mine.get(payer.sandbox.url("/joke")).extensions["payment"])
    refused = mine.get(payer.sandbox.url("/dear"))
    print(refused.status_code, refused.extensions["payment"].reason)
