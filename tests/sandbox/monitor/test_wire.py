"""The wire page's literals, word for word, and a client that was written from that page alone, over real sockets."""

from __future__ import annotations

import json
import time

import pytest

from sandbox.monitor.merchant import Merchant
from sandbox.monitor.naive import Naive
from x402_agent.sandbox.monitor.callbacks import document
from x402_agent.sandbox.monitor.store import Payment

# POST /create_payment, its 201, and GET /payment_status/{id}
ASKED = '{"wallet_address":"T…","expected_amount_usdt":12.34,"callback_url":"http://127.0.0.1/cb","order_id":"≤100 chars"}'
WATCHING = '{"payment_id":"uuid","status":"watching","message":"…","expires_at":1795303552.35}'
STATUS = ('{"wallet_address":"T..","expected_amount_usdt":12.34,"order_id":"o1","status":"pending","transaction_hash":null,"received_amount_usdt":null,'
          '"created_at":1795217152.35,"completed_at":null,"id":"uuid"}')  # fmt: skip
HEALTH = ["active_payments", "database", "status", "timestamp", "total_payments"]
CALLBACK = ["payment_id", "order_id", "wallet_address", "currency", "expected_amount_usdt", "received_amount_usdt", "transaction_hash", "block_timestamp", "status"]


def shape(value):
    """Names and JSON types: null is a type of its own."""
    return {name: type(each) for name, each in value.items()}


def test_the_pages_request_is_taken_and_answered_in_its_shape(till_on):
    till = till_on(clock=lambda: 1795217152.35)
    reply = till.http.post("/create_payment", json=json.loads(ASKED) | {"wallet_address": till.box.pay_to})
    assert reply.status_code == 201
    made, wanted = reply.json(), json.loads(WATCHING)
    assert shape(made) == shape(wanted)
    assert made["status"] == wanted["status"]
    assert int(made["expires_at"]) == int(wanted["expires_at"])
    found = till.status(made["payment_id"])
    assert shape(found) == shape(json.loads(STATUS))
    assert int(found["created_at"]) == 1795217152


def test_health_and_callback_have_the_pages_names(till_on):
    assert sorted(till_on().http.get("/health").json()) == HEALTH
    told = document(Payment("uuid", "T..", 12_340_000, "", "o1", "completed", "ab" * 32, 12_340_000, stamp=1795217155000))
    assert list(told) == CALLBACK
    assert (told["currency"], told["status"], told["expected_amount_usdt"]) == ("USDT_TRC20", "completed", 12.34)


@pytest.fixture
def naive(till_on):
    till = till_on()
    box = till.box
    box.serve()
    made = Naive(box.origin, box.rpc_url, box.payer_key, box.payer_address, box.ground.asset.address, lambda: box.warp(15))
    yield made, box
    made.http.close()


def test_a_client_of_the_page_alone_is_paid_and_told(naive):
    client, box = naive
    with Merchant(200).open() as merchant:
        one = client.invoice(box.pay_to, 3.141591, merchant.url, "order 1")
        txid = client.send(box.pay_to, 3_141_591)
        found = client.wait(one)
        assert (found["transaction_hash"], found["received_amount_usdt"]) == (txid, 3.141591)
        while not box.seller.store.find(one).success:
            time.sleep(0.02)
    ((_, _, body),) = merchant.heard
    told = json.loads(body)
    assert (told["payment_id"], told["transaction_hash"], told["order_id"]) == (one, txid, "order 1")
    assert box.balance(box.pay_to) == 3_141_591


def test_it_buys_from_the_shop(naive):
    client, box = naive
    reply = client.buy("/report")
    assert (reply.status_code, reply.json()["pages"]) == (200, 1)
    assert 100_000 < box.balance(box.pay_to) <= 109_999
