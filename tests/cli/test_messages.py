"""What a person reads when something is not as it should be: true, and a next step that works."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from x402_agent import Budget, BudgetExceeded, Payer, Settings, __version__
from x402_agent.cli import ahead, common, get, sandbox, try_
from x402_agent.cli.app import app
from x402_agent.ledger import SqliteLedger


def run(*words):
    return CliRunner().invoke(app, list(words))


def closed(streams, *words):
    """Run with some of the standard streams closed."""
    command = f'exec "{sys.executable}" -c "from x402_agent.cli import main; main()" {" ".join(words)} {streams}'
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=180)


def test_version():
    assert run("--version").output.strip() == f"x402-agent {__version__}"


@pytest.mark.parametrize(("streams", "words", "code"), [
    ("<&-", ["wallet", "import"], 1), (">&-", ["log"], 0), ("2>&-", ["log"], 0), ("<&- >&- 2>&-", ["budget"], 0),
])  # fmt: skip
def test_a_closed_stream_is_no_crash(streams, words, code):
    done = closed(streams, *words)
    assert done.returncode == code and "Traceback" not in done.stdout + done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
@pytest.mark.parametrize(("words", "code"), [
    (["log", "--path"], 1), (["log", "--path", "--json"], 1), (["doctor"], 1), (["--help"], 1), (["try", "--scenario", "settles_then_500"], 5),
])  # fmt: skip
def test_a_full_disk_behind_the_output_is_said_in_words(words, code, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = closed(">/dev/full", *words)
    assert done.returncode == code and "cannot be written: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_what_was_paid_and_cannot_be_written_is_named(monkeypatch):
    class Full:
        def write(self, chunk):
            raise OSError(28, "full")

    said = []
    with Payer.sandbox() as payer:
        monkeypatch.setattr(get.sys, "stdout", type("Out", (), {"buffer": Full(), "isatty": lambda _: False})())
        monkeypatch.setattr(get, "say", said.append)
        with pytest.raises(OSError, match="full"):
            get._fetch(payer, "GET", payer.sandbox.url("/joke"), {}, [], json=False)
        assert payer.ledger.payments()[0].payment_id in said[0] and "--no-again" in said[0]


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1", "cp437"])
def test_an_encoding_without_our_letters_ends_no_payment(encoding):
    done = subprocess.run([sys.executable, "-c", "from x402_agent.cli import main; main()", "try"], capture_output=True, timeout=180,
                          env={**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, check=False)  # fmt: skip
    assert done.returncode == 0 and b"read back from the EVM" in done.stdout and done.stderr == b""


def test_bytes_that_are_no_text_are_refused_before_anything_is_done():
    done = subprocess.run([sys.executable, "-c", "from x402_agent.cli import main; main()", "log", "--json", "--host", b"\xfc.example"],
                          capture_output=True, timeout=180, check=False)  # fmt: skip
    assert done.returncode == 2 and json.loads(done.stdout)["hint"] == "export LC_ALL=C.UTF-8"


def test_a_signer_without_a_key_is_not_fine(monkeypatch):
    def key():
        return next(one for one in json.loads(run("signer", "doctor", "--json").output) if one["check"] == "key")

    assert key()["ok"] is False and "wallet new" in key()["said"]
    monkeypatch.setenv("X402_AGENT_EVM_KEY", "11" * 32)
    assert key()["ok"] is not False


def test_no_color(monkeypatch):
    monkeypatch.setattr(common.sys, "stdout", type("Terminal", (), {"isatty": lambda _: True})())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert common.colored()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not common.colored()


def test_resume_does_not_pass_over_your_ledger_when_a_setting_is_wrong(monkeypatch):
    SqliteLedger(Settings.load().ledger_path).shut()
    assert "nothing is in doubt" in run("resume").output
    monkeypatch.setenv("X402_AGENT_NETWORKS", "bse")
    done = run("resume")
    assert done.exit_code == 2 and "'bse'" in done.output and "nothing is in doubt" not in done.output


def test_resume_says_that_a_sandbox_which_is_gone_has_payments_in_doubt():
    assert run("try", "--scenario", "settles_then_500").exit_code == 5
    done = run("resume")
    assert done.exit_code == 0 and "in doubt" in done.output and "nothing is in doubt" not in done.output


def test_what_the_chain_of_a_sandbox_confirmed_is_not_called_in_doubt():
    with Payer.sandbox("settles_then_500", ledger=Settings.load().sandbox_ledger, serve=True) as payer, payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 500
        assert [one.after for one in payer.resume()] == ["CONFIRMED"]
    assert "nothing is in doubt" in run("resume").output


def test_resume_of_an_unknown_transaction():
    done = run("resume", "0xabcdef")
    assert done.exit_code == 1 and "wallet transactions" in done.output


@pytest.mark.parametrize("host", ["https://api.example.com", "api.example.com/x", "api.example.com:8443"])
def test_a_limit_that_no_request_can_meet_is_refused(host):
    done = run("budget", "set", "1/day", "--host", host)
    assert done.exit_code == 2 and "no request goes to" in done.output
    path = Settings.load().policy_path
    assert not path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'[hosts."{host}"]\nday = "1"\n')
    done = run("budget")
    assert done.exit_code == 2 and "policy.toml:1" in done.output


def test_a_limit_given_in_code_is_not_raised_by_a_command():
    with Payer.sandbox(budget=Budget("5/day", per_call="0.20")) as payer, payer.client() as http, pytest.raises(BudgetExceeded) as found:
        http.get(payer.sandbox.url("/dear"))
    assert found.value.hint == "a larger Budget(…) in code"
    with Payer.sandbox() as payer, payer.client() as http, pytest.raises(BudgetExceeded) as found:
        http.get(payer.sandbox.url("/dear"))
    assert "x402-agent budget set" not in found.value.hint


def test_doctor_finds_a_wrong_network(monkeypatch):
    monkeypatch.setenv("X402_AGENT_NETWORKS", "base,base-sepolia")
    policy = next(one for one in json.loads(run("doctor", "--json").output) if one["check"] == "policy")
    assert policy["ok"] is False and "X402_AGENT_NETWORKS" in policy["said"]


@pytest.mark.parametrize("words", [["--today"], ["--host", "x"], ["--in-doubt"], ["--follow"]], ids=" ".join)
def test_totals_stand_alone(words):
    assert run("log", "--by", "day", *words).exit_code == 2


def test_follow_sees_a_ledger_that_is_made_meanwhile():
    process = subprocess.Popen([sys.executable, "-u", "-c", "from x402_agent.cli import main; main()", "log", "--follow"],
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    try:
        assert "nothing was paid yet" in process.stdout.readline()
        payment = json.loads(run("try", "--json").output)["payment"]["payment_id"]
        assert payment in process.stdout.readline()
    finally:
        process.kill()
        process.wait(60)
        process.stdout.close()


@pytest.mark.parametrize(("path", "code"), [("/upfront-500", 1), ("/upfront", 0), ("/joke-500", 5)])
def test_paid_and_answered_with_an_error_is_not_ok(path, code, monkeypatch):
    with Payer.sandbox(serve=True) as payer:
        monkeypatch.setattr("x402_agent.cli.get.sandbox_payer", lambda _: payer)
        done = run("get", "--sandbox", payer.sandbox.url(path))
        assert done.exit_code == code, done.output
        assert ("paid, and the answer was 500" in done.output) is (code == 1)


def test_the_sandbox_is_marked_and_every_row_has_its_day():
    assert run("try").exit_code == 0
    assert "(base-sepolia, sandbox) may be taken by" in run("wallet", "transactions").output
    assert re.match(rf"{time.strftime('%Y')}-\d\d-\d\d \d\d:", run("log").output)


@pytest.mark.parametrize(("text", "said"), [
    ('per_cal = "0.10"', "try          per_call"), ('[budget."all"]\nday = "1"', "try          budgets"),
    ('day = "5.00"\nper_call = "0.1', "policy.toml:2\n"), ('assets = ["FOO"]', "assets in"),
])  # fmt: skip
def test_a_broken_policy_names_the_line_and_what_is_meant(tmp_path, text, said):
    path = tmp_path / "policy.toml"
    path.write_text(text + "\n")
    done = run("policy", "check", str(path))
    assert done.exit_code == 2 and said in done.output and "  try  " in done.output


def test_a_place_where_nothing_can_be_written_is_named_with_a_next_step(tmp_path, monkeypatch):
    """A file where the folder should be: that stops root as well."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path / "file" / "below"))
    for words in (["budget", "set", "1/day"], ["doctor"], ["sandbox", "up"]):
        done = run(*words)
        assert done.exit_code in (1, 2) and not isinstance(done.exception, OSError), done.output
    assert f"none yet, and {tmp_path / 'file'} cannot be written" in run("doctor").output
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("x402_agent.policy.edit.tempfile.mkstemp", lambda **_: os.open(tmp_path / "none" / "x", os.O_RDWR))
    done = run("budget", "set", "1/day")
    assert done.exit_code == 2 and "cannot be written" in done.output and "X402_AGENT_POLICY" in done.output


