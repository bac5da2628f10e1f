"""`x402-agent discover`: crawl once, then ask without a network."""

from __future__ import annotations

import csv
import json

import pytest
from typer.testing import CliRunner

from market import BASE, Market, row
from x402_agent import Payer, Settings, SettingsError, Wallet
from x402_agent.cli.app import app


def run(*words, code=0):
    done = CliRunner().invoke(app, ["discover", *words])
    assert done.exit_code == code, done.output
    return done


@pytest.fixture
def market(seller, tmp_path):
    made = Market(seller, tmp_path)
    seller.routes["/w"] = lambda hit: seller.ask("/w", 10_000)
    made.rows = [row(seller.url("/w")), row("https://b.example/w", 5, serviceName="=cmd()\x1b[2J"), row("https://c.example/{id}/w")]
    return made


def crawl(market, *more, code=0):
    return run("crawl", "--source", market.seller.url("/x402"), "--allow-loopback", "--rate", "1000", "--probe", "0", *more, code=code)


def test_crawl_search_show_probe(market):
    assert crawl(market).stdout.startswith("3 services; 3 rows on 3 pages")
    lines = run("search", "weather", "city").stdout.splitlines()
    assert len(lines) == 3
    ours = next(line for line in lines if market.seller.origin in line).split()[0]
    assert "never probed" in run("search", "weather").stdout
    assert run("probe", ours, "--allow-loopback").stdout.startswith("live-402: asks in x402")
    first = run("search", "weather", "--live", "--max", "0.01").stdout
    assert first.startswith(ours)
    shown = run("show", ours[:8]).stdout
    for words in ("10000 atomic units", "because      live-402", "asks what the catalogues say", "listed by    bazaar", f"x402-agent get {ours}"):
        assert words in shown
    template = next(line for line in lines if "c.example" in line).split()[0]
    assert "places to fill in" in run("show", template).stdout


def test_the_same_command_goes_on_only_where_something_waits(market):
    away = run("crawl", "--source", market.seller.url("/x402"), "--rate", "1000", code=6)  # refused: this machine is no public address
    assert "not read:" in away.stdout and "goes on" not in away.stdout
    cut = crawl(market, "--minutes", "0.01", "--rate", "1", code=6)  # its robots.txt is all there is time for
    assert "goes on with what is left: " in cut.stdout and "goes on" not in crawl(market).stdout


def test_a_site_alone_is_asked_for_all_it_may_have(market):
    """What it has not is said only where nothing was found."""
    site = market.seller.origin
    known = {"input": {"type": "mcp", "tool": "look", "inputSchema": {}}}
    market.rows.clear()
    market.rows.append(row(f"{site}/mcp", type="mcp", extensions={"bazaar": {"info": known}}))
    market.seller.routes["/discovery/resources"] = market.seller.routes["/x402/discovery/resources"]
    market.text("/.well-known/x402", json.dumps({"accepts": [{**BASE, "amount": "5", "resource": f"{site}/w"}]}))
    done = run("crawl", "--source", site, "--allow-loopback", "--rate", "1000", "--probe", "0")
    assert done.stdout.startswith("2 services; 2 rows on 7 pages")
    assert "nothing there" not in done.stdout
    tool = next(line for line in run("search", "").stdout.splitlines() if "#look" in line).split()[0]
    assert "x402-agent-mcp proxy URL" in run("show", tool).stdout
    away = run("crawl", "--source", f"{site}/nowhere", "--allow-loopback", "--rate", "1000", "--probe", "0", "--catalogue", str(market.path), code=6)
    assert "nothing there" in away.stdout


def test_everything_as_json_and_as_a_table_without_formulas(market, tmp_path):
    crawl(market)
    found = json.loads(run("search", "weather", "--json").stdout)
    assert {each["prices"][0]["amount"] for each in found} == {"5", "10000"}
    assert json.loads(run("show", found[0]["id"], "--json").stdout)["listings"][0]["source"].startswith("bazaar ")
    assert json.loads(run("sources", "--json").stdout)["services"] == 3
    run("export", "--format", "csv", "--output", str(tmp_path / "out.csv"))
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert "'=cmd()\\x1b[2J" in {each["name"] for each in rows}
    assert len(run("export").stdout.splitlines()) == 3
    run("export", "--format", "xml", code=2)


