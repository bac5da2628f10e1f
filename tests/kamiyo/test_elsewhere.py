"""The same where the key is another user's, and from the command line: bought once, used again, explained."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner

from x402_agent import NoAcceptableOffer, Payer, PolicyDenied, Settings
from x402_agent.chains.evm import transfer
from x402_agent.cli.app import app
from x402_agent.dialects.kamiyo import native
from x402_agent.signer import AgentPayer, Service
from x402_agent.signer.agent import AgentKit
from x402_agent.steps import Fetch, Sleep


@contextmanager
def agent_of(payer):
    """An agent whose key, policy and ledger are this payer's, behind a socket."""
    with tempfile.TemporaryDirectory(prefix="x402-") as folder:  # a socket's path is short
        path = Path(folder) / "s.sock"
        service = Service(payer, path, {os.getuid(): "research"})
        thread = threading.Thread(target=service.serve)
        thread.start()
        try:
            with AgentPayer(replace(Settings.load(), signer=path)) as agent:
                yield agent
        finally:
            service.stop()
            thread.join(20)
    payer.ledger.flush()


def test_an_agent_of_a_signer_buys_calls_once(payer, shop):
    with agent_of(payer) as agent, agent.client() as http:
        assert [http.get(shop.url(each)).content for each in ("/exploits", "/exploits", "/protocols/risk-score")] == [b"goods"] * 3
        shop.tokens.clear()
        assert http.get(shop.url()).content == b"goods"
    assert payer.box.balance(payer.box.pay_to) == 100_000 and len(payer.ledger.payments()) == 1
    assert [each.agent for each in payer.ledger.tokens()] == ["research"] and shop.asked == ["verify", "token"] * 2


@pytest.mark.parametrize(("rate", "way", "amount"), [(1000, "token", 200_000), (20, "x-payment", 10_000)])
def test_an_agents_calls_are_chosen_by_what_the_sellers_pages_say(payer, gateway, rate, way, amount):
    payer.policy, gateway.rate = replace(payer.policy, per_call=1_000_000), rate
    with agent_of(payer) as agent, agent.task("watch", expect_calls=200), agent.client() as http:
        assert agent.quote(gateway.url()).chosen.amount == amount
        assert http.get(gateway.url()).content == b"goods"
    assert gateway.opened == [way] and [row.amount for row in payer.ledger.payments()] == [amount]


def test_an_agent_asks_no_page_for_one_call(payer, gateway):
    asked = []
    gateway.seller.serves("/x402/pricing", lambda hit: asked.append(hit) or gateway.json({}))
    with agent_of(payer) as agent, agent.client() as http:
        assert http.get(gateway.url()).content == b"goods"
    assert asked == [] and gateway.opened == ["x-payment"]


def test_what_the_agent_did_not_expect_to_buy_its_signer_holds_only_once_the_pages_were_asked(payer, shop, monkeypatch):
    """The agent knows no rule, so it may guess wrong which way the service takes."""
    monkeypatch.setattr(AgentKit, "buys", lambda kit, ask, challenge: kit.unasked)
    with agent_of(payer) as agent, agent.client() as http:
        shop.seller.serves("/x402/supported-chains", shop.json({"supported_chains": ["ethereum"]}))
        with pytest.raises(NoAcceptableOffer, match="base-sepolia"):
            http.get(shop.url())
        assert payer.ledger.payments() == []
        shop.seller.serves("/x402/supported-chains", shop.chains)
        assert [http.get(shop.url()).content for _ in range(2)] == [b"goods"] * 2
    assert shop.opened == ["token"] * 2 and len(payer.ledger.payments()) == 1


@pytest.mark.parametrize("through", ["the ledger", "a signer"])
@pytest.mark.parametrize("world", ["sync", pytest.param("asyncio", marks=pytest.mark.full), "trio"])
def test_who_comes_second_is_told_that_the_first_is_still_being_made(payer, shop, through, world, monkeypatch):
    """A transaction may take minutes to be deep enough; a second call waits no longer than any call, and says what to type."""
    under_way, deep = threading.Event(), threading.Event()
    slow = transfer.broadcast

    def waits(*rest):
        under_way.set()
        while not deep.is_set():
            yield Sleep(0.02)
        return (yield from slow(*rest))

    def get():
        with spender.client() as http:
            return http.get(shop.url(), timeout=0.5)

    async def get_there():
        async with spender.async_client() as http:
            return await http.get(shop.url(), timeout=0.5)

    monkeypatch.setattr(transfer, "broadcast", waits)
    with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
        spender = payer if through == "the ledger" else stack.enter_context(agent_of(payer))
        first = pool.submit(get)
        try:
            assert under_way.wait(60)
            payer.deadline = 0.5
            with pytest.raises(PolicyDenied, match="is being paid for by another call, which has not ended; this call paid nothing") as told:
                get() if world == "sync" else anyio.run(get_there, backend=world)
            payer.deadline = 60.0
            (row,) = payer.ledger.payments()
            assert told.value.payment_id == row.payment_id and told.value.retry_safe
            assert told.value.hint == f"x402-agent why {row.payment_id[:8]} says how far it is; then repeat the request"
        finally:
            deep.set()
        assert first.result(60).content == b"goods" and get().content == b"goods"
    assert payer.box.balance(payer.box.pay_to) == 100_000 and len(payer.ledger.payments()) == 1


def test_get_twice_and_why(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "BLOCK", {"base-sepolia": 0.01})
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))

    def deep(ask, step, value):
        if isinstance(step, Fetch) and step.method == "POST":
            payer.box.mine(8)

    with Payer.sandbox(seller="kamiyo", ledger=Settings.load().sandbox_ledger, trace=deep) as payer:
        payer.box.fund(payer.box.payer_address, 1_000_000)
        with payer.task("watch", expect_calls=100), payer.client() as http:
            assert [http.get(payer.box.url("/exploits")).status_code for _ in range(2)] == [200, 200]
        payer.ledger.flush()
        (row,) = payer.ledger.payments()
        with monkeypatch.context() as patched:  # test money: nobody outside is asked of it
            patched.setattr("socket.socket.connect", lambda *_: pytest.fail("a connection"))
            patched.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("a name was asked for"))
            for base in ("", "https://service.example/api"):
                patched.setenv("X402_AGENT_KAMIYO_URL", base)
                done = CliRunner().invoke(app, ["why", row.payment_id, "--check"])
                assert done.exit_code == 2 and "sandbox money: no service outside knows of it" in done.output, done.output
        monkeypatch.setenv("X402_AGENT_KAMIYO_URL", payer.box.url("/api/v1/x402"))
        told = json.loads(CliRunner().invoke(app, ["why", row.payment_id, "--json"]).stdout)
        assert told["opens"][0]["uses_left"] == 98 and told["for"].startswith("about 100 calls") and told["check"] == ""
        words = CliRunner().invoke(app, ["why", row.payment_id, "--check"]).stdout
    assert "98 more times" in words and "about 100 calls within a day, paid on chain (one alone: 0.01 USDC)" in words
    assert "finds this payment, too" in words
