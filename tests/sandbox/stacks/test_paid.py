"""The whole way on the pretend Stacks: `Payer.sandbox(chain="stacks")` pays its sellers, in every world, and recovers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from x402_agent import Payer, PaymentInDoubt
from x402_agent.chains.stacks import DENY
from x402_agent.sandbox.stacks.state import STX
from x402_agent.steps import Commit
from x402_agent.transport.fetch import drive

PATHS = ["/joke", "/sponsored", "/v1/usdcx", "/draft/usdcx"]


@pytest.fixture
def payer():
    with Payer.sandbox(chain="stacks") as made:
        yield made


def settled(payer):
    box = payer.sandbox
    assert box.balance(box.pay_to) == sum(row.amount for row in box.settlements)
    return [box.transaction(row.tx) for row in box.settlements]


@pytest.mark.proves("stacks", "exact", "pays")
@pytest.mark.proves("stacks", "v1", "pays")
@pytest.mark.proves("stacks", "draft", "pays")
@pytest.mark.proves("stacks", "sponsored", "pays")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_each_seller_is_paid_once_with_exact_post_conditions(payer, path, library):
    box = payer.sandbox
    with payer.client(library=library) as http:
        reply = http.get(box.url(path))
    receipt = reply.extensions["payment"]
    assert reply.status_code == 200 and receipt.outcome == "spent"
    (entry,) = settled(payer)
    assert receipt.transaction in (entry.tx.txid, "" if "draft" in path else None)  # whose receipt says tx_id
    assert entry.tx.parsed.mode == DENY
    (condition,) = entry.tx.conditions
    assert (condition.code, condition.amount) == ("eq", 10_000)
    assert bool(entry.tx.sponsor) == (path == "/sponsored")
    assert (box.ground.chain.balance(STX, box.payer_address) == 1_000_000_000) == (path == "/sponsored")


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("path", PATHS)
def test_the_same_in_an_event_loop(payer, path, backend):
    async def main():
        async with payer.async_client(library="httpx2") as http:
            return await http.get(payer.sandbox.url(path))

    reply = anyio.run(main, backend=backend)
    assert reply.status_code == 200 and len(settled(payer)) == 1


def test_ten_in_a_row_take_ten_nonces(payer):
    with payer.client() as http:
        for _ in range(10):
            assert http.get(payer.sandbox.url("/joke")).status_code == 200
    assert [entry.tx.nonce for entry in settled(payer)] == list(range(10))


def test_at_once_no_two_share_a_nonce_and_nothing_is_paid_twice(payer):
    box = payer.sandbox
    payer.policy = replace(payer.policy, stop_after=0)  # four that wait for the fifth's turn are no reason to stop here

    def buy(number):
        with payer.client(library="httpx2") as http:
            try:
                return http.get(box.url(f"/joke?{number}")).status_code
            except PaymentInDoubt:
                return 0

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(buy, range(8)))
    payer.resume()
    with payer.client(library="httpx2") as http:
        for number in range(8):  # whoever came before its turn shows the same proof again
            if box.ground.chain.nonce(box.payer_address) < 8:
                http.get(box.url(f"/joke?{number}"))
    nonces = [entry.tx.nonce for entry in settled(payer)]
    assert sorted(set(nonces)) == sorted(nonces)
    assert box.balance(box.payer_address) == 100_000_000 - 10_000 * len(nonces)


def test_an_answer_that_was_lost_is_fetched_with_the_same_transaction():
    with Payer.sandbox("answer_lost", chain="stacks") as payer, payer.client(timeout=5) as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200
        assert len(settled(payer)) == 1 and sum(visit.proof for visit in payer.sandbox.requests) == 2


@pytest.mark.parametrize("scenario", ["settles_then_500", "asks_again_after_payment"])
def test_what_a_seller_does_after_he_was_paid_costs_one_payment(scenario):
    with Payer.sandbox(scenario, chain="stacks") as payer:
        with payer.client(timeout=5) as http:
            for _ in range(2):
                try:
                    http.get(payer.sandbox.url("/joke"))
                except PaymentInDoubt:
                    pass
        assert len(payer.sandbox.settlements) == 1
        payer.resume()
        assert len(payer.sandbox.settlements) == 1


@pytest.mark.proves("stacks", "v1", "fate")
@pytest.mark.proves("stacks", "draft", "fate")
@pytest.mark.proves("stacks", "sponsored", "fate")
@pytest.mark.parametrize("path", PATHS)
def test_each_is_found_on_the_chain_by_what_the_ledger_holds(path):
    with Payer.sandbox(chain="stacks", serve=True) as payer:
        box, holds = payer.sandbox, []
        payer.trace = lambda ask, step, value: holds.append(step.hold) if isinstance(step, Commit) else None
        with payer.client(timeout=20) as http:
            assert http.get(box.url(path)).status_code == 200
        (hold,) = holds
        (entry,) = settled(payer)
        stacks = payer.chains["stacks"]
        assert drive(stacks.fate(hold.offer, hold.terms, box.rpc_url)) == "settled"
        assert drive(stacks.lookup(hold.offer, hold.terms, entry.tx.txid, box.rpc_url)) in ("pending", "paid")
        other = replace(hold.terms, proved="", anchor=hold.terms.anchor._replace(number=7))
        assert drive(stacks.fate(hold.offer, other, box.rpc_url)) == "unknown"


def test_what_waits_in_the_mempool_is_in_doubt_until_it_is_mined(payer):
    box = payer.sandbox
    box.ground.chain.automatic = False
    with payer.client() as http:
        try:
            assert http.get(box.url("/joke")).extensions["payment"].outcome in ("in_doubt", "refused")
        except PaymentInDoubt:
            pass
        box.ground.chain.mine()
        assert http.get(box.url("/joke")).status_code == 200
    assert len(settled(payer)) == 1


def test_a_fee_that_nobody_estimates_is_the_rate_per_byte(payer):
    payer.sandbox.ground.node.estimates = False
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200
    (entry,) = settled(payer)
    assert entry.tx.fee == len(entry.tx.raw)


def test_try_shows_it(tmp_path):
    program = Path(sys.executable).with_name("x402-agent")
    ran = subprocess.run(
        [str(program), "try", "--chain", "stacks", "--json"],
        capture_output=True, text=True, timeout=120, env=os.environ | {"X402_AGENT_HOME": str(tmp_path)},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["read_back"]
