"""Permit2 and upto, from the 402 to the chain: only under an allowance that its owner gave, and the ceiling is what counts."""

from __future__ import annotations

import base64
import json

import anyio
import httpx
import pytest

from x402_agent import NoAcceptableOffer, Payer
from x402_agent.model import Limit
from x402_agent.payer.kit import digest

libraries = pytest.mark.parametrize("library", ["httpx", "httpx2"])
loops = pytest.mark.parametrize("loop", ["asyncio", "trio"])


@pytest.fixture
def payer():
    with Payer.sandbox() as one:
        yield one


@pytest.fixture
def allow(payer):
    """What the ledger knows of the allowance from now on."""
    return lambda amount: payer.ledger.allow(*payer.sandbox.ground.allowances[0][:4], amount).run()


def left(payer):
    return payer.ledger.allowance(*payer.sandbox.ground.allowances[0][:4])


def counted(payer):
    return payer.ledger.spent([Limit("all", "total", 0)], realm="sandbox")[0].spent


def test_D3_without_an_allowance_nothing_is_signed_and_the_command_is_named(payer, allow):
    allow(9_999)
    with payer.client() as http, pytest.raises(NoAcceptableOffer) as caught:
        http.get(payer.sandbox.url("/permit2"))
    assert caught.value.hint == "x402-agent wallet approve USDC --for permit2 --amount 1 --network base-sepolia --sandbox"
    assert "permit2 has been allowed to move only 0.009999 USDC of yours on base-sepolia" in caught.value.what
    assert caught.value.rule.endswith("(D3)")
    assert payer.ledger.payments() == [] and payer.sandbox.settlements == []
    found = payer.quote(payer.sandbox.url("/permit2"))
    assert found.chosen is None and isinstance(found.reason, NoAcceptableOffer)


def test_D3_through_attach_the_untouched_402_comes_back(payer, allow):
    allow(0)
    with payer.attach(httpx.Client(transport=payer.sandbox.transport())) as http:
        reply = http.get(payer.sandbox.url("/upto"))
    assert reply.status_code == 402
    assert "wallet approve USDC --for permit2" in reply.extensions["payment"].reason.hint


def test_of_two_ways_at_one_price_the_one_without_an_allowance_is_taken(payer):
    with payer.client() as http:
        http.get(payer.sandbox.url("/either"))
    assert payer.sandbox.ground.allowance == left(payer) == 1_000_000_000


@pytest.mark.proves("evm", "permit2", "pays")
@libraries
def test_exact_by_permit2_settles_on_the_chain(payer, library):
    with payer.client(library=library) as http:
        reply = http.get(payer.sandbox.url("/permit2"))
    receipt = reply.extensions["payment"]
    assert (reply.status_code, receipt.outcome, receipt.money.amount) == (200, "spent", 10_000)
    (settled,) = payer.sandbox.settlements
    assert (settled.tx, settled.amount) == (receipt.transaction, 10_000)
    assert payer.sandbox.ground.allowance == left(payer) == 1_000_000_000 - 10_000
    (payment,) = payer.ledger.payments()
    assert int(payment.nonce, 16) == int.from_bytes(bytes.fromhex(settled.nonce.removeprefix("0x")))


@libraries
@loops
def test_and_without_blocking_a_loop(payer, library, loop):
    async def main():
        async with payer.async_client(library=library) as http:
            return [(await http.get(payer.sandbox.url(path))).extensions["payment"] for path in ("/permit2", "/upto")]

    exact, upto = anyio.run(main, backend=loop)
    assert (exact.outcome, upto.outcome) == ("spent", "spent")
    assert [one.amount for one in payer.sandbox.settlements] == [10_000, 12_000]


@pytest.mark.proves("evm", "upto", "pays")
def test_P13_upto_counts_its_ceiling_whatever_the_receipt_claims(payer):
    with payer.client() as http:
        receipt = http.get(payer.sandbox.url("/upto")).extensions["payment"]
    assert receipt.outcome == "spent" and receipt.claim["amount"] == "12000"
    assert receipt.money.amount == 50_000 == counted(payer)
    assert repr(receipt).startswith("Receipt(at most 0.05 USDC, eip155:84532 (sandbox), spent, tx 0x")
    assert [one.amount for one in payer.sandbox.settlements] == [12_000]


def test_upto_that_charges_nothing_is_a_success_without_a_transaction(payer):
    with payer.client() as http:
        reply = http.get(payer.sandbox.url("/upto-zero"))
    receipt = reply.extensions["payment"]
    assert (reply.status_code, receipt.outcome, receipt.transaction) == (200, "spent", "")
    assert receipt.claim["amount"] == "0" and counted(payer) == 50_000
    assert payer.sandbox.settlements == []


def test_P13_a_ceiling_over_the_cap_is_refused_before_anybody_is_told_to_approve(payer, allow):
    allow(0)
    with payer.client() as http, pytest.raises(Exception) as caught:  # noqa: PT011 - its type is the point
        http.get(payer.sandbox.url("/upto"), extensions={"payment": {"max": "0.049999"}})
    assert type(caught.value).__name__ == "BudgetExceeded" and "approve" not in str(caught.value)


def test_what_is_promised_and_not_settled_yet_is_no_longer_allowed(payer, allow):
    allow(60_000)
    with payer.client() as http:
        http.get(payer.sandbox.url("/upto"))  # 12,000 of 50,000 moved; nobody has looked yet
        assert left(payer) == 10_000
        with pytest.raises(NoAcceptableOffer):
            http.get(payer.sandbox.url("/upto"))
        http.get(payer.sandbox.url("/permit2"))
    assert left(payer) == 0
    assert [one.amount for one in payer.sandbox.settlements] == [12_000, 10_000]


