"""`[evidence]`: what a first payment needs of the payer's catalogue; and that nobody else pays for the rule."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio
import pytest
from typer.testing import CliRunner

from market import BASE, Market, row
from x402_agent import Payer, PolicyDenied, SettingsError, assets
from x402_agent.cli.app import app
from x402_agent.model import Ask, Challenge, Offer
from x402_agent.policy import Evidence, Listed, Policy, choose
from x402_agent.policy.facts import Nothing
from x402_agent.policy.file import parse
from x402_agent.tools import Tools

USDC = next(a for a in assets.assets() if a.network.name == "base" and a.symbol == "USDC")
NOW, DAY = 1_800_000_000.0, 86_400
PAYEE = "0x" + "aB" * 20
ALL = '[evidence]\nrequire = ["live-probe", "unique-payers>=3", "price-agreement"]\nmax_age = "7d"\n'
GOOD = Listed("3f9c12ab3f9c12ab", "live-402", NOW - DAY, "agreement", 3, NOW - DAY, 10_000, frozenset({(USDC.id, PAYEE.lower())}))
WHAT = Ask("GET", "https://api.example.com/x?q=1", "https://api.example.com", "api.example.com", "/x")


class Facts(Nothing):
    def __init__(self, found=None, origin=False, payee=False):
        self.found, self.origin, self.payee, self.asked = found, origin, payee, 0

    def now(self):
        return NOW

    def knows_origin(self, ask):
        return self.origin

    def knows_payee(self, offer):
        return self.payee

    def listed(self, ask):
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def judged(policy, facts, amount=10_000, payee=PAYEE):
    return choose(policy, WHAT, Challenge("x402", (Offer("x402", "exact", USDC, amount, payee, 60),)), lambda _: "", facts=facts)


@pytest.mark.parametrize(("changes", "says"), [
    ({"verdict": "", "probed": None, "agreement": ""}, "a live probe of the last 7 days (never probed); price agreement (never compared)"),
    ({"verdict": "dead"}, "a live probe of the last 7 days (dead)"),
    ({"verdict": "free"}, "(free)"),
    ({"probed": NOW - 8 * DAY}, "a live probe of the last 7 days (live-402, longer ago); price agreement (agreement, longer ago)"),
    ({"agreement": "drift"}, "price agreement (drift)"),
    ({"agreement": "conflict"}, "price agreement (conflict)"),
    ({"terms": frozenset({(USDC.id, "0x" + "11" * 20)})}, "not the one that was probed"),
    ({"terms": frozenset({("another", PAYEE.lower())})}, "not the one that was probed"),
    ({"payers": None}, "unique payers, at least 3 (nobody says how many)"),
    ({"payers": 2}, "unique payers, at least 3 (2, as catalogues count)"),
    ({"seen": NOW - 8 * DAY}, "unique payers, at least 3 (3, longer ago)"),
])  # fmt: skip
def test_what_a_first_payment_lacks_is_said_with_the_line_and_what_to_type(changes, says):
    error = judged(parse(ALL, "policy.toml"), Facts(GOOD._replace(**changes))).error
    assert isinstance(error, PolicyDenied) and says in error.what, error.what
    assert error.rule == "[evidence] in policy.toml:2"
    few = set(changes) <= {"payers", "seen"}
    assert error.hint.startswith("x402-agent pin https://api.example.com" if few else "x402-agent discover probe 3f9c12ab3f9c12ab")


def test_all_of_it_is_enough_and_each_word_asks_for_itself_alone():
    assert judged(parse(ALL, "p"), Facts(GOOD)).offer is not None
    poor = GOOD._replace(verdict="dead", agreement="", payers=9)
    assert judged(Policy(evidence=Evidence(("unique-payers>=9",))), Facts(poor)).offer is not None
    assert judged(Policy(evidence=Evidence(("live-probe",))), Facts(poor)).offer is None
    assert judged(Policy(evidence=Evidence(("price-agreement",))), Facts(poor)).offer is None


def test_what_no_catalogue_knows_is_denied_and_so_is_what_cannot_be_looked_up():
    error = judged(parse(ALL, "p"), Facts()).error
    assert "knows nothing of GET https://api.example.com/x" in error.what and error.hint == "x402-agent discover crawl --source 402=https://api.example.com/x"
    error = judged(parse(ALL, "p"), Facts(SettingsError("there is no catalogue yet", hint="x402-agent discover crawl"))).error
    assert isinstance(error, PolicyDenied) and "there is no catalogue yet" in error.what and error.hint == "x402-agent discover crawl"


def test_who_was_paid_before_needs_none_and_without_the_rule_nobody_looks():
    facts = Facts(origin=True, payee=True)
    assert judged(parse(ALL, "p"), facts).offer is not None and facts.asked == 0
    for facts in (Facts(origin=True), Facts(payee=True)):
        assert judged(parse(ALL, "p"), facts).offer is None
    facts = Facts()
    assert judged(Policy(), facts).offer is not None and facts.asked == 0


def test_P15_dearer_than_the_catalogue_says_asks_and_with_otherwise_ask_so_does_a_stranger():
    assert not judged(parse(ALL, "p"), Facts(GOOD), 20_000).asks
    choice = judged(parse(ALL, "p"), Facts(GOOD), 20_001)
    assert choice.offer is not None and "more than 2 times the 0.01 USD it is listed at" in choice.asks[0].what
    assert judged(parse('on_drift = "deny"\n' + ALL, "p"), Facts(GOOD), 20_001).offer is None
    choice = judged(parse(ALL + 'otherwise = "ask"\n', "p"), Facts())
    assert choice.offer is not None and "knows nothing" in choice.asks[0].what and choice.asks[0].rule == "[evidence] in p:2"


@pytest.mark.parametrize(("text", "line"), [
    ("evidence = 5\n", 1), ("[evidence]\nrequires = []\n", 2), ("[evidence]\nrequire = []\n", 2), ('[evidence]\nrequire = "live-probe"\n', 2), ('[evidence]\nrequire = ["alive"]\n', 2),
    ('[evidence]\nrequire = ["unique-payers>=0"]\n', 2), ('[evidence]\nrequire = ["unique-payers>=\u0663"]\n', 2), ("[evidence]\nrequire = [3]\n", 2), ("[evidence]\nmax_age = 7\n", 2), ('[evidence]\nmax_age = "0d"\n', 2),
    ('[evidence]\nmax_age = "7w"\n', 2), ('[evidence]\notherwise = "allow"\n', 1), ("[evidence]\notherwise = true\n", 2),
])  # fmt: skip
def test_a_rule_that_is_none_is_an_error_with_its_line(text, line):
    with pytest.raises(SettingsError) as why:
        parse(text, "policy.toml")
    assert f"policy.toml:{line}" in str(why.value)


def test_what_is_written_is_what_is_read():
    found = parse('[evidence]\nrequire = ["unique-payers >= 12", "live-probe"]\nmax_age = "36h"\n', "p").evidence
    assert (found.payers, found.max_age, found.otherwise) == (12, 36 * 3600, "deny")
    assert parse("[evidence]\n", "p").evidence.require == ("live-probe",)


# -- with a seller, a catalogue and money of the sandbox ----------------------------------------------------------------------


@pytest.fixture
def shop(seller, tmp_path):
    """A payer that demands all of it, a seller, and `known(**changes)`, which crawls and probes the seller's joke."""
    with Payer.sandbox(serve=True) as payer:
        offer = payer.quote(payer.sandbox.url("/joke")).chosen
        payer.policy = replace(payer.policy, evidence=Evidence(("live-probe", "unique-payers>=3", "price-agreement")))
        market = Market(seller, tmp_path)
        market.path = payer.settings.catalogue_path

        def known(probes=10, payers=5, **changes):
            terms = {**BASE, "amount": str(offer.amount), "payTo": offer.pay_to, "asset": offer.asset.address, **changes}
            market.rows = [row(payer.sandbox.url("/joke"), accepts=[terms], quality={"l30DaysUniquePayers": payers})]
            market.crawl(probes=probes)

        yield payer, known


