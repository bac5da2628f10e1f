"""W12: whatever a seller says, no terminal and no log is steered by it. Every field that he fills is tried, by every command that shows it."""

from __future__ import annotations

import base64
import json
import logging
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent.parent))
from needles import Records
from x402_agent import ledger
from x402_agent.cli.app import app

LOUD = "\x1b[2J\x1b]8;;http://evil.example\x07click\x1b]8;;\x07\r\u202ekcab\u2066\x9b31m\u200b\x7f"
KEY = "0x" + "5a" * 32


@pytest.fixture
def home(monkeypatch, tmp_path):
    for name, value in (("HOME", tmp_path / "home"), ("EVM_KEY", KEY), ("NETWORKS", "testnet"), ("DEADLINE", "2")):
        monkeypatch.setenv(f"X402_AGENT_{name}", str(value))
    return tmp_path / "home"


def loud(document):
    """The same document with these words behind each text that is nothing but words, and in fields nobody knows."""
    offer = document["accepts"][0]
    offer |= {"description": LOUD, "mimeType": LOUD, "outputSchema": {LOUD: LOUD}, LOUD: LOUD}
    offer["extra"] |= {"name": "USDC", LOUD: LOUD}
    if "resource" in document:
        document["resource"] |= {"description": LOUD, "mimeType": LOUD, "serviceName": LOUD}
    return {**document, "error": LOUD, LOUD: LOUD, "extensions": {LOUD: {"info": {LOUD: LOUD}}}}


def receipt(**fields):
    said = {"success": True, "transaction": LOUD, "network": LOUD, "payer": LOUD, "errorReason": LOUD, "amount": LOUD, **fields}
    return base64.b64encode(json.dumps(said).encode()).decode()


def run(*words):
    done = CliRunner().invoke(app, list(words))
    text = done.stdout + done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert quiet(text), (words, text)
    return done


def quiet(text):
    return all(c.isprintable() or c == "\n" for c in text)


def dear(document):
    return {**document, "accepts": [{**document["accepts"][0], "amount": "100000000"}]}


def broken(document):
    return {**document, "accepts": [{**document["accepts"][0], "amount": LOUD, "scheme": LOUD}, LOUD]}


def strange(document):
    return {**document, "accepts": [{**document["accepts"][0], "network": LOUD, "asset": LOUD, "payTo": LOUD}]}


def needy(document):
    return {**document, "extensions": {LOUD: {"required": True}}}


@pytest.mark.parametrize("change", [dear, broken, strange, needy], ids=lambda each: each.__name__)
def test_a_402_that_is_not_paid(seller, home, change):
    url = seller.demands("/p", change(loud(seller.terms("/p"))))
    for words in (["--dry-run"], []):
        assert run("get", url, *words).exit_code
    assert not seller.proofs


@pytest.mark.parametrize("end", [200, 402, 500])
def test_every_command_that_shows_a_purchase(seller, home, end):
    """A purchase and everything that is told about it later."""
    handler, root = Records(), logging.getLogger("x402_agent")
    asked = seller.answer(402, b"{}", payment_required=seller.packed(loud(seller.terms("/p"))))
    answered = seller.answer(end, b"goods", payment_response=receipt(success=end == 200))
    url = seller.serves("/p", lambda hit: answered if hit.proof else asked)
    root.addHandler(handler)
    try:
        run("get", url, "--dry-run")
        run("get", url)
        (one,) = [json.loads(line)["payment_id"] for line in run("log", "--json").stdout.splitlines()]
        for words in (["log"], ["log", "--by", "host"], ["log", "--by", "payee"], ["resume"], ["pins"], ["budget"], ["ledger", "stats"],
                      ["credentials", "list", "--all"], ["ledger", "verify"], ["policy", "check"], ["freeze", "--show"]):  # fmt: skip
            run(*words)
        for words in ("why", "receipt", "claim"):
            run(words, one)
    finally:
        root.removeHandler(handler)
    assert quiet(handler.text)
    rows = ledger.SqliteLedger(home / "ledger.db").payments()
    assert all(quiet(text) for row in rows for text in (row.note, row.transaction))
