"""`x402-agent sandbox db`, as an operator types it, on both engines."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from nursery import run
from x402_agent import database as database_module
from x402_agent.cli.app import app
from x402_agent.errors import SettingsError
from x402_agent.sandbox import Sandbox, books


def sell(till_on, url):
    till = till_on(database=url)
    return till, till.buy(300_000)


def test_an_operators_day(db, till_on, tmp_path):
    assert db("stats")[0] == 2
    code, made = db("create-tables")
    assert (code, made["applied"][:2]) == (0, ["0001_payments", "0002_views"])
    assert db("create-tables")[1]["applied"] == []
    till, token = sell(till_on, db.url)
    assert till.get(x_payment_token=token).status_code == 200
    code, found = db("stats")
    assert (found["rows"]["x402_payments"], found["rows"]["x402_usage"], found["payments"], found["active_payments"]) == (1, 1, {"verified": 1}, 1)
    assert found["total_usdc"] == "0.300000"
    assert db("test")[0] == 0
    assert db("cleanup")[1]["expired"] == 0
    assert db("analytics")[1]["hours"] == []  # the hour before this one had no payment

    copy = tmp_path / "copy.jsonl"
    assert db("export", str(copy))[1]["rows"] == 3
    assert token not in copy.read_text()
    assert os.stat(copy).st_mode & 0o077 == 0
    code, refused = db("export", str(copy))
    assert (code, "exists" in refused["what"]) == (2, True)

    assert db("reset")[0] == 2  # nobody is there to ask
    code, done = db("reset", "--yes")
    assert (code, done["rows"]["x402_payments"]) == (0, 0)
    assert till.get(x_payment_token=token).status_code == 402
    code, told = db("migrate", "--restore", str(copy), "--yes")
    assert (code, told.get("restored")) == (0, 3), told
    assert till.get(x_payment_token=token).status_code == 200
    code, told = db("migrate", "--restore", done["copy"], "--yes")
    assert (code, told.get("restored")) == (0, 3), told
    till.box.warp(60)
    till.buy()  # ids go on behind those that were restored
    assert db("stats")[1]["rows"]["x402_payments"] == 2


@pytest.mark.full
def test_a_change_is_shown_taken_back_with_a_copy_and_made_again(db, till_on):
    assert db("migrate", "--dry-run")[1]["would"][0] == "0001_payments"
    assert any("create table x402_payments" in line for line in db("migrate", "--dry-run")[1]["statements"])
    assert db("migrate")[1]["copy"] == ""
    _, token = sell(till_on, db.url)
    assert db("migrate", "--dry-run", "--rollback", "--to", "0")[1]["would"][-1] == "0001_payments"
    assert db("migrate", "--rollback", "--to", "0")[0] == 2
    code, undone = db("migrate", "--rollback", "--to", "0", "--yes")
    assert (code, undone["undone"][-1]) == (0, "0001_payments")
    assert db("test")[0] == 1
    assert db("export", "nowhere")[0] == 2
    assert db("migrate")[0] == 0
    assert db("migrate", "--restore", "nowhere.jsonl", "--yes")[0] == 1
    code, told = db("migrate", "--restore", undone["copy"], "--yes")
    assert (code, told.get("restored")) == (0, 2), told
    made = till_on(database=db.url)
    assert made.get(x_payment_token=token).status_code == 200


@pytest.mark.full
def test_a_file_that_is_no_export_changes_nothing(db, till_on, tmp_path):
    sell(till_on, db.url)
    head = json.dumps({"schema": "x402_kamiyo", "migrations": []}) + "\n"
    row = {"table": "x402_payments", "row": {"id": 1, "nothing": 2}}
    for text in ("", "{}\n", head + json.dumps(row), head + "[]\n", head + json.dumps({"table": "pg_user", "row": {}}), head + json.dumps({**row, "row": {"id); drop": 1}})):
        (bad := tmp_path / "bad.jsonl").write_text(text)
        code, found = db("migrate", "--restore", str(bad), "--yes", "--backup", str(tmp_path / f"b{len(list(tmp_path.iterdir()))}"))
        assert code == 2, (text, found)
        assert db("stats")[1]["rows"]["x402_payments"] == 1


def test_an_export_of_one_engine_is_restored_on_the_other(fresh, till_on, tmp_path):
    _, token = sell(till_on, str(tmp_path / "a.db"))
    source, target = books("kamiyo", str(tmp_path / "a.db")), books("kamiyo", fresh)
    try:
        assert source.export(tmp_path / "all.jsonl") == 2
        target.migrate()
        assert target.restore(tmp_path / "all.jsonl") == 2
        assert target.facts()["total_usdc"] == source.facts()["total_usdc"] == "0.300000"
    finally:
        source.close()
        target.close()
    moved = till_on(database=fresh)
    assert moved.get(x_payment_token=token).status_code == 200


def test_a_migration_that_breaks_half_way_leaves_nothing(kept_broken):
    kept = kept_broken
    with pytest.raises(Exception, match="nonsense"):
        kept.migrate()
    assert kept.database.names() == []


@pytest.fixture
def kept_broken(database, monkeypatch):
    made = books("kamiyo", database)
    changes = (*made.migrations(), made.migrations()[0]._replace(number=99, up="create table half (id int);\nnonsense"))
    monkeypatch.setattr(type(made), "migrations", lambda self: changes)
    yield made
    made.close()


def test_the_shop_keeps_no_books(db):
    code, found = db("stats", "--seller", "shop")
    assert (code, "keeps no database" in found["what"]) == (2, True)


def test_what_is_printed_for_people_has_no_password(monkeypatch, tmp_path):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", "postgresql://x402:hunter2@127.0.0.1:1/none")
    done = CliRunner().invoke(app, ["sandbox", "db", "stats"])
    assert done.exit_code == 2
    assert "hunter2" not in done.output


def test_a_database_that_somebody_holds_is_said_in_a_line(monkeypatch, tmp_path):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    monkeypatch.setattr(database_module, "_WAIT", 0.05)
    path = str(tmp_path / "kamiyo.db")
    books("kamiyo", path).migrate()
    link = sqlite3.connect(path, isolation_level=None)
    link.execute("begin immediate")
    for words in (["cleanup"], ["analytics"], ["reset", "--yes"], ["migrate", "--rollback", "--yes"], ["test"]):
        done = CliRunner().invoke(app, ["sandbox", "db", *words, "--database", path])
        assert (done.exit_code, isinstance(done.exception, SystemExit)) == (2, True), words
        assert f"{path}: database is locked" in done.stderr.replace("\n", ""), done.stderr
    (tmp_path / "empty.db").touch()
    link.execute("rollback")
    link.execute(f"attach '{tmp_path / 'empty.db'}' as other")
    link.execute("begin exclusive")
    with pytest.raises(SettingsError, match="locked"):
        Sandbox(seller="kamiyo", database=str(tmp_path / "empty.db"))
    link.close()


def test_scenarios_belong_to_one_seller():
    done = CliRunner().invoke(app, ["sandbox", "scenarios", "--seller", "kamiyo", "--json"])
    assert len(json.loads(done.stdout)) >= 30
    with Sandbox("valid_payment_402", seller="kamiyo") as box, pytest.raises(Exception, match="no scenario is called"):
        box.scenario = "settles_then_hangs"


def test_try_buys_from_this_seller(monkeypatch, tmp_path):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["try", "--seller", "kamiyo", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["status"], found["read_back"], found["payment"]["amount"]) == (200, True, "10000")


def test_up_leaves_the_operators_key_in_a_private_file_alone(tmp_path):
    env = {**os.environ, "X402_AGENT_HOME": str(tmp_path)}
    words = [sys.executable, "-c", "from x402_agent.cli import main; main()", "sandbox", "up", "--seller", "kamiyo", "--json"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=env) as up:
        lines = []
        while not lines or "ready" not in lines[-1]:
            lines.append(json.loads(up.stdout.readline()))
        (path,) = tmp_path.rglob("payer.json")
        key = json.loads(path.read_text())[0]["admin_key"]
        assert path.stat().st_mode & 0o077 == 0
        assert key not in json.dumps(lines)
        assert {(each["seller"], each["dialect"]) for each in lines[:-1]} == {("kamiyo", "kamiyo")}
        assert list(tmp_path.rglob("kamiyo.db"))
        up.terminate()
        assert up.wait(60) == 0
    assert not path.exists()


def test_who_is_told_to_end_before_he_has_said_all_ends_well(tmp_path):
    """SIGTERM at the first word: the operator's key does not stay behind."""
    code = ("import os, signal, x402_agent.cli.sandbox as up; from x402_agent.cli import main; say = up.as_json\n"
            "def first(line): up.as_json = say; os.kill(os.getpid(), signal.SIGTERM); say(line)\n"
            "up.as_json = first; main()")  # fmt: skip
    done = run(code, "sandbox", "up", "--seller", "kamiyo", "--json", env={**os.environ, "X402_AGENT_HOME": str(tmp_path)})
    assert done.returncode == 0 and json.loads(done.stdout.splitlines()[-1]) == {"ready": True}, done
    assert list(tmp_path.rglob("kamiyo.db")) and not list(tmp_path.rglob("payer.json"))


def test_the_shop_counts_nothing_in_redis(monkeypatch, tmp_path):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    done = CliRunner().invoke(app, ["sandbox", "up", "--redis", "redis://127.0.0.1:1", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["hint"]) == (2, "--seller kamiyo")
