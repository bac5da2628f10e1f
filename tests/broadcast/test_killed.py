"""kill -9 around a broadcast, then resume from another process: one transaction at most, and the same bytes."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest

import nursery
from x402_agent import Payer, Policy, Settings, Wallet, assets
from x402_agent.broadcast import resume
from x402_agent.chains.evm.permit2 import PERMIT2
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.transport.fetch import drive

NETWORK = "eip155:84532"
USDC = next(each for each in assets.assets() if each.network.id == NETWORK and each.symbol == "USDC")
CHILD = """
import sys
from dataclasses import replace
from pathlib import Path
from dying import dying, dying_steps
from x402_agent import Payer, Policy, Settings, Wallet, assets
from x402_agent.broadcast import plan, send
from x402_agent.chains.evm import reads
from x402_agent.chains.evm.permit2 import PERMIT2
from x402_agent.transport.fetch import drive
from x402_agent.ledger import SqliteLedger

point, path, node, amount = sys.argv[1:]

moment, _, name = point.partition("-")
if name == "broadcast":
    reads.send_raw = dying_steps(reads.send_raw)
else:
    setattr(SqliteLedger, name, dying(getattr(SqliteLedger, name), moment == "before"))
settings = replace(Settings.load(), nodes={"eip155:84532": node})
payer = Payer(wallet=Wallet.from_key(sys.stdin.read()), policy=Policy(networks=("base-sepolia",)), settings=settings,
              ledger=SqliteLedger(Path(path), sandbox=True))
asset = next(each for each in assets.assets() if each.network.id == "eip155:84532" and each.symbol == "USDC")
drive(send(payer, drive(plan(payer, asset, PERMIT2, int(amount), max_fee=10**18)), say=lambda _: None))
"""
# where it dies, then what is left in the ledger, and whether the chain has the transaction
POINTS = {
    "before-build": ("", False),
    "after-build": ("RELEASED", False),
    "before-launch": ("RELEASED", False),
    "after-launch": ("INFLIGHT", False),
    "after-broadcast": ("INFLIGHT", True),
    "before-allow": ("INFLIGHT", True),
    "after-allow": ("INFLIGHT", True),
    "before-follow": ("INFLIGHT", True),
    "after-follow": ("CONFIRMED", True),
}


@pytest.fixture(scope="module")
def box():
    with Sandbox() as one:
        one.serve()
        yield one


@pytest.mark.parametrize("point", POINTS)
def test_killed(point, box, tmp_path):
    path, amount = tmp_path / "ledger.db", box.ground.allowance + 1
    before = box.ground.chain.nonce(box.payer_address)
    env = {**os.environ, "X402_AGENT_HOME": str(tmp_path)}
    done = nursery.run(CHILD, point, path, box.rpc_url, amount, input=box.payer_key.hex(), env=env)
    assert done.returncode == -signal.SIGKILL, done.stderr
    state, arrived = POINTS[point]
    assert (box.ground.allowance == amount) is arrived
    settings = replace(Settings.load(), nodes={NETWORK: box.rpc_url})
    with Payer(wallet=Wallet.from_key(box.payer_key), policy=Policy(networks=("base-sepolia",)), settings=settings,
               ledger=SqliteLedger(path, sandbox=True)) as payer:  # fmt: skip
        rows = payer.ledger.transactions()
        assert [each.state for each in rows] == ([state] if state else [])
        for _ in range(2):
            drive(resume(payer))
        wanted = state in ("INFLIGHT", "CONFIRMED")
        assert [each.state for each in payer.ledger.transactions(open_only=True)] == []
        assert box.ground.chain.nonce(box.payer_address) - before == (1 if wanted else 0)
        left = payer.ledger.allowance(NETWORK, USDC.address, box.payer_address, PERMIT2)
        assert left == (amount if wanted else 0) and (box.ground.allowance == amount) is wanted
        assert payer.ledger.verify() == []
        if wanted:
            sent = box.ground.chain.transaction(rows[0].txid)
            assert sent.nonce == before and "0x" + rows[0].raw.hex() == "0x" + sent.raw.hex()
