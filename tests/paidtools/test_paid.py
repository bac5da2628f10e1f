"""Paid tools of an MCP server: asked, paid, delivered, and every way of lying about it."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.anyio


async def test_a_tool_is_paid_and_its_result_has_the_receipt(made, opened):
    payer = made()
    async with opened(payer) as session:
        listed = await session.list_tools()
        assert "joke" in {tool.name for tool in listed.tools}
        free = await session.call_tool("free")
        assert free.structured_content == {"free": True} and free.payment is None
        for name in ("joke", "v1_joke"):
            result = await session.call_tool(name, {"note": "a"})
            assert "joke" in result.structured_content and not result.is_error
            assert result.payment.outcome == "spent" and result.payment.money.amount == 10_000
            assert result.meta["x402/payment-response"]["transaction"] == result.payment.transaction
    assert len(payer.box.settlements) == 2
