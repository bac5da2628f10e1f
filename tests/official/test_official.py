"""Ours pays an official server through our facilitator; the official client pays our paywall. Each once, exactly."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import anyio
import pytest

from x402_agent import Payer, Policy, Wallet
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox

pytestmark = pytest.mark.full
HERE = Path(__file__).parent
PRICE = 10_000


def python():
    found = os.environ.get("X402_OFFICIAL_PYTHON", "")
    assert found, "set X402_OFFICIAL_PYTHON to the Python of the official package; make test-all does"
    return found


@pytest.fixture(scope="module")
def box():
    with Sandbox() as one:
        one.serve()
        yield one


@pytest.fixture(scope="module")
def server(box):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([python(), HERE / "server.py", box.facilitator_url, box.pay_to, str(port)])
    for _ in range(300):
        assert process.poll() is None, "the official server ended"
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except ConnectionRefusedError:
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/weather"
    process.kill()
    process.wait()


@pytest.fixture
def payer(box, tmp_path):
    ledger = SqliteLedger(tmp_path / "ledger.db", sandbox=True)
    with Payer(wallet=Wallet.from_key(box.payer_key), policy=Policy(networks=("testnet",)), ledger=ledger) as one:
        yield one


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_ours_pays_an_official_server(library, world, server, box, payer):
    before, settled = box.balance(box.pay_to), len(box.settlements)

    async def get():
        async with payer.async_client(library=library, timeout=30) as http:
            return await http.get(server)

    if world == "sync":
        with payer.client(library=library, timeout=30) as http:
            reply = http.get(server)
    else:
        reply = anyio.run(get, backend=world)
    assert (reply.status_code, reply.json()) == (200, {"weather": "sunny"})
    receipt = reply.extensions["payment"]
    assert receipt.outcome == "spent" and box.transaction(receipt.transaction) is not None
    assert (box.balance(box.pay_to) - before, len(box.settlements) - settled) == (PRICE, 1)
    assert [row.state for row in payer.ledger.payments()] == ["CLAIMED"]


@pytest.mark.parametrize("path", ["/joke", "/v1/joke", "/upfront"])
def test_the_official_client_pays_our_paywall(path, box):
    before, settled = box.balance(box.pay_to), len(box.settlements)
    done = subprocess.run([python(), HERE / "client.py", box.url(path)], input=box.payer_key.hex(), text=True,
                          capture_output=True, timeout=60, check=False)  # fmt: skip
    assert done.stdout.startswith("200 "), done.stderr[-2000:]
    assert (box.balance(box.pay_to) - before, len(box.settlements) - settled) == (PRICE, 1)
