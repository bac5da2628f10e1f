"""A person at a real terminal: a pseudo-terminal with the payer in its foreground."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest

import nursery
from x402_agent import PolicyDenied
from x402_agent.approvals import Terminal
from x402_agent.sandbox import Sandbox

CODE = """
import os, sys
from dataclasses import replace
import anyio
from x402_agent import Payer, PolicyDenied
from x402_agent.approvals import Terminal
from x402_agent.policy import Approval
from x402_agent.sandbox import Sandbox

world, seconds = sys.argv[1:3]
payer = Payer.sandbox()
payer.policy = replace(payer.policy, approve_above=0, approval=Approval(how="terminal", seconds=int(seconds)))
url = payer.sandbox.url("/joke")
{extra}
try:
    if world == "sync":
        with payer.client() as http:
            http.get(url)
    else:
        async def go():
            async with payer.async_client() as http:
                await http.get(url)
        anyio.run(go, backend=world)
    print("PAID", len(payer.sandbox.settlements))
except PolicyDenied as no:
    print("DENIED", no.what)
    print("SETTLED", len(payer.sandbox.settlements), [p.state for p in payer.ledger.payments()])
except KeyboardInterrupt:
    print("INTERRUPTED", len(payer.sandbox.settlements), [p.state for p in payer.ledger.payments()])
"""
ASKED = re.compile(r"Type yes, or 0\.0100, to pay within \d+ s: $")


class Screen:
    """A process at the head of a terminal session of its own, and what it shows."""

    def __init__(self, code, *words):
        self.pid, self.fd = pty.fork()
        if not self.pid:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background may ignore it
            os.execv(sys.executable, [sys.executable, "-W", "ignore", "-c", code, *words])  # noqa: S606
        self.text = ""

    def until(self, pattern, seconds=90.0):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.text):
            left = end - time.monotonic()
            assert left > 0, self.text
            if select.select([self.fd], [], [], left)[0]:
                try:
                    self.text += os.read(self.fd, 65536).decode()
                except OSError:  # EIO: the session is over
                    assert re.search(pattern, self.text), self.text
        return self.text

    def reads(self, seconds):
        """Whatever is shown within this time."""
        end = time.monotonic() + seconds
        while select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
            self.text += os.read(self.fd, 65536).decode()

    def ends(self):
        """Wait until the process has ended by itself, and written what it had to."""
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            return

    def type(self, text):
        os.write(self.fd, text.encode())

    def close(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def screen():
    made = []

    def start(world="sync", seconds=30, extra=""):
        made.append(Screen(CODE.replace("{extra}", extra), world, str(seconds)))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_yes_is_paid(screen, world):
    there = screen(world)
    shown = there.until(ASKED)
    for word in ("pay        0.0100 USDC (base-sepolia)", "to         0x", "for        GET http://", "/joke", "because    ",
                 "[approve_above in the sandbox default]", "left after 4.9900 USD left today"):  # fmt: skip
        assert word in shown
    there.type("yes\n")
    there.until("PAID 1")


MANY = """
with payer.client() as http:
    while True:
        try:
            http.get(url)
            print("PAID", flush=True)
        except PolicyDenied as no:
            print("DENIED", no.what, [p.state for p in payer.ledger.payments()][:1], flush=True)
"""


def test_the_amount_is_a_yes_too_and_everything_else_is_a_no(screen):
    there = screen(extra=MANY)
    for typed in ("0.01\n", "0.0100\n", " YES \n"):
        there.until(ASKED)
        there.text = ""
        there.type(typed)
        there.until("PAID")
    for typed in ("\n", "y\n", "no\n", "0.1\n", "0.011\n", "1\n", "yes please\n", "\x04", "x" * 300 + "yes\n"):
        there.until(ASKED)
        there.text = ""
        there.type(typed)
        there.until(r"DENIED .*terminal did not say yes \['RELEASED'\]")


def test_what_was_typed_before_the_question_is_no_answer(screen):
    there = screen(extra="import select; print('READY', flush=True); select.select([0], [], [], 60)", seconds=3)
    there.until("READY")
    there.type("yes\n")
    there.until(ASKED)
    there.until(r"DENIED .*terminal did not answer in time")
    assert "nothing is paid" in there.text
    there.until("SETTLED 0")


def test_control_c_at_the_question(screen):
    there = screen()
    there.until(ASKED)
    there.type("\x03")
    there.until(r"INTERRUPTED 0 \['RELEASED'\]")


def test_a_seller_cannot_write_on_the_screen(screen):
    """The description tries colours, a cleared screen, a false question, and letters that run backwards."""
    hostile = "\\x1b[2J\\x1b[1;1H\\r\\nType yes to go on: \\u202e\\x07" + "z" * 400
    extra = f"""
from x402_agent.dialects.x402 import X402
class Loud(X402):
    def read(self, reply, ask):
        found = super().read(reply, ask)
        return found and replace(found, offers=tuple(replace(o, description="{hostile}") for o in found.offers))
payer.dialects = (Loud(),)
"""
    there = screen(extra=extra)
    shown = there.until(ASKED)
    assert "\x1b" not in shown and "\x07" not in shown and "\u202e" not in shown
    (line,) = [line for line in shown.splitlines() if "they say" in line]
    assert "\\x1b[2J" in line and "\\u202e" in line and len(line) < 400
    there.type("no\n")
    there.until("SETTLED 0")


def test_two_at_once_ask_one_after_the_other(screen):
    extra = """
async def both():
    async with payer.async_client() as http, anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(http.get, url)
anyio.run(both)
print("PAID", len(payer.sandbox.settlements))
raise SystemExit
"""
    there = screen(extra=extra)
    there.until(ASKED)
    there.reads(0.5)
    assert there.text.count("x402-agent asks before it pays") == 1
    there.type("yes\n")
    there.until(r"(?s)to pay within.*" + ASKED.pattern)
    there.type("yes\n")
    there.until("PAID 2")


def test_a_background_job_asks_nobody(screen):
    extra = """
import signal, subprocess
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
if os.fork():
    os.wait()
    raise SystemExit
os.setpgid(0, 0)
"""
    there = screen(extra=extra)
    there.until(r"DENIED .*not in the foreground")
    there.until("SETTLED 0")


def test_get_asks_at_the_terminal_that_it_runs_in(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    (home / "policy.toml").write_text('networks = ["testnet"]\napprove_above = "0.001"\n')
    with Sandbox() as box:
        box.serve()
        monkeypatch.setenv("X402_AGENT_EVM_KEY", box.payer_key.hex())
        words = ("get", box.url("/joke"))
        there = Screen("from x402_agent.cli import main; main()", *words)
        try:
            there.until(ASKED)
            there.type("yes\n")
            there.until("spent  0.0100 USDC")
            there.ends()
        finally:
            there.close()
        dry = nursery.cli(*words, "--dry-run")
        assert "would ask a person first: 127.0.0.1 asks 0.0100 USDC" in dry.stderr
        alone = nursery.cli(*words)
        assert alone.returncode == 3 and "nobody can be asked" in alone.stderr
        assert len(box.settlements) == 1


def test_without_a_terminal_nobody_is_asked_and_nothing_hangs():
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", CODE.replace("{extra}", ""), "sync", "120"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=180)  # fmt: skip
    assert "DENIED" in done.stdout and "no terminal to ask at" in done.stdout and time.monotonic() - start < 60


def test_in_this_process_there_is_no_terminal(shop, get):
    with pytest.raises(PolicyDenied, match=r"no terminal to ask at[\s\S]* \[approval\] in policy.toml"):
        get(shop(Terminal()))
