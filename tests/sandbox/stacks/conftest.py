"""A pretend Stacks with two accounts that have money, and a way to ask its HTTP API without a socket."""

from __future__ import annotations

import json
import secrets
from types import SimpleNamespace

import pytest

from x402_agent.chains.stacks import PostCondition, sip010_transfer
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.stacks.accounts import Account
from x402_agent.sandbox.stacks.api import Api
from x402_agent.sandbox.stacks.chain import Chain
from x402_agent.sandbox.stacks.contracts import revenue_split, sip010
from x402_agent.sandbox.stacks.state import STX

FEE = 1000


@pytest.fixture
def world():
    """ann and bob own STX and coins; maker sells content, owner runs the platform."""
    chain = Chain()
    people = {name: Account(secrets.token_bytes(32)) for name in ("ann", "bob", "maker", "owner")}
    issuer = people["owner"].address
    token = f"{issuer}.coin"
    asset = f"{token}::gold"
    chain.deploy(sip010(token, "gold", "GOLD", 6))
    chain.deploy(revenue_split(f"{issuer}.two", issuer, four=False))
    chain.deploy(revenue_split(f"{issuer}.four", issuer, four=True))
    for each in people.values():
        chain.endow(STX, each.address, 10_000_000)
        chain.endow(asset, each.address, 1_000)
    found = SimpleNamespace(chain=chain, token=token, asset=asset, **people)

    def pay(who, recipient, amount, conditions=None, nonce=None, fee=FEE, **more):
        """A signed SIP-010 transfer with its exact post-condition."""
        exact = (PostCondition("", "eq", amount, asset),)
        where = chain.nonce(who.address) if nonce is None else nonce
        call = sip010_transfer(token, amount, more.pop("sender", who.address), recipient)
        return who.sign(call, where, fee, exact if conditions is None else conditions, **more)

    def submit(tx):
        """What became of it."""
        return chain.entry(chain.submit(tx.wire()))

    found.pay, found.submit = pay, submit
    return found


@pytest.fixture
def ask(world):
    """`ask("GET /v2/info")`, `ask("POST /v2/transactions", body)`: status and decoded body."""
    api = Api(world.chain)

    def send(what, body=None, content_type="application/json"):
        method, _, target = what.partition(" ")
        path, _, query = target.partition("?")
        raw = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        answer = api.handle(Request(method, "http://node", path, {"content-type": content_type}, raw, query))
        return answer and (answer.status, json.loads(b"".join(answer.chunks)))

    send.api = api
    return send
