"""`x402-agent freeze` and `unfreeze`: a real payer on the same ledger is stopped, and goes on."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from x402_agent import Payer, PolicyDenied
from x402_agent.cli.app import app


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    return tmp_path


def run(*words):
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("how", [["--host"], ["--payee"], [], "file"])
def test_a_freeze_stops_a_running_payer_and_unfreeze_lets_it_go_on(home, how):
    with Payer.sandbox(ledger=home / "sandbox.db") as payer, payer.client() as http:
        url = payer.sandbox.url("/report")
        assert http.get(url).status_code == 200
        offer = http.get(url).extensions["payment"].offer
        value = {"--host": payer.sandbox.url("/").split("/")[2].partition(":")[0], "--payee": offer.pay_to}
        words = [] if how == "file" else [each for name in how for each in (name, value[name])]
        if how == "file":
            (home / "freeze").touch()
        else:
            run("freeze", *words, "--note", "odd prices")
        with pytest.raises(PolicyDenied) as caught:
            http.get(url)
        assert caught.value.hint.lower() == " ".join(["x402-agent unfreeze", *words]).lower()
        rows = json.loads(run("freeze", "--show", "--json"))
        assert len(rows) == (1 if how == "file" else 2)  # yours is frozen before its first payment, too
        assert "freeze" in run("freeze", "--show") or "odd prices" in run("freeze", "--show")
        told = json.loads(run("unfreeze", *words, "--json"))
        assert (told["was_frozen"], len(told["removed"])) == (how != "file", how == "file")
        assert http.get(url).status_code == 200
    assert run("freeze", "--show") == "nothing is frozen\n"


def test_one_thing_at_a_time(home):
    done = CliRunner().invoke(app, ["freeze", "--host", "a.example", "--agent", "scout"])
    assert done.exit_code == 2 and "one at a time" in done.output
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(("option", "typed", "meant"), [
    ("--host", "https://API.example.com:8443/v1?q=1", "api.example.com"), ("--host", "api.example.com:8443", "api.example.com"),
    ("--host", "http://[::1]:80/x", "::1"), ("--payee", "0x" + "AB" * 20, "0x" + "ab" * 20),
])  # fmt: skip
def test_what_is_pasted_in_a_hurry_is_frozen(home, option, typed, meant):
    """A freeze of what no payment has would stop nothing, and say that it did."""
    rows = json.loads(run("freeze", option, typed, "--json"))
    assert [row["name"] for row in rows] == [meant]
    assert json.loads(run("unfreeze", option, typed, "--json"))["was_frozen"]


@pytest.mark.parametrize("verb", ["freeze", "unfreeze"])
@pytest.mark.parametrize(("option", "typed"), [
    ("--host", "a b"), ("--host", ""), ("--host", "https://"), ("--payee", "zz"), ("--payee", "0x12"), ("--payee", "base/0x" + "0" * 40),
    ("--payee", ""), ("--agent", ""),
])  # fmt: skip
def test_a_freeze_that_no_payment_could_meet_is_refused(home, verb, option, typed):
    done = CliRunner().invoke(app, [verb, option, typed])
    assert done.exit_code == 2 and f"decided by   {option}" in done.output and list(home.iterdir()) == []


def test_doctor_says_what_is_frozen(home):
    def checks():
        done = CliRunner().invoke(app, ["doctor", "--json"])
        return done.exit_code, {one["check"]: one for one in json.loads(done.output)}.get("frozen")

    assert checks() == (0, None)
    run("freeze", "--host", "a.example")
    assert checks()[1]["ok"] is None and "host a.example" in checks()[1]["said"]
    run("freeze")
    assert checks()[0] == 1 and checks()[1]["ok"] is False
    run("unfreeze")
    (home / "freeze").touch()
    assert checks()[0] == 1 and str(home / "freeze") in checks()[1]["said"]


def test_who_cannot_write_the_ledger_is_told_how_to_stop_all_the_same(home):
    (home / "ledger.db.lock").mkdir()
    done = CliRunner().invoke(app, ["freeze"])
    assert done.exit_code == 1 and f"touch {home / 'freeze'}" in done.output
