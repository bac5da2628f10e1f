"""kill -9 between challenge and close, then resume: no second settlement, nothing forgotten, the budget right."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

import nursery
from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.model import Limit
from x402_agent.sandbox import Sandbox

CHILD = """
import os, signal, sys
from pathlib import Path
from x402_agent import Payer, Policy, Wallet
from x402_agent.payer.kit import Kit
from x402_agent.ledger import SqliteLedger
from x402_agent.steps import Send

point, path, url, reserve = sys.argv[1:5]
moment, name = point.split("-", 1)

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def label(step):
    kind = type(step).__name__.lower()
    return "paid" if isinstance(step, Send) and step.paid else "challenge" if isinstance(step, Send) else kind

perform = Kit.perform
def before(self, step, milliseconds):
    if moment == "before" and label(step) == name:
        die()
    return perform(self, step, milliseconds)
Kit.perform = before

def after(ask, step, value):
    if moment == "after" and label(step) == name:
        die()

payer = Payer(
    wallet=Wallet.from_key(sys.stdin.read()),
    policy=Policy(networks=("base-sepolia",), approve_above=0 if reserve == "1" else None),
    ledger=SqliteLedger(Path(path), sandbox=True), trace=after, approve=lambda offer, ask: True,
)
client = payer.client(timeout=20)
if moment == "sending":
    inner = client._transport.inner
    send = inner.handle_request
    def sending(request):
        paid = "payment-signature" in request.headers
        if paid and name == "first":
            die()
        reply = send(request)
        if paid:
            die()
        return reply
    inner.handle_request = sending
client.get(url)
"""

POINTS = [
    "after-challenge", "before-find", "after-find", "before-hold", "after-hold", "after-approve", "after-sign",
    "before-commit", "after-commit", "sending-first", "sending-last", "after-paid", "before-close", "after-close",
]  # fmt: skip
LEFT = {"sending-last", "after-paid", "before-close", "after-close"}
WRITTEN = LEFT | {"after-commit", "sending-first"}


@pytest.fixture(scope="module")
def box():
    with Sandbox() as one:
        one.serve()
        yield one


def payer_of(box, path, **nodes):
    settings = replace(Settings.load(), nodes=nodes.get("nodes", {}))
    policy = Policy(networks=("base-sepolia",))
    return Payer(wallet=Wallet.from_key(box.payer_key), policy=policy, settings=settings,
                 ledger=SqliteLedger(path, sandbox=True))  # fmt: skip


def killed_at(point, box, path, reserve):
    env = {**os.environ, "X402_AGENT_HOME": str(path.parent)}
    done = nursery.run(CHILD, point, path, box.url("/joke"), "1" if reserve else "0", input=box.payer_key.hex(), env=env)
    assert done.returncode == -signal.SIGKILL, done.stderr


WAYS = {False: "one transaction", True: "reserved first"}
EVERY = [
    pytest.param(point, reserve, id=f"{point}-{way}", marks=[pytest.mark.full] * (number % 2 != reserve))  # each point quickly in one way
    for number, point in enumerate(POINTS) for reserve, way in WAYS.items()
]  # fmt: skip


@pytest.mark.parametrize(("point", "reserve"), EVERY)
def test_killed(point, reserve, box, tmp_path):
    path = tmp_path / "ledger.db"
    before = len(box.settlements)
    killed_at(point, box, path, reserve)
    assert len(box.settlements) - before == (1 if point in LEFT else 0)
    with payer_of(box, path) as payer:
        rows = payer.ledger.payments()
        assert len([r for r in rows if r.state != "RELEASED"]) == (1 if point in WRITTEN else 0)
        first = payer.resume()
        payer.resume()
        counted = payer.ledger.spent([Limit("all", "total", 10**9)], realm="sandbox")[0].spent
        assert counted == (10_000 if point in WRITTEN else 0)
        assert len(box.settlements) - before == counted // 10_000  # what is counted is what moved, once
        assert all(r.state in ("CLAIMED", "CONFIRMED", "RELEASED", "UNKNOWN") for r in payer.ledger.payments())
        if point in WRITTEN:
            assert [one.before for one in first] == (["INFLIGHT"] if point != "after-close" else [r.state for r in rows if r.outcome == "in_doubt"])
        with payer.client(timeout=20) as http:
            reply = http.get(box.url("/joke"))
        outcome = reply.extensions["payment"].outcome
        assert (reply.status_code, outcome) == (200, "spent") or outcome == "in_doubt"
        assert payer.ledger.verify() == []
    nonces = [one.nonce for one in box.settlements]
    assert len(nonces) == len(set(nonces))


def test_a_proof_that_never_left_is_released_when_the_chain_says_so(box, tmp_path):
    path = tmp_path / "ledger.db"
    seller = Sandbox("never_settles")
    with seller:
        seller.serve()
        with payer_of(seller, path, nodes={"eip155:84532": seller.rpc_url}) as payer:
            with payer.client(timeout=20) as http:
                reply = http.get(seller.url("/joke"))
            assert reply.extensions["payment"].outcome in ("refused", "in_doubt")
            assert payer.resume()[0].after == "UNKNOWN"  # it may still settle
            seller.warp(3700)
            found = payer.resume()
            assert [one.after for one in found] == ["DEAD"], found
            assert payer.ledger.spent([Limit("all", "total", 10**9)], realm="sandbox")[0].spent == 0
        assert seller.settlements == []
