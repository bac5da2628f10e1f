"""What is sold and what is not: sessions, proofs, credits, authorisations; the same on both engines."""

from __future__ import annotations

import json
import threading

import pytest

from x402_agent.sandbox import scenarios
from x402_agent.sandbox.lily.store import AGENT, SERVICE

PRICE = 10_000
HONEST = scenarios("lily")["honest"]


def refused(reply, status, code, words=""):
    assert (reply.status_code, reply.json()["errorCode"]) == (status, code), reply.text
    assert words in reply.json()["error"], reply.text
    return reply.json()


def test_the_402_names_price_and_currency_and_nobody_who_is_paid(till):
    reply = till.get()
    assert reply.json() == {
        "success": False, "error": "Payment required", "errorCode": "PAYMENT_REQUIRED", "paymentRequired": True, "requiredAmount": 0.01, "currency": "USDC", "details": {},
    }  # fmt: skip
    assert (reply.status_code, reply.headers["x-402-amount"], reply.headers["x-402-currency"]) == (402, "0.01", "USDC")
    assert till.get("/free").json() == {"free": True} and till.get("/none").status_code == 404
    assert till.http.delete("/joke").status_code == 405
    assert till.get(header="session=" + "ab" * 32).json()["errorCode"] == "PAYMENT_REQUIRED"  # without a wallet it shows nothing


def test_a_session_pays_for_ten_calls_and_says_what_is_left(till):
    made = till.session()
    token = made["session_token"]
    left = [till.get(session=token).headers["x-402-remaining"] for _ in range(10)]
    assert left == ["0.09", "0.08", "0.07", "0.06", "0.05", "0.04", "0.03", "0.02", "0.01", "0.00"]
    empty = refused(till.get(session=token), 402, "INSUFFICIENT_BALANCE")
    assert empty["details"] == {"currentBalance": 0.0, "sessionId": made["id"]}
    assert token not in json.dumps(empty)
    row = till.rows("select status, remaining_amount from x402_payment_sessions where id = ?", made["id"])
    assert row == [{"status": "depleted", "remaining_amount": 0}]
    assert till.spent() == {"session": (1, 100_000), "call": (10, 10 * PRICE), "refused": (1, PRICE)}


def test_a_service_that_fails_costs_nothing(till):
    token = till.session()["session_token"]
    assert till.get("/joke-500", session=token).status_code == 500
    assert till.get(session=token).headers["x-402-remaining"] == "0.09"


def test_a_session_is_for_its_wallet_its_resource_its_time_and_until_it_is_revoked(till):
    made = till.session(resource_pattern=f"agent/{SERVICE}/joke")
    token = made["session_token"]
    refused(till.get("/report", session=token), 403, "VALIDATION_FAILED", "another resource")
    refused(till.get(session=token, wallet=str(till.other().pubkey())), 403, "VALIDATION_FAILED", "another wallet")
    refused(till.get(session="ab" * 32), 402, "SESSION_NOT_FOUND")
    assert till.get(session=token).status_code == 200
    done = till.rest("PATCH", f"x402_payment_sessions?session_token=eq.{token}", {"status": "revoked"})
    assert (done.status_code, done.json()[0]["status"], done.json()[0]["remaining_amount"]) == (200, "revoked", 0.09)
    refused(till.get(session=token), 403, "VALIDATION_FAILED", "revoked")
    short = till.session()
    till.box.warp(86_400)
    gone = refused(till.get(session=short["session_token"]), 402, "SESSION_EXPIRED")
    assert gone["details"] == {"currentBalance": 0.1, "sessionId": short["id"]}


def test_ten_at_once_on_one_session_take_ten_prices_and_no_more(till):
    token = till.session(70_000)["session_token"]
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(till.get(session=token).status_code)) for _ in range(10)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(statuses) == [200] * 7 + [402] * 3
    assert till.rows("select remaining_amount as n from x402_payment_sessions") == [{"n": 0}]


def test_a_proof_buys_one_call_and_the_same_one_again_for_a_day(till):
    tx = till.pay()
    header = till.header(proof=tx)
    first = till.get(header=header)
    assert first.status_code == 200 and "x-402-remaining" not in first.headers
    till.box.warp(3_600)
    assert till.get(header=header).json() == first.json()
    refused(till.get("/report", proof=tx), 402, "VALIDATION_FAILED", "already used")
    refused(till.get("/joke?a=1", proof=tx), 402, "VALIDATION_FAILED", "already used")
    refused(till.get(proof=tx, wallet=str(till.other().pubkey())), 402, "VALIDATION_FAILED", "already used")
    till.box.warp(86_400)
    refused(till.get(proof=tx), 402, "VALIDATION_FAILED", "more than a day ago")
    assert till.spent()["proof"] == (1, PRICE)


