"""The command as a host starts it: stdout is the protocol's alone, and no wallet is opened before a tool needs one."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from x402_agent_mcp import logs, main

from x402_agent import Payer, Settings
from x402_agent.cli.sandbox import _leave_key
from x402_agent.ledger import SqliteLedger

pytestmark = pytest.mark.anyio
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


def command(*words, **env):
    return StdioServerParameters(command=sys.executable, args=["-m", "x402_agent_mcp", *words], env={**os.environ, **env})


@pytest.fixture
def running(payer_served):
    """A sandbox as `sandbox up` leaves it for others on this machine."""
    box = payer_served.sandbox
    settings = Settings.load()
    _leave_key(settings.data_dir / "sandbox" / "payer.json",
               {"key": box.payer_key.hex(), "node": box.rpc_url, "url": box.url(""), "network": box.network})  # fmt: skip
    return box


@pytest.fixture
def payer_served():
    with Payer.sandbox(serve=True) as made:
        yield made


async def test_a_host_starts_it_lists_its_tools_and_buys_from_the_sandbox(running):
    async with Client(command("--sandbox")) as client:
        assert "fetch" in {each.name for each in (await client.list_tools()).tools}
        bought = (await client.call_tool("fetch", {"url": running.url("/joke")})).structured_content
        assert bought["outcome"] == "spent", bought
    assert len(running.settlements) == 1
    ledger = SqliteLedger(Settings.load().sandbox_ledger, sandbox=True)
    assert [each.outcome for each in ledger.payments()] == ["spent"]
    ledger.shut()


@pytest.mark.full
async def test_without_a_wallet_the_tools_are_listed_and_a_purchase_says_what_to_type(tmp_path):
    async with Client(command(), mode="legacy") as client:
        assert (await client.list_tools()).tools
        answer = await client.call_tool("spending", {})
        assert str(tmp_path) not in str(answer)
        refused = await client.call_tool("fetch", {"url": "http://127.0.0.1:1/x"})
        assert refused.is_error and refused.structured_content["problem"]["kind"] == "AddressRefused"


@pytest.mark.full
def test_stdout_stays_clean_and_what_is_wrong_goes_to_stderr():
    lines = b'garbage\n{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n\xff\xfe\n'
    done = subprocess.run([sys.executable, "-m", "mcp_server"], input=lines, capture_output=True, timeout=120, cwd=ROOT, check=False)
    for line in done.stdout.splitlines():
        assert line.startswith(b'{"jsonrpc":"2.0"'), line
    assert done.returncode == 0 and b"\xff" not in done.stderr


@pytest.mark.full
@pytest.mark.parametrize("era", ["auto", "legacy"])
def test_the_http_side_as_it_is_started(running, era):
    async def buys(url, token):
        async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}, trust_env=False) as http:
            for _ in range(600):
                with suppress(httpx2.ConnectError):
                    assert (await http.get(url, headers={"authorization": "Bearer no"})).status_code == 401
                    break
                await anyio.sleep(0.1)
            async with Client(streamable_http_client(url, http_client=http), mode=era) as client:
                assert (await client.call_tool("fetch", {"url": running.url("/joke")})).structured_content["outcome"] == "spent"

    words = [sys.executable, "-m", "x402_agent_mcp", "--sandbox", "--http", "--port", "0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as server:
        try:
            said = server.stderr.readline().decode()
            token = Path(said.strip().rpartition("token in ")[2]).read_text("utf-8").strip()
            assert len(token) >= 32 and token not in said
            anyio.run(buys, said.split()[1].rstrip(","), token)
        finally:
            server.terminate()
            out, err = server.communicate(timeout=60)
    assert out == b"" and token.encode() not in err, err


def test_help_teaches_and_no_argument_takes_a_token(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    told = capsys.readouterr().out
    assert end.value.code == 0 and "--token " not in told
    for word in ("--sandbox", "--http", "--token-file", "X402_AGENT_MCP_TOKEN", "policy.toml", "Exit status"):
        assert word in told


@pytest.mark.parametrize("words", [["--http", "--host", "192.0.2.1"], ["--http", "--token-file", "missing"]])
def test_what_is_not_safe_to_serve_is_not_served(words, capsys, monkeypatch):
    monkeypatch.setattr("x402_agent_mcp.logs.to_stderr", lambda: None)
    assert main(words) == 2
    assert words[1] in capsys.readouterr().err


def test_a_port_that_is_taken_is_said(capsys, monkeypatch):
    monkeypatch.setattr("x402_agent_mcp.logs.to_stderr", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["--http", "--port", str(taken.getsockname()[1])]) == 2
    assert "nothing can listen on 127.0.0.1" in capsys.readouterr().err


def test_a_log_line_quotes_no_exception_and_is_one_line(capsys):
    found = logging.LogRecord("x", logging.ERROR, "", 0, "seen \x1b[31m%s\n\u202e", ("text",), None)
    try:
        raise ValueError("0x" + "ab" * 32)
    except ValueError:
        found.exc_info = sys.exc_info()
    line = logs.Line().format(found)
    assert "abab" not in line and "ValueError in test_a_log_line" in line and line.isprintable()


def test_without_the_extra_it_says_what_to_type(capsys, monkeypatch):
    monkeypatch.setattr("x402_agent_mcp.command.find_spec", lambda name: None)
    assert main([]) == 2
    assert "x402-agent-sdk[mcp,evm]" in capsys.readouterr().err