def test_a_crawl_tells_each_event_to_a_machine(market):
    events = [json.loads(line) for line in crawl(market, "--json").stdout.splitlines()]
    assert [each["event"] for each in events][-1] == "done"
    assert sum(each["event"] == "page" for each in events) == 3
    assert events[-1]["services"] == 3


def test_what_is_wrong_says_what_to_type(market):
    assert "--catalogue postgresql://" in crawl(market, "--fleet", code=2).output
    assert "one of bazaar" in run("crawl", "--source", "nobody=https://x.example", code=2).stderr
    assert "discover crawl" in run("search", "weather", code=6).stderr
    assert "no service of your catalogue" in run("show", "abcd", code=2).stderr
    assert "or several have one that begins so" in run("show", "abcd", code=2).stderr
    assert "no network is called" in run("search", "x", "--network", "moon", code=2).stderr
    assert "not a postgres" not in run("search", "x", "--catalogue", "mysql://x", code=2).stderr


def test_loopback_is_asked_only_when_told(market):
    done = run("crawl", "--source", market.seller.url("/x402"), "--probe", "0", code=6)
    assert "public addresses alone" in done.stdout and "--allow-loopback" in done.stderr
    assert market.seller.hits == []


def test_an_id_without_a_catalogue_says_how_one_is_made():
    done = CliRunner().invoke(app, ["get", "3f9c12ab"])
    assert (done.exit_code, "x402-agent discover crawl" in done.stderr) == (2, True)
    assert not Settings.load().catalogue_path.exists()


def test_a_probe_of_this_machine_says_which_switch_it_lacks(market):
    crawl(market)
    ours = next(line for line in run("search", "weather").stdout.splitlines() if market.seller.origin in line).split()[0]
    done = run("probe", ours)
    assert done.stdout.startswith("hostile: ") and "--allow-loopback" in done.stderr
    assert "--allow-loopback" not in run("probe", ours, "--allow-loopback").stderr


def test_get_by_id_buys_and_tells_the_catalogue(market, monkeypatch):
    """At the URL that the catalogue has; what came of it is what the service ranks by from then on."""
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "0x" + "5a" * 32)
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")
    monkeypatch.setenv("X402_AGENT_LOOPBACK", "1")
    market.seller.sells("/w")
    crawl(market)
    ours = next(line for line in run("search", "weather").stdout.splitlines() if market.seller.origin in line).split()[0]
    done = CliRunner().invoke(app, ["get", ours[:10], "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["body"], told["payment"]["outcome"]) == ("paid content", "spent")
    assert "you bought here once" in run("show", ours).stdout
    assert run("search", "weather").stdout.startswith(ours)
    template = next(line for line in run("search", "weather").stdout.splitlines() if "c.example" in line).split()[0]
    for wrong, why in ((template, "places to fill in"), ("abcdef012345", "no service of your catalogue"), ("weather", "is not a URL")):
        refused = CliRunner().invoke(app, ["get", wrong])
        assert refused.exit_code == 2
        assert why in refused.stderr


def test_a_payer_asks_the_same_catalogue(market):
    crawl(market)
    with Payer(wallet=Wallet()) as payer:
        assert [each.micros for each in payer.discover.search("weather", most="0.001")] == [5]
        with pytest.raises(SettingsError, match="no amount of dollars"):
            payer.discover.search("weather", most="cheap")


def test_a_ledger_that_cannot_be_read_hinders_no_question(market):
    crawl(market)
    where = Settings.load()
    where.ledger_path.parent.mkdir(parents=True, exist_ok=True)
    where.ledger_path.write_bytes(b"no ledger at all, and long enough to be looked at" * 200)
    assert len(run("search", "weather").stdout.splitlines()) == 3
    with Payer(wallet=Wallet()) as payer:
        assert len(payer.discover.search("weather")) == 3
