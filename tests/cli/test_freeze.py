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