def test_a_first_payment_waits_for_evidence_and_the_next_one_does_not(shop):
    payer, known = shop
    url = payer.sandbox.url("/joke")
    with payer.client() as http:
        for prepare, says in ((lambda: None, "there is no catalogue yet"), (lambda: known(0), "never probed"), (lambda: known(10, 2), "at least 3 (2,")):
            prepare()
            with pytest.raises(PolicyDenied, match="was never paid before") as why:
                http.get(url)
            assert says in why.value.what and payer.quote(url).reason.what == why.value.what
        known()
        assert payer.quote(url).chosen is not None
        assert http.get(url).extensions["payment"].outcome == "spent"
        payer.discover.store.close()
        assert http.get(payer.sandbox.url("/choice")).extensions["payment"].outcome == "spent"  # nobody looks: it was paid before
    assert len(payer.sandbox.settlements) == 2


def test_without_the_rule_no_catalogue_is_opened(shop):
    payer, known = shop
    known()
    payer.policy = replace(payer.policy, evidence=None)
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).extensions["payment"].outcome == "spent"
    assert payer._catalogue is None


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_on_an_event_loop_and_for_a_model(shop, backend):
    payer, known = shop
    url = payer.sandbox.url("/joke")

    async def go():
        async with payer.async_client() as http, Tools(payer, loopback=True) as tools:
            with pytest.raises(PolicyDenied, match="no catalogue yet"):
                await http.get(url)
            quoted = await tools.quote(url)
            assert quoted.policy == "denied" and "was never paid before" in quoted.problem.what and "x402-agent discover crawl" in quoted.problem.hint
            await anyio.to_thread.run_sync(known)
            assert (await tools.quote(url)).policy == "allowed"
            assert (await http.get(url)).extensions["payment"].outcome == "spent"

    anyio.run(go, backend=backend)


