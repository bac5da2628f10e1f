"""The monitor's HTTP, in its published words; and what strangers send."""

from __future__ import annotations

import json
import threading
import uuid

import pytest

from x402_agent.sandbox.books import stamp
from x402_agent.sandbox.messages import MAX_BODY

WRONG_SUM = "TLPsV2meGxAiUjYnt5DMZCjPJW5dwD9XaB"  # from the published API's own examples
NUMBER = "expected_amount_usdt must be a positive number"
ADDRESS = "Invalid TRON wallet address format"
URL = "Invalid callback URL format"
REFUSED = [
    ({"expected_amount_usdt": "12.34"}, NUMBER),
    ({"expected_amount_usdt": 0}, NUMBER),
    ({"expected_amount_usdt": -1}, NUMBER),
    ({"expected_amount_usdt": True}, NUMBER),
    ({"expected_amount_usdt": None}, NUMBER),
    ({"expected_amount_usdt": [1]}, NUMBER),
    ({"expected_amount_usdt": 0.009999}, "expected_amount_usdt must be at least 0.01 USDT"),
    ({"expected_amount_usdt": 1_000_000.01}, "expected_amount_usdt cannot exceed 1,000,000 USDT"),
    ({"expected_amount_usdt": 10**60}, "expected_amount_usdt cannot exceed 1,000,000 USDT"),
    ({"expected_amount_usdt": 3.1415911}, "expected_amount_usdt cannot have more than 6 decimal places"),
    ({"wallet_address": WRONG_SUM}, ADDRESS),
    ({"wallet_address": "T" + "0" * 33}, ADDRESS),
    ({"wallet_address": 7}, ADDRESS),
    ({"wallet_address": "0x036CbD53842c5426634e7929541eC2318f3dCF7e"}, ADDRESS),
    ({"callback_url": "ftp://127.0.0.1/x"}, URL),
    ({"callback_url": "http://"}, URL),
    ({"callback_url": "http://127.0.0.1/\r\nX: y"}, URL),
    ({"callback_url": "http://user@127.0.0.1/"}, URL),
    ({"callback_url": "http://127.0.0.1:99999/"}, URL),
    ({"callback_url": "http://127.0.0.1/" + "x" * 2000}, URL),
    ({"callback_url": ["http://127.0.0.1"]}, URL),
    ({"order_id": " "}, "order_id must be a non-empty string"),
    ({"order_id": 7}, "order_id must be a non-empty string"),
    ({"order_id": "a\nb"}, "order_id must be a non-empty string"),
    ({"order_id": "x" * 101}, "order_id cannot exceed 100 characters"),
    ({"order_id": ..., "callback_url": ...}, "Missing required fields: callback_url, order_id"),
]


@pytest.mark.parametrize(("change", "words"), REFUSED, ids=range(len(REFUSED)))
def test_a_request_that_is_wrong_is_told_why(till_on, change, words):
    till = till_on()
    reply = till.ask(**change)
    assert (reply.status_code, reply.json()) == (400, {"error": words})
    assert till.http.get("/health").json()["total_payments"] == 0


NESTED = b"[" * 100_000
BAD = {
    "empty": b"", "text": b"hello", "list": b"[]", "nothing": b"{}", "null": b"null", "nan": b'{"expected_amount_usdt":NaN}', "infinite": b'{"expected_amount_usdt":1e400}',
    "nested": NESTED, "long": b'{"a":' + b"1" * 5000 + b"}", "twice": b'{"a":1,"a":2}', "half": b'{"a":"\\ud800"}', "huge": b" " * (MAX_BODY + 1),
}  # fmt: skip


@pytest.mark.parametrize("body", BAD.values(), ids=BAD)
def test_a_body_that_is_no_json_object_is_one_answer(till_on, body):
    assert till_on().raw("POST", "/create_payment", body) == (400, b'{"error":"Invalid JSON or empty request body"}')


