"""A merchant is told: again until somebody takes it, as it went in the books, and nobody off this machine is called."""

from __future__ import annotations

import hmac
import json
import socket
import threading
import time

import pytest

from sandbox.monitor.merchant import Merchant
from x402_agent.sandbox.monitor.callbacks import SIGNED, TRIES
from x402_agent.sandbox.monitor.store import Payment
from x402_agent.sandbox.posting import loopback

PATIENCE = 60


def row(till, identity):
    with till.box.seller.store.pool.lent() as link:
        return link.one("select callback_attempts as n, callback_success as good, last_callback_attempt as at from payments where id = ?", identity)


def until(found):
    end = time.monotonic() + PATIENCE
    while not found():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def sell(till, url, **change):
    one = till.create(callback_url=url, **change)
    tx = till.pay(12_340_000)
    till.solid()
    assert till.status(one)["status"] == "completed"
    return one, tx


def test_what_is_told(till):
    with Merchant(200).open() as merchant:
        one, tx = sell(till, f"{merchant.url}/paid?x=1", order_id="o-7")
        until(lambda: row(till, one)["good"])
    (path, headers, body), = merchant.heard
    told = json.loads(body)
    assert path == "/paid?x=1" and SIGNED not in headers
    assert isinstance(told.pop("block_timestamp"), int)
    assert told == {
        "payment_id": one, "order_id": "o-7", "wallet_address": till.box.pay_to, "currency": "USDT_TRC20", "expected_amount_usdt": 12.34,
        "received_amount_usdt": 12.34, "transaction_hash": tx, "status": "completed",
    }  # fmt: skip
    assert row(till, one)["n"] == 1
    assert till.log(one)[-1] == "callback_sent"


def test_it_is_tried_again_and_every_try_is_in_the_books(till_on):
    till = till_on()
    with Merchant(500, 302, 200).open() as merchant:
        one, _ = sell(till, merchant.url)
        for count in (1, 2):
            until(lambda count=count: till.log(one).count("callback_failed") == count)
            assert (row(till, one)["n"], row(till, one)["good"]) == (count, 0)
            till.box.warp(2**count)
        until(lambda: row(till, one)["good"])
        assert (row(till, one)["n"], [path for path, _, _ in merchant.heard]) == (3, ["/", "/", "/"])


def test_it_ends_after_as_many_tries_as_are_said(till_on):
    till = till_on()
    with Merchant(404).open() as merchant:
        one, _ = sell(till, merchant.url)
        for count in range(1, TRIES + 1):
            until(lambda count=count: till.log(one).count("callback_failed") == count)
            till.box.warp(64)
        time.sleep(0.6)  # two rounds of the worker
        assert (len(merchant.heard), row(till, one)["n"], row(till, one)["good"]) == (TRIES, TRIES, 0)


@pytest.mark.parametrize(("scenario", "heard", "good", "event"), [
    ("callback_boasts", 1, 1, "callback_sent"), ("callback_once", 1, 0, "callback_failed"), ("callback_lost", 0, 0, "callback_failed"),
])  # fmt: skip
def test_published_ones_try_once(till_on, scenario, heard, good, event):
    till = till_on(scenario)
    with Merchant(500).open() as merchant:
        one, _ = sell(till, merchant.url)
        until(lambda: event in till.log(one))
        till.box.warp(600)
        time.sleep(0.6)  # two rounds of the worker
        assert (len(merchant.heard), row(till, one)["n"], row(till, one)["good"]) == (heard, 1, good)


def test_the_goods_need_no_callback(till_on):
    till = till_on("callback_lost")
    asked = till.asked()
    tx = till.pay(round(float(asked["amount"]) * 1_000_000))
    till.solid()
    assert till.show(asked["payment_id"], tx).status_code == 200


def test_a_signature_is_over_the_body(till_on):
    till = till_on("callback_signed")
    with Merchant(200).open() as merchant:
        one, _ = sell(till, merchant.url)
        until(lambda: row(till, one)["good"])
    _, headers, body = merchant.heard[0]
    key = till.box.seller.keys()["callback_key"].encode()
    assert headers[SIGNED] == hmac.new(key, body, "sha256").hexdigest()


ELSEWHERE = ["https://127.0.0.1/x", "http://169.254.169.254/latest", "http://10.0.0.1/", "http://shop.example/", "http://0.0.0.0/", "http://[::]/",
             "http://[::ffff:127.0.0.1]/", "http://2130706433/", "http://127.1/", "http://0x7f000001/", "http://localhost.evil.example/"]  # fmt: skip


@pytest.mark.parametrize("url", ELSEWHERE)
def test_nobody_else_is_called(url):
    assert loopback(url) is None


def test_where_this_machine_is():
    assert loopback("http://127.0.0.1:81/x") == ("127.0.0.1", 81)
    assert loopback("http://localhost/x") == ("127.0.0.1", 80)
    assert loopback("http://[::1]:5/") == ("::1", 5)


def test_who_may_not_be_called_is_tried_once(till):
    one, _ = sell(till, "http://169.254.169.254/latest/meta-data")
    until(lambda: "callback_failed" in till.log(one))
    till.box.warp(600)
    time.sleep(0.6)  # two rounds of the worker
    assert till.log(one).count("callback_failed") == 1
    assert (row(till, one)["n"], row(till, one)["good"]) == (1, 0)


def test_a_merchant_who_says_nothing_holds_nobody_up(till_on, monkeypatch):
    monkeypatch.setattr("x402_agent.sandbox.monitor.callbacks.PATIENCE", 0.3)
    till = till_on()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        one, _ = sell(till, f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert till.http.get("/health").status_code == 200
        until(lambda: "callback_failed" in till.log(one))
        assert row(till, one)["n"] == 1


def test_the_worker_ends_with_its_seller(till_on):
    till = till_on()
    till.create()
    assert any(each.name == "x402-monitor" for each in threading.enumerate())
    till.box.close()
    assert not any(each.name == "x402-monitor" and each.is_alive() for each in threading.enumerate())


def test_an_attempt_is_one_monitors_and_the_next_one_later(till):
    seller, box = till.box.seller, till.box
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    for each in range(2):  # by hand: no worker begins
        seller.store.add(Payment(f"{each:036d}", box.pay_to, 12_340_000, url, f"o{each}", "pending", created=float(box.ground.now())))
        till.pay(12_340_000)
    till.solid()
    assert till.http.get("/health").json()["active_payments"] == 0
    one, two = seller.store.untold(9)
    assert [seller.store.claim(one, 5.0), seller.store.claim(one, 5.0)] == [True, False]
    assert [each.id for each in seller.store.untold(9)] == [two.id]
    for wait in (1, 2, 4):
        seller._callbacks.run(seller.scenario, threading.Event())
        box.warp(wait - 1)
        assert two.id not in [each.id for each in seller.store.untold(9)]
        box.warp(1)
        assert two.id in [each.id for each in seller.store.untold(9)]
    assert till.log(two.id).count("callback_failed") == 3
