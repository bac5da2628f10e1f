"""What is for sale, found and bought in a sandbox: `try --discover`, and by hand against `sandbox up`."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import nursery
from x402_agent import Settings
from x402_agent.cli.app import app
from x402_agent.sandbox import GROUNDS

MAIN = [sys.executable, "-c", "from x402_agent.cli import main; main()"]


def run(*words, code=0):
    done = CliRunner().invoke(app, list(words))
    assert done.exit_code == code, done.output
    return done


def test_find_rank_choose_buy_and_tell():
    said = run("try", "--discover").output
    marks = ["sandbox  http://127.0.0.1:", "crawl     91 rows of 4 catalogues are 23 services", "probe     23 live-402 · 23 agreement", "search    joke", "  1   650  ",
             "live-402, probed today (+300)", "choose    ", "--> GET", "<-- 402  asks 0.0100 USDC", "policy   allowed", "written down, then sent", "PAYMENT-SIGNATURE",
             "<-- 200  settled", "outcome   you bought here", "650 -> 750 points", "now in Python", 'payer.discover.search("joke"', "next: x402-agent sandbox up"]  # fmt: skip
    places = [said.index(mark) for mark in marks]
    assert places == sorted(places)
    assert not Settings.load().catalogue_path.exists()  # a person's own catalogue is another one


def test_as_one_document_and_never_in_a_catalogue_of_yours(monkeypatch, tmp_path):
    monkeypatch.setenv("X402_AGENT_CATALOGUE", str(tmp_path / "mine.db"))
    facts = json.loads(run("try", "--discover", "--json").stdout)
    found = facts["discover"]
    assert (facts["status"], facts["read_back"], facts["payment"]["outcome"]) == (200, True, "spent")
    assert found["chosen"] == found["ranking"][0]["id"]
    assert found["points"] == [650, 750]
    assert found["report"]["verdicts"] == {"live-402": 23}
    assert not (tmp_path / "mine.db").exists()


def test_the_ranking_is_by_evidence_and_has_nothing_that_is_left_out():
    found = json.loads(run("try", "--discover", "--json", "--seller", "catalogue", "--scenario", "listed_cheaper").stdout)["discover"]
    points = [each["points"] for each in found["ranking"]]
    assert points == sorted(points, reverse=True)
    assert found["ranking"][-1]["url"].endswith("/joke") and found["ranking"][-1]["suspicious"] == ["drift"]
    assert found["chosen"] == found["ranking"][0]["id"] and found["left_out"] == []


SLOW = [*(("--chain", chain) for chain in GROUNDS if chain not in ("evm", "solana")), ("--seller", "mcp")]
LIES = [("listed_other_payee", "conflict: left out"), ("listed_dead", "dead: left out"), ("listed_twice", "listed-twice, payees-differ, prices-differ")]


@pytest.mark.parametrize("words", [("--seller", "kamiyo"), ("--chain", "solana"), *(pytest.param(each, marks=pytest.mark.full) for each in SLOW)])
def test_of_every_seller_and_on_every_chain(words):
    facts = json.loads(run("try", "--discover", "--json", *words).stdout)
    assert (facts["status"], facts["payment"]["outcome"], facts["read_back"]) == (200, "spent", True)
    assert facts["discover"]["points"][1] == facts["discover"]["points"][0] + 100


@pytest.mark.full
def test_who_waits_for_depth_is_not_waited_for():
    """A monitor's minute is a jump of the sandbox's clock; with --discover, too."""
    said = run("try", "--seller", "monitor", "--chain", "tron").output
    assert said.index("mined ") < said.index("clock    70 s on, in the sandbox alone") < said.index("proving ") < said.index("<-- 200  settled")
    facts = json.loads(run("try", "--discover", "--json", "--seller", "monitor", "--chain", "tron").stdout)
    assert (facts["status"], facts["payment"]["outcome"], facts["read_back"]) == (200, "spent", True)


@pytest.mark.full
def test_what_no_list_prices_is_shown_at_what_it_asks():
    said = run("try", "--discover", "--seller", "x402pay", "--chain", "stacks").output
    assert "  0.1000 STX  GET /articles/" in said
    assert "<-- 200  settled" in said


@pytest.mark.parametrize(("scenario", "mark"), [("listed_cheaper", "drift"), ("injecting", "hidden-text"), *(pytest.param(*each, marks=pytest.mark.full) for each in LIES)])
def test_a_lie_is_seen_and_another_joke_is_bought(scenario, mark):
    said = run("try", "--discover", "--seller", "catalogue", "--scenario", scenario).output
    (line,) = [each for each in said.splitlines() if each.endswith(f"    {mark}")]
    assert "/joke" in line and line.startswith("  !")
    chosen = next(each for each in said.splitlines() if each.startswith("choose"))
    assert " GET /joke" not in chosen
    assert "<-- 200  settled" in said
    assert all(each.isprintable() for each in said.splitlines())


@pytest.mark.parametrize("scenario", ["catalogue_429", pytest.param("catalogue_hangs", marks=pytest.mark.full)])
def test_a_catalogue_that_gives_nothing_is_said_with_what_decided(scenario):
    done = run("try", "--discover", "--seller", "catalogue", "--scenario", scenario, code=6)
    assert "the catalogue shows nothing to buy" in done.stderr
    assert ("answered 429" if scenario == "catalogue_429" else "TimeoutError") in done.stderr


@pytest.mark.parametrize("scenario", ["settles_then_500", pytest.param("never_settles", marks=pytest.mark.full)])
def test_what_goes_wrong_after_paying_is_in_doubt_as_always_and_counts(scenario):
    said = run("try", "--discover", "--scenario", scenario, code=5).output
    assert "it went wrong (-150): 650 -> 500 points" in said


@pytest.mark.full
@pytest.mark.parametrize("source", ["bazaar={}", "{}", "openapi={}"])
def test_by_hand_against_a_sandbox_that_runs(tmp_path, source):
    """`sandbox up` says how it is crawled; what is found is bought by its ID, and the outcome ranks."""
    env = {**os.environ, "X402_AGENT_HOME": str(tmp_path / "home")}
    with subprocess.Popen([*MAIN, "sandbox", "up"], stdout=subprocess.PIPE, text=True, env=env) as process:
        try:
            lines = [process.stdout.readline() for _ in range(5)]
            origin = lines[0].split()[1]
            assert f"crawl it x402-agent discover crawl --source bazaar={origin} --allow-loopback --rate 100\n" in lines
            crawled = nursery.cli("discover", "crawl", "--source", source.format(origin), "--allow-loopback", "--rate", "1000", "--json", env=env, check=True)
            report = json.loads(crawled.stdout.splitlines()[-1])
            assert (report["services"], report["verdicts"]) == (23, {"live-402": 23})
            (found,) = [each for each in json.loads(nursery.cli("discover", "search", "report", "--live", "--max", "0.03", "--json", env=env, check=True).stdout) if each["url"] == f"{origin}/report"]
            bought = nursery.cli("get", found["id"], "--sandbox", "--json", env=env, check=True)
            facts = json.loads(bought.stdout)
            assert (facts["status"], facts["payment"]["outcome"], facts["payment"]["amount"]) == (200, "spent", "30000")
            assert "you bought here once" in nursery.cli("discover", "show", found["id"], env=env, check=True).stdout
        finally:
            process.terminate()
            process.wait(30)