def test_a_program_on_no_path_is_named_as_it_was_typed(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(try_.sys, "argv", [str(tmp_path / ".venv/bin/x402-agent")])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert try_._program() == ".venv/bin/x402-agent"
    monkeypatch.setattr(try_.sys, "argv", ["pytest"])
    assert try_._program() == "x402-agent"


@pytest.mark.parametrize(("url", "fine"), [("http://approve.example.com/key", False), ("https://approve.example.com/key", True),
                                           ("http://127.0.0.1:8000/key", True), ("ftp://approve.example.com", False), ("approve", False)])  # fmt: skip
def test_policy_check_reads_where_a_webhook_lies(tmp_path, url, fine):
    path = tmp_path / "policy.toml"
    path.write_text(f'approve_above = "1.00"\n[approval]\nhow = "webhook"\nurl = "{url}"\n')
    done = run("policy", "check", str(path))
    assert done.exit_code == (0 if fine else 2) and "/key" not in done.output
    if not fine:
        assert "https, or http on this machine" in done.output and "policy.toml:4" in done.output


@pytest.mark.parametrize("words", [["try"], ["sandbox", "up"]])
def test_help_lists_the_chains(words):
    assert "evm, stacks, solana, tron" in " ".join(run(*words, "--help").output.replace("│", " ").split())


def test_what_a_caller_writes_into_a_path_is_no_command_for_the_terminal():
    line = sandbox._arrow(SimpleNamespace(method="GET", path="/\x1b[2J\n12:00:00  --> GET  /paid   + proof", proof=False))
    assert line.isprintable() and "\\x1b[2J" in line


def test_whose_sellers_there_are_is_said_where_one_looks():
    from x402_agent.sandbox import SELLERS

    told = run("sandbox", "scenarios").stderr
    shown = " ".join(run("sandbox", "up", "--help").output.split())
    for name, (_, _, chains) in SELLERS.items():
        words = f"{name} ({', '.join(chains)})" if chains else name
        assert words in told and words in shown
    wrong = run("sandbox", "up", "--seller", "monitor", "--chain", "evm")
    assert (wrong.exit_code, "--chain tron --seller monitor" in wrong.stderr) == (2, True)


@pytest.mark.parametrize(("words", "step"), [
    (("credentials", "buy", "URL", "--calls", "5"), "x402-agent credentials buy --sandbox URL --calls 5"),
    (("credentials", "buy", "URL", "--calls", "5", "-X", "POST"), "x402-agent credentials buy --sandbox URL --calls 5 -X POST"),
    (("credentials", "top-up", "URL", "0.50"), "x402-agent credentials top-up --sandbox URL 0.50"),
    (("credentials", "balance", "URL"), "x402-agent credentials balance --sandbox URL"),
    (("credentials", "balance", "--sandbox", "URL"), "x402-agent get --dry-run --sandbox URL"),
    (("credentials", "buy", "--sandbox", "URL", "--calls", "5"), "x402-agent get --dry-run --sandbox URL"),
    (("credentials", "buy", "--sandbox", "URL", "--calls", "0"), "--calls 200"),
    (("get", "--sandbox", "URL", "--expect-calls", "0"), "--expect-calls 200"),
    (("get", "--sandbox", "BAD"), "x402-agent get --dry-run --sandbox BAD"),
    (("sandbox", "up", "--seller", "nope"), "x402-agent sandbox sellers"),
], ids=lambda each: " ".join(each) if isinstance(each, tuple) else "")  # fmt: skip
def test_the_next_step_works_as_it_is_typed(seller, monkeypatch, words, step):
    """With the URL, the money and the options that were typed."""
    places = {"URL": seller.sells("/one"), "BAD": seller.serves("/bad", seller.answer(402, b'{"x402Version": 9, "accepts": []}'))}
    for room in (ahead, get):
        monkeypatch.setattr(room, "sandboxed", lambda *_: True)
        monkeypatch.setattr(room, "sandbox_payer", lambda _: Payer.sandbox(serve=True))
    done = run(*(places.get(word, word) for word in words), "--json")
    for name, url in places.items():
        step = step.replace(name, url)
    assert done.exit_code != 0 and json.loads(done.stdout)["hint"] == step, done.output


def test_who_looks_already_is_not_told_to_look(seller, monkeypatch):
    monkeypatch.setattr(get, "sandbox_payer", lambda _: Payer.sandbox(serve=True))
    done = run("get", "--sandbox", "--dry-run", seller.serves("/bad", seller.answer(402, b'{"x402Version": 9, "accepts": []}')))
    assert done.exit_code == 6 and "x402Version" in done.output and "--dry-run" not in done.output
