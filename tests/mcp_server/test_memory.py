"""A server that a host keeps for weeks: calls leave nothing behind."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from x402_agent.sandbox.seller import Visits

pytestmark = [pytest.mark.anyio, pytest.mark.full]


async def test_hundreds_of_calls_leave_nothing_behind(connect, payer, joke, monkeypatch):
    monkeypatch.setattr("x402_agent.tools.offers._MANY", 8)
    payer.sandbox.seller.visits = Visits(8)
    kinds = [("quote", {"url": joke}), ("fetch", {"url": joke}), ("spending", {}), ("buy", {"offer_id": "offer_x"}), ("why", {"payment_id": "x"})]

    async def calls(client, number):
        for each in range(number):
            await client.call_tool(*kinds[each % len(kinds)])
            await client.read_resource("spending://today")
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async with connect() as client:
        tracemalloc.start()
        try:
            before = await calls(client, 200)  # fills what is bounded
            after = await calls(client, 500)
        finally:
            tracemalloc.stop()
    assert (after - before) / 500 < 200, f"{(after - before) / 500:.0f} bytes a call"
