"""A server that a host keeps for weeks: calls leave nothing behind."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.full]


async def test_a_thousand_calls_leave_nothing_behind(connect, payer, joke):
    kinds = [("quote", {"url": joke}), ("fetch", {"url": joke}), ("spending", {}), ("buy", {"offer_id": "offer_x"}), ("why", {"payment_id": "x"})]

    async def calls(client, number):
        for each in range(number):
            await client.call_tool(*kinds[each % len(kinds)])
            await client.read_resource("spending://today")
        payer.sandbox.seller.visits.clear()  # the sandbox forgets nothing by itself
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    async with connect() as client:
        await calls(client, 300)  # 60 offers and more fill what is bounded
        tracemalloc.start()
        try:
            before = await calls(client, 300)
            after = await calls(client, 1000)
        finally:
            tracemalloc.stop()
    assert (after - before) / 1000 < 200, f"{(after - before) / 1000:.0f} bytes a call"
