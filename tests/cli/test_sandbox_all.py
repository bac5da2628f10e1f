"""`sandbox sellers` and `sandbox up --seller all`: every seller of every dialect, started by one command, bought from, and bought from again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace

import httpx2
import pytest
from typer.testing import CliRunner

from x402_agent.cli.app import app
from x402_agent.cli.get import _Told
from x402_agent.cli.sandbox import _another_runs
from x402_agent.model import Credential
from x402_agent.sandbox import GROUNDS, SELLERS
from x402_agent.steps import Look, Return, Use

MAIN = [sys.executable, "-c", "from x402_agent.cli import main; main()"]
EXPECTED = {"lily": "8"}  # a session of more is above the sandbox's limit for one call
PAIRS = {(name, chain) for name, (_, _, chains) in SELLERS.items() for chain in chains or GROUNDS}


def run(*words):
    return CliRunner().invoke(app, list(words))


def test_every_seller_is_listed_with_what_it_sells_and_how_it_is_started():
    told = run("sandbox", "sellers")
    rows = json.loads(run("sandbox", "sellers", "--json").stdout)
    assert [row["seller"] for row in rows] == list(SELLERS) and {(row["seller"], chain) for row in rows for chain in row["chains"]} == PAIRS
    for row in rows:
        assert row["start"] == f"x402-agent sandbox up --seller {row['seller']}" and row["scenarios"] > 5
        assert row["dialect"] in told.stdout and row["sells"] in told.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--database", "one.db"), "one database is one seller's"),
        (("--chain", "doge"), "no chain 'doge'"),
        (("--scenario", "stuck"), "no scenario of shop is called 'stuck'"),
        (("--redis", "redis://127.0.0.1:1"), "the seller shop counts no calls"),
    ],
    ids=["a database", "a chain", "a scenario", "a redis"],
)
def test_what_all_of_them_cannot_be_is_said(words, said):
    done = run("sandbox", "up", "--seller", "all", *words)
    assert done.exit_code == 2 and said in done.stderr, done.output


def spent(url, *words):
    """What `get --sandbox` made of it, in a process of its own."""
    done = subprocess.run([*MAIN, "get", "--sandbox", "--json", url, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.mark.full
def test_one_command_starts_all_of_them_and_get_buys_from_each_and_uses_again_what_it_bought():
    with subprocess.Popen([*MAIN, "sandbox", "up", "--seller", "all", "--json"], stdout=subprocess.PIPE, text=True) as up:
        rows = []
        while "ready" not in (row := json.loads(up.stdout.readline())):
            rows.append(row)
        first = {}  # what each seller's own words say how to pay, and its tools as pages
        for row in rows:
            typed = row["pay_it"].split()
            first.setdefault((row["seller"], row["chain"]), typed[-1] if typed[0] == "x402-agent" else row["url"])
        assert len(first) == len(PAIRS) and {name for name, _ in first} == set(SELLERS)
        bought = {}
        for (name, chain), url in first.items():
            if name == "catalogue" or (name == "mcp" and (name, chain) != next(each for each in first if each[0] == "mcp")):
                continue  # the shop once more
            ended = threading.Event()
            thread = threading.Thread(target=_hurried, args=(url, ended)) if name == "monitor" else None
            if thread:
                thread.start()
            try:
                one = spent(url, "--expect-calls", EXPECTED.get(name, "20"))
            finally:
                ended.set()
                if thread:
                    thread.join()
            assert one["payment"]["outcome"] == "spent", (name, chain, one)
            two = spent(url)
            assert two["body"] and (two["payment"] is None) == (two["opened_by"] is not None)
            assert name != "kamiyo" or two["opened_by"]["left"] > 0
            bought[name, chain] = two["opened_by"] and two["opened_by"]["payment_id"] == one["payment"]["payment_id"]
        # x402 sells one answer at a time; every other dialect's second call is opened by what the first one bought
        others = {name for name, _ in first if next(row for row in rows if row["seller"] == name)["dialect"] != "x402"}
        assert all(bool(again) == (name in others) for (name, _), again in bought.items()), bought
        assert {"kamiyo", "x402pay", "monitor"} <= others
        up.terminate()
        assert up.wait(60) == 0


def _hurried(url, ended):
    """The sandbox's clock goes on: its monitor tells what is a minute old."""
    origin = url.rpartition("/")[0]
    while not ended.wait(1):
        assert httpx2.post(f"{origin}/sandbox/warp", json={"seconds": 20}, timeout=30).status_code == 200


def test_a_port_that_another_sandbox_had_knows_nothing_of_what_that_one_sold(tmp_path):
    """Its credentials are sealed by a key that is gone: they are forgotten, and not complained of at every call."""
    from types import SimpleNamespace

    from x402_agent import Payer, Settings
    from x402_agent.cli.sandbox import _begin_anew
    from x402_agent.ledger import SqliteLedger

    settings = Settings.load()
    with Payer.sandbox(seller="x402pay", serve=True, ledger=settings.sandbox_ledger) as payer, payer.client() as http:
        box = payer.sandbox
        http.get(box.url("/articles/paying-by-transfer"))
        assert [token.origin for token in payer.ledger.tokens()] == [box.origin]
        origin = box.origin
    for other, left in (("http://127.0.0.1:1", 1), (origin, 0)):
        _begin_anew(settings, [SimpleNamespace(origin=other, ground=SimpleNamespace(allowances=[]))])
        kept = SqliteLedger(settings.sandbox_ledger, sandbox=True)
        assert len(kept.tokens()) == left
        kept.shut()