def test_a_proof_by_permit2_is_rebuilt_from_the_ledger_byte_for_byte(payer):
    payer.sandbox.scenario = "answer_lost"
    with payer.client(timeout=5) as http, pytest.raises(Exception, match="did not answer"):
        http.post(payer.sandbox.url("/upto"), content=b"")
    payer.sandbox.scenario = "honest"
    (hold,) = payer.ledger.open_payments()
    assert (hold.offer.method, hold.offer.scheme) == ("permit2", "upto")
    assert hold.offer.facilitator == payer.sandbox.facilitator_address
    made = payer.chains["eip155"].prove(hold.offer, hold.terms, payer.signer("eip155"))
    (stored,) = payer.ledger._store.db.execute("SELECT proof_digest FROM x402_payments").fetchone()
    assert digest(made) == stored
    (found,) = payer.resume()
    assert found.after in ("CLAIMED", "UNKNOWN", "INFLIGHT")
    assert len(payer.sandbox.settlements) == 1


# -- what a ceiling was charged: from the chain alone --------------------------------------------------------------------


class Lying(httpx.HTTPTransport):
    """A seller whose receipts are rewritten on their way."""

    change = staticmethod(lambda claim: claim)

    def handle_request(self, request):
        reply = super().handle_request(request)
        if receipt := reply.headers.get("payment-response"):
            claim = self.change(json.loads(base64.b64decode(receipt)))
            reply.headers["payment-response"] = base64.b64encode(json.dumps(claim).encode()).decode()
        return reply


@pytest.fixture
def served():
    with Payer.sandbox(serve=True) as one:
        yield one


@pytest.fixture
def buy(served):
    """Pay a path, the receipt rewritten by `change`; -> our receipt."""

    def run(path="/upto", change=lambda claim: claim):
        transport = Lying()
        transport.change = change
        with served.client(transport=transport, timeout=20) as http:
            return http.get(served.sandbox.url(path)).extensions["payment"]

    return run


@pytest.mark.proves("evm", "upto", "fate")
def test_V7_resume_gives_back_what_the_chain_shows_was_not_charged(served, buy):
    receipt = buy()
    assert counted(served) == 50_000 and left(served) == 1_000_000_000 - 50_000
    (found,) = served.resume()
    assert (found.before, found.after) == ("CLAIMED", "CONFIRMED")
    assert found.note == "charged 0.0120 of at most 0.0500 USDC (base-sepolia), found on chain"
    assert counted(served) == 12_000
    assert left(served) == served.sandbox.ground.allowance == 1_000_000_000 - 12_000
    assert served.ledger.payment(receipt.payment_id).charged == 12_000
    assert served.resume() == [] and counted(served) == 12_000
    assert served.ledger.verify() == []


def test_V7_a_receipt_that_claims_less_changes_nothing(served, buy):
    buy(change=lambda claim: {**claim, "amount": "1"})
    assert counted(served) == 50_000
    served.resume()
    assert counted(served) == 12_000  # the log of the transfer, whatever was claimed


def test_V8_the_transaction_of_a_cheaper_payment_gives_nothing_back(served, buy):
    cheap = buy("/permit2")  # 10,000 moved to the same seller
    first = buy()
    second = buy(change=lambda claim: {**claim, "transaction": first.transaction, "amount": "12000"})
    third = buy(change=lambda claim: {**claim, "transaction": cheap.transaction, "amount": "10000"})
    fourth = buy(change=lambda claim: {**claim, "transaction": "", "amount": "0"})
    told = {one.payment_id: one.after for one in served.resume()}
    assert told == {cheap.payment_id: "CONFIRMED", first.payment_id: "CONFIRMED"}
    charges = [served.ledger.payment(each.payment_id).charged for each in (first, second, third, fourth)]
    assert charges == [12_000, None, None, None]
    served.sandbox.warp(4000)
    assert served.resume() == []  # their nonces are used: settled, and how much nobody shows
    assert counted(served) == 10_000 + 12_000 + 3 * 50_000


def test_nothing_charged_is_given_back_only_when_nothing_can_be_charged_any_more(served, buy):
    receipt = buy("/upto-zero")
    assert served.resume() == [] and counted(served) == 50_000
    served.sandbox.warp(4000)
    (found,) = served.resume(receipt.payment_id[:8])
    assert (found.before, found.after, counted(served)) == ("CLAIMED", "DEAD", 0)
    assert served.ledger.verify() == []


def test_without_a_node_the_ceiling_stays(payer):
    with payer.client() as http:
        http.get(payer.sandbox.url("/upto"))
    assert payer.resume() == [] and counted(payer) == 50_000


def test_why_and_log_show_the_charge(served, buy, monkeypatch, capsys):
    from typer.testing import CliRunner

    from x402_agent.cli import common
    from x402_agent.cli import log as log_verb
    from x402_agent.cli.app import app

    receipt = buy()
    served.resume()
    for module in (common, log_verb):
        monkeypatch.setattr(module, "ledgers", lambda settings: [served.ledger])
    said = CliRunner().invoke(app, ["why", receipt.payment_id[:8]])
    assert said.exit_code == 0, said.output
    assert "charged    0.0120 of at most 0.0500, by the chain" in said.output
    log = CliRunner().invoke(app, ["log"]).output
    assert "spent     0.0120 of 0.0500 USDC (base-sepolia, sandbox)" in log
    found = json.loads(CliRunner().invoke(app, ["why", receipt.payment_id[:8], "--json"]).output)
    assert (found["amount"], found["charged"], found["micros"]) == ("50000", "12000", 12_000)
