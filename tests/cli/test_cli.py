"""The commands as people and programs call them: output, JSON, exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

import nursery
from x402_agent import Payer, Policy, Wallet
from x402_agent.cli.app import app
from x402_agent.cli.arrows import Arrows
from x402_agent.sandbox import Sandbox
from x402_agent.steps import Busy, Hold

COMMANDS = [["try"], ["get"], ["log"], ["why"], ["budget"], ["budget", "set"], ["budget", "show"], ["pins"], ["pin"], ["unpin"],
            ["budget", "pause"], ["budget", "resume"], ["budget", "revoke"], ["resume"], ["doctor"],
            ["ledger"], ["ledger", "verify"], ["ledger", "repair"], ["ledger", "export"], ["ledger", "stats"], ["ledger", "cleanup"], ["ledger", "test"],
            ["approve"], ["approve", "list"], ["approve", "show"], ["approve", "yes"], ["approve", "no"],
            ["wallet", "approve"], ["wallet", "transactions"], ["sandbox"], ["sandbox", "up"], ["sandbox", "scenarios"]]  # fmt: skip


def run(*words):
    return CliRunner().invoke(app, list(words))


def spawn(*words, **options):
    return nursery.cli(*words, **options)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_teaches(words):
    done = run(*words, "--help")
    assert done.exit_code == 0 and "Usage" in done.output


def test_try_shows_the_conversation_in_its_order_and_reads_the_transaction_back():
    start = time.monotonic()
    done = run("try")
    assert done.exit_code == 0, done.output
    marks = ["sandbox  http://127.0.0.1:", "--> GET  /joke", "<-- 402  asks 0.0100 USDC  (x402 v2, exact, eip155:84532",
             "policy   allowed   0.0100 <= 0.10 per call", "of 5.00 today", "hold     0.0100", "proof    ",
             "written down, then sent", "--> GET  /joke   + PAYMENT-SIGNATURE", "<-- 200  settled   tx 0x",
             "read back from the EVM", "now in Python", "next: x402-agent log"]  # fmt: skip
    places = [done.output.index(mark) for mark in marks]
    assert places == sorted(places)
    assert time.monotonic() - start < 60


def test_try_as_json_then_log_and_why():
    facts = json.loads(run("try", "--json").output)
    assert facts["status"] == 200 and facts["read_back"] is True
    payment = facts["payment"]["payment_id"]
    listed = [json.loads(line) for line in run("log", "--json").output.splitlines()]
    assert [one["payment_id"] for one in listed] == [payment] and listed[0]["outcome"] == "spent"
    assert payment in run("log").output
    told = json.loads(run("why", payment[:6], "--json").output)
    assert [move["to"] for move in told["events"]][-1] == "CLAIMED"
    assert "spent (CLAIMED)" in run("why", payment[:6]).output


def test_why_and_log_link_a_transaction_outside_the_sandbox():
    with Sandbox() as box:
        box.serve()
        payer = Payer(wallet=Wallet.from_key(box.payer_key), policy=Policy(networks=("testnet",)))
        with payer, payer.client() as http:
            receipt = http.get(box.url("/joke")).extensions["payment"]
    page = f"https://sepolia.basescan.org/tx/{receipt.transaction}"
    assert f"explorer   {page}" in run("why", receipt.payment_id).output
    assert run("log").output.strip().endswith(page)
    assert json.loads(run("why", receipt.payment_id, "--json").output)["explorer"] == page
    run("try")
    sandboxed = json.loads(run("log", "--json").output.splitlines()[-1])
    assert sandboxed["sandbox"] is True and sandboxed["explorer"] == ""


def test_why_of_what_a_person_was_asked_about_names_the_payment_that_was_made():
    now = [time.time()]

    def slow(_request):
        now[0] += 100
        return True

    with Sandbox() as box:
        box.serve()
        policy = Policy(networks=("testnet",), approve_above=0, max_lifetime=60)
        payer = Payer(wallet=Wallet.from_key(box.payer_key), policy=policy, approve=slow, clock=lambda: now[0])
        with payer, payer.client() as http:
            made = http.get(box.url("/joke")).extensions["payment"]
            (asked,) = [each for each in payer.ledger.payments() if each.state == "RELEASED"]
    assert f"try        x402-agent why {made.payment_id[:8]}" in run("why", asked.payment_id).output


def test_who_waits_for_another_payment_is_no_line_of_the_conversation():
    lines = []
    for before in (Busy("", how="signs"), None):
        Arrows(lines.append, ledger="", per_call=1)(None, Hold(None, None, ()), before)
    assert lines == []


@pytest.fixture
def sandbox():
    """`sandbox up --json` in another process, as a developer runs it."""
    made = []

    def up(scenario="honest"):
        process = subprocess.Popen(
            [sys.executable, "-c", "from x402_agent.cli import main; main()", "sandbox", "up", "--scenario", scenario, "--json"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        made.append(process)
        sellers = []
        for line in process.stdout:
            facts = json.loads(line)
            if facts == {"ready": True}:
                break
            sellers.append(facts)
        assert all({"url", "dialect", "chain"} <= set(one) for one in sellers)
        return next(one["url"] for one in sellers if one["url"].endswith("/joke")).removesuffix("/joke")

    yield up
    for process in made:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()


def test_in_the_sandbox_the_command_that_a_refusal_names_works_there(sandbox):
    url = sandbox() + "/upto"
    assert spawn("get", "--sandbox", url).returncode == 0  # its payer starts with an allowance
    assert spawn("wallet", "approve", "USDC", "--for", "permit2", "--revoke", "--sandbox", "--yes").returncode == 0
    refused = spawn("get", "--sandbox", "--json", url)
    hint = json.loads(refused.stdout or refused.stderr)["hint"]
    assert refused.returncode == 6 and hint.startswith("x402-agent wallet approve ") and hint.endswith(" --sandbox")
    approved = spawn(*hint.split()[1:], "--yes")
    assert approved.returncode == 0, approved.stderr
    assert spawn("get", "--sandbox", url).returncode == 0


def test_get_pays_streams_and_exits_as_promised(sandbox):
    url = sandbox()
    done = spawn("get", "--sandbox", url + "/joke")
    assert (done.returncode, "joke" in done.stdout, "spent" in done.stderr) == (0, True, True), done.stderr
    facts = json.loads(spawn("get", "--sandbox", url + "/joke", "--json").stdout)
    assert facts["payment"]["outcome"] == "spent" and facts["payment"]["amount"] == "10000"
    posted = spawn("get", "--sandbox", url + "/upload", "-d", "hello", "-H", "content-type: text/plain")
    assert posted.returncode == 0 and "5" in posted.stdout, posted.stderr
    dear = spawn("get", "--sandbox", url + "/dear")
    assert dear.returncode == 3 and "BudgetExceeded" in dear.stderr and dear.stdout == ""
    assert spawn("get", "--sandbox", url + "/joke", "--max", "0.001").returncode == 3
    plain = spawn("get", "--sandbox", url + "/free")
    assert plain.returncode == 0 and plain.stderr == ""


def test_a_key_buys_once_and_again_buys_anew(sandbox):
    url = sandbox()

    def buy(*words):
        done = spawn("get", "--sandbox", "--json", "--key", "k1", *words)
        facts = json.loads(done.stdout)
        return done.returncode, facts.get("payment") or facts

    first, second, anew, repeat = buy(url + "/joke"), buy(url + "/joke"), buy(url + "/joke", "--again"), buy(url + "/joke")
    assert [code for code, _ in (first, anew)] == [0, 0]
    assert [facts["outcome"] for _, facts in (first, second, anew, repeat)] == ["spent"] * 4
    ids = [facts["payment_id"] for _, facts in (first, second, anew, repeat)]
    assert ids[0] == ids[1] != ids[2] == ids[3]
    assert [facts["again"] for _, facts in (first, second, anew, repeat)] == [False, True, False, True]
    told = spawn("get", "--sandbox", "--key", "k1", url + "/joke")
    said = "nothing new was paid: the proof of that earlier payment was shown again, and the answer was 402; --again buys anew"
    assert told.returncode == 1 and said in told.stderr and told.stderr.count("--again") == 1
    assert "nothing new" not in spawn("get", "--sandbox", "--key", "k2", url + "/joke").stderr
    why = spawn("why", ids[0][:8]).stdout
    assert "X402_AGENT_NODES" not in why and "it asks the sandbox's chain" in why
    code, denied = buy(url + "/joke", "-d", "another body")
    assert code == 3 and denied["error"] == "PolicyDenied" and "X8" in denied["rule"] and denied["payment_id"] in ids
    assert len(spawn("log", "--json").stdout.splitlines()) == 3


def test_no_again_never_buys_twice(sandbox):
    url = sandbox() + "/joke"
    first, second = (json.loads(spawn("get", "--sandbox", "--json", "--no-again", url).stdout) for _ in range(2))
    assert first["payment"]["payment_id"] == second["payment"]["payment_id"]
    assert second["payment"]["outcome"] == "spent"


def test_dry_run_signs_nothing(sandbox):
    url = sandbox()
    done = spawn("get", "--sandbox", "--dry-run", url + "/choice")
    assert done.returncode == 0 and "would pay 0.0100 USDC" in done.stderr and "left today 4.99" in done.stderr
    facts = json.loads(spawn("get", "--sandbox", "--dry-run", "--json", url + "/choice").stdout)
    assert facts["signed"] is False and sum(one["chosen"] for one in facts["offers"]) == 1
    assert spawn("log", "--json").stdout == ""


def test_in_doubt_is_exit_5_and_resume_shows_the_same_proof(sandbox):
    url = sandbox("settles_then_500")
    done = spawn("get", "--sandbox", url + "/joke")
    assert done.returncode == 5 or "spent" in done.stderr, done.stderr
    again = spawn("resume", "--json")
    results = json.loads(again.stdout)
    assert len(results) <= 1
    assert len(spawn("log", "--json").stdout.splitlines()) == 1


def test_without_a_key_nothing_is_acceptable(sandbox, monkeypatch):
    url = sandbox()
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")
    done = spawn("get", url + "/joke")
    assert done.returncode == 6 and "X402_AGENT_EVM_KEY" in done.stderr
    facts = json.loads(spawn("get", url + "/joke", "--json").stdout)
    assert facts["error"] == "NoAcceptableOffer" and facts["exit"] == 6


def test_budget_is_written_with_file_and_line():
    done = run("budget", "set", "2.00/day", "--per-call", "0.20", "--host", "api.example.com")
    assert done.exit_code == 0 and "policy.toml:" in done.output
    shown = json.loads(run("budget", "--json").output)
    assert {"scope", "rule", "micros", "left"} <= set(shown[0]) and any(one["micros"] == 2_000_000 for one in shown)
    assert run("budget", "set").exit_code == 2
    assert run("budget", "set", "lots/day").exit_code == 2
    assert "forgot 0" in run("unpin", "https://x.test").output


@pytest.mark.parametrize("words", [["get", "no-url"], ["get", "http://127.0.0.1:1/", "-H", "x"], ["log", "--by", "x"], ["nothing"]], ids=" ".join)
def test_usage_is_exit_2(words):
    assert run(*words).exit_code == 2


def test_unreachable_is_exit_1_and_says_that_nothing_was_paid():
    done = spawn("get", "http://127.0.0.1:1/")
    assert done.returncode == 1 and "nothing was paid" in done.stderr and "try          x402-agent sandbox up" in done.stderr


def test_a_bad_key_is_never_shown(monkeypatch):
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "0x" + "zq" * 32)
    done = spawn("get", "http://127.0.0.1:1/")
    assert done.returncode == 2 and "zq" not in done.stdout + done.stderr
    assert run("doctor").exit_code == 1


def test_doctor_and_empty_log():
    done = json.loads(run("doctor", "--json").output)
    assert {one["check"] for one in done} >= {"key", "policy", "sellers", "ledger", "clock", "evm"}
    assert "nothing was paid yet" in run("log").output
    assert "nothing is in doubt" in run("resume").output


def test_doctor_misses_a_ledger_that_was_deleted(monkeypatch, tmp_path):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    box = Sandbox()
    box.serve()
    env = {"X402_AGENT_HOME": str(tmp_path), "X402_AGENT_EVM_KEY": "0x" + box.payer_key.hex(), "X402_AGENT_NETWORKS": "testnet"}
    with Payer.from_env(env=env) as payer, payer.client() as client:
        assert client.get(box.origin + "/joke").status_code == 200
    box.stop()
    for each in tmp_path.glob("ledger.db*"):
        if each.is_file():
            each.unlink()
    done = run("doctor")
    assert done.exit_code == 1 and "deleted or replaced" in done.output


def test_doctor_says_whether_the_wallet_can_be_read(monkeypatch, tmp_path):
    from x402_agent.secret import Secret
    from x402_agent.wallet.file import Entry, WalletFile

    path = tmp_path / "home" / "wallet.json"
    path.parent.mkdir(mode=0o700)
    WalletFile.create(path, [Entry("key", Secret(bytes.fromhex("22" * 32)))], Secret("correct horse"), n=4096)

    def said():
        return next(one for one in json.loads(run("doctor", "--json").output) if one["check"] == "key")

    assert said()["ok"] is True and "locked" in said()["said"] and "0x1563915e" in said()["said"]
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", "incorrect horse")
    assert said()["ok"] is False and "does not open" in said()["said"] and "incorrect" not in said()["said"]
    path.chmod(0o644)
    assert "chmod 600" in said()["said"]


def test_a_first_payment_on_the_pretend_tron():
    done = run("try", "--chain", "tron")
    assert done.exit_code == 0, done.output
    assert "asks 0.0101 USDT" in done.output, "price and fee"
    assert "read back from the TRON double" in done.output
    assert json.loads(run("try", "--chain", "tron", "--json").output)["payment"]["outcome"] == "spent"
