"""The client of a monitor, for who sells: a strict one of the sandbox, and answers that are none."""

from __future__ import annotations

import json
from dataclasses import replace

import anyio
import pytest

from x402_agent import ChallengeInvalid, NodeError, Payer, PolicyDenied, SettingsError
from x402_agent.dialects.tron_invoice.service import Service, callback, tailed
from x402_agent.sandbox import scenarios
from x402_agent.steps import Fetched

WALLET = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"
TX = "ab" * 32
POSTED = {"payment_id": "p1", "order_id": "o1", "wallet_address": WALLET, "currency": "USDT_TRC20", "expected_amount_usdt": 12.340017,
          "received_amount_usdt": 12.340017, "transaction_hash": TX, "block_timestamp": 1795217152350, "status": "completed"}  # fmt: skip
PAGE = {"wallet_address": WALLET, "expected_amount_usdt": 12.340017, "order_id": "o1", "status": "completed", "transaction_hash": TX,
        "received_amount_usdt": 12.340017, "created_at": 1795217152.35, "completed_at": None, "id": "p1"}  # fmt: skip


@pytest.fixture(scope="module")
def seller():
    with Payer.sandbox(scenarios("monitor")["honest"].with_(interval=1), chain="tron", seller="monitor", serve=True) as payer:
        payer.box.ground.chain.depth = 0
        yield payer


