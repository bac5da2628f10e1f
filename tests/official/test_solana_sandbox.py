"""The official client pays our shop on Solana; solana-py works with the sandbox's node."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from x402_agent.sandbox import Sandbox

pytestmark = pytest.mark.full
HERE = Path(__file__).parent
PATHS = ("/joke", "/v1/joke", "/memo", "/upfront", "/both")


@pytest.fixture
def box():
    with Sandbox(chain="solana") as one:
        one.serve()
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