@pytest.mark.full
def test_the_second_sandbox_says_so_and_the_end_of_the_first_takes_nothing_from_it(tmp_path):
    """One payer.json for both: it is the last one's, until that one ends."""
    env = {**os.environ, "X402_AGENT_HOME": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}
    words = [*MAIN, "sandbox", "up", "--json"]
    kept = tmp_path / "sandbox" / "payer.json"

    def ready(up):
        url = ""
        while "ready" not in (row := json.loads(up.stdout.readline())):
            url = "/".join(row["url"].split("/")[:3])
        return url

    with subprocess.Popen(words, **pipes) as one, ExitStack() as ended:
        ended.callback(one.terminate)
        ready(one)
        with subprocess.Popen(words, **pipes) as two, ExitStack() as over:
            over.callback(two.kill)
            url = ready(two)
            one.terminate()
            assert one.wait(60) == 0 and one.stderr.read() == ""
            assert url in json.loads(kept.read_text())[0]["url"]
            left = kept.read_text()
            two.terminate()
            assert two.wait(60) == 0 and not kept.exists()
            (line,) = two.stderr.read().splitlines()
            assert "commands with --sandbox go to this one" in line and "sandbox up --seller all" in line and "X402_AGENT_HOME" in line
    for there, ours in ((left, set()), (left[:9], set()), ("[7]", set()), (left, {url})):  # killed, half written, not ours, ours again
        kept.write_text(there)
        assert not _another_runs(kept, ours)


def test_who_forgets_to_say_sandbox_is_told_that_he_did():
    from x402_agent import Payer, Settings
    from x402_agent.cli.sandbox import _facts, _leave_key

    with Payer.sandbox(serve=True) as payer:
        _leave_key(Settings.load().data_dir / "sandbox" / "payer.json", _facts(payer.sandbox))
        url = payer.sandbox.url("/joke")
        for words in ([], ["--dry-run"], ["--json"]):
            told = run("get", url, *words)
            assert told.exit_code == 6 and f"x402-agent get --sandbox {url}" in told.output and "X402_AGENT_NETWORKS" not in told.output
        for verb, *more in (("buy", "--calls", "2"), ("balance",), ("top-up", "0.10")):
            told = run("credentials", verb, url, *more)
            assert told.exit_code == 2 and f"x402-agent credentials {verb} --sandbox {url}" in told.output
            assert "is not a URL" in run("credentials", verb, url.removeprefix("http://"), *more).output
        assert run("get", "--sandbox", url).exit_code == 0


def test_what_opened_the_door_is_told_to_people_and_programs():
    from x402_agent import Payer, Settings
    from x402_agent.cli.sandbox import _facts, _leave_key

    with Payer.sandbox(seller="x402pay", serve=True) as payer:
        _leave_key(Settings.load().data_dir / "sandbox" / "payer.json", _facts(payer.sandbox))
        url = payer.sandbox.url("/articles/paying-by-transfer")
        one = json.loads(run("get", "--sandbox", url, "--json").stdout)
        two = json.loads(run("get", "--sandbox", url, "--json").stdout)
        assert one["opened_by"] is None and two["payment"] is None
        dry = run("get", "--sandbox", "--dry-run", url)
        assert dry.exit_code == 0 and f"would pay nothing: what payment {one['payment']['payment_id']} bought opens it" in dry.output and "would pay 0" not in dry.output
        assert json.loads(run("get", "--sandbox", "--dry-run", "--json", url).stdout)["opened_by"]["payment_id"] == one["payment"]["payment_id"]
        assert two["opened_by"] == {**two["opened_by"], "payment_id": one["payment"]["payment_id"], "left": None}
        assert run("get", "--sandbox", url).stderr == f"nothing new was paid: what payment {one['payment']['payment_id']} bought was shown again\n"


def test_how_many_more_is_the_lower_of_both_counts():
    told = _Told(aloud=False)
    bought = Credential("http://127.0.0.1:1", "/", {}, payment_id="p", uses_left=7, name="n")
    for step, value in ((Look(None), bought), (Use(bought), replace(bought, uses_left=6)), (Return(bought, 4), None)):
        told(None, step, value)
    assert told.opened(None, 200) == {"payment_id": "p", "credential": "n", "left": 4} and told.opened(None, 402) is None
    told(None, Return(bought, refused=True), None)
    assert told.opened(None, 200) is None


@pytest.mark.full  # six blocks pass
def test_a_dry_run_of_a_list_does_not_say_that_a_token_opens_it():
    from x402_agent import Payer, Settings
    from x402_agent.cli.sandbox import _facts, _leave_key

    with Payer.sandbox(seller="kamiyo", serve=True) as payer:
        _leave_key(Settings.load().data_dir / "sandbox" / "payer.json", _facts(payer.sandbox))
        url = payer.sandbox.url("/exploits")
        assert run("get", "--sandbox", url, "--expect-calls", "100").exit_code == 0
        listed = run("get", "--sandbox", "--dry-run", payer.sandbox.url("/.well-known/x402"))
        assert listed.exit_code != 0 and "opens it" not in listed.output and "is not sold itself" in listed.output
        assert "bought opens it" in run("get", "--sandbox", "--dry-run", url).output
