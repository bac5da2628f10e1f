"""On every chain of the sandbox: a purchase by sync, asyncio and trio, `try`, and kill -9 with `resume`,
which asks the chain's own node what became of the proof."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import anyio
import pytest

import nursery
from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.assets import network
from x402_agent.ledger import SqliteLedger
from x402_agent.model import Limit
from x402_agent.sandbox import GROUNDS, Sandbox

CHAINS = list(GROUNDS)
PRICE = 10_000
CHILD = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.steps import Commit

moment, path, url, network, node = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def after(ask, step, value):
    if moment == "written" and isinstance(step, Commit):
        die()

payer = Payer(
    wallet=Wallet.from_key(sys.stdin.read(), network.partition(":")[0]), policy=Policy(networks=(network,)),
    settings=replace(Settings.load(), nodes={network: node}), ledger=SqliteLedger(Path(path), sandbox=True), trace=after,
)
client = payer.client(timeout=20)
inner = client._transport.inner
send = inner.handle_request
def sending(request):
    reply = send(request)
    if "payment-signature" in request.headers:
        die()
    return reply
inner.handle_request = sending
client.get(url)
"""


@pytest.fixture(params=CHAINS)
def box(request):
    with Sandbox(chain=request.param) as one:
        one.serve()
        yield one


def payer_of(box, path):
    settings = replace(Settings.load(), nodes={box.network: box.rpc_url})
    where = network(box.network)
    return Payer(wallet=Wallet.from_key(box.payer_key, where.namespace), policy=Policy(networks=(where.name,)),
                 settings=settings, ledger=ledger_of(box, path))  # fmt: skip


def ledger_of(box, path):
    ledger = SqliteLedger(path, sandbox=True)
    for allowed in box.ground.allowances:
        ledger.allow(*allowed).run()
    return ledger


def counted(payer):
    return payer.ledger.spent([Limit("all", "total", 10**12)], realm="sandbox")[0].spent


def killed(moment, box, path):
    ledger_of(box, path).shut()
    env = {**os.environ, "X402_AGENT_HOME": str(path.parent)}
    done = nursery.run(CHILD, moment, path, box.url("/joke"), box.network, box.rpc_url, input=box.payer_key.hex(), env=env)
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.proves("evm", "exact", "pays")
@pytest.mark.proves("solana", "exact", "pays")
@pytest.mark.proves("stacks", "exact", "pays")
@pytest.mark.proves("tron", "exact_permit", "pays")
@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("way", ["sync", "asyncio", "trio"])
def test_a_purchase_by_every_driver(chain, way):
    with Payer.sandbox(chain=chain) as payer:
        box = payer.sandbox

        async def bought():
            async with payer.async_client(timeout=20) as http:
                return [await http.get(box.url(path)) for path in ("/joke", "/upfront")]

        if way == "sync":
            with payer.client(timeout=20) as http:
                replies = [http.get(box.url(path)) for path in ("/joke", "/upfront")]
        else:
            replies = anyio.run(bought, backend=way)
        receipts = [reply.extensions["payment"] for reply in replies]
        assert [(reply.status_code, one.outcome) for reply, one in zip(replies, receipts, strict=True)] == [(200, "spent")] * 2
        assert [one.transaction for one in receipts] == [each.tx for each in box.settlements]
        assert box.balance(box.pay_to) == sum(each.amount for each in box.settlements) == 2 * PRICE
        assert counted(payer) >= 2 * PRICE  # with a facilitator's fee, where the chain has one
        assert payer.ledger.verify() == []


@pytest.mark.parametrize("chain", CHAINS)
def test_try_reads_its_payment_back(chain, tmp_path):
    done = nursery.cli("try", "--chain", chain, "--json", env={**os.environ, "X402_AGENT_HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["status"], said["read_back"], said["payment"]["outcome"]) == (200, True, "spent")


@pytest.mark.proves("evm", "exact", "fate")
@pytest.mark.proves("solana", "exact", "fate")
@pytest.mark.proves("stacks", "exact", "fate")
@pytest.mark.proves("tron", "exact_permit", "fate")
def test_killed_once_it_was_settled(box, tmp_path):
    path = tmp_path / "ledger.db"
    killed("settled", box, path)
    assert (len(box.settlements), box.balance(box.pay_to)) == (1, PRICE)
    with payer_of(box, path) as payer:
        (found,) = payer.resume()
        assert (found.before, found.after) in {("INFLIGHT", "CONFIRMED"), ("INFLIGHT", "CLAIMED")}
        assert counted(payer) >= PRICE
        assert payer.ledger.verify() == []
    assert (len(box.settlements), box.balance(box.pay_to)) == (1, PRICE)


def test_killed_before_it_left(box, tmp_path):
    path = tmp_path / "ledger.db"
    killed("written", box, path)
    assert box.settlements == []
    with payer_of(box, path) as payer:
        assert counted(payer) >= PRICE
        payer.resume()
        # The proof is live: it was shown now, by the same bytes, or it is open. Never is there another one.
        assert len(box.settlements) == len([row for row in payer.ledger.payments() if row.state in ("CLAIMED", "CONFIRMED")])
        with payer.client(timeout=20) as http:
            http.get(box.url("/joke"))
        assert len({each.nonce for each in box.settlements}) == len(box.settlements) == box.balance(box.pay_to) // PRICE
        assert payer.ledger.verify() == []


def test_what_never_settles_is_freed_by_the_chain_alone(box, tmp_path):
    box.scenario = "never_settles"
    with payer_of(box, tmp_path / "ledger.db") as payer:
        with payer.client(timeout=20) as http:
            reply = http.get(box.url("/joke"))
        assert reply.extensions["payment"].outcome in ("refused", "in_doubt")
        assert payer.resume()[0].after == "UNKNOWN"
        assert counted(payer) >= PRICE
        box.warp(3700)
        forever = box.ground.name == "stacks"  # no clock ends a proof there: only another transaction of its account nonce
        assert [one.after for one in payer.resume()] == ["UNKNOWN" if forever else "DEAD"]
        assert counted(payer) == (PRICE if forever else 0)
    assert (box.settlements, box.balance(box.pay_to)) == ([], 0)