def drive(steps, *answers):
    """-> what the steps return, and what was asked."""
    waiting, asked, got = list(answers), [], None
    while True:
        try:
            step = steps.send(got)
        except StopIteration as done:
            return done.value, asked
        asked.append(step)
        status, body = waiting.pop(0)
        got = Fetched(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_an_invoice_is_created_paid_and_seen_by_its_seller(seller):
    monitor = seller.monitor(seller.box.origin, loopback=True)
    made = monitor.create_payment(seller.box.pay_to, "0.05", order_id="order-1", callback_url="http://127.0.0.1:9/none")
    assert made.amount.startswith("0.05") and len(made.amount) == 8 and monitor.payment_status(made.payment_id).status == "pending"
    seller.policy = replace(seller.policy, per_call=10_000_000)
    told = {name: value for name, value in made._asdict().items() if name != "order_id"}
    paid = seller.invoice(**told, network="tron:nile")
    seen = monitor.payment_status(made.payment_id)
    assert (seen.status, seen.transaction, seen.received) == ("completed", paid.transaction, made.amount.rstrip("0"))
    posted = {**POSTED, "payment_id": made.payment_id, "order_id": "order-1", "wallet_address": seller.box.pay_to, "expected_amount_usdt": float(made.amount),
              "received_amount_usdt": float(made.amount), "transaction_hash": paid.transaction}  # fmt: skip
    assert monitor.callback(json.dumps(posted).encode()).transaction == paid.transaction
    with pytest.raises(ChallengeInvalid, match="unsigned"):
        monitor.callback(json.dumps(posted | {"transaction_hash": TX}).encode())

    async def go():
        asked = seller.async_monitor(seller.box.origin, loopback=True)
        again = await asked.create_payment(seller.box.pay_to, "0.07", order_id="order-2", callback_url="http://127.0.0.1:9/none")
        assert (await asked.callback(json.dumps(posted).encode())).order_id == "order-1"
        return await asked.payment_status(again.payment_id)

    assert anyio.run(go).status == "pending"
    with pytest.raises(PolicyDenied, match="open payment for this order"):
        monitor.create_payment(seller.box.pay_to, "0.07", order_id="order-2", callback_url="http://127.0.0.1:9/none")


def test_the_amount_goes_as_a_number_that_no_float_has_seen():
    made, (asked,) = drive(Service("https://m.example").create_payment(WALLET, "999999.99", chance=9_998), (201, {"payment_id": "p", "expires_at": 1.5}))
    assert b'"expected_amount_usdt": 999999.999999}' in asked.content and made.amount == "999999.999999"
    assert made.status_url == "https://m.example/payment_status/p"


def test_a_tail_is_below_a_cent_and_never_beside_one_that_is_there():
    assert tailed("12.34", 0) == "12.340001" and tailed("12.34", 9_998) == "12.349999" and tailed("12.34", 9_999) == "12.340001"
    assert tailed("3.141591", 77) == "3.141591" and len({tailed("1", each) for each in range(9_999)}) == 9_999
    for amount in ("0.009", "1000001", "1e3", "", "-1", "1.2345678"):
        with pytest.raises(SettingsError):
            tailed(amount, 0)


@pytest.mark.parametrize("wallet", ["TLPsV2meGxAiUjYnt5DMZCjPJW5dwD9XaB", "T" * 34, "", "0x" + "ab" * 20])
def test_an_address_is_judged_before_anybody_is_asked(wallet):
    with pytest.raises(SettingsError, match="wallet_address"):
        drive(Service("https://m.example").create_payment(wallet, "1"))


@pytest.mark.parametrize(("answer", "error"), [
    ((400, {"error": "Invalid TRON wallet address format"}), SettingsError), ((409, {"error": "order_id already exists with pending status"}), PolicyDenied),
    ((500, b"oops"), NodeError), ((0, b""), NodeError), ((201, {"payment_id": "../x", "expires_at": 1}), NodeError), ((201, {"payment_id": "x", "expires_at": "1"}), NodeError),
    ((201, b'{"payment_id": "x", "expires_at": NaN}'), NodeError), ((302, {}), NodeError)])  # fmt: skip
def test_what_is_no_new_invoice_is_an_error(answer, error):
    with pytest.raises(error):
        drive(Service("https://m.example").create_payment(WALLET, "1"), answer)


@pytest.mark.parametrize(("answer", "error"), [((404, {"error": "Payment ID not found"}), SettingsError), ((503, {}), NodeError), ((200, b"[]"), NodeError), ((200, {}), NodeError)])
def test_what_is_no_status_is_an_error(answer, error):
    with pytest.raises(error):
        drive(Service("https://m.example").payment_status("p1"), answer)


def test_a_callback_is_believed_where_the_status_page_says_the_same():
    asked, body = Service("https://m.example"), json.dumps(POSTED).encode()
    assert drive(asked.believed(body), (200, PAGE))[0].expected == "12.340017"
    for change in ({"status": "pending"}, {"transaction_hash": "cd" * 32}, {"transaction_hash": None}, {"wallet_address": "T"}, {"expected_amount_usdt": 12.34},
                   {"received_amount_usdt": None}, {"received_amount_usdt": 12.33}, {"order_id": "o2"}, {"order_id": None}):  # fmt: skip
        with pytest.raises(ChallengeInvalid, match="does not say"):
            drive(asked.believed(body), (200, PAGE | change))
    with pytest.raises(ChallengeInvalid, match="does not say"):
        drive(asked.believed(json.dumps(POSTED | {"received_amount_usdt": 12.33}).encode()), (200, PAGE))
    for forged in ({"order_id": "a-dear-one"}, {"received_amount_usdt": 9999.0}):  # of a payment that was made, with what it did not pay for
        with pytest.raises(ChallengeInvalid, match="does not say"):
            drive(asked.believed(json.dumps(POSTED | forged).encode()), (200, PAGE))


@pytest.mark.parametrize("change", [{"status": "pending"}, {"payment_id": "a/b"}, {"transaction_hash": "xyz"}, {"expected_amount_usdt": "1e3"},
                                    {"received_amount_usdt": None}, {"currency": "USDC"}, {"block_timestamp": "now"}])  # fmt: skip
def test_what_is_no_callback_is_refused(change):
    with pytest.raises(ChallengeInvalid):
        callback(json.dumps(POSTED | change).encode())


def test_a_monitor_is_asked_over_https():
    for base in ("http://m.example", "ftp://m.example", "https://me:key@m.example", "https://m.example?x=1", "nowhere"):
        with pytest.raises(SettingsError):
            Service(base, loopback=True)
    assert "key" not in repr(Service("https://m.example/key"))
