"""`x402-agent ledger`: verify, export, stats, cleanup and test, on a real ledger."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import stat
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from x402_agent import Payer
from x402_agent.cli.app import app
from x402_agent.ledger import cell, lock
from x402_agent.ledger import trial as try_out


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def paid(home):
    """Three payments in the sandbox's ledger, one of which is in doubt."""
    with Payer.sandbox(ledger=home / "sandbox.db") as payer:
        with payer.client() as http:
            for path in ("/report", "/report?q==1+2", "/either"):
                http.get(payer.sandbox.url(path))
        payer.ledger.flush()
    return home / "sandbox.db"


def run(*words):
    return CliRunner().invoke(app, ["ledger", *words])


def test_verify_says_that_all_is_well_or_what_is_not(paid):
    done = run("verify", "--sandbox")
    assert done.exit_code == 0 and "every one follows" in done.output
    told = json.loads(run("verify", "--sandbox", "--json").output)
    assert told["ok"] is True and told["problems"] == [] and told["entries"] >= 6
    db = sqlite3.connect(paid)
    db.execute("UPDATE x402_payments SET micros = micros - 1 WHERE id = 1")
    db.commit()
    db.close()
    done = run("verify", "--sandbox")
    assert done.exit_code == 1 and "is not what its journal says" in done.output and "ledger repair" in done.output
    assert json.loads(run("verify", "--sandbox", "--json").output)["ok"] is False


def test_without_a_ledger_it_says_so(home):
    for words in (["verify"], ["stats"], ["export"], ["cleanup"]):
        done = run(*words, "--json")
        assert done.exit_code == 1 and "nothing was paid yet" in json.loads(done.output)["what"]
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("events", [[], ["--events"]])
def test_export_gives_every_row_in_both_forms_and_nothing_that_links(paid, events):
    lines = [json.loads(line) for line in run("export", "--sandbox", *events).output.splitlines()]
    rows = list(csv.DictReader(io.StringIO(run("export", "--sandbox", "--format", "csv", *events).output)))
    assert len(lines) == len(rows) == (3 if not events else len(lines)) and list(lines[0]) == list(rows[0])
    assert [row["payment_id"] for row in rows] == [line["payment_id"] for line in lines]
    if not events:
        assert sum(int(line["amount"]) for line in lines) == 70_000 and lines[0]["scheme"] == "exact"
        assert not {"caller_key", "proof_digest", "identifier", "owner"} & set(lines[0])
    assert run("export", "--sandbox", "--since", "2999-01-01").output == ""


def test_export_into_a_file_is_private_and_overwrites_nothing(paid, tmp_path):
    target = tmp_path / "out.csv"
    done = run("export", "--sandbox", "--format", "csv", "--output", str(target))
    assert done.exit_code == 0 and "3 payments" in done.stderr
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert run("export", "--sandbox", "--output", str(target)).exit_code == 2
    for wrong in (["--format", "xlsx"], ["--since", "yesterday"], ["--json", "--format", "csv"]):
        assert run("export", "--sandbox", *wrong).exit_code == 2


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r", " =", "\n@", "＝", "%", "|"])
def test_Y14_no_cell_begins_a_formula(start):
    text = cell(f"{start}HYPERLINK(1)")
    assert text.startswith("'") and text.isprintable()
    assert cell(f"a{start}b").startswith("a")


def test_Y14_numbers_stay_numbers_and_nothing_reaches_a_terminal_raw():
    assert (cell(-5), cell(7), cell(None), cell("plain")) == ("-5", "7", "", "plain")
    assert cell("\x1b[2J\u202e\x00").isprintable()


def test_stats_count_what_is_there(paid):
    told = json.loads(run("stats", "--sandbox", "--json").output)
    assert sum(each["payments"] for each in told["standing"]) == 3
    assert {each["realm"] for each in told["standing"]} == {"sandbox"}
    assert told["size"] > 0 and told["entries"] >= 6
    assert sum(each["counted"] for each in told["standing"]) == 70_000
    assert "CLAIMED" in run("stats", "--sandbox").output


def test_cleanup_keeps_every_payment(paid):
    db = sqlite3.connect(paid)
    db.execute("INSERT INTO x402_analytics VALUES (0, 'base', 1, '1', 1, 1, '1', 0)")
    db.execute("INSERT INTO x402_counters VALUES ('sandbox/all', 'hour', 3600, 1, 1, '0', 'x')")
    db.commit()
    db.close()
    assert run("cleanup", "--sandbox").exit_code == 1, "a damaged counter is no rubbish"
    db = sqlite3.connect(paid)
    db.execute("DELETE FROM x402_counters WHERE checksum = 'x'")
    db.commit()
    db.close()
    assert json.loads(run("cleanup", "--sandbox", "--json").output)["removed"] >= 1
    assert len(run("export", "--sandbox").output.splitlines()) == 3
    assert run("verify", "--sandbox").exit_code == 0


def test_this_machine_can_keep_a_ledger(home):
    done = run("test", "--json")
    checks = {each["check"]: each["ok"] for each in json.loads(done.output)}
    assert checks == dict.fromkeys(("folder", "lock", "fsync", "read back", "disk", "clock"), True)
    assert done.exit_code == 0 and list(home.iterdir()) == []


