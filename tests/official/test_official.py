"""Ours pays an official server through our facilitator; the official client pays our paywall. Each once, exactly."""

from __future__ import annotations

import subprocess
from pathlib import Path

import anyio
import pytest

pytestmark = pytest.mark.full
HERE = Path(__file__).parent
PRICE = 10_000


@pytest.fixture(scope="module")
def server(box, official):
    with official("server.py", box.facilitator_url, box.pay_to) as origin:
        yield origin


@pytest.fixture
def moved(box):
    """What the payer lost, what the seller got, and in how many settlements, since the test began."""

    def now():
        return -box.balance(box.payer_address), box.balance(box.pay_to), len(box.settlements)

    start = now()
    return lambda: tuple(after - before for before, after in zip(start, now(), strict=True))


def delivered(reply, box):
    """The paid page, with a receipt that names the settlement that just happened."""
    assert (reply.status_code, reply.json()) == (200, {"weather": "sunny"})
    receipt, last = reply.extensions["payment"], box.settlements[-1]
    assert (receipt.outcome, receipt.transaction, receipt.money.amount) == ("spent", last.tx, PRICE)
    assert box.transaction(receipt.transaction) is not None
    assert (last.payer, last.pay_to, last.amount) == (box.payer_address, box.pay_to, PRICE)
    return receipt


@pytest.mark.proves("evm", "exact", "judge", by="official server")
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_ours_pays_an_official_server(library, world, server, box, payer, moved):
    async def get():
        async with payer.async_client(library=library, timeout=30) as http:
            return await http.get(server + "/weather")

    if world == "sync":
        with payer.client(library=library, timeout=30) as http:
            reply = http.get(server + "/weather")
    else:
        reply = anyio.run(get, backend=world)
    receipt = delivered(reply, box)
    assert moved() == (PRICE, PRICE, 1)
    rows = payer.ledger.payments()
    assert [(row.payment_id, row.state) for row in rows] == [(receipt.payment_id, "CLAIMED")]


def test_two_requests_are_two_settlements(server, box, payer, moved):
    with payer.client(timeout=30) as http:
        receipts = [delivered(http.get(server + "/weather"), box) for _ in range(2)]
    assert moved() == (2 * PRICE, 2 * PRICE, 2)
    assert len({receipt.transaction for receipt in receipts}) == 2
    assert [row.state for row in payer.ledger.payments()] == ["CLAIMED", "CLAIMED"]


@pytest.mark.proves("evm", "permit2", "judge", by="official server")
@pytest.mark.proves("evm", "upto", "judge", by="official server")
@pytest.mark.parametrize("path, cost", [("/permit2", PRICE), ("/metered", 12_000), ("/unmetered", 0)])
def test_ours_pays_an_official_server_by_permit2(path, cost, server, box, payer, moved):
    with payer.client(timeout=30) as http:
        reply = http.get(server + path)
    assert (reply.status_code, reply.json()) == (200, {"weather": "sunny"})
    receipt, settled = reply.extensions["payment"], moved()
    assert receipt.outcome == "spent"
    assert settled == (cost, cost, 1 if cost else 0)
    assert receipt.transaction == (box.settlements[-1].tx if cost else "")
    assert [row.state for row in payer.ledger.payments()] == ["CLAIMED"]


COSTS = {"/joke": PRICE, "/v1/joke": PRICE, "/upfront": PRICE, "/permit2": PRICE, "/either": PRICE, "/upto": 12_000,
         "/upto-zero": 0}  # fmt: skip


@pytest.mark.proves("evm", "exact", "judge", by="official client")
@pytest.mark.proves("evm", "permit2", "judge", by="official client")
@pytest.mark.proves("evm", "upto", "judge", by="official client")
@pytest.mark.parametrize("path", COSTS)
def test_the_official_client_pays_our_paywall(path, box, moved, python):
    done = subprocess.run([python, HERE / "client.py", box.url(path)], input=box.payer_key.hex(), text=True,
                          capture_output=True, timeout=180, check=False)  # fmt: skip
    assert done.stdout.startswith("200 "), done.stderr[-2000:]
    assert moved() == (COSTS[path], COSTS[path], 1 if COSTS[path] else 0)
