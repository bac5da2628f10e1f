"""Rules of policy at work: real requests, real signatures, a ledger on disk, and a seller who does what he likes."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from fractions import Fraction

import httpx
import pytest
from typer.testing import CliRunner

from x402_agent import BudgetExceeded, Payer, PolicyDenied, Wallet
from x402_agent.cli.app import app
from x402_agent.model import Limit
from x402_agent.policy import Bounds, Policy

DAY = 86_400
TEST = ("testnet",)
TO = "0x" + "ab" * 20


def payment(**options):
    return {"extensions": {"payment": options}}


def run(*words, home):
    return CliRunner().invoke(app, list(words), env={"X402_AGENT_HOME": str(home), "X402_AGENT_NETWORKS": "testnet"})


# -- prices that walk (P15) ---------------------------------------------------------------------------------------------------


def test_P15_a_price_that_jumps_is_asked_about_and_refused_where_nobody_answers(drive, seller, till):
    payer = till.payer(policy=Policy(networks=TEST, drift=Fraction(2)))
    url = seller.sells("/p", amount=10_000)
    assert drive(payer, "GET", url).status_code == 200
    seller.sells("/p", amount=20_000)
    assert drive(payer, "GET", url + "?q=1").status_code == 200
    seller.sells("/p", amount=20_001)
    with pytest.raises(PolicyDenied, match=r"more than 2 times the 0\.01 USD") as found:
        drive(payer, "GET", url + "?q=2")
    assert found.value.rule.startswith("drift") and len(seller.proofs) == 2 == till.rows(payer).count(("CLAIMED", "spent"))
    again = till.payer(policy=payer.policy)  # a restart remembers
    with pytest.raises(PolicyDenied, match="more than 2 times"):
        drive(again, "GET", url)
    assert drive(again, "POST", url, content=b"x").status_code == 200, "another method is another purchase"
    allowed = till.payer(policy=payer.policy, approve=lambda offer, ask: True)
    assert drive(allowed, "GET", url).status_code == 200


def test_P15_a_seller_who_walks_up_slowly_is_met_within_days(drive, seller, till):
    now = [time.time() - 20 * DAY]
    payer = till.payer(policy=Policy(networks=TEST, drift=Fraction(2), on_drift="deny", per_call=10**9), clock=lambda: now[0])
    price = 10_000
    for _ in range(2):
        assert drive(payer, "GET", seller.sells("/walk", amount=price)).status_code == 200
        price, now[0] = price + price // 2, now[0] + DAY
    url = seller.sells("/walk", amount=price)
    with pytest.raises(PolicyDenied, match="more than 2 times"):
        drive(payer, "GET", url)
    assert max(payer.facts.paid(ask_of(url)))[1] == 15_000


def ask_of(url):
    from x402_agent.transport.wire import ask

    return ask(httpx.Request("GET", url), httpx)


def test_P15_dearer_than_listed(drive, seller, till, payer):
    url = seller.sells("/p", amount=30_000)
    with pytest.raises(PolicyDenied, match="listed"):
        drive(payer, "GET", url, **payment(listed="0.01"))
    assert not seller.proofs and drive(payer, "GET", url, **payment(listed="0.015")).status_code == 200


def test_known_prices_cost_no_look_at_the_ledger(seller, till):
    payer = till.payer(policy=Policy(networks=TEST, drift=Fraction(2)))
    url = seller.sells("/p")
    with payer.client() as http:
        http.get(url)
        ask = ask_of(url)
        assert payer.facts.paid(ask)
        payer.ledger.prices = None  # a look would fail
        for _ in range(10):
            payer.facts.paid(ask)


# -- strangers (R4) -----------------------------------------------------------------------------------------------------------


def test_strangers_are_asked_about_once(drive, seller, other, till):
    asked = []
    payer = till.payer(policy=Policy(networks=TEST, ask_new_origin=True, ask_new_payee=True),
                       approve=lambda offer, ask: not asked.append(ask.origin))  # fmt: skip
    for _ in range(3):
        assert drive(payer, "GET", seller.sells("/p")).status_code == 200
    assert asked == [ask_of(seller.url("/p")).origin]
    assert drive(payer, "GET", other.sells("/p")).status_code == 200
    assert len(asked) == 2, "a new origin, though its recipient is known"
    payer.approve = None
    assert drive(payer, "GET", other.sells("/q")).status_code == 200


def test_R4_a_recipient_changes_only_by_a_persons_command(drive, seller, till, tmp_path):
    payer, url = till.payer(), seller.url("/p")
    origin, new = ask_of(url).origin, "0x" + "77" * 20
    seller.sells("/p")
    assert drive(payer, "GET", url).status_code == 200
    old = payer.ledger.pins()[0][2]
    seller.demands("/p", seller.terms("/p", payTo=new))
    with pytest.raises(PolicyDenied) as found:
        drive(payer, "GET", url)
    assert found.value.hint == f"x402-agent pin {origin} {new} --network base-sepolia"
    done = run(*found.value.hint.split()[1:], home=till.settings.data_dir)
    assert done.exit_code == 0 and old in done.output and new in done.output
    assert drive(payer, "GET", url).status_code == 200
    listed = json.loads(run("pins", "--json", home=till.settings.data_dir).output)
    assert [each["pay_to"] for each in listed] == [new]


# -- budgets ------------------------------------------------------------------------------------------------------------------


NAMES = ["agent:scout", "group:team", "tool:search", "category:paid", "host:127.0.0.1", "payee:TO", "payee:base-sepolia/TO", "asset:USDC",
         "origin:HERE", "path:HERE/v1", "each:origin", "each:payee", "task:t"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bounds", [Bounds(day=25_000), Bounds(calls=((2, "hour"),)), Bounds(state="paused")])
def test_a_budget_of_every_scope_ends_the_spending(seller, till, name, bounds):
    origin = ask_of(seller.url("/")).origin
    scope = name.replace("TO", TO).replace("HERE", origin)
    if scope.startswith("each:") and bounds.state != "active":
        return
    policy = Policy(networks=TEST, budgets={scope: bounds}, categories={"paid": ("127.0.0.1",)})
    till.settings = replace(till.settings, agent="scout", group="team")
    payer, paid = till.payer(policy=policy), 0
    with payer.client() as http:
        for number in range(4):
            url = seller.sells(f"/v1/{number}")
            try:
                paid += http.get(url, **payment(tool="search", task="t/inner")).status_code == 200
            except PolicyDenied as why:
                assert scope.replace("base-sepolia", "eip155:84532") in why.rule and (isinstance(why, BudgetExceeded) or bounds.state == "paused")
    assert paid == len(seller.proofs) == (2 if bounds.day or bounds.calls else 0)


def test_a_budget_that_was_never_named_counts_what_was_paid_before_it(drive, seller, till):
    payer = till.payer()
    for number in range(3):
        assert drive(payer, "GET", seller.sells(f"/v1/{number}")).status_code == 200
    limits = [Limit("asset:USDC", "day", 1), Limit(f"payee:{TO}", "day", 1), Limit("asset:USDC", "total", 1, unit="payments")]
    assert [each.spent for each in payer.ledger.spent(limits, realm="test")] == [30_000, 30_000, 3]
    payer.policy = Policy(networks=TEST, budgets={"asset:USDC": Bounds(day=35_000)})
    with pytest.raises(BudgetExceeded, match=r"0\.0050 USD"):
        drive(payer, "GET", seller.sells("/v1/3"))


def test_X9_one_recipient_behind_two_origins_has_one_budget(drive, seller, other, till):
    payer = till.payer(policy=Policy(networks=TEST, budgets={"each:payee": Bounds(day=25_000), "each:origin": Bounds(day=25_000)}))
    assert drive(payer, "GET", seller.sells("/a")).status_code == 200
    assert drive(payer, "GET", other.sells("/a")).status_code == 200
    with pytest.raises(BudgetExceeded, match="the recipient"):
        drive(payer, "GET", other.sells("/b"))


# -- the file, while a process runs ---------------------------------------------------------------------------------------------


def test_what_a_person_narrows_holds_for_a_process_that_runs(seller, tmp_path):
    home = tmp_path / "home"
    env = {"X402_AGENT_HOME": str(home), "X402_AGENT_NETWORKS": "testnet", "X402_AGENT_EVM_KEY": "0x" + os.urandom(32).hex()}
    with Payer.from_env(env=env) as payer, payer.client() as http:
        now = [0.0]
        payer.live._clock = lambda: now[0]
        payer.live._next = 1.0

        def get(path):
            now[0] += 2
            return http.get(seller.sells(path))

        assert get("/1").status_code == 200
        said = run("budget", "set", "--per-call", "0.005", home=home)
        assert "of 1 payments since yesterday it would have stopped 1" in said.output, said.output
        now[0] += 2
        assert payer.live.door(payer) is None
        get_error(get, BudgetExceeded, "per_call in")
        (home / "policy.toml").write_text('per_call = "0.10"\nnonsense = 1\n')
        assert payer.policy.per_call == 5_000
        now[0] += 2
        payer.live.door(payer)
        get_error(get, PolicyDenied, "policy.toml:2")
        (home / "policy.toml").unlink()
        now[0] += 2
        payer.live.door(payer)
        get_error(get, PolicyDenied, "policy.toml")
    assert len(seller.proofs) == 1


def get_error(get, kind, rule):
    with pytest.raises(kind) as found:
        get("/2")
    assert rule in found.value.rule


def test_policy_check_names_what_a_policy_would_have_stopped(drive, seller, till, tmp_path):
    payer = till.payer()
    for number, amount in enumerate((10_000, 50_000, 90_000, 20_000)):
        assert drive(payer, "GET", seller.sells(f"/v{number}", amount=amount)).status_code == 200
    payer.close()
    file = tmp_path / "new.toml"
    file.write_text('per_call = "0.08"\nday = "0.07"\n[budgets."host:127.0.0.1"]\nday = "1"\nstate = "active"\n')
    home = till.settings.data_dir
    done = run("policy", "check", str(file), "--json", home=home)
    facts = json.loads(done.output)
    assert done.exit_code == 1 and facts["payments"] == 4
    assert [each["rule"].split()[0] for each in facts["stopped"]] == ["per_call", "day"]
    assert str(file) + ":1" in facts["stopped"][0]["rule"] and any("never reached" in each for each in facts["warnings"])
    assert run("policy", "check", home=home).exit_code == 0
    assert "of 4 payments it would have refused 0" in run("policy", "check", home=home).output
    assert run("policy", "check", str(file), "--since", "2999-01-01", home=home).exit_code == 0
    file.write_text("per_call = 0.1")
    assert run("policy", "check", str(file), home=home).exit_code == 2
    assert run("policy", "check", str(tmp_path / "none"), home=home).exit_code == 2
    assert run("policy", "check", "--since", "x", home=home).exit_code == 2


def test_budget_shows_what_is_left(drive, seller, till):
    payer = till.payer()
    assert drive(payer, "GET", seller.sells("/p")).status_code == 200
    payer.close()
    home = till.settings.data_dir
    for words in (["1/day", "--host", "127.0.0.1"], ["--calls", "3/hour", "--each", "payee"], ["--calls", "3/hour", "--asset", "USDC"]):
        assert run("budget", "set", *words, home=home).exit_code == 0
    rows = {(each["scope"], each["key"]): each for each in json.loads(run("budget", "--json", home=home).output)}
    assert rows["all", "day"]["left"] == "4.99" and rows["host:127.0.0.1", "day"]["spent"] == 10_000
    assert rows["asset:USDC", "hour"]["left"] == "2 calls" and rows["each:payee", "hour"]["spent"] is None
    assert "4.99 left" in run("budget", home=home).output


def test_a_key_of_nobody_pays_nothing_whatever_the_policy(seller):
    with Payer(wallet=Wallet(), policy=Policy(networks=TEST)) as payer:
        assert payer.quote(seller.sells("/p")).chosen is None
