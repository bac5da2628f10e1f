"""Offers, keys and a pretend node for the EVM chain; eth_account as the oracle."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from x402_agent import assets, primitives
from x402_agent.chains.evm import Evm
from x402_agent.model import Offer
from x402_agent.primitives import EvmKey
from x402_agent.steps import Fetched

PAY_TO = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"


class LocalSigner:
    """The shortest thing that is a Signer."""

    def __init__(self, key: bytes) -> None:
        self.key = EvmKey(key)

    def address(self, namespace: str) -> str:
        return self.key.address if namespace == "eip155" else ""

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        assert namespace == "eip155"
        return self.key.sign(digest)


@pytest.fixture(scope="session")
def oracle():
    """The eth_account package; py_ecc below it raises the recursion limit on import, which is put back."""
    limit = sys.getrecursionlimit()
    import eth_account

    sys.setrecursionlimit(limit)
    return eth_account


@pytest.fixture(params=["coincurve", "wallycore"])
def backend(request, monkeypatch):
    """Each secp256k1 library in turn, chosen as on a machine that has only this one."""
    made = {"coincurve": primitives._Coincurve, "wallycore": primitives._Wally}[request.param]()
    monkeypatch.setattr(primitives, "_curve", lambda: made)
    return request.param


@pytest.fixture
def evm() -> Evm:
    return Evm()


@pytest.fixture(scope="session")
def signer_of():
    return LocalSigner


@pytest.fixture
def signer() -> LocalSigner:
    return LocalSigner(bytes.fromhex("22" * 32))


@pytest.fixture
def offer():
    """An honest offer with changes."""

    def make(token: str = "eip155:84532/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e", **changes: Any) -> Offer:
        asset = assets.asset_by_id(token)
        assert asset is not None
        honest = {"amount": 10000, "pay_to": PAY_TO, "lifetime": 60, "scheme": "exact", "asset": asset, **changes}
        return Offer(dialect="x402", **honest)

    return make


class Node:
    """A JSON-RPC node by its answers: a value, a callable of the parameters, or a ready Fetched."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, list[Any]]] = []

    def drive(self, steps: Any) -> str:
        answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                return done.value
            assert step.method == "POST"
            assert step.url == "https://node.example/"
            sent = json.loads(step.content)
            self.calls.append((sent["method"], sent["params"]))
            answer = self._answer(sent)

    def _answer(self, sent: dict[str, Any]) -> Fetched:
        found = self.answers.get(sent["method"])
        if callable(found):
            found = found(*sent["params"])
        if isinstance(found, Fetched):
            return found
        return Fetched(200, {}, json.dumps({"jsonrpc": "2.0", "id": sent["id"], "result": found}).encode())


@pytest.fixture
def node():
    return Node
