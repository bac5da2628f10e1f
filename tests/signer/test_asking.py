"""A person is asked on the service's side, about what its ledger holds; an agent that goes away takes its question along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import anyio
import pytest

from x402_agent import PolicyDenied
from x402_agent.approvals import answer, waiting
from x402_agent.policy import Approval


@pytest.fixture
def asked(running):
    """A service that asks by a file; `until(n)` waits until n requests lie there."""
    box = running()
    box.payer.policy = replace(box.payer.policy, approve_above=0, approval=Approval(how="file", seconds=30))
    folder = box.payer.settings.approvals

    def until(count):
        end = time.monotonic() + 60
        while len(found := waiting(folder, time.time())) != count:
            assert time.monotonic() < end
            time.sleep(0.02)
        return found

    return box, folder, until


def settled(box):
    """The states of all payments, once none is reserved any more."""
    end = time.monotonic() + 60
    while "RESERVED" in (states := [row.state for row in box.payments()]):
        assert time.monotonic() < end
        time.sleep(0.05)
    return states


@pytest.mark.parametrize("world", ["asyncio", "trio"])
@pytest.mark.parametrize("yes", [True, False])
def test_a_person_answers_over_there(asked, world, yes):
    box, folder, until = asked
    said = []

    async def person():
        (request,) = await anyio.to_thread.run_sync(until, 1)
        assert request.facts["agent"] == "research"
        answer(folder, request, yes=yes)

    async def go():
        with box.agent() as payer:
            async with payer.async_client() as http, anyio.create_task_group() as group:
                group.start_soon(person)
                try:
                    said.append((await http.get(box.payer.sandbox.url("/joke"))).status_code)
                except PolicyDenied as no:
                    said.append(no.what.rpartition(": ")[2])

    anyio.run(go, backend=world)
    assert said == [200 if yes else "file did not say yes"] and len(box.payer.sandbox.settlements) == yes


@pytest.mark.parametrize("world", ["asyncio", "trio"])
def test_a_cancelled_agent_takes_its_question_back(asked, world):
    box, folder, until = asked

    async def go():
        with box.agent() as payer:
            async with payer.async_client() as http, anyio.create_task_group() as group:
                group.start_soon(http.get, box.payer.sandbox.url("/joke"))
                await anyio.to_thread.run_sync(until, 1)
                group.cancel_scope.cancel()

    start = time.monotonic()
    anyio.run(go, backend=world)
    assert time.monotonic() - start < 25
    until(0)
    assert settled(box) == ["RELEASED"] and list(folder.iterdir()) == []


AGENT = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have it ignored
from x402_agent import Payer
with Payer.from_env() as payer, payer.client() as http:
    http.get(sys.argv[1])
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_agent_takes_its_question_along(asked, end):
    box, folder, until = asked
    env = {**os.environ, "X402_AGENT_SIGNER": str(box.path), "X402_AGENT_NETWORKS": "testnet"}
    child = subprocess.Popen([sys.executable, "-c", AGENT, box.payer.sandbox.url("/joke")], env=env, stderr=subprocess.DEVNULL)
    until(1)
    child.send_signal(end)
    child.wait(60)
    until(0)
    assert settled(box) == ["RELEASED"] and list(folder.iterdir()) == []
