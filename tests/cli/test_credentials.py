"""`x402-agent credentials`: what a person sees and does, and what no output ever holds."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import nursery

sys.path.insert(0, str(Path(__file__).parent.parent))
from meter import Counter, Meter
from x402_agent import Payer, Policy, Settings, Wallet
from x402_agent.cli.app import app

KEY = "0x" + "5a" * 32
NEEDLE = "needle-in-a-token"


@pytest.fixture
def buyer(monkeypatch):
    monkeypatch.setenv("X402_AGENT_EVM_KEY", KEY)
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")
    with Payer(wallet=Wallet.from_key(KEY), policy=Policy(networks=("testnet",)), dialects=[Meter()],
               settings=replace(Settings.load(), answer_timeout=0.3)) as made:  # fmt: skip
        yield made


class Named(Counter):
    def sell(self, hit):
        self.left.setdefault(NEEDLE, self.uses)
        return self.seller.ok(x_token=NEEDLE, x_uses=str(self.left[NEEDLE]), x_path="/m", x_expires="1900000000")


def run(*words):
    done = CliRunner().invoke(app, ["credentials", *words])
    assert NEEDLE not in done.output
    return done


def data(*words):
    return json.loads(run(*words, "--json").output)


def test_nothing_kept_and_nothing_found():
    assert "no credential opens a door" in run("list").output and data("list") == []
    done = run("show", "abcd1234")
    assert done.exit_code == 1 and "there is no ledger" in done.output


def test_list_and_show_say_where_how_often_until_when_and_what_it_cost(buyer, seller):
    seller.serves("/m", Named(seller, uses=3))
    with buyer.client() as http:
        payment = http.get(seller.url("/m")).extensions["payment"]
        assert http.get(seller.url("/m")).content == b"metered"
    buyer.ledger.flush()
    (row,) = data("list")
    assert row["state"] == "live" and row["origin"] == seller.origin and row["path"] == "/m" and row["uses_left"] == 2
    assert row["payment_id"] == payment.payment_id and row["expires_at"] == 1_900_000_000 and row["in_use"] == 0
    line = run("list").output
    assert f"{seller.origin}/m" in line and "2 more times" in line and "until 2030-03-17" in line and payment.payment_id[:8] in line
    shown = run("show", row["id"][:4]).output
    assert "0.0100 USDC" in shown and "spent" in shown and buyer.wallet.address("eip155") in shown
    assert data("show", row["id"])["money"].startswith("0.0100 USDC")


def test_revoke_ends_it_in_a_running_process_and_says_what_stays(buyer, seller):
    meter = Named(seller, uses=3)
    seller.serves("/m", meter)
    with buyer.client() as http:
        http.get(seller.url("/m"))
        done = data("revoke", data("list")[0]["id"])
        assert done["forgotten"] and "3 more times" in done["note"] and "can still use it" in done["note"]
        assert http.get(seller.url("/m")).content == b"paid content"
    assert meter.shown == [] and len(seller.nonces) == 2
    assert run("revoke", "abcd1234").exit_code == 1


def test_K8_renew_forgets_what_was_delivered_and_buys_only_on_the_next_request(buyer, seller):
    seller.serves("/m", Named(seller, uses=3))
    with buyer.client() as http:
        http.get(seller.url("/m"))
        buyer.ledger.flush()
        refused = run("renew", data("list")[0]["id"])
        assert refused.exit_code == 3 and "3 more times" in refused.output and "--give-up" in refused.output and len(data("list")) == 1
        done = run("renew", data("list")[0]["id"], "--give-up")
        assert done.exit_code == 0 and "buys a new one" in done.output and "0.0100 USDC" in done.output
        assert len(seller.nonces) == 1 and data("list", "--all") == []
        http.get(seller.url("/m"))
    assert len(seller.nonces) == 2


def test_renew_shows_the_same_proof_while_its_payment_stands_for_it(buyer, seller):
    meter = Named(seller, uses=3)
    seller.serves("/m", meter)
    with buyer.client() as http:
        payment = http.get(seller.url("/m")).extensions["payment"]
    hold = next(iter([each for each in buyer.ledger.payments() if each.payment_id == payment.payment_id]))
    assert hold.outcome == "spent"
    buyer.ledger.close(_hold(buyer, payment), "PAID_UNDELIVERED").run()
    done = data("renew", data("list")[0]["id"])
    assert not done["forgotten"] and "spent" in done["note"]
    assert len(seller.proofs) == 2 and len(seller.nonces) == 1 and len(data("list")) == 1


def _hold(buyer, payment):
    from x402_agent.model import Hold

    row = buyer.ledger.payment(payment.payment_id)
    return Hold(row.payment_id, _Ask(), payment.offer, None)


class _Ask:
    key, has_body, output, repeat = "", False, "", lambda: None


def test_K1_the_token_is_nowhere_but_on_the_wire(buyer, seller, tmp_path, capfd):
    from needles import Needles, Records, leaks, looks

    needles = Needles(token=NEEDLE)
    seen = []
    buyer.trace = lambda ask, step, value: seen.append((step, value))
    meter = Named(seller, uses=3)
    seller.serves("/m", meter)
    with Records() as records, buyer.client() as http:
        replies = [http.get(seller.url("/m")) for _ in range(2)]
        meter.left.clear()
        replies.append(http.get(seller.url("/m")))
        seller.routes["/m"] = lambda hit: hit.reset()
        error = None
        try:
            http.get(seller.url("/m"))
        except Exception as why:
            error = why
    assert meter.shown and error is not None
    assert leaks(error, needles) == []
    assert [needles.within(looks(each.request.headers)) for each in replies] == [[]] * 3
    assert {type(each).__name__ for pair in seen for each in pair if type(each).__name__ != "Reply" and needles.within(looks(each))} == set()
    assert needles.within(looks(buyer) + looks(buyer.credentials) + looks(buyer.vault) + repr(buyer.ledger.tokens())) == []
    ours = "\n".join(line for line in records.text.splitlines() if "x402_agent" in line)
    assert "refused" in ours and needles.within(ours) == []
    buyer.close()
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert any(each.name.startswith("ledger.db") for each in files)
    assert [each for each in files if needles.within(each.read_bytes())] == []
    for words in (["list"], ["list", "--all", "--json"], ["show", "abcd"]):
        done = nursery.cli("credentials", *words)
        assert needles.within(done.stdout + done.stderr) == []
    assert needles.within("".join(capfd.readouterr())) == []


def test_the_search_finds_a_credential_that_shows_itself(monkeypatch):
    from needles import Needles, looks
    from x402_agent.model import Credential

    needles = Needles(token=NEEDLE)
    made = Credential("https://a", "/", {"x-token": NEEDLE})
    assert needles.within(looks(made)) == []
    monkeypatch.setattr(Credential, "__repr__", lambda self: f"Credential({dict(self.headers)})")
    assert needles.within(looks(made)) == ["token"]
