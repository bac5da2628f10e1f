"""What the monitor finds, and what it does not: every transfer pays one invoice, the oldest that it pays exactly and in time."""

from __future__ import annotations

import pytest

from x402_agent import SettingsError
from x402_agent.sandbox import Sandbox

MICRO = 1_000_000


def test_an_exact_payment_completes_once_it_is_solid(till):
    one = till.create()
    tx = till.pay(12_340_000)
    till.solid(30)
    assert till.status(one)["status"] == "pending"
    till.solid(33)
    found = till.status(one)
    assert (found["status"], found["transaction_hash"], found["received_amount_usdt"], found["expected_amount_usdt"]) == ("completed", tx, 12.34, 12.34)
    assert found["completed_at"] >= found["created_at"]
    assert till.log(one)[:1] == ["created"]
    assert till.log(one).count("completed") == 1


@pytest.mark.parametrize("off", [-10_000, 10_000, -1, 1])
def test_another_amount_is_no_payment(till, off):
    one = till.create()
    till.pay(12_340_000 + off)
    till.solid()
    assert till.status(one)["status"] == "pending"


def test_one_transfer_completes_one_invoice_the_oldest_first(till):
    made = [till.create()]
    till.solid(5)
    made += [till.create() for _ in range(2)]
    till.solid(5)
    first = till.pay(12_340_000)
    till.solid()
    assert [till.status(each)["status"] for each in made].count("completed") == 1
    assert till.status(made[0])["transaction_hash"] == first
    rest = [till.pay(12_340_000), till.pay(12_340_000)]
    till.solid()
    assert {till.status(each)["transaction_hash"] for each in made} == {first, *rest}


def test_a_payment_before_the_invoice_is_none(till):
    till.pay(12_340_000)
    till.solid(10)
    one = till.create()
    till.solid()
    assert till.status(one)["status"] == "pending"


def test_whoever_asks_late_finds_it_all_the_same(till):
    one = till.create()
    till.solid(400)
    assert till.status(one)["status"] == "pending"
    tx = till.pay(12_340_000)
    till.solid(5000)
    assert till.status(one)["transaction_hash"] == tx


def test_it_expires_only_when_everything_of_its_day_was_looked_at(till):
    one, two = till.create(), till.create(expected_amount_usdt=2)
    till.solid(86_399 - 3)
    tx = till.pay(12_340_000)
    till.solid(4)
    assert till.status(one)["status"] == "pending"
    till.solid()
    assert till.status(one)["transaction_hash"] == tx
    assert till.status(two)["status"] == "expired"
    till.pay(2 * MICRO)
    till.solid()
    assert till.status(two)["status"] == "expired"


def test_the_shop_gives_its_goods_for_the_transaction_of_the_invoice(till):
    asked = till.asked()
    assert asked.keys() == {"error", "payment_id", "order_id", "wallet_address", "amount", "currency", "network", "expires_at", "status_url"}
    assert isinstance(asked["amount"], str)
    identity = asked["payment_id"]
    assert asked["status_url"] == f"{till.box.origin}/payment_status/{identity}"
    amount = round(float(asked["amount"]) * MICRO)
    assert 100_000 < amount <= 109_999
    tx = till.pay(amount)
    early = till.show(identity, tx)
    assert (early.status_code, early.json()["payment_id"], early.json()["amount"]) == (402, identity, asked["amount"])
    till.solid()
    assert till.show(identity, tx).json()["pages"] == 1
    assert till.show(identity, tx.upper()).status_code == 200
    assert till.show(identity, tx, "/joke").status_code == 402
    for wrong in ("", "0" * 64, f"0x{tx}"):
        reply = till.show(identity, wrong)
        assert (reply.status_code, reply.json()["payment_id"] != identity) == (402, True)
    till.box.warp(86_000)
    assert till.show(identity, tx).status_code == 200
    till.box.warp(1000)
    assert till.show(identity, tx).status_code == 402


def test_every_invoice_of_the_shop_has_an_amount_of_its_own(till_on):
    till = till_on()
    asked = [till.asked()["amount"] for _ in range(200)]
    assert len(set(asked)) == 200


def test_it_stands_on_tron_alone():
    with pytest.raises(SettingsError, match="does not sell on evm") as caught:
        Sandbox(seller="monitor", chain="evm")
    assert (caught.value.rule, caught.value.hint) == ("it sells on tron", "--chain tron --seller monitor")


def test_a_payment_before_the_invoice_is_none_where_somebody_older_has_it_looked_at(till):
    older = till.create(expected_amount_usdt=1)
    till.pay(12_340_000)
    till.solid(10)
    one = till.create()
    till.solid()
    assert [till.status(each)["status"] for each in (older, one)] == ["pending", "pending"]


def test_what_is_solid_is_told_by_the_next_poll_at_whatever_moment_it_came(till_on):
    """However polls, blocks and the transfer fall between each other: what is solid before a poll is never left to a later one."""
    till = till_on()
    box, clock = till.box, till.box.ground.chain._clock
    for each in range(8):
        one = till.create(expected_amount_usdt=(each + 10) / 1000)
        clock.ahead += 0.41 * each
        block = box.ground.chain.mined(till.pay((each + 10) * 1000)).block
        while box.ground.chain.solid().number < block:
            clock.ahead += 0.7
            till.status(one)
        if till.status(one)["status"] == "pending":  # its poll came a moment too early
            till.solid(30)
            assert till.status(one)["status"] == "completed"
