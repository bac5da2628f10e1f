"""A payer, the sandbox's seller of tools, and the official client in front of it, in this process."""

from __future__ import annotations

from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from x402_agent import Payer


@asynccontextmanager
async def tools(payer, **options):
    """The seller of this payer's sandbox as a paid session."""
    box = payer.box
    async with httpx2.AsyncClient(transport=box.transport(), timeout=None) as http:
        async with Client(streamable_http_client(box.url("/mcp"), http_client=http), mode="legacy", **options) as client:
            yield payer.mcp(client, box.url("/mcp"))


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param


def pytest_collection_modifyitems(items):
    """Families are quick on asyncio alone."""
    for item in items:
        given = getattr(item, "callspec", None)
        if given and "paidtools" in str(item.path) and given.params.get("anyio_backend") == "trio" and len(given.params) > 1:
            item.add_marker(pytest.mark.full)


@pytest.fixture
def made():
    """Payers of the sandbox's seller of tools, closed at the end."""
    opened = []

    def make(scenario="honest", **options):
        opened.append(Payer.sandbox(scenario, seller="mcp", **options))
        return opened[-1]

    yield make
    for payer in opened:
        payer.close()


@pytest.fixture
def opened():
    return tools
