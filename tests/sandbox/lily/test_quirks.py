"""What each scenario does that the honest seller does not."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from x402_agent import SettingsError
from x402_agent.sandbox import scenarios
from x402_agent.sandbox.lily.store import SERVICE
from x402_agent.sandbox.seller import scenario

PRICE = 10_000


def bought(till, session, **fields):
    return till.get(session=session["session_token"], **fields)


def left(till, session):
    (row,) = till.rest("GET", f"x402_payment_sessions?session_token=eq.{session['session_token']}").json()
    return round(row["remaining_amount"] * 1_000_000)


def at_once(work, count=10):
    threads = [threading.Thread(target=work) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def test_the_page_names_every_scenario_and_tests_that_exist():
    here = Path(__file__).parent
    page = (here.parents[2] / "docs" / "wire" / "lily-seller.md").read_text("utf-8")
    table = page.partition("## Scenarios")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z0-9_]+)` \|", table, re.MULTILINE)) == set(scenarios("lily")) - {"honest"}
    named = re.findall(r"\[(test_\w+)\]\(../../tests/((?:sandbox/)?lily/\w+\.py)\)", page)
    assert len(named) > 50
    for test, file in named:
        assert re.search(rf"^ *def {test}\(", (here.parents[1] / file).read_text("utf-8"), re.MULTILINE), test


def test_double_deduction(till_on):
    till = till_on("double_deduction")
    session = till.session(4 * PRICE)
    reply = bought(till, session)
    assert (reply.status_code, reply.headers["x-402-remaining"]) == (200, "0.02") and left(till, session) == 2 * PRICE


def test_dead_service(till_on):
    till = till_on("dead_service")
    session = till.session(2 * PRICE)
    assert [bought(till, session).status_code for _ in range(3)] == [502, 502, 402] and left(till, session) == 0
    proof = till.pay()
    assert till.get(proof=proof).json()["errorCode"] == "NETWORK_ERROR" and till.get(proof=proof).status_code == 502


def test_paid_then_402_and_answer_lost(till_on):
    till = till_on("paid_then_402")
    proof = till.pay()
    assert [till.get(proof=proof).json()["errorCode"] for _ in range(2)] == ["PAYMENT_REQUIRED"] * 2
    till = till_on("answer_lost")
    proof = till.pay()
    with pytest.raises(Exception, match=r"(?i)disconnect|closed|drop|answer"):
        till.get(proof=proof)
    assert till.get(proof=proof).status_code == 200


def test_session_forbidden_crowded_and_silent_429(till_on):
    till = till_on("session_forbidden")
    session = till.session()
    assert bought(till, session).status_code == 403 and left(till, session) == 10 * PRICE
    till = till_on("crowded")
    proof = till.pay()
    replies = [till.get(proof=proof) for _ in range(3)]
    assert [each.status_code for each in replies] == [429, 429, 200] and replies[0].headers["retry-after"] == "1"
    till = till_on("silent_429")
    reply = till.get(proof=till.pay())
    assert (reply.status_code, reply.json()["errorCode"]) == (429, "RATE_LIMITED") and "retry-after" not in reply.headers


def test_inserts_that_fail(till_on):
    till = till_on("insert_fails_once")
    row = till.session_row(till.pay(100_000))
    assert [till.rest("POST", "x402_payment_sessions", row).status_code for _ in range(2)] == [503, 201]
    till = till_on("insert_fails_always")
    row = till.session_row(till.pay(100_000))
    assert [till.rest("POST", "x402_payment_sessions", row).status_code for _ in range(4)] == [503] * 4
    assert till.rows("select id from x402_payment_sessions") == till.rows("select id from x402_transactions") == []
    till = till_on("insert_answer_lost")
    row = till.session_row(till.pay(100_000))
    assert [till.rest("POST", "x402_payment_sessions", row).status_code for _ in range(2)] == [503, 409]
    (kept,) = till.rest("GET", f"x402_payment_sessions?initial_payment_signature=eq.{row['initial_payment_signature']}").json()
    assert kept["session_token"] == row["session_token"]


def test_top_up_unbooked(till_on):
    till = till_on("top_up_unbooked")
    assert till.top_up()["amount"] == 0.1
    own = f"x402_payment_credits?wallet_address=eq.{till.wallet}"
    assert till.rest("GET", own).json() == []
    reply = till.rest("PATCH", own, {"balance": 0.1})
    assert (reply.status_code, reply.json()) == (200, []) and till.rest("PATCH", own, {"balance": 0.1}, prefer="").status_code == 204
    assert till.rest("GET", own).json() == [] and till.get(header=till.signed()).json()["errorCode"] == "INSUFFICIENT_BALANCE"


def test_tokens_public(till_on):
    till = till_on("tokens_public")
    session = till.session()
    assert [each["session_token"] for each in till.rest("GET", "x402_payment_sessions", key=till.box.seller.anon_key).json()] == [session["session_token"]]
    assert till.rest("PATCH", "x402_payment_sessions?status=eq.active", {"status": "revoked"}, till.box.seller.anon_key).status_code == 401


def test_any_price_and_any_transaction(till_on):
    till = till_on("any_price")
    proof = till.pay(1)
    assert till.get(proof=proof).status_code == 200 and till.get("/report", proof=proof).status_code == 402
    till = till_on("any_transaction_pays")
    other = till.other()
    proof = till.pay(1, who=other)
    assert [till.get(path, proof=proof, amount="99999").status_code for path in ("/joke", "/report", "/joke")] == [200] * 3
    assert till.get(proof=till.pay(PRICE, to=str(other.pubkey()))).status_code == 402  # it has to mention us


def test_not_atomic(till_on):
    till = till_on("not_atomic")
    session = till.session()
    said = []
    at_once(lambda: said.append(bought(till, session).status_code))
    assert said == [200] * 10 and left(till, session) > 5 * PRICE
    till = till_on()
    session, said = till.session(), []
    at_once(lambda: said.append(bought(till, session).status_code))
    assert said == [200] * 10 and left(till, session) == 0  # and the honest one takes ten prices


def ended(till):
    """What a seller says of a session that is unknown, empty, revoked and expired."""
    said = [till.get(session="0" * 64)]
    empty = till.session(PRICE)
    bought(till, empty)
    said.append(bought(till, empty))
    revoked = till.session()
    till.rest("PATCH", f"x402_payment_sessions?id=eq.{revoked['id']}", {"status": "revoked"})
    said.append(bought(till, revoked))
    old = till.session()
    till.rows("update x402_payment_sessions set expires_at = '2020-01-01 00:00:00.000' where id = ?", old["id"])
    return [*said, bought(till, old)]


def test_real_codes(till_on):
    codes = [each.json() for each in ended(till_on("real_codes"))]
    assert [each["errorCode"] for each in codes] == ["SESSION_NOT_FOUND", *["VALIDATION_FAILED"] * 3]
    assert not any("details" in each for each in codes)


def test_guide(till_on):
    till = till_on("guide")
    reply = till.get()
    assert reply.json() == {"error": "Payment required", "amount": 0.01, "currency": "USDC"} and "x-402-amount" not in reply.headers
    words = ["Session not found", "Insufficient session balance", "Session is revoked", "Session expired"]
    assert [each.json()["error"] for each in ended(till)] == words
    for reply in (till.get(proof=till.pay()), till.get(header=till.signed()), till.get(session="x")):
        assert (reply.status_code, reply.text) == (402, "Payment validation failed")
    assert bought(till, till.session()).status_code == 200


def test_rates_times_names_and_terms(till_on):
    (row,) = till_on("per_minute").rest("GET", "x402_service_configs?is_active=eq.true").json()
    assert (row["pricing_model"], row["max_payment"]) == ("per_minute", 0.05)
    assert till_on("old_rate").get().json()["details"]["conversionRate"] == 100
    assert till_on("sol").get().json()["details"]["conversionRate"] == till_on().box.seller.coins["SOL"] / 1_000_000
    till = till_on("in_seconds")
    proof = till.pay()
    assert till.get(proof=proof).status_code == 402
    assert till.get(proof=proof, timestamp=int(till.ground.now())).status_code == 200
    till = till_on("service_no_uuid")
    told = till.box.seller.dialect_settings(till.box.origin)["lily"]["service_id"]
    reply = till.rest("GET", f"x402_service_configs?service_id=eq.{told}")
    assert (told, reply.status_code, reply.json()["code"]) == ("agent-xyz", 400, "22P02")
    till = till_on("dearer")
    assert till.get().json()["requiredAmount"] == 0.02
    assert till.rest("GET", f"x402_service_configs?service_id=eq.{SERVICE}").json()[0]["base_price"] == 0.01
    till = till_on("payee_flips")
    payees = [till.rest("GET", "x402_service_configs?is_active=eq.true").json()[0]["platform_wallet"] for _ in range(3)]
    assert payees[0] == till.box.pay_to and payees[1] == payees[2] != payees[0]


def test_silent_and_short_sessions(till_on):
    till = till_on("silent")
    session = till.session(PRICE)
    assert "x-402-remaining" not in bought(till, session).headers and "currentBalance" not in bought(till, session).json()["details"]
    till = till_on("short_sessions")
    session = till.session()
    assert bought(till, session).status_code == 200
    till.box.warp(6)
    assert bought(till, session).json()["errorCode"] == "SESSION_EXPIRED"


def test_expired_but_landed(till_on):
    till = till_on("expired_but_landed")
    proof = till.pay()
    status = {"jsonrpc": "2.0", "id": 1, "method": "getSignatureStatuses", "params": [[proof], {"searchTransactionHistory": True}]}
    shown = lambda: till.http.post(till.ground.node_path, json=status).json()["result"]["value"][0]  # noqa: E731
    assert shown() is None and till.get(proof=proof).status_code == 402
    till.box.warp(91)
    assert shown()["confirmationStatus"] == "finalized" and till.get(proof=proof).status_code == 200


def test_hooks_down(till_on):
    till = till_on("hooks_down")
    assert bought(till, till.session()).status_code == 200  # what becomes of its deliveries: test_operations


def test_every_scenario_says_what_it_does_and_refuses_what_does_not_fit():
    found = scenarios("lily")
    assert len(found) >= 26 and all(each.description for each in found.values())
    for wrong in ({"after": "nothing"}, {"spelling": "own"}, {"inserts": "never"}, {"deducts": 0}, {"lag": -1}, {"currency": "EUR"}, {"unknown": 1}):
        with pytest.raises(SettingsError):
            scenario("honest", "lily").with_(**wrong)