def test_Z8_a_lock_that_does_not_lock_is_told(home, monkeypatch):
    monkeypatch.setattr(lock, "try_lock", lambda fd, shared=False: True)
    checks = {name: ok for name, ok, _ in try_out(home / "ledger.db")}
    assert checks["lock"] is False


def test_Z12_a_clock_behind_the_ledger_is_told(paid, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1_600_000_000.0)
    checks = {name: ok for name, ok, _ in try_out(paid)}
    assert checks["clock"] is False


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    assert try_out(tmp_path / "file" / "ledger.db")[0][1] is False


def test_a_terminal_sees_how_far_verify_is(paid):
    code = "import pty, sys; sys.exit(pty.spawn([sys.executable, '-c', 'from x402_agent.cli import main; main()', 'ledger', 'verify', '--sandbox']) >> 8)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0 and "every one follows" in done.stdout


@pytest.fixture
def torn(paid):
    """The row of the first payment is gone, and the journal of the second is hurt."""
    db = sqlite3.connect(paid, isolation_level=None)
    db.execute("DROP TRIGGER x402_events_no_update")
    db.execute("DELETE FROM x402_payments WHERE id = 1")
    db.execute("UPDATE x402_events SET data = '{}' WHERE payment_id = (SELECT payment_id FROM x402_payments WHERE id = 2)")
    db.close()
    return paid


def test_repair_shows_a_plan_and_needs_a_yes(torn):
    before = torn.read_bytes()
    done = run("repair", "--sandbox", "--dry-run", "--per-call", "0.50")
    assert done.exit_code == 0, done.output
    for words in ("made anew", "quarantine", "0.50 USD", "(sandbox)", "kept        1 payments"):
        assert words in done.output
    done = run("repair", "--sandbox", "--per-call", "0.50")
    assert done.exit_code == 2 and "--yes" in done.stderr and torn.read_bytes() == before
    told = json.loads(run("repair", "--sandbox", "--per-call", "0.50", "--dry-run", "--json").output)
    assert told["dry_run"] is True and told["backup"] == "" and len(told["quarantined"]) == 1


def test_repair_mends_and_says_where_the_old_files_are(torn):
    done = run("repair", "--sandbox", "--yes")
    assert done.exit_code == 0 and "the old files are in" in done.output
    assert run("verify", "--sandbox").exit_code == 0
    assert run("repair", "--sandbox", "--yes").output.rstrip().endswith("nothing is to be mended")
    states = [json.loads(line)["state"] for line in run("export", "--sandbox").output.splitlines()]
    assert states == ["CLAIMED", "QUARANTINE", "CLAIMED"]
    hurt = json.loads(run("export", "--sandbox").output.splitlines()[1])["payment_id"]
    why = CliRunner().invoke(app, ["why", hurt]).output
    assert "could not be trusted" in why and "in quarantine" in CliRunner().invoke(app, ["why", hurt, "--json"]).output


@pytest.fixture
def doubted(torn):
    """A ledger that was mended: the id of its payment in quarantine."""
    assert run("repair", "--sandbox", "--yes").exit_code == 0
    return json.loads(run("export", "--sandbox").output.splitlines()[1])["payment_id"]


def state_of(payment_id):
    rows = map(json.loads, run("export", "--sandbox").output.splitlines())
    return next(row["state"] for row in rows if row["payment_id"] == payment_id)


def test_a_quarantine_is_ended_by_a_person_who_saw_what_it_means(doubted):
    for options in (["--paid"], ["--paid", "--json"], []):
        done = run("decide", doubted, "--sandbox", *options)
        assert done.exit_code == 2 and state_of(doubted) == "QUARANTINE", options
    assert "--yes-i-accept" in run("decide", doubted, "--sandbox", "--paid").stderr
    shown = run("decide", doubted, "--sandbox", "--paid", "--dry-run")
    assert shown.exit_code == 0 and state_of(doubted) == "QUARANTINE"
    assert "you accept  it stays counted" in shown.output and "may be bought again, at your cost" in shown.output
    early = run("decide", doubted, "--sandbox", "--not-paid", "--yes-i-accept", "--json")
    assert early.exit_code == 1 and "may settle until" in json.loads(early.output)["what"]
    told = json.loads(run("decide", doubted[:8], "--sandbox", "--paid", "--yes-i-accept", "--json").output)
    assert (told["before"], told["after"], told["counted_before"]) == ("QUARANTINE", "CONFIRMED", told["counted_after"])
    assert run("verify", "--sandbox").exit_code == 0 and state_of(doubted) == "CONFIRMED"
    assert "a person decided: paid" in CliRunner().invoke(app, ["why", doubted]).output
    assert run("decide", doubted, "--sandbox", "--paid", "--yes-i-accept").exit_code == 1


@pytest.mark.parametrize(("typed", "after"), [("y", "QUARANTINE"), ("", "CONFIRMED")])
def test_at_a_terminal_the_name_of_the_payment_is_typed(doubted, typed, after):
    code = (
        "import pty, sys; sys.exit(pty.spawn([sys.executable, '-c', 'from x402_agent.cli import main; main()', "
        f"'ledger', 'decide', '{doubted}', '--sandbox', '--paid']) >> 8)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=f"{typed or doubted[:8]}\n", capture_output=True, text=True, timeout=180, check=False)
    assert f"type {doubted[:8]} to accept" in done.stdout and state_of(doubted) == after
    assert done.returncode == (2 if typed else 0), done.stdout
