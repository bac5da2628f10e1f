"""What a payer who does not pay, a crowd, a clock and two monitors at once bring about: nothing that was not paid."""

from __future__ import annotations

import json
import threading
import time
import uuid

import pytest

from x402_agent.primitives import EvmKey
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.books import stamp
from x402_agent.sandbox.monitor import watch
from x402_agent.sandbox.monitor.grid import Grid, Walk
from x402_agent.sandbox.monitor.store import Payment
from x402_agent.sandbox.monitor.watch import PAGES, REQUESTS
from x402_agent.sandbox.token import artifact, selector, tail, word
from x402_agent.sandbox.tron.chain import show
from x402_agent.sandbox.tron.contracts import raw_address

MICRO = 1_000_000


def raw(key: EvmKey) -> bytes:
    return bytes.fromhex(key.address[2:])


def test_another_token_of_that_name_is_none(till):
    ground = till.box.ground
    fake = bytes.fromhex("fa" * 20)
    ground.chain.install(fake, bytes.fromhex(str(artifact("SandboxTetherTRC20")["runtime"])[2:]))
    name, symbol = tail(b"Tether USD"), tail(b"USDT")
    head = word(3 * 32) + word(3 * 32 + len(name)) + word(6)
    ground.chain.send(ground.payer, fake, selector("initialize(string,string,uint8)") + head + name + symbol)
    one = till.create()
    for call in (selector("mint(address,uint256)") + word(raw(ground.payer)), selector("transfer(address,uint256)") + word(raw_address(till.box.pay_to))):
        assert ground.chain.send(ground.payer, fake, call + word(12_340_000)).result == "SUCCESS"
    till.solid()
    assert till.status(one)["status"] == "pending"


@pytest.mark.parametrize("limit", [1_000_000_000, 1_000_000])
def test_what_failed_on_chain_is_no_payment(till, limit, monkeypatch):
    ground = till.box.ground
    monkeypatch.setattr("x402_agent.sandbox.tron.chain.FEE_LIMIT", limit)
    poor = EvmKey(b"\x07" * 32)
    ground.chain.endow(raw(poor), 1_000_000_000)
    if limit < 10**9:
        ground.fund(show(raw(poor)), 12_340_000)
    one = till.create()
    mined = ground.contracts.transfer(poor, raw_address(till.box.pay_to), 12_340_000)
    assert mined.result in ("REVERT", "OUT_OF_ENERGY")
    till.solid()
    assert till.status(one)["status"] == "pending"


def test_a_transfer_away_from_the_wallet_or_to_oneself(till):
    ground = till.box.ground
    till.pay(20 * MICRO)
    till.solid()
    one = till.create()
    ground.refund(ground.payer_address, 12_340_000)
    till.solid()
    assert till.status(one)["status"] == "pending"


def test_a_block_that_is_undone_never_counted(till):
    """What is in a block only is not looked at: nothing has to be taken back."""
    one = till.create()
    till.pay(12_340_000)
    for _ in range(5):
        till.solid(10)
        assert till.status(one)["status"] == "pending"


def test_clocks_that_jump(till_on):
    clock = [time.time()]
    till = till_on(clock=lambda: clock[0])
    one = till.create()
    till.pay(12_340_000)
    clock[0] -= 5000
    assert till.status(one)["status"] == "pending"
    clock[0] += 5063
    assert till.status(one)["status"] == "completed"
    two = till.create(expected_amount_usdt=1)
    clock[0] += 10 * 86_400
    assert till.status(two)["status"] == "expired"


def test_somebody_elses_invoice_of_the_same_amount_takes_nothing_from_the_shop(till):
    """An older one is none: whoever copies the amount of an open one stands behind it."""
    asked = till.asked()
    amount = round(float(asked["amount"]) * MICRO)
    till.solid(5)
    copy = till.create(expected_amount_usdt=amount / MICRO)
    tx = till.pay(amount)
    till.solid()
    assert till.status(copy)["status"] == "pending"
    assert till.show(asked["payment_id"], tx).status_code == 200


