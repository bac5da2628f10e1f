"""`x402-agent-mcp proxy` as a host starts it: a URL, or a command under a name of one's own."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from x402_agent_mcp import main

from x402_agent import Payer, Settings
from x402_agent.cli.sandbox import _leave_key
from x402_agent.ledger import SqliteLedger
from x402_agent.sandbox import scenario

pytestmark = pytest.mark.anyio
SELLER = Path(__file__).parent / "stdio_seller.py"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def running():
    """The seller of tools as `sandbox up` leaves it for others on this machine."""
    with Payer.sandbox(seller="mcp", serve=True) as payer:
        box = payer.sandbox
        facts = {"key": box.payer_key.hex(), "node": box.rpc_url, "url": box.url(""), "network": box.network}
        _leave_key(Settings.load().data_dir / "sandbox" / "payer.json", facts)
        yield box


def command(*words, **env):
    return StdioServerParameters(command=sys.executable, args=["-m", "x402_agent_mcp", "proxy", *map(str, words)], env={**os.environ, **env})


def paid():
    ledger = SqliteLedger(Settings.load().sandbox_ledger, sandbox=True)
    found = [(row.url, row.outcome) for row in ledger.payments()]
    ledger.shut()
    return found


@pytest.mark.full
async def test_a_url(running):
    async with Client(command("--sandbox", running.url("/mcp"))) as host:
        assert "joke" in {tool.name for tool in (await host.list_tools()).tools}
        assert (await host.call_tool("joke", {})).content[0].text.startswith("Paid 0.0100 USDC (base-sepolia), sandbox money, payment ")
    assert len(running.settlements) == 1 and paid() == [(running.url("/mcp/joke"), "spent")]


@pytest.mark.full
async def test_a_command_under_a_name_that_gets_no_environment(running, tmp_path):
    words = ("--sandbox", "weather", "--", sys.executable, SELLER, running.url("/mcp"), tmp_path / "names")
    async with Client(command(*words, X402_AGENT_EVM_KEY="11" * 32, SECRET="x")) as host:
        assert (await host.call_tool("joke", {})).content[0].text.startswith("Paid 0.0100 USDC (base-sepolia), sandbox money, payment ")
    assert paid() == [("mcp://weather.alt/joke", "spent")]
    told = (tmp_path / "names").read_text().split()
    assert "PATH" in told and not {"X402_AGENT_EVM_KEY", "X402_AGENT_HOME", "SECRET"} & set(told)


@pytest.mark.full
async def test_a_door_that_is_killed_while_it_pays_and_started_again_pays_once(running, tmp_path):
    running.scenario = scenario("settles_then_hangs", "mcp").with_(times=1)
    pid = tmp_path / "pid"
    doors = [command("--sandbox", running.url("/mcp")) for _ in range(2)]
    killed = StdioServerParameters(command="sh", args=["-c", f'echo $$ > "{pid}"; exec "$0" "$@"', doors[0].command, *doors[0].args], env=doors[0].env)

    async def dies():
        with suppress(Exception):
            async with Client(killed) as host:
                await host.call_tool("joke", {"note": "a"})

    with anyio.fail_after(180):
        async with anyio.create_task_group() as group:
            group.start_soon(dies)
            while not running.settlements:  # noqa: ASYNC110
                await anyio.sleep(0.05)
            os.kill(int(pid.read_text()), signal.SIGKILL)
    assert [outcome for _, outcome in paid()] == ["in_doubt"]
    for says in ("Nothing new was paid: the proof of", "Nothing new was paid: the same call"):
        async with Client(doors[1]) as host:
            result = await host.call_tool("joke", {"note": "a"})
            assert not result.is_error and result.content[0].text.startswith(says) and "joke" in result.content[1].text
    assert len(running.settlements) == 1 and [outcome for _, outcome in paid()] == ["spent"]


def test_what_is_wrong_is_said_in_a_line(capsys, monkeypatch):
    monkeypatch.setattr("x402_agent_mcp.logs.to_stderr", lambda: None)  # this process goes on, and its logs are looked at by others
    assert main(["proxy", "weather"]) == 2
    assert "a door leads to a URL" in capsys.readouterr().err
    with Payer.sandbox(seller="mcp") as payer:
        monkeypatch.setattr("x402_agent_mcp.command._own", lambda: payer)
        assert main(["proxy", "http://127.0.0.1:8777/mcp?key=secret"]) == 2
        told = capsys.readouterr().err
        assert "public addresses alone" in told and "secret" not in told
    with pytest.raises(SystemExit) as ended:
        main(["proxy", "--help"])
    assert ended.value.code == 0 and "x402-agent-mcp proxy https://seller.example/mcp" in capsys.readouterr().out