def test_listed_with_another_recipient_or_price_than_it_asks_is_no_agreement(shop):
    payer, known = shop
    for changes, word in (({"payTo": "0x" + "11" * 20}, "conflict"), ({"amount": "3"}, "drift")):
        known(**changes)
        assert word in payer.quote(payer.sandbox.url("/joke")).reason.what
    assert not payer.sandbox.settlements


def test_a_catalogue_that_is_broken_pays_nothing(shop):
    payer, known = shop
    known()
    for each in payer.settings.catalogue_path.parent.glob("catalogue.db*"):
        each.write_bytes(b"no database at all, and long enough to be looked at" * 200)
    with payer.client() as http, pytest.raises(PolicyDenied, match="cannot be looked up"):
        http.get(payer.sandbox.url("/joke"))


def test_the_command_line_says_it_before_and_after(seller, tmp_path, monkeypatch):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "0x" + "7c" * 32)
    (tmp_path / "policy.toml").write_text('networks = ["testnet"]\n[evidence]\nrequire = ["live-probe", "price-agreement"]\n')
    seller.routes["/w"] = lambda hit: seller.ok() if hit.proof else seller.ask("/w", 10_000)
    market = Market(seller, tmp_path)
    accepts = seller.terms("/w", 10_000)["accepts"]
    market.rows = [row(seller.url("/w"), accepts=accepts)]

    def run(*words, code=0):
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == code, done.output
        return done.output

    shown = run("get", seller.url("/w"), "--dry-run", code=3)
    assert "there is no catalogue yet" in shown and f"[evidence] in {tmp_path}/policy.toml:3" in shown and "x402-agent discover crawl" in shown
    market.crawl()
    assert "never probed" in json.loads(run("get", seller.url("/w"), "--dry-run", "--json", code=3))["reason"]
    market.crawl(probes=1)
    run("get", seller.url("/w"))
    with Payer.from_env() as payer:
        (paid,) = payer.ledger.payments()
    assert "catalogue  live-402, probed 0 min ago, agreement" in run("why", paid.payment_id)
