"""Payments on the pretend TRON, from the 402 to the chain and back: what was paid, what it counts, what becomes of doubt."""

from __future__ import annotations

from contextlib import suppress

import anyio
import pytest

from x402_agent import NoAcceptableOffer, Payer, PaymentInDoubt
from x402_agent.model import Limit
from x402_agent.payer.kit import digest
from x402_agent.sandbox.tron.facilitator import FEE

libraries = pytest.mark.parametrize("library", ["httpx", "httpx2"])
loops = pytest.mark.parametrize("loop", ["asyncio", "trio"])
WAYS = {"/joke": (0, 10_000 + FEE), "/permit2": (1, 10_000)}  # which allowance it uses, and what it takes of it
ways = pytest.mark.parametrize("path", WAYS)


@pytest.fixture
def payer():
    with Payer.sandbox(chain="tron", serve=True) as one:
        yield one


def counted(payer):
    return payer.ledger.spent([Limit("all", "total", 0)], realm="sandbox")[0].spent


def left(payer, path):
    row = payer.sandbox.ground.allowances[WAYS[path][0]]
    return row[4], payer.ledger.allowance(*row[:4])


@pytest.mark.proves("tron", "exact_permit", "pays")
@pytest.mark.proves("tron", "permit2", "pays")
@libraries
@ways
def test_a_permit_settles_on_the_chain(payer, library, path):
    with payer.client(library=library) as http:
        reply = http.get(payer.sandbox.url(path))
    receipt = reply.extensions["payment"]
    assert (reply.status_code, receipt.outcome, receipt.money.amount) == (200, "spent", WAYS[path][1])
    (settled,) = payer.sandbox.settlements
    assert (settled.tx, settled.amount, settled.pay_to) == (receipt.transaction, 10_000, payer.sandbox.pay_to)
    assert payer.sandbox.transaction(receipt.transaction).result == "SUCCESS"
    assert left(payer, path) == (10**9 - WAYS[path][1],) * 2
    (payment,) = payer.ledger.payments()
    assert str(int(payment.nonce, 16)) == settled.nonce
    assert counted(payer) == WAYS[path][1]


@libraries
@loops
def test_and_without_blocking_a_loop(payer, library, loop):
    async def main():
        async with payer.async_client(library=library) as http:
            return [(await http.get(payer.sandbox.url(path))).extensions["payment"].outcome for path in WAYS]

    assert anyio.run(main, backend=loop) == ["spent", "spent"]
    assert [one.amount for one in payer.sandbox.settlements] == [10_000, 10_000]


def test_of_two_ways_the_one_without_a_fee_is_taken(payer):
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/either")).extensions["payment"].money.amount == 10_000


def test_D3_an_allowance_must_reach_for_amount_and_fee(payer):
    row = payer.sandbox.ground.allowances[0]
    payer.ledger.allow(*row[:4], 10_000 + FEE - 1).run()
    with payer.client() as http, pytest.raises(NoAcceptableOffer):
        http.get(payer.sandbox.url("/joke"))
    assert payer.ledger.payments() == []
    payer.ledger.allow(*row[:4], 10_000 + FEE).run()
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200


@pytest.mark.proves("tron", "exact_permit", "fate")
@pytest.mark.proves("tron", "permit2", "fate")
@ways
@pytest.mark.parametrize("scenario", ["answer_lost", "settles_then_500"])
def test_what_was_settled_and_not_told_is_found_on_the_chain(payer, path, scenario):
    payer.sandbox.scenario = scenario
    with payer.client(timeout=5) as http, suppress(PaymentInDoubt):
        http.post(payer.sandbox.url(path), content=b"")
    (hold,) = payer.ledger.open_payments()
    made = payer.chains["tron"].prove(hold.offer, hold.terms, payer.signer("tron"))
    (stored,) = payer.ledger._store.db.execute("SELECT proof_digest FROM x402_payments").fetchone()
    assert digest(made) == stored, "the same hold gives the same bytes"
    payer.sandbox.warp(120)
    (found,) = payer.resume()
    assert found.after == "CONFIRMED"
    assert len(payer.sandbox.settlements) == 1
    assert counted(payer) == WAYS[path][1]


@ways
def test_what_never_settled_is_free_again_once_the_chain_shows_that_it_is_dead(payer, path):
    payer.sandbox.scenario = "never_settles"
    with payer.client(timeout=5) as http:
        reply = http.post(payer.sandbox.url(path), content=b"")
    assert reply.status_code == 402 and counted(payer) == WAYS[path][1]
    payer.resume()
    assert counted(payer) == WAYS[path][1], "it can still settle"
    payer.sandbox.warp(4_000)
    (found,) = payer.resume()
    assert (found.after, counted(payer)) == ("DEAD", 0)
    assert payer.sandbox.balance(payer.sandbox.pay_to) == 0
