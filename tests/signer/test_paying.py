"""Paying through the service: the same conversation, and no key, policy or ledger on the agent's side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import anyio
import pytest
from typer.testing import CliRunner

from first import First, shop
from loopback import Seller
from market import BASE, Market, row
from x402_agent import Budget, BudgetExceeded, LedgerError, Payer, PolicyDenied, SettingsError, SigningFailed
from x402_agent.chains.evm import transfer
from x402_agent.cli.app import app
from x402_agent.flow import prove
from x402_agent.policy import Evidence
from x402_agent.policy.fees import Gas
from x402_agent.signer import session as session_room
from x402_agent.signer import till as till_room
from x402_agent.signer.link import Connection
from x402_agent.signer.peers import gone


def test_a_paid_call_through_the_service(running):
    box = running()
    with box.agent() as payer, payer.client() as http:
        reply = http.get(box.payer.sandbox.url("/joke"))
        assert reply.status_code == 200 and reply.extensions["payment"].outcome == "spent"
    (paid,) = box.payments()
    assert paid.state == "CLAIMED" and paid.agent == "research" and paid.payment_id == reply.extensions["payment"].payment_id
    assert not list((box.payer.settings.data_dir).glob("**/*.db"))


def test_the_services_limits_hold_and_name_their_rule(running):
    box = running(budget=Budget("0.025/total", per_call="0.02"))
    with box.agent() as payer, payer.client() as http:
        for _ in range(2):
            assert http.get(box.payer.sandbox.url("/joke")).status_code == 200
        with pytest.raises(BudgetExceeded, match="limit in total"):
            http.get(box.payer.sandbox.url("/joke"))
    assert len(box.payments()) == 2


def test_a_request_says_how_much_it_pays_at_most(running):
    box = running(budget=Budget("5.00/total", per_call="0.02"))
    with box.agent() as payer, payer.client() as http:
        with pytest.raises(BudgetExceeded, match=r"0\.005"):
            http.get(box.payer.sandbox.url("/joke"), extensions={"payment": {"max": "0.005"}})
    assert not box.payments()


def test_a_budget_in_the_agents_code_only_tightens(running):
    box = running()
    with box.agent(budget=Budget("0.015/total")) as payer, payer.client() as http:
        assert http.get(box.payer.sandbox.url("/joke")).status_code == 200
        with pytest.raises(BudgetExceeded, match="research"):
            http.get(box.payer.sandbox.url("/joke"))
    with box.agent(budget=Budget("5.00/total", per_call="0.005")) as payer, payer.client() as http:
        with pytest.raises(BudgetExceeded, match=r"0\.005"):
            http.get(box.payer.sandbox.url("/joke"))
    assert len(box.payments()) == 1


def test_a_task_counts_over_there_and_ends_here(running):
    box = running()
    url = box.payer.sandbox.url("/joke")
    with box.agent() as payer, payer.client() as http:
        with payer.task("prices", budget="0.025", calls=5) as task:
            assert [http.get(url).status_code for _ in range(2)] == [200, 200]
            with pytest.raises(BudgetExceeded, match="task prices"):
                http.get(url)
            assert task.spent == "0.02" and task.left == "0.005"
            bound = task.client()
        with pytest.raises(PolicyDenied, match="has ended"):
            bound.get(url)
        bound.close()
        assert http.get(url).status_code == 200
    assert {one.task for one in box.payments()} == {"prices", ""}


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_loops_pay_through_it_at_once_and_their_budget_holds(running, backend):
    box = running(budget=Budget("0.205/total", per_call="0.02"))
    url, got = box.payer.sandbox.url("/joke"), []

    async def main():
        async with payer.async_client() as http:

            async def one():
                try:
                    got.append((await http.get(url)).status_code)
                except BudgetExceeded:
                    got.append("no")

            async with anyio.create_task_group() as group:
                for _ in range(30):
                    group.start_soon(one)

    with box.agent() as payer:
        anyio.run(main, backend=backend)
    assert got.count(200) == 20 and got.count("no") == 10
    assert sum(one.micros for one in box.payments() if one.state == "CLAIMED") == 200_000


def test_threads_share_one_payer_and_two_processes_one_service(running):
    box = running(budget=Budget("0.405/total", per_call="0.02"))
    url = box.payer.sandbox.url("/joke")
    code = (
        "import sys, threading; from x402_agent import Payer, BudgetExceeded; got = []\n"
        "def work(http):\n"
        "    for _ in range(5):\n"
        "        try: got.append(http.get(sys.argv[1]).status_code)\n"
        "        except BudgetExceeded: got.append(0)\n"
        "with Payer.from_env() as payer, payer.client() as http:\n"
        "    threads = [threading.Thread(target=work, args=(http,)) for _ in range(5)]\n"
        "    [one.start() for one in threads]; [one.join() for one in threads]\n"
        "print(got.count(200), got.count(0), payer)\n"
    )
    env = {**os.environ, "X402_AGENT_SIGNER": f"unix://{box.path}"}
    both = [subprocess.Popen([sys.executable, "-W", "error", "-c", code, url], env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[0].split(maxsplit=2) for one in both]
    assert sum(int(paid) for paid, _, _ in said) == 40 and sum(int(no) for _, no, _ in said) == 10
    assert all(name == f"Payer(signer {box.path})\n" for _, _, name in said)
    assert sum(one.micros for one in box.payments()) == 400_000


def test_a_forked_child_begins_with_connections_of_its_own(running):
    box = running()
    url = box.payer.sandbox.url("/joke")
    with box.agent() as payer:
        with payer.client() as http:
            assert http.get(url).status_code == 200
            payer.desk.link.ask({"op": "open", "payment_id": ""})
        before = list(payer.desk.link._idle)
        payer.desk.link.forked()
        assert before and payer.desk.link._idle == [] and all(one.stale for one in before)
        with payer.client() as http:
            assert http.get(url).status_code == 200


def test_a_service_that_went_away_costs_an_error_and_comes_back(running):
    box = running()
    url = box.payer.sandbox.url("/joke")
    with box.agent() as payer, payer.client() as http:
        assert http.get(url).status_code == 200
        box.stop()
        with pytest.raises(SigningFailed, match="no signer answers") as why:
            http.get(url)
        assert why.value.retry_safe
        box.start()
        assert http.get(url).status_code == 200
    assert len(box.payments()) == 2


@pytest.mark.parametrize("scenario, status, outcome", [("settles_then_500", 500, "in_doubt"), ("never_settles", 402, "refused")])
def test_what_the_seller_did_is_told_over_there_and_one_proof_stays_the_only_one(running, scenario, status, outcome):
    box = running(scenario)
    with box.agent() as payer, payer.client() as http:
        for _ in range(3):
            assert http.get(box.payer.sandbox.url("/joke")).status_code == status
            (one,) = box.payments()
            assert (one.outcome, one.status) == (outcome, status)


def test_a_quote_and_resume_go_through_it(running):
    box = running("settles_then_500")
    url = box.payer.sandbox.url("/joke")
    with box.agent() as payer:
        quote = payer.quote(url)
        assert quote.chosen is not None and quote.limits and "day" in {limit.window for limit in quote.limits}
        (left,) = payer.ledger.spent(quote.limits)
        assert left.spent == 0
        with payer.client() as http:
            assert http.get(url).status_code == 500
        (resumed,) = payer.resume()
        assert resumed.payment_id == box.payments()[0].payment_id and resumed.before in ("UNKNOWN", "PAID_UNDELIVERED")
        with pytest.raises(LedgerError, match="yours"):
            payer.resume("ffff")
    dear = running("honest", budget=Budget("1.00/total", per_call="0.001"))
    with dear.agent() as payer:
        quote = payer.quote(dear.payer.sandbox.url("/joke"))
        assert quote.chosen is None and isinstance(quote.reason, BudgetExceeded)


def test_what_would_undo_the_boundary_is_refused(running, monkeypatch):
    box = running()
    monkeypatch.setenv("X402_AGENT_SIGNER", str(box.path))
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "11" * 32)
    with pytest.raises(SettingsError, match="both set"):
        Payer.from_env()
    monkeypatch.delenv("X402_AGENT_EVM_KEY")
    with pytest.raises(SettingsError, match="approvals are the signer's"):
        Payer.from_env(approve=lambda *_: True)
    monkeypatch.setenv("X402_AGENT_SIGNER", "relative.sock")
    with pytest.raises(SettingsError, match="path of a socket"):
        Payer.from_env()


def test_a_cancelled_call_leaves_its_payment_in_doubt_and_the_connection_usable(running):
    box = running("settles_then_hangs")
    url = box.payer.sandbox.url("/joke")

    async def main():
        async with payer.async_client() as http:
            async with anyio.create_task_group() as group:
                group.start_soon(http.get, url)
                while not box.payer.sandbox.settlements:  # noqa: ASYNC110 - another thread's
                    await anyio.sleep(0.02)
                group.cancel_scope.cancel()

    with box.agent() as payer:
        anyio.run(main)
        assert [one.state for one in box.payments()] == ["UNKNOWN"]
        assert payer.desk.open_payments()


def test_a_paid_call_costs_one_question_and_one_word(running, monkeypatch):
    box = running()
    asked, told = [], []
    call, tell = Connection.call, Connection.tell
    monkeypatch.setattr(Connection, "call", lambda self, message, *rest, **more: (asked.append(message["op"]), call(self, message, *rest, **more))[1])
    monkeypatch.setattr(Connection, "tell", lambda self, message, *rest: (told.append(message["op"]), tell(self, message, *rest))[1])
    with box.agent() as payer, payer.client() as http:
        for _ in range(3):
            assert http.get(box.payer.sandbox.url("/joke")).status_code == 200
    assert asked == ["hello", "pay", "pay", "pay"]  # one connection, then one round trip a payment
    assert told.count("close") == 3 and [one for one in told if one != "receipt"] == ["hello", "pay", "close", "pay", "close", "pay", "close"]


def test_the_command_line_reads_through_it(running, monkeypatch):
    box = running("settles_then_500")
    monkeypatch.setenv("X402_AGENT_SIGNER", str(box.path))
    run = CliRunner()
    done = run.invoke(app, ["get", box.payer.sandbox.url("/joke"), "--json"])
    assert done.exit_code in (1, 5), done.output
    payment_id = json.loads(done.stdout)["payment"]["payment_id"]
    (line,) = run.invoke(app, ["log", "--json"]).stdout.splitlines()
    assert json.loads(line)["payment_id"] == payment_id and json.loads(line)["money"].endswith("(base-sepolia)")
    why = json.loads(run.invoke(app, ["why", payment_id[:8], "--json"]).stdout)
    assert "error" not in why, why
    assert why["payment_id"] == payment_id and len(why["events"]) == 2 and why["agent"] == "research"
    resumed = json.loads(run.invoke(app, ["resume", "--json"]).stdout)
    assert [one["payment_id"] for one in resumed] == [payment_id]
    status = json.loads(run.invoke(app, ["signer", "status", "--json"]).stdout)
    assert status["agent"] == "research" and status["group"] == "team" and status["proofs"] >= 1
    for words in (["log", "--by", "host"], ["ledger", "verify"], ["budget", "unpin", "https://x.example"], ["freeze"]):
        done = run.invoke(app, words)
        assert done.exit_code in (1, 2), (words, done.output)
    checks = {one["check"]: one for one in json.loads(run.invoke(app, ["doctor", "--json"]).stdout)}
    assert checks["signer"]["ok"] and "we are research" in checks["signer"]["said"] and "no boundary" in checks["signer"]["said"]
    assert not {"key", "policy", "ledger"} & set(checks)
    box.stop()
    assert run.invoke(app, ["doctor"]).exit_code == 1
    gone = run.invoke(app, ["signer", "status", "--json"])
    assert gone.exit_code == 1 and json.loads(gone.stdout)["running"] is False
    box.start()


def test_a_plan_holds_its_terms_through_the_service(running):
    box = running()
    with box.agent() as payer:
        urls = [box.payer.sandbox.url(path) for path in ("/joke", "/report", "/dear")]
        plan, other = payer.plan(urls), payer.plan(urls[:1])
        assert plan.total == "0.04" and isinstance(plan.rows[2].error, BudgetExceeded)
        assert [each.response.status_code if each.response else 0 for each in plan.run()] == [200, 200, 0]
        box.payer.sandbox.scenario = "price_flips"
        for _ in range(2):  # one of two prices is the locked one
            payer.quote(urls[0])
        dearer = [payer.quote(urls[0]).chosen.amount for _ in range(4)]
        assert len(set(dearer)) > 1
        row = other.rows[0]
        box.payer.sandbox.scenario = "honest"
        with payer.client() as http, pytest.raises(PolicyDenied, match="other terms"):
            http.get(box.payer.sandbox.url("/report"), extensions={"payment": {"offer": row.offer}})
    assert len(box.payments()) == 2


def test_a_quote_tells_what_each_offer_costs_and_that_the_account_over_there_has_too_little(running):
    box = running()
    with box.agent() as payer:
        url = box.payer.sandbox.url("/joke")
        quote = payer.quote(url)
        (key,) = box.payer.balances._seen
        known = box.payer.balances.known(quote.chosen, key[1])
        assert quote.costs == (10_000,) and known == box.payer.box.balance(box.payer.box.payer_address)
        box.payer.balances._seen[key] = float("inf"), 9_999
        poor = payer.quote(url)
        assert poor.chosen is None and poor.costs == (10_000,) and "has only 0.009999" in poor.offers[0][1]
    assert not box.payments()


def test_who_pays_first_does_so_over_there_and_its_gas_counts_there(running):
    """The agent has no node; a seller is shown what stands on the chain, and the service's own limit on gas holds."""
    box, seller = running(), Seller()
    box.payer.dialects = (First(),)
    box.payer.box.fund(box.payer.box.payer_address, 20_000)
    url, shown = shop(seller, box.payer.box)
    try:
        with box.agent() as payer:
            payer.dialects = (First(),)
            with payer.client() as http:
                reply = http.get(url)
                assert reply.status_code == 200 and reply.extensions["payment"].transaction == shown[0]
                while (row := box.payments()[0]).state == "PROVING":  # nobody waits for an agent's good news
                    time.sleep(0.02)
                assert (row.state, row.agent, row.transaction) == ("CLAIMED", "research", shown[0]) and row.gas_paid > 0
                box.payer.policy = replace(box.payer.policy, gas={row.network: Gas(None, (("day", row.gas_paid + 1),))})
                with pytest.raises(BudgetExceeded, match="left for gas"):
                    http.get(url)
                assert payer.desk.payment(row.payment_id).gas_paid == row.gas_paid
    finally:
        seller.close()
    assert len(shown) == 1 and [each.state for each in box.payer.ledger.events(row.payment_id)][:5] == [
        "RESERVED", "INFLIGHT", "SEEN", "MINED", "PROVING"]  # fmt: skip


