"""What the rest of the house makes of a paid tool: the signer, tasks, approvals, evidence, the command line."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from mcp import Client
from typer.testing import CliRunner

from signer.conftest import Running
from x402_agent import Bounds, BudgetExceeded, Payer, PaymentInDoubt, Policy, PolicyDenied, Settings
from x402_agent.cli.app import app
from x402_agent.model import Ask, Credential

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def cli(*words):
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def kept():
    """A payer whose ledger the command line finds."""
    settings = Settings.load()
    with Payer.sandbox(seller="mcp", serve=True, ledger=settings.sandbox_ledger, settings=settings) as payer:
        yield payer


async def call(payer, tool="joke"):
    return await call_as(payer, payer.box, tool)


async def call_as(payer, box, tool="joke"):
    async with Client(box.url("/mcp"), mode="legacy") as client:
        return await payer.mcp(client).call_tool(tool, {"note": "a"})


async def test_behind_a_signer_the_same_call_is_paid_by_the_service_once(monkeypatch):
    with tempfile.TemporaryDirectory(prefix="x402-") as folder, Payer.sandbox(seller="mcp", serve=True) as payer:
        payer.nonce = lambda: os.urandom(32)
        service = Running(payer, Path(folder), {os.getuid(): "team/research"})
        try:
            with service.agent() as agent:
                async with Client(payer.box.url("/mcp"), mode="legacy") as client:
                    result = await agent.mcp(client).call_tool("joke")
                assert result.payment.outcome == "spent"
                payer.box.scenario = "answer_lost"
                with pytest.raises((PaymentInDoubt, BaseExceptionGroup)):
                    async with Client(payer.box.url("/mcp"), mode="legacy") as client:
                        await agent.mcp(client, "").call_tool("report")
                seen = len(payer.box.requests)
                (open_,) = agent.resume()
                assert "call the tool again" in open_.note and len(payer.box.requests) == seen  # no proof goes over plain HTTP
                async with Client(payer.box.url("/mcp"), mode="legacy") as client:
                    again = await agent.mcp(client).call_tool("report")
                    payer.box.scenario = "honest"
                    assert (await agent.mcp(Piped(client), "weather").call_tool("joke")).payment.outcome == "spent"
                assert again.payment.outcome == "spent" and again.payment.again
            paid = service.payments()
            assert [(one.method, one.state, one.agent) for one in paid] == [("CALL", "CLAIMED", "research")] * 3
            assert len(payer.box.settlements) == 3 and paid[0].url == "mcp://weather.alt/joke"
        finally:
            service.stop()


async def test_a_session_bound_to_a_task_pays_under_it(kept):
    with kept.task("outer", budget="0.02") as task:
        async with Client(kept.box.url("/mcp"), mode="legacy") as client:
            session = task.mcp(client)
            assert (await session.call_tool("joke")).payment.outcome == "spent"
            with pytest.raises(PolicyDenied, match=r"0\.02"):
                await session.call_tool("report")
        assert task.spent == "0.01"


async def test_a_person_is_asked_and_sees_who_and_which_tool(kept):
    asked = []
    with Payer(wallet=kept.wallet, policy=Policy(networks=kept.policy.networks, approve_above=0), ledger=kept.ledger, settings=kept.settings,
               approve=lambda offer, ask: asked.append((ask.method, ask.origin, ask.path, ask.tool)) or len(asked) == 1) as payer:  # fmt: skip
        async with Client(kept.box.url("/mcp"), mode="legacy") as client:
            session = payer.mcp(client)
            assert (await session.call_tool("joke")).payment.outcome == "spent"
            with pytest.raises(PolicyDenied):
                await session.call_tool("report")
    assert asked == [("CALL", kept.box.origin, f"/mcp/{name}", f"mcp://tool/{name}") for name in ("joke", "report")]
    assert len(kept.box.settlements) == 1


@pytest.mark.parametrize("tool", ["signed", "v1_signed"])
async def test_what_a_seller_of_tools_signed_holds(kept, tool, tmp_path):
    bought = (await call(kept, tool)).payment.payment_id
    kept.ledger.flush()
    assert [kind for kind, _ in kept.ledger.evidence(bought)] == ["offer", "receipt"]
    file = tmp_path / "evidence.json"
    assert cli("receipt", bought, "-o", str(file)).exit_code == 0
    shown = cli("receipt", str(file), "--verify")
    assert shown.exit_code == 0 and shown.output.count("holds: signed by the payee") == 2, shown.output
    document = json.loads(file.read_text())
    document["payment"]["url"] += "x"
    file.write_text(json.dumps(document))
    assert cli("receipt", str(file), "--verify").exit_code == 1


async def test_the_command_line_shows_it(kept):
    kept.box.scenario = "charged_again"
    paid = (await call(kept)).payment
    assert paid.outcome == "refused"
    kept.ledger.flush()
    shown = cli("why", paid.payment_id)
    assert shown.exit_code == 0 and "CALL" in shown.output and "/mcp/joke" in shown.output, shown.output


async def test_no_remembered_offer_and_no_credential_goes_before_the_question(kept):
    rules = Policy(networks=kept.policy.networks, prepay=(kept.box.origin,))
    with Payer(wallet=kept.wallet, policy=rules, ledger=kept.ledger, settings=kept.settings) as payer:
        with payer.client() as http:
            http.get(kept.box.url("/mcp/joke"))
        payer.credentials.keep(Credential(kept.box.origin, "/", {"x-token": "secret"}, uses_left=5), Ask("GET", kept.box.url("/"), kept.box.origin, "", "/")).run()
        for _ in range(2):
            assert (await call_as(payer, kept.box)).payment.outcome == "spent"
        visits = [visit.proof for visit in kept.box.requests if visit.method == "CALL"]
        assert visits == [False, True, False, True]
        assert [token.uses_left for token in payer.ledger.tokens()] == [5]


@pytest.mark.full
@pytest.mark.parametrize("chain", ["solana", "tron", "stacks"])
async def test_tools_are_paid_on_every_chain(chain):
    with Payer.sandbox(chain=chain, seller="mcp", serve=True) as payer:
        assert (await call(payer)).payment.outcome == "spent"
        assert len(payer.box.settlements) == 1


class Piped:
    """The sandbox's seller of tools, as a client of a pipe sees it: nothing of it says who is behind."""

    def __init__(self, client):
        self.call_tool, self.list_tools = client.call_tool, client.list_tools


