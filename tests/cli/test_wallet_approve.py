"""`wallet approve`: a person says yes, an exact amount moves, and nothing that hangs, leaks or is said twice."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import nursery
from x402_agent import Settings
from x402_agent.cli.app import app
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import Sandbox
from x402_agent.transport import fetch

PERMIT2 = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
START = 1_000_000_000  # what the sandbox's payer has approved at first
COMMAND = [sys.executable, "-c", "from x402_agent.cli import main; main()"]


@pytest.fixture(scope="module")
def box():
    with Sandbox() as one:
        one.serve()
        yield one


@pytest.fixture
def run(box, monkeypatch):
    monkeypatch.setenv("X402_AGENT_EVM_KEY", box.payer_key.hex())
    monkeypatch.setenv("X402_AGENT_NODES", f"base-sepolia={box.rpc_url}")
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")

    def go(*words, node=None):
        if node is not None:
            monkeypatch.setenv("X402_AGENT_NODES", node)
        return CliRunner().invoke(app, ["wallet", "approve", *words])

    return go


def ledger():
    return SqliteLedger(Settings.load().ledger_path)


def test_approve_then_again_then_revoke(run, box):
    first = run("USDC", "--for", "permit2", "--amount", "1020.5", "--yes")
    assert first.exit_code == 0, first.output
    for said in ("allow     permit2 (0x000000000022D473030F116dDEE9F6B43aC78BA3)", "1020.5000 USDC (base-sepolia)", box.payer_address,
                 "gas       at most 0.0", "written down: 0x", "in block", "confirmed"):  # fmt: skip
        assert said in first.output
    assert box.ground.allowance == 1_020_500_000
    again = json.loads(run("USDC", "--amount", "1020.5", "--yes", "--json").output)
    assert (again["transaction"], again["left"]) == ("", "1020500000")
    gone = run("USDC", "--revoke", "--yes", "--json", "--network", "base-sepolia")
    assert "to take no USDC any more" in gone.stderr
    facts = json.loads(gone.stdout)
    assert (facts["state"], facts["left"], facts["amount"], box.ground.allowance) == ("CONFIRMED", "0", "0", 0)
    assert facts["explorer"].endswith(facts["transaction"]) and int(facts["fee"]) > 0
    assert [row.kind for row in ledger().transactions()] == ["approve", "revoke"]


def test_the_command_that_a_refusal_names_is_all_it_takes(run, box):
    def get():
        return CliRunner().invoke(app, ["get", "--json", box.url("/upto")])

    before = get()
    assert before.exit_code == 6
    hint = json.loads(before.stdout or before.stderr)["hint"]
    assert hint == "x402-agent wallet approve USDC --for permit2 --amount 1 --network base-sepolia"
    assert run(*hint.split()[3:], "--yes").exit_code == 0
    assert box.ground.allowance == 1_000_000
    moved = len(box.settlements)
    assert get().exit_code == 0
    assert [one.amount for one in box.settlements[moved:]] == [12_000]
    assert CliRunner().invoke(app, ["resume"]).exit_code == 0
    assert box.ground.allowance == 1_000_000 - 12_000
    assert [(row[3], row[4]) for row in ledger().allowances()] == [(PERMIT2.lower(), box.ground.allowance)]
    assert run("USDC", "--revoke", "--yes").exit_code == 0
    assert get().exit_code == 6


@pytest.mark.parametrize(("words", "code", "said"), [
    (["USDC", "--amount", "2000"], 2, "add --yes"),
    (["USDC"], 2, "an amount, or --revoke"),
    (["USDC", "--amount", "1", "--revoke"], 2, "an amount, or --revoke"),
    (["USDC", "--amount", "1", "--for", "0xevil"], 2, "--for permit2"),
    (["USDC", "--amount", "1", "--network", "nowhere"], 2, "no network"),
    (["DAI", "--amount", "1"], 2, "no token of base-sepolia"),
    (["USDC", "--amount", "1", "--network", "base"], 2, "X402_AGENT_NODES=base="),
    (["USDC", "--amount", "2000", "--yes", "--max-fee", "0.000000000000000001"], 3, "C8"),
    (["USDC", "--amount", "1", "--yes", "--wait", "nan"], 2, "--wait"),
    *((["USDC", "--yes", f"--amount={bad}"], 2, "--amount") for bad in
      ("0", "-1", "1e9", "unlimited", "0.0000001", "１０", "1_000", "", "0x10", " 1", "9" * 40, "9" * 30, "1000001")),
])  # fmt: skip
def test_what_is_refused_before_anything_is_signed(words, code, said, run, box):
    nonce = box.ground.chain.nonce(box.payer_address)
    done = run(*words)
    assert done.exit_code == code and said in done.output, done.output
    assert box.ground.chain.nonce(box.payer_address) == nonce
    as_json = run(*words, "--json")
    assert as_json.exit_code == code and json.loads(as_json.stdout)["exit"] == code


def test_no_key(run, monkeypatch):
    monkeypatch.delenv("X402_AGENT_EVM_KEY")
    done = run("USDC", "--amount", "1", "--yes")
    assert done.exit_code == 6 and "no key" in done.output


def test_C19_a_node_that_is_not_there_is_named_by_host_alone(run):
    url = "http://needle1:needle2@127.0.0.1:1/v2/needle3?key=needle4"
    done = run("USDC", "--amount", "1", "--yes", node=f"base-sepolia={url}")
    assert done.exit_code == 1 and "http://127.0.0.1: no answer" in done.output
    assert "needle" not in done.output


def test_in_doubt_then_resume(run, box, monkeypatch, tmp_path):
    from x402_agent.chains.evm import reads

    def lost(node, raw):
        return
        yield

    monkeypatch.setattr(fetch, "time", SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: None))
    honest = reads.send_raw
    monkeypatch.setattr(reads, "send_raw", lost)
    done = run("USDC", "--amount", "1500", "--yes", "--wait", "0.5")
    assert done.exit_code == 5 and "x402-agent resume 0x" in done.output, done.output
    (row,) = ledger().transactions()
    still = CliRunner().invoke(app, ["resume", row.txid[:12]])
    assert still.exit_code == 5 and "INFLIGHT -> INFLIGHT" in still.output
    monkeypatch.setattr(reads, "send_raw", honest)
    after = CliRunner().invoke(app, ["resume", "--json"])
    assert after.exit_code == 0, after.output
    (facts,) = json.loads(after.output)
    assert (facts["payment_id"], facts["before"], facts["after"]) == (row.txid, "INFLIGHT", "CONFIRMED")
    assert box.ground.allowance == 1_500_000_000


def at_a_terminal(answer, words, env):
    """Run the command at a pseudo-terminal, type the answer; -> exit code and what was shown."""
    main, other = pty.openpty()
    process = subprocess.Popen([*COMMAND, *words], stdin=other, stdout=other, stderr=other, env=env, start_new_session=True)
    os.close(other)
    shown, typed = b"", False
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
        if b"[y/N]" in shown and not typed:
            os.write(main, answer)
            typed = True
    os.close(main)
    return process.wait(120), shown.decode()


@pytest.mark.parametrize(("answer", "code"), [(b"y\n", 0), (b"n\n", 3), (b"\n", 3)])
def test_a_person_is_asked_at_a_terminal(answer, code, box, tmp_path):
    amount = box.ground.allowance + 1_000_000
    env = {**os.environ, "X402_AGENT_EVM_KEY": box.payer_key.hex(), "X402_AGENT_NODES": f"base-sepolia={box.rpc_url}"}
    done, shown = at_a_terminal(answer, ["wallet", "approve", "USDC", "--amount", str(amount // 10**6)], env)
    assert done == code, shown
    assert "send it? [y/N]" in shown and box.payer_key.hex() not in shown
    assert (box.ground.allowance >= amount // 10**6 * 10**6) is (code == 0)


def test_nobody_at_a_pipe_is_kept_waiting(box):
    env = {**os.environ, "X402_AGENT_EVM_KEY": box.payer_key.hex(), "X402_AGENT_NODES": f"base-sepolia={box.rpc_url}"}
    read, write = os.pipe()  # open, and silent for ever
    done = subprocess.run([*COMMAND, "wallet", "approve", "USDC", "--amount", "5000"], stdin=read, env=env, timeout=120,
                          capture_output=True, text=True)  # fmt: skip
    os.close(read)
    os.close(write)
    assert done.returncode == 2 and "nobody can be asked" in done.stderr


def test_in_the_running_sandbox(tmp_path):
    env = {**os.environ, "X402_AGENT_HOME": str(tmp_path / "home")}
    process = subprocess.Popen([*COMMAND, "sandbox", "up", "--json"], stdout=subprocess.PIPE, text=True, env=env)
    try:
        for line in process.stdout:
            if json.loads(line) == {"ready": True}:
                break
        done = nursery.cli("wallet", "approve", "USDC", "--amount", "1234", "--sandbox", "--yes", "--json", env=env)
        facts = json.loads(done.stdout)
        assert (done.returncode, facts["state"], facts["left"]) == (0, "CONFIRMED", "1234000000"), done.stderr
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def test_transactions_are_listed_with_their_fees_and_what_is_left(run, box):
    assert "none yet" in CliRunner().invoke(app, ["wallet", "transactions"]).output
    amount = box.ground.allowance // 10**6 + 1
    sent = json.loads(run("USDC", "--amount", str(amount), "--yes", "--json").stdout)
    shown = CliRunner().invoke(app, ["wallet", "transactions"]).output
    assert f"CONFIRMED  approve {amount}.0000 USDC (base-sepolia)  fee 0.0" in shown and sent["transaction"] in shown
    assert f"{amount}.0000 USDC (base-sepolia) may be taken by 0x000000000022d473030f116ddee9f6b43ac78ba3" in shown
    facts = json.loads(CliRunner().invoke(app, ["wallet", "transactions", "--json"]).output)
    assert facts["transactions"][0]["fee"] == sent["fee"] and facts["allowances"][0]["left"] == f"{amount}000000"
    assert "raw" not in facts["transactions"][0]


def test_doctor_shows_what_the_account_has_and_which_node_lies(run, box, monkeypatch):
    def nodes(url):
        monkeypatch.setenv("X402_AGENT_NODES", f"base-sepolia={url}")
        done = CliRunner().invoke(app, ["doctor", "--json"])
        assert "needle" not in done.output
        return done.exit_code, next(one for one in json.loads(done.output) if one["check"] == "node base-sepolia")

    code, fine = nodes(box.rpc_url)
    assert fine["ok"] and "USDC, " in fine["said"] and "of its coin" in fine["said"] and "at block " in fine["said"]
    code, down = nodes("http://127.0.0.1:1/needle")
    assert code == 1 and not down["ok"] and "http://127.0.0.1: no answer" in down["said"]
    code, fine = nodes(f"http://127.0.0.1:1/needle|{box.rpc_url}")
    assert code == 0 and fine["ok"] is None and f"{'http://127.0.0.1'} is asked instead" in fine["said"]
    monkeypatch.setenv("X402_AGENT_NODES", f"base={box.rpc_url}")
    done = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).output)
    assert any("on chain 84532, not on 8453 (C3)" in one["said"] and not one["ok"] for one in done)
