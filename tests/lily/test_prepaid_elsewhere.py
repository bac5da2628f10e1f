"""What is prepaid, behind a signer and at a terminal: the same rules, and the words that a person reads."""

from __future__ import annotations

import json
import os
import threading
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal

import pytest
from typer.testing import CliRunner

from lily.bank import Bank
from lily.conftest import told
from x402_agent import BudgetExceeded, NoAcceptableOffer, PaymentInDoubt, Settings
from x402_agent.cli import ahead, credentials
from x402_agent.cli.app import app
from x402_agent.dialects.lily import credits as credits_room
from x402_agent.signer import AgentPayer, Service


@pytest.fixture
def bank(seller, payer, monkeypatch):
    monkeypatch.setattr(credits_room, "PAUSE", 0.01)
    made = Bank(seller, payer.box)
    told(payer, made.settings())
    return made


@pytest.fixture
def agent(payer, bank, tmp_path_factory):
    path = tmp_path_factory.mktemp("s") / "s"
    service = Service(payer, path, {os.getuid(): "research"})
    thread = threading.Thread(target=service.serve)
    thread.start()
    with AgentPayer(replace(Settings.load(), signer=path, dialects=bank.settings())) as made:
        yield made
    service.stop()
    thread.join(20)


def rows(payer):
    payer.ledger.flush()
    return [(row.state, row.amount) for row in payer.ledger.payments()]


def test_an_agent_buys_calls_ahead_uses_them_in_turn_and_revokes_them(payer, bank, agent):
    assert agent.buy_ahead(bank.url(), calls=4).outcome == "spent" and not bank.shown
    with agent.client(timeout=60) as http:
        threads = [threading.Thread(target=http.get, args=(bank.url(),)) for _ in range(3)]
        [each.start() for each in threads]
        [each.join() for each in threads]
    assert bank.sessions[0]["remaining_amount"] == "0.01" and rows(payer) == [("CLAIMED", 40_000)]
    (token,) = agent.ledger.tokens()
    from x402_agent.payer.ahead import revoked

    assert "his row" in revoked(agent, token) or bank.sessions[0]["status"] == "revoked"
    assert bank.sessions[0]["status"] == "revoked" and agent.ledger.tokens() == []


def test_an_agent_spends_no_credits_and_is_told_why(payer, bank, agent):
    bank.balance = Decimal(1)
    assert "locked or remote" in agent.credits(bank.url()).why
    with agent.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
    assert bank.balance == 1 and [amount for _, amount in rows(payer)] == [10_000]
    with pytest.raises(NoAcceptableOffer, match="a key of this process alone"):
        agent.top_up(bank.url(), "0.10")
    assert len(rows(payer)) == 1


def test_a_standing_authorisation_binds_an_agent_too(payer, bank, agent):
    bank.authorisations = [{"wallet_address": bank.box.payer_address, "service_id": bank.config["service_id"], "status": "active", "spending_limit_per_day": 0.015}]
    with agent.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
        with pytest.raises(BudgetExceeded, match="day"):
            http.get(bank.url())
    assert len(rows(payer)) == 1


# -- at a terminal ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run(payer, bank, monkeypatch):
    monkeypatch.setattr(ahead, "own_payer", lambda: nullcontext(payer))
    monkeypatch.setattr(credentials, "own_payer", lambda: nullcontext(payer))
    monkeypatch.setattr(credentials, "sandbox_payer", lambda _: nullcontext(payer))
    monkeypatch.setattr(credentials, "ledgers", lambda _: [payer.ledger])
    return lambda *words: CliRunner().invoke(app, ["credentials", *words])


def test_calls_are_bought_listed_and_revoked(bank, run):
    done = run("buy", bank.url(), "--calls", "3")
    assert done.exit_code == 0 and "3 calls at 0.01 by a session" in done.output and "3 calls are paid for" in done.output
    assert "3 more times" in run("list").output and ": 3 calls at 0.01 by a session" in run("list").output
    (row,) = json.loads(run("list", "--json").output)
    done = run("revoke", row["id"])
    assert "its seller's row says revoked" in done.output and bank.sessions[0]["status"] == "revoked"
    assert bank.sessions[0]["session_token"] not in done.output
    assert run("buy", bank.url(), "--calls", "0").exit_code == 2


def test_what_is_refused_and_paid_for_is_given_up_only_where_somebody_says_so(payer, bank, run):
    assert run("buy", bank.url(), "--calls", "3").exit_code == 0
    bank.sessions.clear()
    with payer.client(timeout=60) as http, pytest.raises(PaymentInDoubt):
        http.get(bank.url())
    (token,) = payer.ledger.tokens()
    done = run("renew", token.name)
    assert done.exit_code == 3 and "paid calls left" in done.output and "--give-up" in done.output and len(payer.ledger.tokens()) == 1


def test_credits_are_topped_up_and_shown(bank, run):
    assert "0 dollars" in run("balance", bank.url()).output
    told = json.loads(run("top-up", bank.url(), "0.30", "--json").output)
    assert told["outcome"] == "spent" and told["uses_left"] == 30 and told["money"].startswith("0.3000 USDC")
    assert "0.300000 dollars" in run("balance", bank.url()).output and "30 calls at 0.01" in run("balance", bank.url()).output
    bank.balance, bank.books = None, False
    done = run("top-up", bank.url(), "0.20")
    assert done.exit_code == 5 and "paid, and not booked" in done.output and "resume" in done.output
    assert run("top-up", bank.url(), "a lot").exit_code == 2


def test_who_asks_for_nothing_is_paid_nothing(bank, seller, run):
    url = seller.serves("/free", seller.answer(200, b"x"))
    for words in (("buy", url, "--calls", "3"), ("top-up", url, "1.00"), ("balance", url)):
        done = run(*words)
        assert done.exit_code == 6 and f"x402-agent get --dry-run {url}" in done.output


def test_who_sells_nothing_ahead_is_named_and_not_said_to_be_busy(bank, seller, run):
    one, strange = seller.sells("/one"), seller.serves("/strange", seller.answer(402, b"pay me"))
    for url, said in ((one, "sells one answer at a time"), (strange, "in a way that nobody here understands")):
        for words in (("buy", url, "--calls", "3"), ("top-up", url, "0.10")):
            done = run(*words)
            assert done.exit_code == 6 and said in done.output and f"x402-agent get --dry-run {url}" in done.output


def test_what_cannot_be_told_is_a_sentence_that_says_why(bank, payer, run):
    told(payer, {})
    done = run("balance", bank.url())
    assert done.exit_code == 1 and done.output.startswith(f"what you have at {bank.url()} cannot be told: ") and "settings.toml" in done.output
