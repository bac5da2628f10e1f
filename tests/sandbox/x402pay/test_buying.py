"""What is asked, and what of the chain pays for it: transfers, both contracts, tokens, and everything that is no payment."""

from __future__ import annotations

import json
import secrets

import pytest

from x402_agent.errors import SettingsError
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.stacks.accounts import Account

FREE, BY_TRANSFER, BY_TWO, BY_FOUR = "/articles/welcome", "/articles/paying-by-transfer", "/articles/paying-by-contract", "/articles/four-arguments"


def test_five_articles_two_of_them_free(till):
    listed = till.get("/articles").json()
    assert sum(each["free"] for each in listed["articles"]) == 2 and len(listed["articles"]) == 5
    assert all(each["preview"] for each in listed["articles"] if not each["free"])
    assert till.get(FREE).json()["content"] and till.get("/articles/about").status_code == 200
    assert [till.get(path).status_code for path in (BY_TRANSFER, BY_TWO, BY_FOUR, "/api/premium-data", "/articles/premium-data", "/articles/none")] == [402] * 4 + [404] * 2


def test_the_402_of_the_prd(till):
    reply = till.get(BY_TWO)
    body = reply.json()
    nonce = body["payment"].pop("nonce")
    assert len(nonce) == 32 and body == {
        "error": "Payment Required", "access_after": "instant",
        "payment": {"recipient": till.box.pay_to, "amount": "0.10", "asset": "STX", "chain": "stacks",
                    "contract": f"{till.box.pay_to}.revenue-split-two", "signature_required": True},
    }  # fmt: skip
    assert "contract" not in till.asked(BY_TRANSFER) and till.asked(BY_FOUR)["contract"].endswith(".revenue-split")


def test_the_402_of_the_openapi(till):
    till.box.scenario = "openapi"
    body = till.get(BY_TWO).json()
    assert len(body["payment"].pop("nonce")) == 32
    assert body == {"error": "Payment Required", "payment": {"contentId": "paying-by-contract", "amount": "100000", "asset": "STX", "recipient": till.box.pay_to}}
    initiated = till.http.post("/v1/payments/initiate", json={"contentId": "paying-by-contract"}, headers={"x-api-key": till.key})
    assert initiated.status_code == 402 and set(initiated.json()["payment"]) == {"contentId", "amount", "asset", "recipient", "nonce"}


@pytest.mark.parametrize("path", [BY_TRANSFER, BY_TWO, BY_FOUR, "/api/premium-data"])
def test_a_payment_opens_its_content_by_its_id_or_by_a_token(till, path):
    name = path.rpartition("/")[2]
    before = till.balance()
    if path == BY_TWO:
        tx = till.call(name)
    elif path == BY_FOUR:
        tx = till.call(name, 100_000, "STX", "a", name="revenue-split")
    else:
        tx = till.transfer()
    assert till.balance() - before == (80_000 if path in (BY_TWO, BY_FOUR) else 100_000)
    nonce = till.asked(path)["nonce"]
    verified = till.verify(tx, name, nonce)
    assert verified.status_code == 200, verified.text
    told = verified.json()["transaction"]
    assert (told["txId"], told["contentId"], told["amount"], told["status"]) == (tx, name, "100000", "confirmed")
    token = verified.json()["accessToken"]
    for shown in ({"x_payment_proof": token}, {"cookie": f"a=b; payment={token}"}, {"authorization": f"Bearer {token}"}, {"x_payment_proof": tx, "x_payment_nonce": nonce}):
        assert till.get(path, **shown).status_code == 200
    assert till.get(f"{path}?payment={token}").status_code == 200
    assert till.get(path, x_payment_proof=tx.upper().replace("0X", "0x"), x_payment_nonce=till.asked(path)["nonce"]).status_code == 200


def test_what_is_no_payment(till):
    stranger = Account(secrets.token_bytes(32))
    till.chain.endow("STX", stranger.address, 10**9)
    name = "paying-by-contract"
    cases = {
        "Amount insufficient: 99999 moved, 100000 wanted": (BY_TRANSFER, till.transfer(99_999)),
        "Amount insufficient: 0 moved, 100000 wanted": (BY_TRANSFER, till.transfer(to=stranger.address)),
        "Not a plain transfer of STX": (BY_TRANSFER, till.call("paying-by-transfer")),
        "Wrong contract called": (BY_TWO, till.call(name, 100_000, "STX", "w", name="revenue-split")),
        "Amount insufficient: 80000 moved, 100000 wanted": (BY_TWO, till.transfer(80_000)),
        "Paid for other content": (BY_TWO, till.call("four-arguments")),
        "Wrong contract function called": (BY_TWO, till.call("mine", function="register-content")),
        "Transaction not successful: abort_by_response": (BY_TWO, till.call(name, 99_999)),
        "Transaction not found on Stacks": (BY_TRANSFER, "0x" + "ab" * 32),
        "txId is 0x and 64 hex digits": (BY_TRANSFER, "0x1"),
    }  # fmt: skip
    for words, (path, tx) in cases.items():
        reply = till.show(tx, path)
        assert (reply.status_code, reply.json()) == (401, {"error": "Invalid payment proof", "details": words})
        verified = till.verify(tx, path.rpartition("/")[2])
        till.new_window()
        assert verified.status_code == 401 and verified.json()["message"] == words and set(verified.json()) == {"error", "message", "code"}


