"""What came back: by the chain alone, once, to the payment it gives back; no budget grows (V8, V11)."""

import json

import pytest
from typer.testing import CliRunner

from x402_agent import LedgerError, NodeError, Payer, Settings
from x402_agent.cli.app import app
from x402_agent.model import Limit
from x402_agent.primitives import EvmKey
from x402_agent.recovery import refund
from x402_agent.sandbox.messages import decode64


@pytest.fixture
def payer():
    settings = Settings.load()
    with Payer.sandbox(ledger=settings.sandbox_ledger, settings=settings, serve=True) as made:
        yield made


def buy(payer, path):
    with payer.client() as http:
        reply = http.get(payer.sandbox.url(path))
    payer.ledger.flush()
    return reply, reply.extensions["payment"].payment_id


def counted(payer):
    return payer.ledger.spent([Limit("all", "total", 0)], realm="sandbox")[0].spent


def test_V11_an_escrow_that_is_paid_back_is_credited_from_the_chain(payer):
    reply, bought = buy(payer, "/escrow-500")
    said = decode64(reply.headers["payment-response"])["extra"]["refundTransaction"]
    payer.resume()  # the chain shows that the deposit moved
    before = counted(payer)
    assert refund(payer, bought, said) == 10_000
    assert [(each.transaction, each.amount) for each in payer.ledger.refunds(bought)] == [(said.lower(), 10_000)]
    assert refund(payer, bought, said.upper().replace("0X", "0x")) == 10_000  # twice is once
    assert len(payer.ledger.refunds(bought)) == 1 and counted(payer) == before == 10_000
    assert payer.ledger.verify() == []


def test_V11_a_header_that_claims_a_refund_credits_nothing(payer):
    reply, bought = buy(payer, "/joke")
    claimed = reply.extensions["payment"].transaction
    with pytest.raises(NodeError, match="no final transfer"):
        refund(payer, bought, claimed)  # our own payment is no refund of itself
    with pytest.raises(NodeError):
        refund(payer, bought, "0x" + "ab" * 32)
    with pytest.raises(NodeError):
        refund(payer, bought, "not a transaction")
    assert payer.ledger.refunds(bought) == []


def test_V11_money_from_somebody_else_is_no_refund(payer):
    _, bought = buy(payer, "/joke")
    box = payer.sandbox
    stranger = EvmKey(bytes([7] * 32))
    box.ground.token.mint(bytes.fromhex(stranger.address[2:]), 10_000)
    sent = box.ground.token.transfer(stranger, bytes.fromhex(payer.wallet.address("eip155")[2:]), 10_000).hash
    with pytest.raises(NodeError):
        refund(payer, bought, sent)


def test_V8_one_transaction_gives_back_one_payment(payer):
    reply, bought = buy(payer, "/escrow-500")
    said = decode64(reply.headers["payment-response"])["extra"]["refundTransaction"]
    payer.resume()
    refund(payer, bought, said)
    _, other = buy(payer, "/joke")
    with pytest.raises(LedgerError, match="gives back payment"):
        refund(payer, other, said)


def test_no_more_comes_back_than_was_paid(payer):
    _, bought = buy(payer, "/joke")
    payer.ledger.refunded(bought, "0x" + "01" * 32, 6_000)
    with pytest.raises(LedgerError, match="more than"):
        payer.ledger.refunded(bought, "0x" + "02" * 32, 5_000)
    with pytest.raises(LedgerError):
        payer.ledger.refunded(bought, "0x" + "03" * 32, 0)
    assert payer.ledger.refunded(bought, "0x" + "04" * 32, 4_000) is True


def test_what_was_never_spent_cannot_come_back(payer):
    with pytest.raises(LedgerError, match="nothing is known to be spent"):
        payer.ledger.refunded("0" * 16, "0x" + "01" * 32, 1)


def test_why_and_evidence_show_it(payer):
    _, bought = buy(payer, "/joke")
    payer.ledger.refunded(bought, "0x" + "0A" * 32, 4_000)
    runner = CliRunner()
    assert "came back  0.0040 USDC" in runner.invoke(app, ["why", bought]).output
    document = json.loads(runner.invoke(app, ["receipt", bought, "--json"]).output)
    assert document["refunds"][0]["amount"] == "4000"


def test_a_refund_that_no_node_shows_is_told_so_at_the_command_line(payer):
    _, bought = buy(payer, "/joke")
    shown = CliRunner().invoke(app, ["refund", bought, "0x" + "ab" * 32])
    assert shown.exit_code == 2 and "no sandbox is running" in shown.output
