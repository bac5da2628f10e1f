"""Every scenario of the sandbox's seller, met by the payer that people use: one payment at most for one purchase, and never one that is lost."""

from __future__ import annotations

import pytest

from x402_agent import Payer, PaymentError
from x402_agent.dialects import desks
from x402_agent.dialects.x402pay import till
from x402_agent.sandbox import scenarios
from x402pay.conftest import Half

ARTICLE = "/articles/paying-by-transfer"
BOUGHT = (200, 200, 100_000)
# two visits: what each was answered (0: a typed error), and what left the payer for payments in the smallest unit
MET = dict.fromkeys(scenarios("x402pay"), BOUGHT) | {
    "bearer": (0, 0, 0),  # above the sandbox's limit for one call
    "main_addresses": (0, 0, 0), "transfer_to_self": (0, 0, 0), "zero_share": (0, 0, 0), "sbtc_moves_nothing": (0, 0, 0),
    "owner_is_payer": (0, 0, 0),  # aborted on chain: a fee, and no second try before that is final
    "paid_then_402": (402, 402, 100_000), "paid_then_500": (500, 500, 100_000),
    "pending_for_ever": (401, 401, 100_000), "refuses_what_was_paid": (401, 401, 100_000), "three_blocks": (401, 401, 100_000),
    "sbtc": (200, 200, 20), "usdcx": (200, 200, 50_000),
}  # fmt: skip
QUICK = ("honest", "four_arguments", "gateway", "challenge_expires", "nonce_expires", "pending_refused", "verify_500", "token_refused", "answer_lost", "zero_share", "owner_is_payer")


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    monkeypatch.setattr(till, "PAUSE", 0.02)
    monkeypatch.setattr(desks, "LONGEST", 0.02)


def moved(box):
    """What left the payer in payments that succeeded; fees aside."""
    us = box.payer_address
    return sum(move.amount for each in box.ground.chain.history(us) if each.status == "success" for move in each.moves if move.sender == us)


def visit(client, url):
    try:
        return client.get(url).status_code
    except PaymentError:
        return 0


@pytest.mark.parametrize("name", [each if each in QUICK else pytest.param(each, marks=pytest.mark.full) for each in MET])
def test_no_scenario_costs_more_than_what_was_bought(name):
    with Payer.sandbox(name, chain="stacks", seller="x402pay") as payer:
        payer.prices = Half()
        with payer.client(timeout=60) as client:
            found = [visit(client, payer.sandbox.url(ARTICLE)) for _ in range(2)]
        assert (*found, moved(payer.sandbox)) == MET[name]


def test_what_waited_for_blocks_is_opened_by_the_same_transaction():
    with Payer.sandbox("three_blocks", chain="stacks", seller="x402pay") as payer:
        payer.prices = Half()
        with payer.client(timeout=60) as client:
            assert visit(client, payer.sandbox.url(ARTICLE)) == 401
            payer.sandbox.warp(60)  # and the window of its limits is over
            for _ in range(3):
                payer.sandbox.warp(1)
            assert visit(client, payer.sandbox.url(ARTICLE)) == 200
        assert moved(payer.sandbox) == 100_000


@pytest.mark.parametrize("path", ["/articles/paying-by-contract", "/articles/four-arguments", "/api/premium-data"])
def test_each_way_of_paying_is_bought_once(path):
    with Payer.sandbox(chain="stacks", seller="x402pay") as payer:
        payer.prices = Half()
        with payer.client(timeout=60) as client:
            assert [visit(client, payer.sandbox.url(path)) for _ in range(2)] == [200, 200]
        assert moved(payer.sandbox) == 100_000
        assert [each.status for each in payer.sandbox.requests if each.path == path] == [402, 200, 200]
