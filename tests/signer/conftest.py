"""A service on a real ledger and key, and agents that pay through its socket."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from x402_agent import Payer, Settings
from x402_agent.signer import AgentPayer, Service


class Running:
    """A service in a thread of its own, in front of a sandbox payer."""

    def __init__(self, payer, folder, agents):
        self.payer, self.agents = payer, agents
        self.path = folder / "signer.sock"
        self.start()

    def start(self):
        self.service = Service(self.payer, self.path, self.agents)
        self.thread = threading.Thread(target=self.service.serve)
        self.thread.start()

    def agent(self, **options):
        return AgentPayer(replace(Settings.load(), signer=self.path), **options)

    def payments(self):
        """What the service has, once the last words of its agents have come: nobody waits for those."""
        end = time.monotonic() + 20
        while "INFLIGHT" in [each.state for each in self.standing()] and time.monotonic() < end:
            time.sleep(0.02)
        return self.standing()

    def standing(self):
        """What it has now: a conversation that is held open leaves its payment under way."""
        self.payer.ledger.flush()
        return self.payer.ledger.payments()

    def stop(self):
        self.service.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture
def running():
    """`start(scenario, agents=…, **payer options)` -> Running."""
    made = []
    with tempfile.TemporaryDirectory(prefix="x402-") as folder:  # a socket's path is short

        def start(scenario="honest", *, agents=None, budget=None, settings=None):
            payer = Payer.sandbox(scenario, serve=True, budget=budget, settings=settings)
            payer.nonce = lambda: os.urandom(32)
            where = Path(folder) / str(len(made))
            where.mkdir()
            one = Running(payer, where, {os.getuid(): "team/research"} if agents is None else agents)
            made.append(one)
            return one

        yield start
        for one in made:
            one.stop()
            one.payer.close()