def test_who_paid_first_and_got_no_goods_is_shown_again_by_its_agent(running):
    box, seller, open_ = running(), Seller(), []
    box.payer.dialects = (First(),)
    box.payer.box.fund(box.payer.box.payer_address, 20_000)
    url, shown = shop(seller, box.payer.box, paid=lambda hit: None if open_ else seller.answer(503))
    try:
        with box.agent() as payer:
            payer.dialects = (First(),)
            with payer.client() as http:
                assert http.get(url).extensions["payment"].outcome == "in_doubt"
            assert [each.state for each in box.payments()] == ["PROVING"]
            open_.append(True)
            (done,) = payer.resume()
            assert done.before == "PROVING" and "wait for the same request" in done.note
            with payer.client() as http:
                assert http.get(url).content == b"goods"
    finally:
        seller.close()
    assert len(set(shown)) == 1 and len(box.payments()) == 1


def test_an_agent_that_goes_away_while_its_transaction_is_on_its_way_leaves_it_in_doubt_and_the_service_ends_it(running, monkeypatch):
    """Nothing is paid twice: the same bytes go out again, over there, whoever asks, though who waits for a block sleeps on."""
    box, seller = running(), Seller()
    box.payer.dialects = (First(),)
    box.payer.box.fund(box.payer.box.payer_address, 20_000)
    url, shown = shop(seller, box.payer.box)
    before = box.payer.box.balance(box.payer.box.pay_to)
    asleep, awake = threading.Event(), threading.Event()

    def lost(node, raw):
        return
        yield

    def sleeper(sock):
        asleep.set()
        assert awake.wait(120), "nobody waited for who was asleep"
        return gone(sock)

    def proving(*rest):
        assert awake.is_set(), "a second payment is made beside one that is under way"
        return prove(*rest)

    def get(payer):
        with payer.client() as http, pytest.raises((SigningFailed, LedgerError)):
            http.get(url)

    try:
        with monkeypatch.context() as lossy, box.agent() as payer:
            lossy.setattr(transfer.reads, "send_raw", lost)
            lossy.setattr(session_room, "gone", sleeper)
            payer.dialects = (First(),)
            thread = threading.Thread(target=get, args=(payer,))
            thread.start()
            assert asleep.wait(60)
            for connection in list(payer.desk.link._all):
                connection.hang_up()
            thread.join(60)
        (row,) = box.standing()
        assert row.state in ("INFLIGHT", "SEEN") and shown == [] and box.payer.box.balance(box.payer.box.pay_to) == before
        (left,) = [each for each in box.service._open if each.driving]
        join = left.thread.join
        left.thread.join = lambda patience: (awake.set(), join(patience))  # it wakes only once somebody waits for it
        monkeypatch.setattr(till_room, "prove", proving)
        with box.agent() as payer:
            payer.dialects = (First(),)
            with payer.client() as http:
                assert http.get(url).content == b"goods"
    finally:
        awake.set()
        seller.close()
    assert len(box.payments()) == len(shown) == 1 and box.payer.box.balance(box.payer.box.pay_to) == before + 10_000


def test_evidence_is_that_of_the_services_catalogue(running, seller, tmp_path):
    """An agent could write a catalogue of its own: that one counts for nothing."""
    box = running()
    box.payer.settings = replace(box.payer.settings, data_dir=tmp_path / "of-the-signer")
    url = box.payer.sandbox.url("/joke")
    offer = box.payer.quote(url).chosen
    box.payer.policy = replace(box.payer.policy, evidence=Evidence(("live-probe", "price-agreement")))
    market = Market(seller, tmp_path)
    market.rows = [row(url, accepts=[{**BASE, "amount": str(offer.amount), "payTo": offer.pay_to, "asset": offer.asset.address}])]
    with box.agent() as payer, payer.client() as http:
        market.path = payer.settings.catalogue_path
        market.crawl(probes=1)
        with pytest.raises(PolicyDenied, match="there is no catalogue yet"):
            http.get(url)
        market.path = box.payer.settings.catalogue_path
        market.crawl(probes=1)
        assert http.get(url).extensions["payment"].outcome == "spent"