def test_one_transaction_pays_once_for_one_thing_and_one_caller(till):
    tx = till.transfer()
    assert till.show(tx).status_code == 200 and till.show(tx).status_code == 200
    reply = till.show(tx, "/api/premium-data")
    assert (reply.status_code, reply.json()["details"]) == (401, "Transaction already used")
    nonce = till.asked()["nonce"]
    assert till.stranger("GET", BY_TRANSFER, {"x-payment-proof": tx, "x-payment-nonce": nonce})[0] == 401
    token = till.verify(tx).json()["accessToken"]
    till.box.warp(86_400)
    assert till.show(tx).json()["details"] == "Transaction already used" and till.get(x_payment_proof=token).status_code == 401


def test_the_api_asks_for_a_plain_transfer_and_takes_it_whatever_sells_a_piece(till):
    name = "paying-by-contract"
    asked = till.http.post("/v1/payments/initiate", json={"contentId": name}, headers={"x-api-key": till.key}).json()["payment"]
    assert till.verify(till.transfer(int(asked["amount"]), to=asked["recipient"]), name, asked["nonce"]).status_code == 200
    assert till.verify(till.call(name), name).status_code == 200


def test_a_piece_is_sold_for_what_it_is_priced_in_and_never_for_nothing(till):
    made = {"contentId": "dollars", "title": "t", "pricing": {"usdcx": "0.05"}}
    session = till.session()
    assert till.http.post("/v1/content", json=made, headers=session).status_code == 201
    asked = till.asked("/articles/dollars")
    assert (asked["asset"], asked["amount"], asked["recipient"], "contract" in asked) == ("USDCx", "0.05", till.payer.address, False)
    for tx in (till.transfer(), till.transfer(1), till.call("paying-by-contract")):
        assert till.show(tx, "/articles/dollars").status_code == 401
    till.box.scenario = "four_arguments"
    assert "contract" not in till.asked("/articles/dollars")  # the seller's contract sells the seller's own
    assert till.verify(till.transfer(), "welcome", "f" * 32).status_code == 404
    till.box.scenario = "gateway"
    token = till.get("/articles/dollars").json()["extra"]["challengeToken"]
    assert till.http.put("/v1/content/dollars", json={"pricing": {}}, headers=session).status_code == 200
    assert till.http.post("/articles/dollars", json={"token": token, "txId": till.transfer()}).json() == {"error": "This content costs nothing"}


def test_a_memo_that_is_a_nonce_binds(till):
    mine, other = till.asked()["nonce"], till.asked("/api/premium-data")["nonce"]
    assert till.show(till.transfer(memo=other.encode())).json()["details"] == "Nonce of another request"
    tx = till.transfer(memo=mine.encode())
    status, theirs = till.stranger("GET", BY_TRANSFER)
    assert status == 402
    assert till.stranger("GET", BY_TRANSFER, {"x-payment-proof": tx, "x-payment-nonce": json.loads(theirs)["payment"]["nonce"]})[0] == 401
    till.box.warp(400)
    assert till.show(tx).status_code == 200  # the nonce in the memo has ended; the payment has not


def test_nonces_live_five_minutes_and_go_with_one_transaction(till):
    first = till.asked()["nonce"]
    till.box.warp(300)
    tx = till.transfer()
    assert till.show(tx, nonce=first).json()["details"] == "Nonce expired"
    assert till.show(tx, nonce="f" * 32).json()["details"] == "Unknown nonce"
    assert till.get(x_payment_proof=tx).status_code == 401
    nonce = till.asked()["nonce"]
    assert till.show(tx, nonce=nonce).status_code == 200
    assert till.show(till.transfer(), nonce=nonce).json()["details"] == "Nonce already used"


def test_pending_and_too_old(till):
    till.chain.automatic = False
    tx = till.transfer()
    assert till.show(tx).json()["details"] == "Transaction is pending" and till.verify(tx).json()["code"] == "PAYMENT_PENDING"
    till.chain.mine()
    till.box.scenario = till.box.scenario.with_(confirmations=2)
    assert till.show(tx).json()["details"] == "Transaction is pending: 0 of 2 confirmations"
    till.box.warp(1)
    till.box.warp(7 * 86_400)
    assert till.show(tx).json()["details"] == "Transaction is older than 7 days"


def test_articles_are_free_after_thirty_days(till):
    till.box.warp(30 * 86_400 - 1)
    assert till.get().status_code == 402
    till.box.warp(1)
    assert till.get().status_code == 200 and till.get("/api/premium-data").status_code == 402


def test_it_sells_on_stacks_alone():
    with pytest.raises(SettingsError, match="does not sell on evm"):
        Sandbox(seller="x402pay", chain="evm")
    assert Sandbox(seller="x402pay").ground.name == "stacks"
