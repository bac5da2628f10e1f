"""Behind a signer: the agent has the dialect and the seller's API, the service key, policy and ledger."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import pytest

from x402_agent import Payer, Policy, PolicyDenied, Settings, Wallet
from x402_agent.dialects.x402pay import till
from x402_agent.ledger import SqliteLedger
from x402_agent.payer.facts import pretend
from x402_agent.sandbox import Sandbox
from x402_agent.signer import AgentPayer, Service


@pytest.fixture
def behind(monkeypatch, tmp_path):
    """A sandbox, its agent, and the ledger of the service."""
    monkeypatch.setattr(till, "PAUSE", 0.05)
    with Sandbox(chain="stacks", seller="x402pay") as box:
        box.serve()
        base = replace(Settings.load(), nodes={box.network: box.rpc_url})
        ledger = SqliteLedger(tmp_path / "ledger.db", sandbox=True, notes=base.notes_path)
        payer = Payer(wallet=Wallet.from_key(box.payer_key, "stacks"), policy=Policy(networks=(box.network,)), settings=base, ledger=ledger, prices=pretend(box.seller.coins))
        service = Service(payer, tmp_path / "s", {os.getuid(): "research"})
        threading.Thread(target=service.serve, daemon=True).start()
        with AgentPayer(replace(base, signer=tmp_path / "s", dialects=box.dialects)) as agent:
            yield box, agent, ledger
        service.stop()
        payer.close()


def test_an_agent_buys_by_both_ways_once(behind):
    box, agent, ledger = behind
    for path in ("/articles/paying-by-transfer", "/articles/four-arguments"):
        with agent.client(timeout=60) as http:
            assert [http.get(box.url(path)).status_code for _ in range(2)] == [200, 200]
    ledger.flush()
    assert [each.amount for each in ledger.payments()] == [100_000] * 2 and len(ledger.tokens()) == 2


def test_a_worse_answer_to_what_has_settled_is_reported_and_costs_nothing(behind, caplog):
    box, agent, ledger = behind
    box.scenario = "paid_then_402"
    with agent.client(timeout=60) as http:
        assert [http.get(box.url("/articles/four-arguments")).status_code for _ in range(3)] == [402] * 3
    assert "could not be told" not in caplog.text
    ledger.flush()
    (payment,) = ledger.payments()
    assert payment.outcome in ("spent", "in_doubt") and payment.amount == 100_000


def test_what_lives_is_not_bought_again_behind_a_signer(behind):
    """The first call is served by the id itself; the token is kept, and nobody pays for the same content until it ends, but for who says so."""
    box, agent, ledger = behind
    box.scenario = "token_refused"
    url = box.url("/articles/paying-by-transfer")
    with agent.client(timeout=60) as http:
        assert [http.get(url).status_code for _ in range(3)] == [200, 401, 401]
        ledger.flush()
        assert [each.amount for each in ledger.payments()] == [100_000] and len(ledger.tokens()) == 1
        assert http.get(url + "?page=2").status_code == 401  # another request: what is refused there is forgotten
        ledger.flush()
        assert len(ledger.tokens()) == 0
        assert http.get(url + "?page=2").status_code == 200
    ledger.flush()
    assert len(ledger.payments()) == 2


def test_an_agent_may_be_told_to_pay_anew(behind):
    box, agent, ledger = behind
    box.scenario = "token_refused"
    with agent.client(timeout=60) as http:
        url = box.url("/articles/paying-by-transfer")
        assert [http.get(url, extensions={"payment": {"again": again}}).status_code for again in (None, None, True)] == [200, 401, 200]
    ledger.flush()
    assert len(ledger.payments()) == 2


def test_a_402_to_what_lives_buys_nothing_behind_a_signer(behind):
    box, agent, ledger = behind
    with agent.client(timeout=60) as http:
        url = box.url("/articles/paying-by-transfer")
        assert http.get(url).status_code == 200
        box.scenario = "paid_then_402"
        for _ in range(2):
            with pytest.raises(PolicyDenied, match="nothing was paid again"):
                http.get(url)
    ledger.flush()
    assert len(ledger.payments()) == len(ledger.tokens()) == 1
