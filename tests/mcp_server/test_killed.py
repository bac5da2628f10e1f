"""kill -9 of the server in the middle of a purchase, and a restart by the host: one payment, and the goods."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from x402_agent import Payer, Settings
from x402_agent.cli.sandbox import _leave_key
from x402_agent.ledger import SqliteLedger

pytestmark = pytest.mark.full


class Host:
    """A host that speaks the handshake era of the protocol, line by line, so that it can leave in the middle."""

    def __init__(self):
        self.process = subprocess.Popen([sys.executable, "-m", "x402_agent_mcp", "--sandbox"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.number = 0
        info = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "host", "version": "1"}}
        self.answer(self.ask("initialize", info))
        self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def say(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()

    def ask(self, method, params):
        self.number += 1
        self.say({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        return self.number

    def answer(self, number):
        for line in self.process.stdout:
            message = json.loads(line)
            if message.get("id") == number:
                return message["result"]
        raise AssertionError("the server has gone")

    def call(self, name, **arguments):
        return self.ask("tools/call", {"name": name, "arguments": arguments})

    def end(self):
        self.process.kill()
        self.process.wait()
        for each in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                each.close()


@pytest.fixture
def sandbox():
    with Payer.sandbox("slow_settlement", serve=True) as made:
        box, settings = made.sandbox, Settings.load()
        facts = {"key": box.payer_key.hex(), "node": box.rpc_url, "url": box.url(""), "network": box.network}
        _leave_key(settings.data_dir / "sandbox" / "payer.json", facts)
        yield box


@pytest.mark.parametrize("moment", ["the proof is there", "the budget is held"])
@pytest.mark.parametrize("tool", ["fetch", "buy"])
def test_kill_9_in_the_middle_and_a_restart_pay_once(sandbox, moment, tool):
    url = sandbox.url("/joke")
    host = Host()
    if tool == "buy":
        quoted = host.answer(host.call("quote", url=url))["structuredContent"]
        host.call("buy", offer_id=quoted["offer_id"])
    else:
        host.call("fetch", url=url)
    path = Settings.load().sandbox_ledger
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if moment == "the proof is there" and any(each.proof for each in sandbox.requests):
            break
        if moment == "the budget is held" and path.exists() and held(path):
            break
        time.sleep(0.005)
    os.kill(host.process.pid, 9)
    host.end()

    again = Host()
    try:
        found = again.answer(again.call("fetch", url=url))["structuredContent"]
        if found["outcome"] == "in_doubt":
            again.answer(again.call("resume"))
            found = again.answer(again.call("fetch", url=url))["structuredContent"]
        assert found["outcome"] == "spent" and "joke" in found["body"]["text"], found
        spent = again.answer(again.call("spending"))["structuredContent"]
        assert spent["spent"] == "0.01" and spent["in_doubt"] == "0.00", spent
    finally:
        again.end()
    assert len(sandbox.settlements) == 1


def held(path):
    ledger = SqliteLedger(path, sandbox=True)
    try:
        return bool(ledger.payments())
    finally:
        ledger.shut()