def test_an_invoice_of_the_api_opens_no_path_of_the_shop(till):
    one = till.create(expected_amount_usdt=0.01, order_id="shop-report-0000000000000000")
    tx = till.pay(10_000)
    till.solid()
    assert till.status(one)["status"] == "completed"
    assert till.show(one, tx).status_code == 402


def test_amounts_that_ran_out_are_said(till_on):
    till = till_on()
    now = stamp(till.box.ground.now())
    made = [(uuid.uuid4().hex + "0000", 100_001 + each) for each in range(9_999)]
    with till.box.seller.store.pool.lent() as link, link.transaction():
        link.many(
            "insert into payments (id, wallet_address, expected_amount_usdt, callback_url, order_id, created_at, last_checked_timestamp) values (?, ?, ?, '', ?, ?, 0)",
            [(each, till.box.pay_to, f"0.{amount:06d}", each, now) for each, amount in made],
        )  # fmt: skip
    reply = till.http.get("/report")
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "60")


def crowd(box, count, wallets=1):
    """`count` open invoices, two of each amount."""
    store, now = box.seller.store, float(box.ground.now())
    to = [box.pay_to, *(show(bytes([each]) * 20) for each in range(1, wallets))]
    for each in range(count):
        store.add(Payment(str(uuid.uuid4()), to[each % wallets], MICRO + each // 2, "", f"o{each}", "pending", created=now))


def settle(box, count):
    """One transfer for each, all solid; -> requests of each poll until nothing is open."""
    ground = box.ground
    ground.fund(box.payer_address, 10**12)
    ground.chain.endow(raw(ground.payer), 10**15)
    to = raw_address(box.pay_to)
    for each in range(count):
        ground.contracts.transfer(ground.payer, to, MICRO + each // 2)
    polls = []
    while box.seller.store.counts().get("pending") and len(polls) < 20:
        box.warp(63)
        asked = box.seller.grid.asked
        box.app._sandbox.seller._watch.tick(box.scenario)
        polls.append(box.seller.grid.asked - asked)
    return polls


@pytest.mark.parametrize(("count", "pages"), [(450, 2), pytest.param(10_000, PAGES, marks=pytest.mark.full)])
def test_many_invoices_are_each_completed_once_by_a_bounded_number_of_requests(till_on, monkeypatch, count, pages):
    monkeypatch.setattr(watch, "PAGES", pages)
    box = till_on().box
    crowd(box, count)
    polls = settle(box, count)
    with box.seller.store.pool.lent() as link:
        rows = link.rows("select transaction_hash as tx, expected_amount_usdt as asked, received_amount_usdt as got from payments")
    assert len({row["tx"] for row in rows}) == count
    assert all(row["asked"] == row["got"] for row in rows)
    assert len(polls) > 1
    assert max(polls) <= 1 + pages
    assert sum(polls) <= count / 200 + 3 * len(polls)


def test_many_wallets_take_turns(till_on):
    box = till_on().box
    crowd(box, 3 * REQUESTS, 250)
    polls, seen = [], set()
    seller = box.seller
    looked = seller.grid.page
    seller.grid.page = lambda wallet, *more, **named: seen.add(wallet) or looked(wallet, *more, **named)
    for _ in range(4):
        box.warp(63)
        asked = seller.grid.asked
        seller._watch.tick(box.scenario)
        polls.append(seller.grid.asked - asked)
    assert max(polls) <= REQUESTS
    assert len(seen) == 250
    box.warp(86_400)
    for _ in range(3):
        box.warp(63)
        seller._watch.tick(box.scenario)
    assert seller.store.counts() == {"expired": 3 * REQUESTS}


def test_two_polls_at_once_complete_it_once(till_on, database, tmp_path):
    """Two monitors of one database, on one chain."""
    url = database or str(tmp_path / "shared.db")
    till = till_on(database=url)
    with Sandbox(seller="monitor", chain="tron", database=url, clock=till.box.ground.chain._clock) as other:
        other.seller.grid._ground = till.box.ground
        crowd(till.box, 60)
        ground = till.box.ground
        for each in range(30):
            ground.contracts.transfer(ground.payer, raw_address(till.box.pay_to), MICRO + each // 2)
        ground.warp(63)
        upto = till.box.seller.grid.solid()

        def work(seller):
            walk = Walk(Grid(ground), till.box.pay_to, 0, upto)
            seller.store.complete(walk.step())

        threads = [threading.Thread(target=work, args=(each,)) for each in (till.box.seller, other.seller) * 3]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert till.box.seller.store.counts() == {"completed": 30, "pending": 30}
    with till.box.seller.store.pool.lent() as link:
        assert link.one("select count(distinct transaction_hash) as n from payments where status = 'COMPLETED'") == {"n": 30}


def test_trongrid_that_answers_rubbish_completes_nothing_and_is_in_the_log(till_on, monkeypatch):
    till = till_on()
    one = till.create()
    till.pay(12_340_000)
    ground = till.box.ground
    honest, said = ground.answer, []

    def lying(request):
        answer = honest(request)
        if "trc20" not in request.path or answer is None:
            return answer
        return type(answer)(200 if said[-1:] != [None] else 500, (), (json.dumps(said[-1]).encode(),))

    row = {"transaction_id": "a" * 64, "token_info": {"address": ground.asset.address}, "value": "12340000", "block_timestamp": (ground.now() + 30) * 1000,
           "from": "T", "to": till.box.pay_to, "type": "Transfer"}  # fmt: skip
    wrong = [{**row, "to": "T"}, {**row, "type": "Approval"}, {**row, "value": 12340000}, {**row, "value": "1e9"}, {**row, "transaction_id": "x"},
             {**row, "token_info": None}, {**row, "block_timestamp": "1"}, None, 7]  # fmt: skip
    for rubbish in (None, [], {}, {"data": 1, "meta": {}}, {"data": wrong, "meta": {}}):
        said.append(rubbish)
        monkeypatch.setattr(ground, "answer", lying)
        till.solid(10)
        assert till.status(one)["status"] == "pending"
    assert "api_error" in till.log(one)


def test_two_transfers_in_one_transaction_are_two_payments(till_on, monkeypatch):
    till = till_on()
    made = [till.create(), till.create(), till.create()]
    till.pay(12_340_000)
    honest = till.box.seller.grid.page

    def twice(*asked, **named):
        rows, mark = honest(*asked, **named)
        return [each for row in rows for each in (row, row)], mark

    monkeypatch.setattr(till.box.seller.grid, "page", twice)
    till.solid()
    assert sorted(till.status(each)["status"] for each in made) == ["completed", "completed", "pending"]
    till.solid()
    assert sorted(till.status(each)["status"] for each in made) == ["completed", "completed", "pending"]


def test_dust_on_one_wallet_holds_up_no_other(till_on, monkeypatch):
    monkeypatch.setattr(watch, "REQUESTS", 2)  # what is solid, and one page
    till = till_on()
    ground = till.box.ground
    till.create(wallet_address=ground.payer_address)
    till.solid(5)
    quiet = till.create()
    ground.chain.endow(raw(ground.payer), 10**15)
    for each in range(401):
        ground.contracts.transfer(ground.payer, raw_address(ground.payer_address), 1 + each)
    till.pay(12_340_000)
    till.solid()
    assert till.status(quiet)["status"] == "pending"  # the flooded one was looked at first
    till.solid(10)
    assert till.status(quiet)["status"] == "completed"


def test_a_wallet_that_trongrid_does_not_know_holds_up_no_other(till_on):
    till = till_on("wrong_checksum")
    bad = till.create(wallet_address="TLPsV2meGxAiUjYnt5DMZCjPJW5dwD9XaB")
    till.solid(5)
    good = till.create()
    till.pay(12_340_000)
    till.solid()
    assert till.status(good)["status"] == "completed"
    assert till.log(bad)[-1] == "api_error"
