"""The server in this process, over a payer of the sandbox, and the official client in either era of the protocol."""

from __future__ import annotations

import pytest
from mcp import Client
from mcp_types import Implementation
from x402_agent_mcp.clients import Clients
from x402_agent_mcp.progress import trace
from x402_agent_mcp.server import made

from x402_agent import Payer


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def payer():
    with Payer.sandbox(trace=trace) as ours:
        yield ours


@pytest.fixture
def server(payer):
    return made(Clients(lambda: payer, loopback=True))


@pytest.fixture
def connect(server):
    """connect("claude", mode="legacy") -> the official client, to be entered."""

    def connect(name="tester", **options):
        return Client(server, client_info=Implementation(name=name, version="1"), **options)

    return connect


@pytest.fixture
def joke(payer):
    return payer.sandbox.url("/joke")
