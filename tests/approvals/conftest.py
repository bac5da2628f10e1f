"""A payer on test money whose every payment needs a yes, and one call in three worlds."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import anyio
import pytest

from x402_agent import Payer
from x402_agent.approvals import file, webhook
from x402_agent.model import Limit


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    """Answers are looked for more often than people could give them."""
    monkeypatch.setattr(webhook, "PAUSE", 0.05)
    monkeypatch.setattr(file, "PAUSE", 0.02)


@pytest.fixture
def shop():
    """Make a sandbox payer that asks `approve` about everything above `above` micro-dollars."""
    with ExitStack() as stack:

        def make(approve=None, *, above=0, scenario="honest", clock=None, serve=False, **rules):
            payer = stack.enter_context(Payer.sandbox(scenario, serve=serve))
            payer.policy = replace(payer.policy, approve_above=above, **rules)
            payer.approve = approve
            if clock is not None:
                payer.clock = clock
            return payer

        yield make


@pytest.fixture(params=["sync", "asyncio", "trio"])
def world(request):
    return request.param


@pytest.fixture
def get(world):
    """GET a page of the payer's sandbox in this world; -> the response, read."""

    def call(payer, path="/joke", **options):
        url = payer.sandbox.url(path)
        if world == "sync":
            with payer.client() as http:
                return http.get(url, **options)

        async def go():
            async with payer.async_client() as http:
                return await http.get(url, **options)

        return anyio.run(go, backend=world)

    return call


@pytest.fixture
def rows():
    def read(payer):
        payer.ledger.flush()
        return payer.ledger.payments()

    return read


@pytest.fixture
def notes():
    return lambda payer, payment_id: [event.data.get("note", "") for event in payer.ledger.events(payment_id)]


@pytest.fixture
def spent():
    """Micro-dollars counted against the day's limit."""

    def read(payer):
        (day,) = payer.ledger.spent([Limit("all", "day", payer.policy.day)], realm="sandbox")
        return day.spent

    return read


@pytest.fixture
def folder_of_ledger(rows):
    """Every byte that lies beside the ledger."""

    def read(payer):
        rows(payer)
        return b"".join(path.read_bytes() for path in payer.ledger.path.parent.iterdir() if path.is_file())

    return read