@pytest.mark.parametrize("scope", ["host:weather.alt", "origin:mcp://weather.alt", "path:mcp://weather.alt/joke", "tool:weather.alt/joke"])
async def test_a_server_behind_a_pipe_has_budgets_of_its_own(kept, scope):
    rules = Policy(networks=kept.policy.networks, budgets={scope: Bounds(day=15_000)})
    with Payer(wallet=kept.wallet, policy=rules, ledger=kept.ledger, settings=kept.settings) as payer:
        async with Client(kept.box.url("/mcp"), mode="legacy") as client:
            weather, other = payer.mcp(Piped(client), "weather"), payer.mcp(Piped(client), "other")
            assert (await weather.call_tool("joke")).payment.outcome == "spent"
            with pytest.raises(BudgetExceeded, match=r"0\.015"):
                await weather.call_tool("joke", {"note": "b"})
            assert (await other.call_tool("joke")).payment.outcome == "spent"


def test_the_list_of_hosts_knows_it_by_its_own_name_alone(kept):
    for allowed, named in (("weather.alt", True), ("mcp://weather.alt", True), ("weather", False), ("https://weather.alt", False)):
        rules = Policy(networks=kept.policy.networks, allow=(allowed,))
        asked = Ask("CALL", "mcp://weather.alt/joke", "mcp://weather.alt", "weather.alt", "/joke")
        assert bool({asked.host, asked.origin} & set(rules.allow)) == named
