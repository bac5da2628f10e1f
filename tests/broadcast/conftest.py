"""A payer beside a real chain in this process, and a node between them that may lie."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from x402_agent import Payer, Policy, Settings, Wallet, assets
from x402_agent.chains.evm.permit2 import PERMIT2
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.node import answer_rpc
from x402_agent.secret import Veiled
from x402_agent.steps import Fetch, Fetched, Progress, Sleep

NODE = "https://node.example/v2/needle"
NETWORK = "eip155:84532"
USDC = next(each for each in assets.assets() if each.network.id == NETWORK and each.symbol == "USDC")


class World:
    """Performs steps: a Fetch is answered by the sandbox's own node, unless `lies` has another answer for its method.

    A lie is a value, a Fetched, or a function of (params, what the honest node says).
    """

    def __init__(self, box, folder):
        self.box, self.path = box, folder / "ledger.db"
        self.lies, self.calls, self.slept, self.opened = {}, [], 0.0, []
        self.at_sleep = lambda: None
        self.say = []

    def payer(self, key=None, nodes=NODE):
        settings = replace(Settings.load(), nodes=Veiled({NETWORK: nodes} if nodes else {}))
        made = Payer(wallet=Wallet.from_key(key or self.box.payer_key), policy=Policy(networks=("base-sepolia",)),
                     settings=settings, ledger=SqliteLedger(self.path, sandbox=True))  # fmt: skip
        self.opened.append(made)
        return made

    def drive(self, steps):
        value = None
        while True:
            try:
                step = steps.send(value)
            except StopIteration as done:
                return done.value
            value = self.perform(step)

    def perform(self, step):
        if isinstance(step, Sleep):
            self.slept += step.seconds
            self.at_sleep()
            return None
        if isinstance(step, Progress):
            return None
        assert isinstance(step, Fetch)
        sent = json.loads(step.content)
        method, params = sent["method"], sent["params"]
        self.calls.append((method, params))
        self.url = step.url
        lie = self.lies.get(method)
        if lie is None or callable(lie):
            honest = answer_rpc(self.box.ground.chain, sent)
            if lie is None:
                return Fetched(200, {}, json.dumps(honest).encode())
            lie = lie(params, honest.get("result"))
        if isinstance(lie, Fetched):
            return lie
        if isinstance(lie, Exception):
            return Fetched(200, {}, json.dumps({"id": sent["id"], "error": {"code": -32000, "message": str(lie)}}).encode())
        return Fetched(200, {}, json.dumps({"id": sent["id"], "result": lie}).encode())

    def sent(self, method="eth_sendRawTransaction"):
        return [params[0] for called, params in self.calls if called == method]

    def left(self, payer):
        return payer.ledger.allowance(NETWORK, USDC.address, payer.wallet.address("eip155"), PERMIT2)


@pytest.fixture(scope="module")
def shared_box():
    with Sandbox() as one:
        yield one


@pytest.fixture
def world(tmp_path):
    with Sandbox() as box:
        made = World(box, tmp_path)
        yield made
        for payer in made.opened:
            payer.close()
