"""On Solana: the official client pays our shop, both clients pay the official server through our facilitator, solana-py works with
the sandbox's node."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.model import ChainRules
from x402_agent.sandbox import Sandbox

pytestmark = pytest.mark.full
HERE = Path(__file__).parent
PATHS = ("/joke", "/v1/joke", "/memo", "/upfront", "/both")


@pytest.fixture
def box():
    with Sandbox(chain="solana") as one:
        one.serve()
        yield one


SOLD = ("/weather", "/memo", "/blockhash")  # a blockhash of our own, a memo of the seller's, a blockhash of the seller's


@pytest.fixture
def server(box, official):
    with official("server_solana.py", box.facilitator_url, box.pay_to, box.rpc_url) as origin:
        yield origin


@pytest.fixture
def payer(box, tmp_path):
    settings = replace(Settings.load({"X402_AGENT_HOME": str(tmp_path)}), nodes={box.network: box.rpc_url})
    with Payer(wallet=Wallet.from_key(box.payer_key, "solana"), policy=Policy(networks=("testnet",)), settings=settings,
               ledger=SqliteLedger(tmp_path / "ledger.db", sandbox=True)) as one:  # fmt: skip
        yield one


@pytest.fixture
def run(python, box):
    """The output of a script of this folder, run with the payer's key."""

    def run(script, *arguments):
        direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run([python, HERE / script, *arguments], input=box.payer_key.hex(), text=True, env=direct,
                              capture_output=True, timeout=90, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


@pytest.mark.proves("solana", "exact", "judge", by="official client")
def test_the_official_client_pays_our_shop(box, run):
    said = run("client_solana.py", box.rpc_url, *map(box.url, PATHS)).splitlines()
    assert [line[:3] for line in said] == ["200"] * len(PATHS)
    assert box.balance(box.pay_to) == 10_000 * len(PATHS) == 100_000_000 - box.balance(box.payer_address)
    assert len({each.tx for each in box.settlements}) == len(PATHS)
    for each in box.settlements:
        assert box.transaction(each.tx).tried.err is None


def test_solana_py_works_with_our_node(box, run):
    assert json.loads(run("node_solana.py", box.rpc_url)) == {
        "genesis": "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG", "decimals": 6, "units": "100000000", "same": "100000000",
        "accounts": 2, "behind": 20_000_000, "rent": 2_039_280, "connected": True, "fee": 5000, "dry": "None",
        "confirmed": "TransactionConfirmationStatus.Finalized", "history": 0, "base64": 5000, "json": 5000,
        "arrived": 5_000_000, "again": True,
    }  # fmt: skip


def settled(box, paths):
    """Each path paid once, exactly, by a transaction of its own."""
    assert box.balance(box.pay_to) == 10_000 * len(paths) == 100_000_000 - box.balance(box.payer_address)
    assert len({each.tx for each in box.settlements}) == len(paths) == len(box.settlements)
    return [box.transaction(each.tx).memo for each in box.settlements]


@pytest.mark.proves("solana", "exact", "judge", by="official server")
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_ours_pays_the_official_server_through_our_facilitator(box, server, payer, library, world):
    async def get():
        async with payer.async_client(library=library, timeout=60) as http:
            return [await http.get(server + path) for path in SOLD]

    if world == "sync":
        with payer.client(library=library, timeout=60) as http:
            replies = [http.get(server + path) for path in SOLD]
    else:
        replies = anyio.run(get, backend=world)
    assert [(each.status_code, each.json()) for each in replies] == [(200, {"weather": "sunny"})] * 3
    receipts = [each.extensions["payment"] for each in replies]
    assert [(each.outcome, each.transaction) for each in receipts] == [("spent", each.tx) for each in box.settlements]
    assert settled(box, SOLD)[1] == "[7] order 7"
    payer.resume()
    assert [row.state for row in payer.ledger.payments()] == ["CONFIRMED"] * 3


def test_ours_takes_the_official_servers_blockhash_where_policy_trusts_it(box, server, payer):
    payer.policy = replace(payer.policy, chains=ChainRules(trusting=True))
    payer.settings = replace(payer.settings, nodes={})
    with payer.client(timeout=60) as http:
        assert http.get(server + "/blockhash").json() == {"weather": "sunny"}
    settled(box, ["/blockhash"])


def test_the_official_client_pays_the_official_server_through_our_facilitator(box, server, run):
    said = run("client_solana.py", box.rpc_url, *(server + path for path in SOLD)).splitlines()
    assert said == ['200 {"weather":"sunny"}'] * 3
    assert settled(box, SOLD)[1] == "[7] order 7"
