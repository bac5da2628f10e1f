"""Calls are bought one by one or ahead: a proof, a session that is opened once and used until it is empty, and what goes wrong on the way."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

from kamiyo.test_elsewhere import agent_of
from lily.conftest import told
from lily.shop import KEY, SERVICE, Shop
from x402_agent import PaymentInDoubt
from x402_agent.chains.solana import transfer

WIRE = json.loads((Path(__file__).parent.parent / "vectors" / "lily" / "wire.json").read_text())


def rows(payer):
    payer.ledger.flush()
    return [(row.state, row.amount) for row in payer.ledger.payments()]


def many(payer, shop, times, expect=10, path=None):
    with payer.task("many", expect_calls=expect) as task, task.client(timeout=60) as http:
        return [http.get(shop.url(*(() if path is None else (path,)))).text for _ in range(times)]


def left(payer):
    return [each.uses_left for each in payer.ledger.tokens()]


@pytest.mark.proves("solana", "lily", "pays")
def test_a_single_call_is_paid_and_its_transaction_shown(payer, shop):
    before = shop.earned
    with payer.client(timeout=60) as http:
        reply = http.get(shop.url())
    assert reply.text == "goods" and reply.extensions["payment"].outcome == "spent"
    assert shop.earned - before == 10_000 and rows(payer) == [("CLAIMED", 10_000)]
    (said,) = shop.shown
    (row,) = payer.ledger.payments()
    assert list(said) == ["proof", "wallet", "amount", "currency", "timestamp"] and (said["amount"], said["currency"]) == ("0.01", "USDC")
    assert said["proof"] == row.transaction and said["wallet"] == payer.box.payer_address and re.fullmatch("[0-9]{13}", said["timestamp"])
    assert shop.asked == ["GET x402_service_configs"] and left(payer) == []


def test_a_session_is_opened_once_and_used_until_it_is_empty(payer, shop):
    before = shop.earned
    assert many(payer, shop, 10) == ["goods"] * 10
    assert shop.earned - before == 100_000 and left(payer) == [0]
    assert many(payer, shop, 1, path="/agents/other") == ["goods"]
    assert shop.earned - before == 200_000 and rows(payer) == [("CLAIMED", 100_000)] * 2 and len(shop.sessions) == 2
    first, *rest = shop.shown[:10]
    assert list(first) == ["session", "wallet", "amount", "currency", "timestamp"] and {each["session"] for each in rest} == {first["session"]}
    times = [int(each["timestamp"]) for each in rest]
    assert times == sorted(times) and len(set(times)) > 5 and times[0] >= int(first["timestamp"])  # each says its own


def test_the_row_that_opens_it_is_as_published(payer, shop):
    many(payer, shop, 1)
    (said,) = shop.posted
    assert list(said) == list(WIRE["session"]) and shop.keys == {f"Bearer {KEY}"}
    assert re.fullmatch("[0-9a-f]{64}", said["session_token"]) and said["resource_pattern"] == f"agent/{SERVICE}/*"
    fixed = ("status", "auto_renew", "service_type", "currency")
    assert [said[name] for name in fixed] == [WIRE["session"][name] for name in fixed]
    assert [str(said[name]) for name in ("authorized_amount", "remaining_amount", "usd_amount")] == ["0.1"] * 3
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", said["expires_at"]) and said["wallet_address"] == payer.box.payer_address


@pytest.mark.parametrize("expect", [pytest.param(1, marks=pytest.mark.full), 10])
def test_the_same_in_SOL_by_the_sellers_rate(expect, seller, payer):
    shop = Shop(seller, payer.box, currency="SOL")
    shop.extras = {"conversionRate": 150}
    told(payer, shop.settings())
    assert many(payer, shop, 2, expect) == ["goods"] * 2
    assert rows(payer) == [("CLAIMED", 666_666)] if expect == 10 else [("CLAIMED", 66_666)] * 2
    if expect == 10:
        (said,) = shop.posted
        assert list(said) == [*WIRE["session"], *WIRE["session paid in SOL"]] and (str(said["sol_amount"]), said["conversion_rate"]) == ("0.000666666", 150)


@pytest.mark.full
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_on_event_loops(backend, payer, shop):
    async def go():
        with payer.task("many", expect_calls=5) as task:
            async with task.async_client(timeout=60) as http:
                return [(await http.get(shop.url())).text for _ in range(3)]

    assert anyio.run(go, backend=backend) == ["goods"] * 3
    assert rows(payer) == [("CLAIMED", 50_000)] and left(payer) == [2]


def test_who_comes_at_once_opens_one_session(payer, shop):
    with payer.task("many", expect_calls=12) as task, task.client(timeout=60) as http, ThreadPoolExecutor(6) as pool:
        assert [each.text for each in pool.map(http.get, [shop.url()] * 12)] == ["goods"] * 12
    assert rows(payer) == [("CLAIMED", 120_000)] and len(shop.sessions) == 1 and left(payer) == [0]


def test_an_agent_of_a_signer_pays_by_both_ways(payer, shop):
    with agent_of(payer) as agent:
        told(agent, shop.settings())
        with agent.client(timeout=60) as http:
            assert http.get(shop.url()).text == "goods"
        with agent.task("many", expect_calls=5) as task, task.client(timeout=60) as http:
            assert [http.get(shop.url()).text for _ in range(3)] == ["goods"] * 3
    assert rows(payer) == [("CLAIMED", 50_000), ("CLAIMED", 10_000)] and len(shop.sessions) == 1 and left(payer) == [2]


def test_a_quote_and_a_plan_say_what_is_paid_and_pay_it(payer, shop):
    chosen = payer.quote(shop.url()).chosen
    assert (chosen.amount, chosen.pay_to) == (10_000, payer.box.pay_to) and rows(payer) == []
    plan = payer.plan([shop.url(), shop.url("/agents/other")])
    assert plan.total == "0.05"  # two prices, and two fees of 0.0001 SOL at most
    done = plan.run()
    assert [each.error for each in done] == [None] * 2 and [each.response.text for each in done] == ["goods"] * 2 and rows(payer) == [("CLAIMED", 10_000)] * 2


def test_an_agents_plan_holds_a_fee_whose_worth_only_its_signer_knows(payer, shop):
    with agent_of(payer) as agent:
        told(agent, shop.settings())
        plan = agent.plan([shop.url()])
        assert plan.total == "0.025"
        assert [each.error for each in plan.run()] == [None]
    assert rows(payer) == [("CLAIMED", 10_000)]


# -- the row that opens a session -----------------------------------------------------------------------------------------


def failing(shop, *answers):
    """Who writes a row gets these answers first: a status, "landed" for one that is written and not answered, or a function."""
    waiting = list(answers)

    def insert(hit, write):
        first = waiting.pop(0) if waiting else None
        if first == "landed":
            write()
            return b""
        if callable(first):
            return first(hit, write)
        if isinstance(first, int):
            shop.posted.append(json.loads(hit.body))
            return shop.json({"code": "PGRST000", "message": "no"}, first)
        return write()

    shop.insert = insert


FAILS = [(500,), (503, 502, 504), ("landed",), (429, "landed"), (500, 409)]


@pytest.mark.parametrize("fails", [each if each == (429, "landed") else pytest.param(each, marks=pytest.mark.full) for each in FAILS], ids=lambda each: "-".join(map(str, each)))
def test_a_row_that_is_not_written_at_once_is_written_again_and_paid_once(fails, payer, shop):
    failing(shop, *fails)
    if 409 in fails:  # it was written, and this is the first that we hear of it
        failing(shop, 500, lambda hit, write: (write(), write())[1])
    assert many(payer, shop, 2) == ["goods"] * 2
    assert rows(payer) == [("CLAIMED", 100_000)] and len(shop.sessions) == 1 and left(payer) == [8]
    assert len({(each["session_token"], each["initial_payment_signature"]) for each in shop.posted}) == 1


@pytest.mark.parametrize("status", [403, *(pytest.param(each, marks=pytest.mark.full) for each in (500, 400))])
def test_a_row_that_nobody_writes_is_in_doubt_in_words_and_opened_later_with_the_same_token(status, payer, shop):
    before = shop.earned
    failing(shop, *[status] * 10)
    for _ in range(2):
        with pytest.raises(PaymentInDoubt, match=f"row could not be written .status {status}") as caught:
            many(payer, shop, 1)
        assert "x402-agent resume" in caught.value.hint and shop.posted[0]["session_token"] not in str(caught.value)
    assert rows(payer)[0][1] == 100_000 and shop.earned - before == 100_000
    failing(shop)
    (done,) = payer.resume()
    assert done.after in ("CLAIMED", "CONFIRMED") and many(payer, shop, 2) == ["goods"] * 2
    assert shop.earned - before == 100_000 and len(rows(payer)) == 1 and len({each["session_token"] for each in shop.posted}) == 1


def test_a_row_that_another_account_has_for_our_payment_is_not_ours(payer, shop):
    def stolen(hit, write):
        write()
        shop.sessions[-1]["wallet_address"] = "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV"
        return shop.json({"code": "23505", "message": "duplicate key"}, 409)

    failing(shop, stolen)
    for _ in range(2):
        with pytest.raises(PaymentInDoubt, match="row for it that is not ours"):
            many(payer, shop, 1)
    assert len(rows(payer)) == 1 and shop.shown == []


@pytest.mark.full
def test_settings_that_are_gone_leave_the_payment_open(payer, shop):
    failing(shop, 403)
    with pytest.raises(PaymentInDoubt):
        many(payer, shop, 1)
    told(payer, {})
    (done,) = payer.resume()
    assert "settings name no tables" in done.note and len(rows(payer)) == 1
    told(payer, shop.settings())
    assert many(payer, shop, 1) == ["goods"] and len(rows(payer)) == 1


# -- a session that is refused --------------------------------------------------------------------------------------------


def test_what_the_seller_counts_lowers_our_count(payer, shop):
    many(payer, shop, 1)
    shop.sessions[0]["remaining_amount"] = "0.03"
    assert many(payer, shop, 1) == ["goods"] and left(payer) == [2]
    assert many(payer, shop, 3) == ["goods"] * 3 and len(rows(payer)) == 2  # the third is of a second session, which was due


REFUSED = ("SESSION_NOT_FOUND", "SESSION_EXPIRED", "INSUFFICIENT_BALANCE", "UNKNOWN_ERROR")


@pytest.mark.parametrize("code", ["VALIDATION_FAILED", *(pytest.param(each, marks=pytest.mark.full) for each in REFUSED)])
def test_a_session_that_is_refused_while_something_is_left_is_not_paid_again(code, payer, shop):
    many(payer, shop, 2)
    honest, shop.by_session = shop.by_session, lambda said: shop.refuse(code, "no")
    with payer.task("many", expect_calls=10) as task, task.client(timeout=60) as http:
        assert [http.get(shop.url()).status_code for _ in range(2)] == [402] * 2
    assert len(rows(payer)) == 1 and left(payer)[0] != 0
    shop.by_session = honest
    assert many(payer, shop, 2) == ["goods"] * 2 and len(rows(payer)) == 1


@pytest.mark.full
@pytest.mark.parametrize(("code", "status"), [("VALIDATION_FAILED", 403), ("RATE_LIMITED", 429), ("NETWORK_ERROR", 503), ("UPDATE_FAILED", 500)])
def test_what_is_no_402_is_the_callers(code, status, payer, shop):
    many(payer, shop, 1)
    shop.by_session = lambda said: shop.refuse(code, "no", status)
    with payer.client(timeout=60) as http:
        assert http.get(shop.url()).json()["errorCode"] == code
    assert len(rows(payer)) == 1 and left(payer) == [8]  # whether it was deducted nobody knows


def test_a_row_that_is_gone_is_not_written_a_second_time(payer, shop):
    many(payer, shop, 2)
    shop.sessions.clear()
    for _ in range(2):
        with pytest.raises(PaymentInDoubt, match="no row of it any more"):
            many(payer, shop, 1)
    assert len(rows(payer)) == 1 and shop.sessions == [] and len(shop.posted) == 1


def test_a_session_that_is_revoked_says_so_and_pays_nothing(payer, shop):
    many(payer, shop, 1)
    shop.sessions[0]["status"] = "revoked"
    shop.by_session = lambda said: shop.refuse("VALIDATION_FAILED", "Session is revoked")
    with payer.client(timeout=60) as http:
        assert http.get(shop.url()).status_code == 402
    payer.ledger.flush()
    (row,) = payer.ledger.payments()
    assert "the session is revoked" in row.note


# -- a proof that is refused, and a transfer that nobody confirms ---------------------------------------------------------


def test_a_proof_that_is_refused_is_shown_again_and_never_paid_twice(payer, shop):
    honest, shop.by_proof = shop.by_proof, lambda said, path: shop.refuse("VALIDATION_FAILED", "Payment validation failed")
    with payer.client(timeout=60) as http:
        assert [http.get(shop.url()).status_code for _ in range(2)] == [402] * 2
        shop.by_proof = honest
        assert http.get(shop.url()).text == "goods"
    assert rows(payer) == [("CLAIMED", 10_000)] and shop.earned


@pytest.mark.proves("solana", "lily", "fate")
def test_what_landed_although_its_blockhash_has_ended_opens_its_session(payer, shop, monkeypatch):
    before = shop.earned

    def lost(_node, _signature):
        return None
        yield

    with monkeypatch.context() as patched:
        patched.setattr(transfer, "PATIENCE", 0.5)
        patched.setattr(transfer.reads, "status", lost)
        with pytest.raises(PaymentInDoubt):
            many(payer, shop, 1)
    payer.box.warp(600)
    assert many(payer, shop, 2) == ["goods"] * 2
    assert shop.earned - before == 100_000 and len(rows(payer)) == 1 and len(shop.sessions) == 1
