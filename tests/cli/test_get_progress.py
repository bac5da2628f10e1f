"""`get` of what is paid on its chain first: how far it has come is told as it comes, and `why` explains where it stands."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from first import First, shop
from loopback import Seller
from x402_agent import dialects
from x402_agent.cli.app import app
from x402_agent.sandbox import Sandbox


@pytest.fixture
def run(monkeypatch, tmp_path):
    seller = Seller()
    monkeypatch.setattr(dialects, "builtin", lambda *_: (First(),))
    with Sandbox() as box:
        box.serve()
        box.fund(box.payer_address, 100_000)
        for name, value in (("EVM_KEY", box.payer_key.hex()), ("NODES", f"base-sepolia={box.rpc_url}"), ("NETWORKS", "testnet"), ("LEDGER", tmp_path / "l.db")):
            monkeypatch.setenv(f"X402_AGENT_{name}", str(value))
        monkeypatch.setenv("NO_COLOR", "1")

        def go(*words, paid=lambda hit: None):
            url, shown = shop(seller, box, paid=paid)
            return CliRunner().invoke(app, ["get", url, *words]), shown

        go.seller = seller
        yield go
    seller.close()


def test_a_person_is_told_each_step(run):
    done, shown = run()
    assert done.exit_code == 0 and done.stdout == "goods"
    told = [line.split()[0] for line in done.stderr.splitlines()]
    assert told[:3] == ["seen", "mined", "proving"] and f"{shown[0]} in block" in done.stderr


def test_a_program_gets_the_steps_in_its_document(run):
    done, shown = run("--json")
    facts = json.loads(done.stdout)
    assert [each["state"] for each in facts["progress"]] == ["SEEN", "MINED", "PROVING"] and facts["payment"]["transaction"] == shown[0]


def test_paid_and_not_delivered_is_in_doubt_and_why_says_what_comes_next(run):
    done, shown = run("--json", paid=lambda hit: run.seller.answer(402, b"{}"))
    facts = json.loads(done.stdout)
    assert done.exit_code == 5 and facts["payment"]["outcome"] == "in_doubt"
    why = CliRunner().invoke(app, ["why", facts["payment"]["payment_id"]]).stdout
    assert "in_doubt (PROVING)" in why and "only the same one is ever shown again" in why and "of the network's own coin" in why
    assert why.index("-> SEEN") < why.index("-> MINED") < why.index("-> PROVING") and "x402-agent resume" in why and shown[0] in why
