"""The HTTP side: who has no token, comes from another page, or calls this server by another name gets nothing."""

from __future__ import annotations

import os
import threading
import time

import httpx2
import pytest
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.auth.settings import AuthSettings
from x402_agent_mcp import web
from x402_agent_mcp.clients import Clients
from x402_agent_mcp.server import made

from x402_agent import SettingsError
from x402_agent.secret import Secret

pytestmark = pytest.mark.anyio
TOKEN = "a-token-of-the-tests-0123456789"
HELLO = {"jsonrpc": "2.0", "id": 1, "method": "initialize",
         "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}}  # fmt: skip


@pytest.fixture
def served(payer):
    """The application on a free port, in a thread; -> its port."""
    auth = AuthSettings(issuer_url="http://127.0.0.1", resource_server_url=None)
    server = made(Clients(lambda: payer, loopback=True), auth=auth, verifier=web.Bearer(Secret(TOKEN)))
    sock = uvicorn.Config(None, host="127.0.0.1", port=0, log_config=None).bind_socket()
    port = sock.getsockname()[1]
    running = uvicorn.Server(uvicorn.Config(web.app(server, "127.0.0.1", port), log_config=None, access_log=False))
    thread = threading.Thread(target=running.run, args=([sock],))
    thread.start()
    try:
        while not running.started and thread.is_alive():
            time.sleep(0.01)
        yield port
    finally:
        running.should_exit = True
        thread.join(60)
        sock.close()


def said(port, **headers):
    sent = {"accept": "application/json, text/event-stream", "authorization": f"Bearer {TOKEN}", **headers}
    sent = {name: value for name, value in sent.items() if value is not None}
    return httpx2.post(f"http://127.0.0.1:{port}/mcp", json=HELLO, headers=sent, trust_env=False).status_code


async def test_M9_M10_only_the_token_a_known_host_and_no_other_page(served, joke, payer):
    assert said(served) == 200
    assert said(served, origin=f"http://localhost:{served}", host=f"localhost:{served}") == 200
    for other in (None, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN.upper()}"):
        assert said(served, authorization=other) == 401
    for host in ("evil.example", f"evil.example:{served}", "127.0.0.1", "127.0.0.1:1", f"127.0.0.1:{served}.evil.example", ""):
        assert said(served, host=host) in (400, 421), host
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{served}", "http://127.0.0.1:1", f"http://127.0.0.1:{served}.evil.example"):
        assert said(served, origin=origin) == 403, origin

    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {TOKEN}"}, trust_env=False) as http:
        for mode in ("auto", "legacy"):
            async with Client(streamable_http_client(f"http://127.0.0.1:{served}/mcp", http_client=http), mode=mode) as client:
                answer = await client.call_tool("fetch", {"url": joke})
                assert answer.structured_content["outcome"] == "spent"
    assert len(payer.sandbox.settlements) == 1


def test_a_token_comes_from_a_private_file_or_the_environment_and_is_taken_out_of_it(tmp_path):
    default = tmp_path / "data" / "token"
    made_token, where = web.token_of(None, default, {})
    assert where == default and len(made_token) >= 32 and web.token_of(None, default, {})[0].raw == made_token.raw
    if os.name == "posix":
        assert default.stat().st_mode & 0o077 == 0
        default.chmod(0o644)
        with pytest.raises(SettingsError, match="read by others"):
            web.token_of(default, default, {})
    environ = {web.TOKEN: TOKEN}
    found, where = web.token_of(None, tmp_path / "none", environ)
    assert (found.text, where, environ) == (TOKEN, None, {}) and TOKEN not in repr(found)
    for short in ("", "short", "with a space in the middle of it", "umlaut-äääääääääääääääää"):
        with pytest.raises(SettingsError):
            web.token_of(None, tmp_path / "none", {web.TOKEN: short or "x"})
    with pytest.raises(SettingsError, match="cannot be read"):
        web.token_of(tmp_path / "missing", default, {})


async def test_a_token_is_kept_by_its_digest_alone():
    bearer = web.Bearer(Secret(TOKEN))
    assert TOKEN not in repr(vars(bearer))
    assert (await bearer.verify_token(TOKEN)).token == "" and await bearer.verify_token(TOKEN + "\ud800") is None


async def test_oauth_by_the_sdks_settings_makes_each_subject_a_client(payer, joke):
    from mcp.server.auth.provider import AccessToken

    class Verifier:
        async def verify_token(self, token):
            who = {"one": "ann", "two": "bob"}.get(token)
            return who and AccessToken(token=token, client_id="app", scopes=["buy"], subject=who, resource="http://127.0.0.1:9999/mcp")

    auth = AuthSettings(issuer_url="https://login.example", resource_server_url="http://127.0.0.1:9999/mcp", required_scopes=["buy"], validate_token_resource=True)
    app = web.app(made(Clients(lambda: payer, loopback=True), auth=auth, verifier=Verifier()), "127.0.0.1", 9999)
    async with app.router.lifespan_context(app), httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1:9999") as http:
        facts = (await http.get("/.well-known/oauth-protected-resource/mcp")).json()
        assert facts["authorization_servers"][0].rstrip("/") == "https://login.example"
        asked = await http.post("/mcp", json=HELLO)
        assert asked.status_code == 401 and "resource_metadata" in asked.headers["www-authenticate"]
        offers = []
        for token in ("one", "two"):
            http.headers["authorization"] = f"Bearer {token}"
            async with Client(streamable_http_client("http://127.0.0.1:9999/mcp", http_client=http)) as client:
                for offer in offers:
                    assert (await client.call_tool("buy", {"offer_id": offer})).is_error
                offers.append((await client.call_tool("quote", {"url": joke})).structured_content["offer_id"])
    assert not payer.sandbox.settlements
