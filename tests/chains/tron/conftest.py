"""Offers by PaymentPermit and by Permit2, a key, and a pretend node of Nile."""

from __future__ import annotations

import json
from typing import Any

import pytest

from x402_agent import assets
from x402_agent.chains.tron import Tron, permit, permit2
from x402_agent.model import Offer
from x402_agent.steps import Fetched
from x402_agent.wallet import KeySigner

NILE = "tron:0xcd8690dc"
PAY_TO, FEE_TO = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8", "TGneCZXUdubDichAjxttbax7RCXHDwXh2Q"
DETAILS = json.dumps({"feeTo": FEE_TO, "paymentId": "0x9c9be2770121075aedc9cf7625621db7"})
GENESIS = "0" * 16 + "d698d4192c56cb6be724a558448e2684802de4d6" + "cd8690dc"


@pytest.fixture
def tron():
    return Tron()


@pytest.fixture(scope="session")
def signer():
    return KeySigner(bytes.fromhex("22" * 32), "tron")


@pytest.fixture(scope="session")
def offer():
    """An honest offer with changes, by PaymentPermit unless told otherwise."""

    def make(network: str = NILE, method: str = permit.METHOD, **changes: Any) -> Offer:
        asset = next(each for each in assets.assets() if each.network.id == network)
        honest: dict[str, Any] = {"asset": asset, "amount": 1000, "pay_to": PAY_TO, "lifetime": 3600, "method": method}
        if method == permit2.METHOD:
            honest |= {"scheme": "exact"}
        else:
            honest |= {"scheme": "exact_permit", "facilitator": FEE_TO, "fee_cap": 100, "details": DETAILS}
        return Offer(dialect="x402", **{**honest, **changes})

    return make


class Node:
    """java-tron's HTTP API by its answers, by path: a value, a callable of the body, or a ready Fetched."""

    def __init__(self, **answers: Any) -> None:
        self.answers = {"wallet_getblockbynum": {"blockID": GENESIS}, **answers}
        self.asked: list[tuple[str, Any]] = []
        self.steps: list[Any] = []

    def drive(self, steps: Any) -> Any:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                return done.value
            self.steps.append(step)
            path, body = "/".join(step.url.partition("?")[0].split("/")[-2:]), json.loads(step.content)
            self.asked.append((path, body))
            found = self.answers.get(path.replace("/", "_"), {"Error": "no such method"})
            found = found(body) if callable(found) else found
            answer = found if isinstance(found, Fetched) else Fetched(200, {}, json.dumps(found).encode())


@pytest.fixture
def node():
    return Node
