"""Each scenario does what it says, and leaves a way out to who keeps the id of his transaction: nobody has to pay twice."""

from __future__ import annotations

import json
import re
import secrets
import time
from pathlib import Path

import pytest

from x402_agent.errors import SettingsError
from x402_agent.sandbox import Sandbox, scenarios
from x402_agent.sandbox.stacks.accounts import Account
from x402_agent.sandbox.stacks.pool import Rejected
from x402_agent.sandbox.x402pay.quirks import Quirks

BY_TRANSFER, BY_TWO, NAME = "/articles/paying-by-transfer", "/articles/paying-by-contract", "paying-by-transfer"
GATE = "/functions/v1/x402-gateway"


@pytest.fixture
def on(till):
    def make(name):
        till.box.scenario = name
        return till

    return make


def details(reply, status=401):
    assert reply.status_code == status, reply.text
    return reply.json()["details"]


def test_the_page_names_every_scenario_and_tests_that_exist():
    here = Path(__file__).parent
    page = (here.parents[2] / "docs" / "wire" / "x402pay-seller.md").read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z0-9_]+)` \|", page, re.MULTILINE)) == set(scenarios("x402pay")) - {"honest"}
    named = re.findall(r"\[(test_\w+)\]\(../../tests/sandbox/x402pay/(\w+\.py)\)", page)
    assert len(named) > 70
    for test, file in named:
        assert re.search(rf"^def {test}\(", (here / file).read_text("utf-8"), re.MULTILINE), test


def test_nonce_expires(on):
    till = on("nonce_expires")
    tx = till.transfer()
    assert details(till.show(tx)) == "Nonce expired" and till.show(tx).status_code == 200
    assert details(till.show(till.transfer(), "/api/premium-data")) == "Nonce expired"  # for each piece once


def test_challenge_expires(on):
    till = on("challenge_expires")
    tx, first = till.transfer(), till.get().json()["extra"]["challengeToken"]
    answer = lambda token: till.http.post(BY_TRANSFER, json={"token": token, "txId": tx}).status_code  # noqa: E731
    assert [answer(first), answer(first), answer(till.get().json()["extra"]["challengeToken"])] == [410, 404, 200]


def test_pending_refused(on):
    till = on("pending_refused")
    tx = till.transfer()
    assert [details(till.show(tx)) for _ in range(2)] == ["Transaction is pending"] * 2
    assert till.verify(tx).json()["code"] == "PAYMENT_PENDING" and till.show(tx).status_code == 200


def test_gateway_pending(on):
    till = on("gateway_pending")
    token, tx = till.get().json()["extra"]["challengeToken"], till.transfer()
    replies = [till.http.post(GATE, json={"token": token, "txId": tx}) for _ in range(4)]
    assert [each.status_code for each in replies] == [400, 400, 400, 200] and replies[0].json() == {"error": "Transaction not successful", "tx_status": "pending"}


def test_pending_for_ever(on):
    till = on("pending_for_ever")
    tx = till.transfer()
    assert {details(till.show(tx)) for _ in range(5)} == {"Transaction is pending"}


def test_refuses_what_was_paid(on):
    till = on("refuses_what_was_paid")
    tx = till.transfer()
    assert details(till.show(tx)) == "No payment found in this transaction" and till.verify(tx).status_code == 401
    till.box.scenario = "honest"
    assert till.show(tx).status_code == 200


def test_one_txid_for_two(on):
    till = on("one_txid_for_two")
    tx = till.transfer()
    assert till.show(tx).status_code == till.show(tx, "/api/premium-data").status_code == till.verify(tx, NAME).status_code == 200
    assert till.http.get("/v1/payments/history", headers=till.session()).json()["total"] == 1


def test_any_transaction_pays(on):
    till = on("any_transaction_pays")
    tx = till.transfer(1, to=Account(secrets.token_bytes(32)).address)
    token = till.get(BY_TWO).json()["extra"]["challengeToken"]
    assert till.http.post(GATE, json={"token": token, "txId": tx}).json()["success"] is True


def test_anyone_may_use_it(on):
    till = on("anyone_may_use_it")
    tx, nonce = till.transfer(), till.asked()["nonce"]
    assert till.stranger("GET", BY_TRANSFER, {"x-payment-proof": tx, "x-payment-nonce": nonce})[0] == 200


@pytest.mark.parametrize(("scenario", "name", "more"), [("four_arguments", "revenue-split", ("STX",)), ("two_arguments", "revenue-split-two", ())])
def test_four_and_two_arguments(on, scenario, name, more):
    till = on(scenario)
    for path in (BY_TRANSFER, "/api/premium-data"):
        assert till.asked(path)["contract"] == f"{till.box.pay_to}.{name}"
        words = [more[0], path[-3:]] if more else []
        assert till.show(till.call(path.rpartition("/")[2], 100_000, *words, name=name), path).status_code == 200
    other = "revenue-split" if name.endswith("two") else "revenue-split-two"
    more = ("STX", "w") if name.endswith("two") else ()
    assert details(till.show(till.call(NAME, 100_000, *more, name=other))) == "Wrong contract called"


def test_owner_is_payer(on):
    till = on("owner_is_payer")
    assert till.asked()["contract"].endswith(".revenue-split-payers")
    tx = till.call(NAME, 100_000, "STX", "t", name="revenue-split-payers")
    assert details(till.show(tx)) == "Transaction not successful: abort_by_response"


def test_transfer_to_self(on):
    till = on("transfer_to_self")
    assert till.asked()["recipient"] == till.payer.address
    with pytest.raises(Rejected, match="TransferRecipientCannotEqualSender"):
        till.transfer(to=till.payer.address)
    assert till.show(till.transfer()).status_code == 401


def test_zero_share(on):
    till = on("zero_share")
    assert till.asked()["amount"] == "0.000004"
    tx = till.call(NAME, 4, "STX", "t", name="revenue-split")
    entry = till.chain.entry(tx)
    assert (entry.status, entry.result[1][1]) == ("abort_by_response", 3) and till.show(tx).status_code == 401


def test_sbtc_moves_nothing(on):
    till = on("sbtc_moves_nothing")
    asked = till.asked()
    assert (asked["asset"], asked["amount"]) == ("sBTC", "0.0000002") and asked["contract"].endswith(".revenue-split")
    till.box.scenario = "four_arguments"
    till.asked()  # published for STX, so that the call is not refused for want of content
    till.box.scenario = "sbtc_moves_nothing"
    tx = till.call(NAME, 100_000, "sBTC", "t", name="revenue-split")
    assert till.chain.entry(tx).status == "success" and till.chain.entry(tx).moves == ()
    assert details(till.show(tx)) == "Amount insufficient: 0 moved, 20 wanted"


@pytest.mark.parametrize(("scenario", "symbol", "amount", "said"), [("sbtc", "sBTC", 20, "0.0000002"), ("usdcx", "USDCx", 50_000, "0.05")])
def test_sbtc_and_usdcx(on, scenario, symbol, amount, said):
    from x402_agent.chains.stacks import sip010_transfer
    from x402_agent.sandbox.stacks.facilitator import token_named

    till, token = on(scenario), token_named(symbol)
    asked = till.asked(BY_TWO)
    assert (asked["asset"], asked["amount"], "contract" in asked) == (symbol, said, False)
    send = lambda units: till.sign(sip010_transfer(token.address, units, till.payer.address, till.box.pay_to))  # noqa: E731
    assert details(till.show(send(amount - 1), BY_TWO)).startswith("Amount insufficient") and details(till.show(till.transfer(), BY_TWO)) == f"Not a plain transfer of {symbol}"
    assert till.show(send(amount), BY_TWO).status_code == 200


def test_token_opens_all(on):
    till = on("honest")
    token = till.buy()
    assert till.get("/api/premium-data", x_payment_proof=token).status_code == 401
    till.box.scenario = "token_opens_all"
    assert till.get("/api/premium-data", x_payment_proof=token).status_code == till.get(BY_TWO, x_payment_proof=token).status_code == 200


def test_token_refused(on):
    till = on("token_refused")
    tx = till.transfer()
    assert till.get(x_payment_proof=till.verify(tx).json()["accessToken"]).status_code == 401 and till.show(tx).status_code == 200


def test_token_short(on):
    till = on("token_short")
    token = till.buy()
    till.box.warp(9)
    assert till.get(x_payment_proof=token).status_code == 200
    till.box.warp(1)
    assert till.get(x_payment_proof=token).status_code == 401


def test_history_down_and_of_others(on):
    till = on("history_down")
    till.buy()
    stranger = Account(secrets.token_bytes(32))
    assert till.http.get("/v1/payments/history", headers=till.session()).status_code == 503
    till.box.scenario = "history_of_others"
    assert till.http.get("/v1/payments/history", headers=till.session(stranger)).json()["total"] == 1


@pytest.mark.parametrize(("scenario", "statuses"), [("verify_500", [500, 200]), ("verify_500_for_ever", [500, 500])])
def test_verify_500_once_booked(on, scenario, statuses):
    till = on(scenario)
    tx = till.transfer()
    assert [till.verify(tx).status_code for _ in range(2)] == statuses
    assert till.http.get("/v1/payments/history", headers=till.session()).json()["payments"][0]["txId"] == tx  # booked all the same
    assert till.show(tx).status_code == 200


def test_api_down(on):
    till = on("api_down")
    tx = till.transfer()
    assert till.verify(tx).status_code == till.login().status_code == 503 and till.show(tx).status_code == 200


def test_hooks_down(on):
    till = on("hooks_down")
    with till.receiver() as receiver:
        admin = {"x-api-key": till.box.seller.admin_key}
        hook = till.http.post("/v1/webhooks", json={"url": receiver.url}, headers=admin).json()
        assert till.show(till.transfer()).status_code == 200
        listed = lambda: till.box.seller.hooks.deliveries(till.box.seller.catalogue.find("about").owner, hook["id"])  # noqa: E731
        till.until(lambda: listed()[0]["words"] == "ConnectionRefusedError")
        assert receiver.got == [] and listed()[0]["status"] == "pending"


def test_answer_lost(on):
    import httpx2

    till = on("answer_lost")
    tx, nonce = till.transfer(), till.asked()["nonce"]
    with pytest.raises(httpx2.RemoteProtocolError):
        till.show(tx, nonce=nonce)
    assert till.show(tx, nonce=nonce).status_code == 200


def test_spends_a_showing(on):
    till = on("spends_a_showing")
    tx = till.transfer()
    assert [till.show(tx).status_code for _ in range(2)] == [200, 401]
    assert till.get(x_payment_proof=till.verify(tx).json()["accessToken"]).status_code == 200


def test_paid_then_500_or_402(on):
    till = on("paid_then_500")
    tx = till.transfer()
    assert [till.show(tx).status_code for _ in range(3)] == [500] * 3
    till.box.scenario = "paid_then_402"
    assert till.show(tx).status_code == 402 and till.verify(tx).status_code == 200


def test_dearer_again_and_recipient_flips(on):
    till = on("dearer_again")
    assert [till.asked()["amount"] for _ in range(2)] == ["0.10", "0.20"] and till.show(till.transfer()).status_code == 200
    till.box.scenario = "recipient_flips"
    assert till.asked(BY_TWO)["recipient"] == till.box.pay_to != till.asked(BY_TWO)["recipient"]


def test_main_addresses(on):
    asked = on("main_addresses").asked(BY_TWO)
    assert asked["recipient"][:2] == asked["contract"][:2] == "SP"


def test_three_blocks(on):
    till = on("three_blocks")
    tx = till.transfer()
    assert details(till.show(tx)) == "Transaction is pending: 0 of 3 confirmations"
    for _ in range(3):
        till.box.warp(1)
    assert till.show(tx).status_code == 200


def test_silent_429(on):
    till = on("silent_429")
    till.new_window()
    replies = [till.http.post("/v1/payments/initiate") for _ in range(11)]
    assert replies[-1].status_code == 429 and "retry-after" not in replies[-1].headers


def test_simulated(on):
    till = on("simulated")
    body = {"txHash": "ab" * 32, "walletAddress": till.payer.address, "amount": 1}
    reply = till.http.post("/api/x402/verify", json=body)
    assert till.http.get("/api/ai/generate", params={"token": reply.json()["accessToken"]}).status_code == 200
    assert (till.http.post("/api/x402/verify", json=body).status_code, till.http.post("/api/x402/verify", json=body).json()) == (400, {"error": "Transaction hash already used"})


def test_bearer(on):
    till = on("bearer")
    assert till.get().json()["requiredAmount"] == 1 and "www-authenticate" in till.get().headers
    tx = till.transfer(1_000_000)
    token = till.http.post("/api/x402/verify", json={"txHash": tx[2:], "walletAddress": till.payer.address, "amount": 1}).json()["accessToken"]
    assert till.get(authorization=f"Bearer {token}").status_code == 200 and till.get(BY_TWO, authorization=f"Bearer {token}").status_code == 401


def test_a_scenario_is_read_strictly():
    good = scenarios("x402pay")["honest"]
    for wrong in ({"spelling": "x"}, {"contract": "three"}, {"asset": "ETH"}, {"after": "x"}, {"nonce_life": -1}, {"status": 200}, {"price": 10**13}, {"stale": True}, {"unheard": 1}):
        with pytest.raises(SettingsError):
            good.with_(**wrong)
    assert isinstance(good, Quirks)


def test_a_scenario_is_changed_over_http(till):
    reply = till.http.post("/sandbox/scenario", json={"name": "nonce_expires", "parameters": {"stale": 2}})
    assert reply.status_code == 200 and till.box.scenario.stale == 2


def test_what_a_payer_of_this_machine_is_told(till):
    told = till.box.seller.dialect_settings("http://127.0.0.1:1")["x402pay"]
    assert told == {"api": "http://127.0.0.1:1/v1", "key": till.key, "recipient": till.box.pay_to}
    assert json.dumps(told) and till.key not in repr(till.box) and set(till.box.seller.keys()) == {"admin_key"}
    now = time.time()
    with Sandbox(seller="x402pay", chain="stacks", clock=lambda: now) as other:
        assert other.seller.key != till.key