def test_what_is_created_is_watched_and_told_as_published(till):
    reply = till.ask(expected_amount_usdt=3.141591, order_id="o-π")
    made = reply.json()
    assert (reply.status_code, sorted(made), made["status"]) == (201, ["expires_at", "message", "payment_id", "status"], "watching")
    found = till.status(made["payment_id"])
    assert found == {
        "id": made["payment_id"], "wallet_address": till.box.pay_to, "expected_amount_usdt": 3.141591, "order_id": "o-π", "status": "pending",
        "transaction_hash": None, "received_amount_usdt": None, "created_at": made["expires_at"] - 86_400, "completed_at": None,
    }  # fmt: skip
    tx = till.pay(3_141_591)
    till.solid()
    assert till.status(made["payment_id"])["transaction_hash"] == tx


def test_an_orders_name_is_taken_once(till):
    one = till.create(order_id="o")
    again = till.ask(order_id="o")
    assert (again.status_code, again.json()) == (409, {"error": "order_id already exists with pending status"})
    till.pay(12_340_000)
    till.solid()
    assert till.status(one)["status"] == "completed"
    assert till.ask(order_id="o").json() == {"error": "order_id already exists"}


def test_one_of_many_at_once_has_the_name(till):
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(till.ask(order_id="same").status_code)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(statuses) == [201] + [409] * 7


@pytest.mark.parametrize("identity", ["", "x", "0" * 36, "' or '1'='1" + "-" * 25, "%00" * 12, "a" * 100_000, "é" * 36])
def test_an_id_that_is_none_is_404(till_on, identity):
    status, body = till_on().raw("GET", f"/payment_status/{identity}")
    assert (status, json.loads(body)) == (404, {"error": "Payment ID not found"})


@pytest.mark.parametrize("words", ["'; drop table payments; --", "%s", "?", "{0}", "\\", '"'])
def test_words_are_values_and_no_statements(till, words):
    one = till.create(order_id=words)
    assert till.status(one)["order_id"] == words


def test_other_paths_and_methods(till_on):
    till = till_on()
    assert till.raw("GET", "/nowhere")[0] == 404
    assert till.raw("GET", "/create_payment")[0] == 405
    assert till.raw("POST", "/payment_status/x")[0] == 405
    assert till.raw("POST", "/report")[0] == 405


def test_a_look_without_a_body_makes_no_invoice(till_on):
    till = till_on()
    assert till.http.head("/report").status_code == 402
    assert till.show("~" * 36, "0").status_code == 402
    assert till.http.get("/health").json()["total_payments"] == 1  # of the second


def test_health_and_stats_count(till):
    till.create()
    two = till.create(expected_amount_usdt=2)
    till.pay(2_000_000)
    till.solid()
    assert till.status(two)["status"] == "completed"
    health = till.http.get("/health").json()
    assert {**health, "timestamp": 0} == {"status": "healthy", "timestamp": 0, "active_payments": 1, "total_payments": 2, "database": "connected"}
    stats = till.http.get("/stats").json()
    assert (stats["completed_payments"], stats["pending_payments"], stats["uptime_seconds"]) == (1, 1, 63)


@pytest.mark.full
def test_a_database_that_is_away_is_said(fresh, till_on):
    import psycopg

    till = till_on(database=fresh)
    one = till.create()
    with psycopg.connect(fresh, autocommit=True) as link:
        link.execute("drop schema x402_monitor cascade")
    reply = till.http.get("/health")
    assert (reply.status_code, reply.json()["status"], reply.json()["database"]) == (503, "unhealthy", "disconnected")
    assert till.http.get(f"/payment_status/{one}").status_code == 500
    assert till.http.get("/report").status_code == 500


def test_the_shop_finds_the_last_amount_that_is_free_and_asks_to_wait_when_none_is(till):
    left, now = 107_777, till.box.ground.now()
    rows = [(str(uuid.uuid4()), till.box.pay_to, f"0.{amount}", "", f"full-{amount}", stamp(now), 1000 * now) for amount in range(100_001, 110_000) if amount != left]
    with till.box.seller.store.pool.lent() as link, link.transaction():
        link.many("insert into payments (id, wallet_address, expected_amount_usdt, callback_url, order_id, created_at, last_checked_timestamp)"
                  " values (?, ?, ?, ?, ?, ?, ?)", rows)  # fmt: skip
    assert till.asked("/report")["amount"] == "0.107777"
    reply = till.http.get("/report")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "60")
    assert till.asked("/joke")["amount"] < "0.06"
