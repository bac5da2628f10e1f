"""PyPI's bankofai-x402 as the seller on TRON, in front of our pretend facilitator and node, paid by our client."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import replace

import pytest

from x402_agent import Payer
from x402_agent.sandbox.tron.facilitator import FEE

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def python():
    found = os.environ.get("X402_BANKOFAI_PYTHON", "")
    assert found, "set X402_BANKOFAI_PYTHON to the Python that has bankofai-x402; make test-all does"
    return found


@pytest.fixture
def payer():
    with Payer.sandbox(chain="tron", serve=True) as one:
        yield one


@pytest.fixture
def sold(official_by, python, payer):
    """`with sold(node)`: the page, sold by a server that looks its settlements up at this node."""

    @contextmanager
    def start(node):
        with official_by(python, "server_tron.py", f"{payer.box.origin}/facilitator", payer.box.pay_to, node) as origin:
            yield f"{origin}/weather"

    return start


@pytest.mark.proves("tron", "exact_permit", "judge", by="bankofai-x402's server")
def test_its_page_is_paid_for_and_the_chain_agrees(sold, payer):
    with sold(f"{payer.box.rpc_url}/") as url, payer.client(timeout=30) as http:
        for number in (1, 2):
            reply = http.get(url)
            receipt = reply.extensions["payment"]
            assert (reply.status_code, reply.json(), receipt.outcome) == (200, {"weather": "sunny"}, "spent"), reply.text
            assert receipt.money.amount == 10_000 + FEE and not receipt.differs
            assert payer.box.balance(payer.box.pay_to) == number * 10_000
            assert payer.box.transaction(receipt.transaction).result == "SUCCESS"
    assert len(payer.box.settlements) == 2


def test_it_takes_the_money_and_answers_500_when_its_node_does_not_know_the_transaction(sold, payer):
    with sold(f"{payer.box.origin}/") as url, payer.client(timeout=30) as http:
        for _ in range(2):
            reply = http.get(url, extensions={"payment": {"key": "one"}})
            assert reply.status_code == 500 and reply.extensions["payment"].outcome in ("in_doubt", "spent")
    (payment,) = payer.ledger.payments()
    assert payer.box.balance(payer.box.pay_to) == 10_000 and len(payer.box.settlements) == 1
    payer.box.warp(120)
    payer.resume()
    assert payer.ledger.payment(payment.payment_id).outcome == "spent" and len(payer.ledger.payments()) == 1


def test_what_it_cannot_settle_is_kept_and_freed_by_the_chain_alone(sold, payer):
    ground = payer.box.ground
    with sold(f"{payer.box.rpc_url}/") as url, payer.client(timeout=30) as http:
        ground.contracts.transfer(ground.payer, bytes.fromhex(ground.operator.address[2:]), payer.box.balance(payer.box.payer_address))
        payer.policy = replace(payer.policy, know_balance=False)
        reply = http.get(url)
    (payment,) = payer.ledger.payments()
    assert reply.status_code == 500 and "Settlement failed" in reply.text and payment.state == "UNKNOWN"
    payer.box.warp(4_000)
    (found,) = payer.resume()
    assert found.after == "DEAD" and not payer.box.settlements
