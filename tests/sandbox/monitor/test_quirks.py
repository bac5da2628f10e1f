"""Each scenario does what it says, seen by a client of its own: literals of the wire, none of our payer."""

from __future__ import annotations

import re
from datetime import datetime

import pytest

from x402_agent.sandbox import scenarios
from x402_agent.sandbox.seller import Visits
from x402_agent.sandbox.tron.contracts import raw_address

MICRO = 1_000_000


def micros(asked):
    return round(float(asked["amount"]) * MICRO)


def bought(till, path="/report"):
    """An invoice of the shop's that was paid, and whatever is told of it now."""
    asked = till.asked(path)
    tx = till.pay(micros(asked))
    till.solid()
    return asked, tx


def test_there_are_enough_of_them_and_each_says_what_it_is():
    found = scenarios("monitor")
    assert len(found) >= 20
    assert all(len(each.description) > 20 for each in found.values())


def test_the_window_misses_what_was_paid(till_on):
    till = till_on("window_misses_payment")
    one = till.create()
    till.pay(12_340_000)
    for _ in range(14):
        till.solid(10)
        assert till.status(one)["status"] == "pending"


def test_one_transfer_completes_two(till_on):
    till = till_on("one_transfer_two_invoices")
    made = [till.create(), till.create()]
    tx = till.pay(12_340_000)
    till.solid()
    assert {till.status(each)["transaction_hash"] for each in made} == {tx}


def test_rounded_floats(till_on):
    till = till_on("float_rounding")
    one = till.create(expected_amount_usdt=3.141591)
    till.pay(3_141_591)
    till.solid()
    found = till.status(one)
    assert (found["status"], found["expected_amount_usdt"]) == ("pending", 3.14159)


def test_a_checksum_that_is_wrong(till_on):
    till = till_on("wrong_checksum")
    with pytest.raises(ValueError, match="checksum"):
        raw_address(till.asked()["wallet_address"])
    assert till.ask(wallet_address="TLPsV2meGxAiUjYnt5DMZCjPJW5dwD9XaB").status_code == 201


def test_a_cent_too_little(till_on):
    till = till_on("underpaid_by_a_cent")
    asked, _ = bought(till)
    found = till.status(asked["payment_id"])
    assert (found["status"], round(found["expected_amount_usdt"] * MICRO)) == ("pending", micros(asked) + 10_000)


def test_it_looks_no_more(till_on):
    till = till_on("stuck")
    asked, _ = bought(till)
    till.solid(3600)
    assert till.status(asked["payment_id"])["status"] == "pending"


def test_what_it_tells_flips(till_on):
    till = till_on("status_flips")
    asked, _ = bought(till)
    till.box.seller.visits = Visits(2)  # what is forgotten counts on
    said = [till.status(asked["payment_id"])["status"] for _ in range(6)]
    assert {frozenset(said[::2]), frozenset(said[1::2])} == {frozenset({"completed"}), frozenset({"pending"})}


def test_it_tells_of_others(till_on):
    till = till_on("another_transaction")
    asked, tx = bought(till)
    found = till.status(asked["payment_id"])["transaction_hash"]
    assert re.fullmatch("[0-9a-f]{64}", found)
    assert found != tx
    assert till.show(asked["payment_id"], tx).status_code == 200
    till.box.scenario = "another_invoice"
    assert till.status(asked["payment_id"])["id"] != asked["payment_id"]


def test_its_status_page_is_down(till_on):
    till = till_on("monitor_down")
    reply = till.http.get(f"/payment_status/{till.asked()['payment_id']}")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")


def test_what_is_over_is_forgotten_or_told(till_on):
    till = till_on("expired_404")
    one = till.create()
    till.solid(86_500)
    assert till.http.get(f"/payment_status/{one}").json() == {"error": "Payment ID not found"}
    till.box.scenario = "honest"
    assert till.status(one)["status"] == "expired"


def test_times_without_a_zone(till_on):
    till = till_on("naive_times")
    asked = till.asked()
    assert datetime.fromisoformat(asked["expires_at"]).tzinfo is None
    assert till.status(asked["payment_id"])["created_at"] == till.box.ground.now() + 7200


@pytest.mark.parametrize(("scenario", "field"), [("late_invoice", "expires_at"), ("amount_as_number", "amount"), ("status_elsewhere", "status_url")])
def test_a_402_nobody_should_pay(till_on, scenario, field):
    till = till_on(scenario)
    value = till.asked()[field]
    assert {"expires_at": lambda: value < till.box.ground.now(), "amount": lambda: isinstance(value, float),
            "status_url": lambda: not value.startswith(till.box.origin)}[field]()  # fmt: skip


@pytest.mark.parametrize(("scenario", "status"), [("honest", 409), ("order_reused", 201), ("order_reused_500", 500)])
def test_an_orders_name_again(till_on, database, scenario, status):
    till = till_on(scenario, database=database)
    one = till.create(order_id="again")
    assert till.ask(order_id="again").status_code == 409
    till.pay(12_340_000)
    till.solid()
    assert till.status(one)["status"] == "completed"
    assert till.ask(order_id="again").status_code == status


@pytest.mark.parametrize(("scenario", "status"), [("asks_again_after_payment", 402), ("completed_then_500", 500)])
def test_paid_and_no_goods(till_on, scenario, status):
    till = till_on(scenario)
    asked, tx = bought(till)
    assert till.status(asked["payment_id"])["status"] == "completed"
    reply = till.show(asked["payment_id"], tx)
    assert reply.status_code == status
    assert reply.json().get("payment_id") != asked["payment_id"]