def test_what_is_no_payment(till):
    someone = till.other()
    refused(till.get(proof=till.pay(PRICE - 1)), 402, "VALIDATION_FAILED", "too small")
    refused(till.get(proof=till.pay(to=str(someone.pubkey()))), 402, "VALIDATION_FAILED", "No USDC reached")
    refused(till.get(proof=till.pay(who=someone)), 402, "VALIDATION_FAILED", "Another wallet paid")
    refused(till.get(proof=till.pay_sol(10**7)), 402, "VALIDATION_FAILED", "No USDC reached")
    refused(till.get(proof="1" * 88), 402, "VALIDATION_FAILED", "not found")
    old = till.pay()
    till.box.warp(601)
    refused(till.get(proof=old), 402, "VALIDATION_FAILED", "older than 10 minutes")
    assert till.get(proof=till.pay(2 * PRICE)).status_code == 200


def test_a_transaction_is_good_once_whatever_for(till):
    one = till.pay(100_000)
    assert till.get(proof=one).status_code == 200
    assert till.rest("POST", "x402_payment_sessions", till.session_row(one)).status_code == 409
    assert till.rest("POST", "x402_transactions", till.top_up_row(one)).status_code == 409
    made = till.session()
    refused(till.get(proof=made["initial_payment_signature"]), 402, "VALIDATION_FAILED", "already used")
    topped = till.top_up()
    assert till.rest("POST", "x402_transactions", till.top_up_row(topped["transaction_signature"])).json()["code"] == "23505"
    assert till.rest("POST", "x402_payment_sessions", till.session_row(topped["transaction_signature"])).status_code == 409
    assert till.rows("select balance from x402_payment_credits") == [{"balance": 100_000}]


def test_credits_are_spent_by_headers_that_their_wallet_has_signed(till):
    till.top_up(25_000)
    refused(till.get(wallet=till.wallet), 402, "VALIDATION_FAILED", "signed")
    header = till.signed()
    assert till.get(header=header).headers["x-402-remaining"] == "0.015"
    assert till.get(header=header).headers["x-402-remaining"] == "0.015"  # an answer that was lost: the same header for the same call takes nothing more
    again = till.get("/report", header=header)
    assert (refused(again, 429, "RATE_LIMITED")["paymentRequired"], again.headers["retry-after"]) == (False, "1")
    refused(till.get(header=header.replace("amount=0.01", "amount=0.02")), 402, "VALIDATION_FAILED", "not this wallet's")
    refused(till.get(header=header + "; amount=0.02"), 402, "VALIDATION_FAILED", "twice")
    thief = till.other()
    refused(till.get(header=till.signed(thief, wallet=till.wallet)), 402, "VALIDATION_FAILED", "not this wallet's")
    refused(till.get(header=till.signed(thief)), 402, "INSUFFICIENT_BALANCE")
    now = int(till.ground.now() * 1000)
    assert till.get("/report", header=till.signed(timestamp=now + 1)).headers["x-402-remaining"] == "0.005"
    assert refused(till.get(header=till.signed(timestamp=now + 2)), 402, "INSUFFICIENT_BALANCE")["details"] == {"currentBalance": 0.005}
    assert till.rows("select balance, total_deposited, total_spent from x402_payment_credits") == [{"balance": 5_000, "total_deposited": 25_000, "total_spent": 20_000}]
    assert till.top_up(10_000)["purpose"] == "credit_top_up"
    assert till.rest("GET", f"x402_payment_credits?wallet_address=eq.{till.wallet}&service_id=eq.{SERVICE}&service_type=eq.{AGENT}").json()[0]["balance"] == 0.015


@pytest.mark.parametrize(("fields", "words"), [
    ({"amount": "0.009999"}, "below the price"), ({"amount": ...}, "below the price"), ({"amount": "1e-2"}, "amount is not"),
    ({"currency": "SOL"}, "takes USDC"), ({"timestamp": ...}, "not of now"), ({"timestamp": 1_795_218_184}, "not of now"), ({"session": "AB" * 32}, "session is not"),
    ({"wallet": "0xabc"}, "wallet is not"),
], ids=["less", "no-amount", "exponent", "currency", "no-time", "seconds", "token", "wallet"])  # fmt: skip
def test_what_every_header_has_to_be(shared, fields, words):
    token = shared.session(10_000)["session_token"]
    refused(shared.get(**{"session": token, **fields}), 402, "VALIDATION_FAILED", words)


