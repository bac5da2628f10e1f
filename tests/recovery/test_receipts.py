"""What only its seller calls settled is looked up on the chain: `resume` confirms it, `why` says it in words."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from x402_agent import Payer
from x402_agent.cli.app import app
from x402_agent.recovery.receipts import differs


@pytest.fixture
def served():
    with Payer.sandbox(serve=True) as one:
        yield one


def pay(payer, path="/report"):
    with payer.client() as http:
        receipt = http.get(payer.sandbox.url(path)).extensions["payment"]
    payer.ledger.flush()
    return receipt


@pytest.mark.parametrize("path", ["/report", "/permit2"])
def test_claimed_becomes_confirmed_by_the_transfer_log(served, path):
    receipt = pay(served, path)
    assert receipt.differs == ""
    assert served.ledger.payment(receipt.payment_id).state == "CLAIMED"
    (found,) = served.resume()
    assert (found.before, found.after) == ("CLAIMED", "CONFIRMED")
    assert found.note == "found on chain: this amount, this payee, our nonce"
    assert served.resume() == []
    assert served.ledger.verify() == []


def test_one_of_two_is_looked_up_by_its_id(served):
    first, second = pay(served), pay(served, "/report?second")
    (found,) = served.resume(second.payment_id[:8])
    assert found.payment_id == second.payment_id
    assert [p.state for p in served.ledger.payments()] == ["CONFIRMED", "CLAIMED"]
    assert served.ledger.payment(first.payment_id).outcome == "spent"


def test_V8_the_transaction_of_an_earlier_payment_confirms_that_one_alone(served):
    first, second = pay(served), pay(served, "/report?second")
    ledger = served.ledger
    db = ledger._store.db
    hold = ledger.claimed(second.payment_id)[0][0]
    ledger.close(hold, "CLAIMED", status=200, transaction=first.transaction).run()  # what a lying seller would have named
    ledger.flush()
    assert db.execute("SELECT COUNT(DISTINCT tx_hash) FROM x402_payments").fetchone()[0] == 1
    assert ledger.namesakes(ledger.payment(first.payment_id)) == 1
    notes = {one.payment_id: (one.after, one.note) for one in served.resume()}
    assert notes[first.payment_id] == ("CONFIRMED", "found on chain: this amount, this payee, our nonce")
    assert notes[second.payment_id] == ("CONFIRMED", "settled on chain; the transaction that the seller named is not this payment")


def test_without_a_node_nobody_is_asked():
    with Payer.sandbox() as payer:
        pay(payer)
        assert payer.resume() == []


def test_why_says_it_in_words(served, monkeypatch, tmp_path):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    with Payer.sandbox(ledger=tmp_path / "sandbox.db") as payer:
        receipt = pay(payer)
    run = CliRunner().invoke
    assert "claimed: the seller says that it is paid" in run(app, ["why", receipt.payment_id]).output
    told = json.loads(run(app, ["why", receipt.payment_id, "--json"]).output)
    assert told["means"].startswith("claimed") and told["shared"] == ""



def test_any_field_of_any_shape_is_only_named(served):
    pay(served)
    hold = served.ledger.claimed()[0][0]
    evil = "\x1b[2J<script>" + "9" * 5000
    for value in (evil, 7, -1, 1.5, True, [], {}, {"a": evil}, "1e4", "٣", "0x2710", " 10000"):
        text = differs({"payer": value, "network": value, "amount": value, "payTo": value}, hold)
        assert text.startswith("the seller's receipt says otherwise") and len(text) < 120 and text.isprintable()
    assert differs({"payer": None, "network": None, "amount": None}, hold) == ""
    ceiling = replace(hold, offer=replace(hold.offer, scheme="upto"))
    assert differs({"amount": "1"}, ceiling) == "" != differs({"amount": "1"}, hold)
