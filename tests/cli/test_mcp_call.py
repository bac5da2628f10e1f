"""`mcp call`: what a model would be told, from a terminal; `mcp serve`: the server's own command."""

from __future__ import annotations

import json
import socket

import pytest
import x402_agent_mcp
from typer.testing import CliRunner

from x402_agent import Payer
from x402_agent.cli import mcp
from x402_agent.cli.app import app


@pytest.fixture
def box(monkeypatch):
    """The sandbox that `sandbox up` would run; its payer is closed by each call, and made anew for the next."""
    with Payer.sandbox(serve=True) as payer:
        monkeypatch.setattr(mcp, "sandbox_payer", lambda settings: Kept(payer))
        yield payer.box


class Kept:
    """A payer that outlives the command."""

    def __init__(self, payer):
        self.payer = payer

    def __enter__(self):
        return self.payer

    def __exit__(self, *_):
        pass


def run(*words):
    done = CliRunner().invoke(app, ["mcp", "call", *words, "--sandbox", "--json"])
    return done.exit_code, json.loads(done.stdout)


def test_a_terminal_buys_once_and_reads_what_a_model_reads(box):
    url = box.url("/joke")
    code, answer = run("fetch", f"url={url}", "max_price=0.05")
    assert code == 0 and answer["outcome"] == "spent" and "[untrusted" in answer["body"]["text"]
    code, again = run("fetch", f"url={url}", "max_price=0.05", "again=false")
    assert code == 0 and again["payment_id"] == answer["payment_id"] and again["repeated"]
    assert run("spending")[1]["spent"] == "0.01"
    assert run("why", f"payment_id={answer['payment_id']}")[1]["outcome"] == "spent"
    assert run("balance")[0] == 0 and run("resume")[1]["open"] == 0
    assert run("fetch", f"url={url}", "again=TRUE")[1]["payment_id"] != answer["payment_id"]


@pytest.mark.parametrize(("words", "code"), [
    (["fetch", "url={url}", "max_price=0.001"], 3), (["fetch", "url={url}", "again=perhaps"], 2), (["fetch"], 2), (["fetch", "url={url}", "pay_to=0x1"], 2),
    (["fetch", "url=http://127.0.0.1:{closed}/"], 1), (["fetch", "url=http://127.0.0.1:1/"], 3), (["fetch", "{url}"], 2), (["sell", "url={url}"], 2), (["buy", "offer_id=none"], 3),
])  # fmt: skip
def test_exit_codes_are_those_of_every_command(words, code, box):
    with socket.create_server(("127.0.0.1", 0)) as door:
        closed = str(door.getsockname()[1])
    found, answer = run(*(word.replace("{url}", box.url("/joke")).replace("{closed}", closed) for word in words))
    assert found == code and ("problem" in answer or "error" in answer)


def test_tools_are_listed_with_what_they_take():
    code, answer = run()
    assert code == 0 and list(answer) == ["search", "quote", "buy", "fetch", "spending", "why", "balance", "resume"]
    shown = CliRunner().invoke(app, ["mcp", "call"]).stdout
    assert "fetch url= max_price= method= body= again=" in shown and "SPENDS MONEY" in shown


def test_no_sandbox_and_hostile_words_are_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    code, answer = run("spending")
    assert code == 2 and "sandbox up" in answer["problem"]["hint"]
    done = CliRunner().invoke(app, ["mcp", "call", "fetch", "\x1b[31mred"])
    assert done.exit_code == 2 and "\x1b" not in done.output


def test_serve_is_the_servers_own_command(monkeypatch):
    given = []
    monkeypatch.setattr(x402_agent_mcp, "main", lambda words: given.append(words) or 0)
    assert CliRunner().invoke(app, ["mcp", "serve", "--http", "--port", "8402", "--sandbox"]).exit_code == 0
    assert given == [["--http", "--port", "8402", "--sandbox"]]