def test_headers_as_published_and_a_strict_seller(shared):
    made = shared.session(20_000)
    good = shared.header(session=made["session_token"])
    refused(shared.get(header=good.replace("; wallet", "=x; wallet")), 402, "VALIDATION_FAILED", "holds =")
    refused(shared.get(header=f"{good}, {good}"), 402, "VALIDATION_FAILED")
    refused(shared.get(header=f"{good}; nonce=1"), 402, "VALIDATION_FAILED", "not one of ours")
    refused(shared.get(header=f"{good}; {'a' * 1_000}=1"), 402, "VALIDATION_FAILED", "too long")
    assert shared.get(header=f" SESSION={made['session_token']};Wallet={shared.wallet} ; AMOUNT=0.01;currency=USDC;timestamp={int(shared.ground.now() * 1000)};").status_code == 200
    assert shared.get(header=good).status_code == 200  # nothing that was refused was taken


def test_a_headers_time_may_be_ahead_by_five_minutes_and_behind_by_a_day_where_nothing_is_signed(till):
    token, tx = till.session()["session_token"], till.pay()
    till.top_up()
    now = int(till.ground.now())
    for off, status in ((-80_000, 200), (300, 200), (302, 402)):
        assert till.get(session=token, timestamp=(now + off) * 1000).status_code == status
    assert till.get(proof=tx, timestamp=(now - 80_000) * 1000).status_code == 200
    for off, status in ((-300, 200), (-302, 402), (300, 200), (302, 402)):
        assert till.get(header=till.signed(timestamp=(now + off) * 1000)).status_code == status


