"""The sandbox's own seller, bought from by what `Payer.sandbox` makes: nothing is told to this payer but what it finds."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from typer.testing import CliRunner

from first import states
from x402_agent import Payer, PaymentError, PolicyDenied, Settings
from x402_agent.cli.app import app
from x402_agent.dialects import desks
from x402_agent.dialects.x402pay import till
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import scenarios


@pytest.fixture
def payer(monkeypatch):
    monkeypatch.setattr(till, "PAUSE", 0.05)
    with Payer.sandbox(chain="stacks", seller="x402pay") as made:
        yield made


def paid(payer):
    """Atomic units that left the payer, fees aside."""
    history = payer.box.ground.chain.history(payer.box.payer_address)
    return sum(move.amount for each in history if each.status == "success" for move in each.moves)


@pytest.mark.proves("stacks", "x402pay", "pays", "seller")
def test_articles_are_bought_by_transfer_and_by_both_contracts_and_each_once(payer):
    sold = [path for path, route in payer.box.routes.items() if route.price]
    assert len(sold) >= 3
    with payer.client(timeout=60) as http:
        for path in sold * 2:
            assert http.get(payer.box.url(path)).status_code == 200, path
    assert paid(payer) == sum(payer.box.routes[path].price for path in sold) and states(payer) == ["CLAIMED"] * len(sold)
    called = {each.tx.payload.contract for each in payer.box.ground.chain.history(payer.box.payer_address) if hasattr(each.tx.payload, "contract")}
    assert called == {f"{payer.box.pay_to}.revenue-split", f"{payer.box.pay_to}.revenue-split-two"}


def test_a_token_of_one_article_opens_no_other(payer):
    first, second = [path for path, route in payer.box.routes.items() if route.price][:2]
    with payer.client(timeout=60) as http:
        http.get(payer.box.url(first))
        shown = len(payer.box.requests)
        http.get(payer.box.url(second))
    asked = [each for each in payer.box.requests[shown:] if each.path == second]
    assert not asked[0].proof and paid(payer) == 200_000


def test_another_account_is_asked_about_though_it_has_a_contract(payer):
    first, second = [path for path, route in payer.box.routes.items() if route.price][:2]
    payer.ledger.pin(payer.box.origin, payer.box.network, "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG.revenue-split")
    with payer.client(timeout=60) as http, pytest.raises(PolicyDenied, match="wants the money at"):
        http.get(payer.box.url(first))
    assert paid(payer) == 0 and second


def test_why_writes_our_account_as_its_network_does(payer):
    """On the test network it is written ST…; the wallet's own name for it begins with SP."""
    kept = payer.ledger = SqliteLedger(Settings.load().sandbox_ledger, sandbox=True)
    with payer.client(timeout=60) as http:
        bought = http.get(payer.box.url("/articles/paying-by-transfer")).extensions["payment"]
    kept.flush()
    said, facts = (CliRunner().invoke(app, ["why", bought.payment_id, *more]).stdout for more in ([], ["--json"]))
    assert payer.box.payer_address.startswith("ST") and f"from       {payer.box.payer_address}" in said
    assert json.loads(facts)["payer"] == payer.box.payer_address
    kept.shut()


def test_try_and_its_reasons():
    done = CliRunner().invoke(app, ["try", "--chain", "stacks", "--seller", "x402pay", "--json"])
    told = json.loads(done.stdout)
    assert done.exit_code == 0 and told["status"] == 200 and told["read_back"]


REFUSED = {"main_addresses", "sbtc_moves_nothing", "transfer_to_self", "zero_share"}  # before anything is signed
ABORTED = {"owner_is_payer"}  # on chain, by its own words: a fee, and nothing else
STUCK = {"paid_then_402", "paid_then_500", "pending_for_ever", "refuses_what_was_paid", "three_blocks"}  # paid, and not delivered
BEARER = {"bearer", "simulated"}


def survived(name):
    """What three calls and a `resume` make of a scenario: how often the content came, what moved, and what the ledger says."""
    with Payer.sandbox(name, chain="stacks", seller="x402pay") as payer:
        path, came = "/api/ai/generate" if name in BEARER else "/articles/paying-by-transfer", 0
        with payer.client(timeout=60) as http:
            for _ in range(3):
                with suppress(PaymentError):
                    came += http.get(payer.box.url(path)).status_code == 200
        payer.resume()
        return came, paid(payer), states(payer)


def judged(name):
    came, moved, found = survived(name)
    assert (moved > 0) == (name not in REFUSED | ABORTED), (name, moved)
    assert found == [] if name in REFUSED else len(found) == 1, (name, found)
    assert (came == 3) == (name not in REFUSED | ABORTED | STUCK), (name, came)


@pytest.fixture
def hurried(monkeypatch):
    for place, name in ((till, "PAUSE"), (desks, "LONGEST")):
        monkeypatch.setattr(place, name, 0.02)


@pytest.mark.parametrize("name", ["nonce_expires", "verify_500_for_ever", "paid_then_402", "owner_is_payer"])
def test_the_client_survives_some_scenarios(hurried, name):
    judged(name)


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(scenarios("x402pay")))
def test_the_client_survives_every_scenario_with_one_payment_at_most(hurried, name):
    judged(name)
