"""The same verbs without a loop, behind a signer, over a payer that is made late, and after a kill -9."""

from __future__ import annotations

import inspect
import os
import signal
import tempfile
import threading
from pathlib import Path

import anyio
import pytest

import nursery
from x402_agent import Payer, Policy, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.signer import Service
from x402_agent.tools import Tools


def test_the_verbs_without_a_loop(payer):
    with Tools(payer).sync as tools:
        quoted = tools.quote(payer.sandbox.url("/joke"))
        made = tools.buy(quoted.offer_id)
        assert made.outcome == "spent" and tools.fetch(payer.sandbox.url("/joke")).repeated
        assert tools.spending().spent == "0.01" and tools.why(made.payment_id).outcome == "spent"
        assert tools.kept(made.more.uri).size == made.more.size and tools.resume().open == 0 and tools.balance().accounts
        assert list(inspect.signature(tools.fetch).parameters) == ["url", "max_price", "method", "body", "again"] and "MONEY" in tools.fetch.__doc__
    assert not [each for each in threading.enumerate() if "anyio" in each.name.lower() and not each.daemon]


def test_the_sync_verbs_from_many_threads_buy_once(payer):
    found = []
    with Tools(payer).sync as tools:
        threads = [threading.Thread(target=lambda: found.append(tools.fetch(payer.sandbox.url("/joke")))) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    assert len({each.payment_id for each in found}) == 1 == len(payer.sandbox.settlements)


@pytest.mark.anyio
async def test_the_payer_is_made_when_it_is_needed_and_once(payer):
    made = []

    def make():
        made.append(threading.current_thread())
        return payer

    async with Tools(make) as tools:
        assert not made
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(tools.quote, payer.sandbox.url("/joke"))
    assert len(made) == 1 and made[0] is not threading.main_thread()


@pytest.mark.anyio
async def test_a_payer_that_cannot_be_made_is_a_problem_and_no_traceback():
    def make():
        raise RuntimeError("key 0x1234")

    async with Tools(make) as tools:
        said = (await tools.fetch("https://a.example/")).problem
        assert said.kind == "Failed" and "1234" not in said.what


@pytest.mark.anyio
async def test_behind_a_signer():
    with tempfile.TemporaryDirectory(prefix="x402-") as folder, Payer.sandbox(serve=True) as owner:
        service = Service(owner, Path(folder) / "s.sock", {os.getuid(): "research"})
        thread = threading.Thread(target=service.serve)
        thread.start()
        try:
            agent = await anyio.to_thread.run_sync(lambda: Payer.from_env(env={**os.environ, "X402_AGENT_SIGNER": str(service.path)}))
            async with Tools(agent, client="x", loopback=True) as tools:
                quoted = await tools.quote(owner.sandbox.url("/joke"))
                made = await tools.buy(quoted.offer_id)
                assert (quoted.policy, made.outcome, made.body.inside[:7]) == ("allowed", "spent", '{"joke"')
                assert (await tools.fetch(owner.sandbox.url("/joke"))).repeated
                assert (await tools.why(made.payment_id)).outcome == "spent" and (await tools.spending()).spent == "0.01"
                assert (await tools.balance()).note and (await tools.resume()).problem is None
                assert (await tools.fetch(owner.sandbox.url("/dear"))).problem.kind == "BudgetExceeded"
            agent.close()
            assert len(owner.sandbox.settlements) == 1
        finally:
            service.stop()
            thread.join(20)


CHILD = """
import os, signal, sys, anyio
from pathlib import Path
from x402_agent import Payer, Policy, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.steps import Send
from x402_agent.tools import Tools
from x402_agent.tools.shelf import Shelf

point, path, url, key = sys.argv[1:5]

def label(step):
    return "paid" if isinstance(step, Send) and step.paid else type(step).__name__.lower()

def trace(ask, step, value):
    if label(step) == point:
        os.kill(os.getpid(), signal.SIGKILL)

if point == "done":
    Shelf.done = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
payer = Payer(wallet=Wallet.from_key(key), policy=Policy(networks=("base-sepolia",)), ledger=SqliteLedger(Path(path), sandbox=True), trace=trace)

async def main():
    async with Tools(payer, client="x", loopback=True) as tools:
        made = await tools.fetch(url)
        payer.ledger.flush()
        print(made.outcome, made.payment_id, made.status)

anyio.run(main)
"""


@pytest.mark.full
@pytest.mark.parametrize("point", ["find", "hold", "sign", "commit", "paid", "close", "done"])
def test_kill_9_in_a_purchase_and_a_restart_by_the_host_pay_once(point, tmp_path):
    with Sandbox() as box:
        box.serve()
        words = [str(tmp_path / "sandbox.db"), box.url("/joke"), box.payer_key.hex()]
        killed = nursery.run(CHILD, point, *words)
        assert killed.returncode == -signal.SIGKILL
        again = nursery.run(CHILD, "never", *words)
        assert again.returncode == 0 and len(box.settlements) <= 1, again.stderr
        payer = Payer(wallet=Wallet.from_key(box.payer_key), policy=Policy(networks=("base-sepolia",)), ledger=SqliteLedger(tmp_path / "sandbox.db", sandbox=True))
        with payer:
            assert len([each for each in payer.ledger.payments() if each.outcome != "released"]) == 1
        assert len(box.settlements) == 1