def test_sol_at_the_rate_that_is_quoted(till_on):
    till = till_on("sol")
    asked = till.get().json()
    assert (asked["currency"], asked["requiredAmount"], asked["details"]) == ("SOL", 0.01, {"conversionRate": 150.0})
    lamports = int(0.01 / 150 * 10**9)
    assert till.get(proof=till.pay_sol(lamports), currency="SOL").status_code == 200
    assert till.get(proof=till.pay_sol(lamports * 991 // 1000), currency="SOL").status_code == 200
    refused(till.get(proof=till.pay_sol(lamports * 98 // 100), currency="SOL"), 402, "VALIDATION_FAILED", "too small")
    refused(till.get(proof=till.pay(), currency="SOL"), 402, "VALIDATION_FAILED", "No SOL reached")
    row = till.session_row(till.pay_sol(10 * lamports), 0.1, currency="SOL")
    made = till.rest("POST", "x402_payment_sessions", row).json()[0]
    assert (made["authorized_amount"], made["sol_amount"], made["usd_amount"], made["conversion_rate"]) == (0.1, 0.00066666, 0.1, 150.0)
    much = till.rest("POST", "x402_payment_sessions", till.session_row(till.pay_sol(10 * lamports), 5, currency="SOL")).json()[0]
    assert much["authorized_amount"] == 0.099999  # what was paid, whatever is claimed
    assert till.get(session=made["session_token"], currency="SOL").headers["x-402-remaining"] == "0.09"


def authorization(till, **change):
    body = {"wallet_address": till.wallet, "service_id": SERVICE, "service_type": AGENT, **change}
    reply = till.rest("POST", "x402_payment_authorizations", body)
    assert reply.status_code == 201, reply.text
    return reply.json()[0]


def test_what_a_wallet_has_allowed_itself_binds_whatever_pays(till):
    token = till.session()["session_token"]
    made = authorization(till, spending_limit_per_day=0.03, spending_limit_per_month=0.05)
    assert [till.get(session=token).status_code for _ in range(4)] == [200, 200, 200, 403]
    tx = till.pay()
    refused(till.get(proof=tx), 403, "VALIDATION_FAILED", "limit")
    assert till.spent().get("proof") is None  # it buys something when the limit lets it
    till.box.warp(86_400 - till.ground.now() % 86_400)
    if till.rows("select month from x402_payment_authorizations")[0]["month"] == till.box.seller.store.now()[:7]:
        fresh = till.session()["session_token"]
        assert [till.get(session=fresh).status_code for _ in range(3)] == [200, 200, 403]  # the month's
    change = till.rest("PATCH", f"x402_payment_authorizations?id=eq.{made['id']}", {"spending_limit_per_request": 0.005, "spending_limit_per_month": None, "spending_limit_per_day": None})
    assert change.status_code == 200, change.text
    refused(till.get(session=till.session()["session_token"]), 403, "VALIDATION_FAILED", "limit")
    till.rest("PATCH", f"x402_payment_authorizations?id=eq.{made['id']}", {"status": "paused"})
    assert till.get(session=till.session()["session_token"]).status_code == 200  # here nobody needs one


def test_a_service_that_wants_to_be_authorized_first(till_on):
    till = till_on("preauth")
    token = till.session()["session_token"]
    refused(till.get(session=token), 403, "VALIDATION_FAILED", "no active authorization")
    made = authorization(till)
    assert till.get(session=token).status_code == 200
    tight = authorization(till, spending_limit_per_request=0.005)
    refused(till.get(session=token), 403, "VALIDATION_FAILED", "limit")  # every active one binds
    for each in (tight, made):
        till.rest("PATCH", f"x402_payment_authorizations?id=eq.{each['id']}", {"status": "revoked"})
    refused(till.get(session=token), 403, "VALIDATION_FAILED", "no active authorization")


def test_limits_are_a_wallets_own_and_count_what_is_paid(till_on):
    till = till_on(HONEST.with_(calls=3))
    till.box.warp(60 - till.ground.now() % 60)
    token = till.session()["session_token"]
    for _ in range(5):
        refused(till.get(session="ab" * 32), 402, "SESSION_NOT_FOUND")  # a stranger, with this wallet's name
    assert [till.get(session=token).status_code for _ in range(3)] == [200] * 3
    over = till.get(session=token)
    assert (refused(over, 429, "RATE_LIMITED")["paymentRequired"], over.headers["retry-after"]) == (False, "60")
    till.box.warp(60)
    assert till.get(session=token).headers["x-402-remaining"] == "0.06"  # what was refused took nothing
    asked = [till.rest("GET", "x402_payment_credits") for _ in range(4)]
    assert ([each.status_code for each in asked], asked[-1].headers["retry-after"]) == ([200, 200, 200, 429], "60")


def test_who_tries_too_often_waits(till):
    shown = {"x-402-payment": till.header(session="ab" * 32)}
    last = [till.stranger("GET", "/joke", shown)[0] for _ in range(601)][-2:]
    assert last in ([402, 429], [402, 402]) and till.stranger("GET", "/joke", shown, client="10.9.9.9")[0] == 402
    assert till.rows("select count(*) as n from x402_transactions where status = 'failed'")[0]["n"] <= 602


def test_a_page_of_another_origin_may_not_ask_where_the_service_says_so(till):
    till.rows("update x402_service_configs set allowed_origins = ?", '["https://good.example"]')
    token = till.session()["session_token"]
    told = {"x-402-payment": till.header(session=token)}
    assert till.http.get("/joke", headers={**told, "origin": "https://bad.example"}).status_code == 403
    assert till.http.get("/joke", headers={**told, "origin": "https://good.example"}).status_code == 200
    assert till.http.get("/joke", headers=told).status_code == 200


def test_a_service_that_is_closed(till):
    till.rows("update x402_service_configs set is_active = 0")
    assert till.get().json()["errorCode"] == "SERVICE_NOT_CONFIGURED"
    assert till.rest("GET", "x402_service_configs?select=*").json() == []


def test_a_database_that_is_away_takes_no_money(till_on, tmp_path):
    till = till_on(database=str(tmp_path / "lily.db"))
    token = till.session()["session_token"]
    till.rows("alter table x402_payment_sessions rename to gone")
    away = till.get(session=token)
    assert refused(away, 503, "NETWORK_ERROR")["paymentRequired"] is False
    till.rows("alter table gone rename to x402_payment_sessions")
    assert till.get(session=token).headers["x-402-remaining"] == "0.09"


def test_another_currency_or_price_is_what_the_next_402_says(till):
    till.box.scenario = HONEST.with_(price=20_000)
    assert till.get().json()["requiredAmount"] == 0.02
    assert till.rest("GET", f"x402_service_configs?service_id=eq.{SERVICE}&service_type=eq.{AGENT}&select=base_price,currency").json() == [{"base_price": 0.02, "currency": "USDC"}]
