"""A client that was written from the wire page alone buys here, over real HTTP: whatever of that page is wrong here fails there."""

from __future__ import annotations

import base64
import json

import httpx2
import pytest

from sandbox.kamiyo.naive import Naive

ROOT = "/api/v1/x402"


@pytest.fixture
def naive(till):
    till.box.serve()
    ground = till.box.ground
    made = Naive(till.box.origin, till.box.payer_key, till.box.rpc_url, chain_id=84532, usdc=ground.asset.address, rest=lambda: till.box.mine(4))
    yield made
    made.http.close()


def test_it_buys_one_call_by_the_facilitator(naive, till):
    reply = naive.by_facilitator("/protocols/risk-score")
    assert reply.status_code == 200 and reply.json()["risk_score"] == 0.42
    receipt = json.loads(base64.b64decode(reply.headers["x-payment-response"]))
    assert (receipt["success"], receipt["payer"], receipt["network"]) == (True, naive.account.address, till.chain)
    assert till.balance() == 20_000


@pytest.mark.parametrize("scenario", ["honest", "native_only"])
def test_it_buys_calls_on_chain(naive, till, scenario):
    till.box.scenario = scenario
    tx, found, token = naive.by_transfer("/exploits", till.chain, 0.15)
    assert naive.asked == ["Insufficient confirmations: 0/6", "Insufficient confirmations: 4/6", None]
    assert (found["amount_usdc"], found["from_address"], token["requests_remaining"], token["payment_id"]) == (0.15, naive.account.address, 150, found["payment_id"])
    for number, shown in enumerate(({"x-payment-token": token["payment_token"]}, {"x-payment-tx": tx, "x-payment-chain": till.chain}), 1):
        reply = naive.http.get("/exploits?page=2", headers=shown)
        assert reply.status_code == 200 and reply.json()["exploits"] and reply.headers["cache-control"] == "private"
        state = naive.http.get(f"/x402/payment/{found['payment_id']}").json()
        assert (state["status"], state["requests_remaining"], state["expires_at"]) == ("verified", 150 - number, token["expires_at"])
    assert naive.http.head("/exploits", headers={"x-payment-token": token["payment_token"]}).status_code == 200
    assert till.balance() == 150_000


def test_it_has_its_payment_verified_by_the_service(naive, till):
    tx = naive.by_transfer("/exploits", till.chain)[0]
    _, key = till.box.seller.saas.tenants.create("naive@example.test", "free", "test")
    assert key.startswith("x402_test_") and 50 <= len(key) <= 100
    for name, words in (("tx_hash", {"expected_amount": 0.1}), ("txHash", {"expectedAmount": 0.1})):
        reply = naive.http.post(f"{ROOT}/verify", json={name: tx, "chain": till.chain, **words}, headers={"authorization": f"Bearer {key}"})
        assert reply.status_code == 200 and (reply.json()["success"], reply.json()["amountUsdc"]) == (True, 0.1)
        assert int(reply.headers["x-ratelimit-reset"]) > 10**11
    assert naive.http.get(f"{ROOT}/health").json()["checks"]["verifier"] == {"status": "healthy", "mode": "http_api"}
    assert naive.http.get(f"{ROOT}/verify").json() == {"error": "Method not allowed"}


def test_whoever_guesses_is_answered_in_the_words_of_the_page(naive, till):
    with httpx2.Client(base_url=till.box.origin, trust_env=False) as http:
        assert http.post("/x402/cleanup", headers={"x-admin-key": "guess"}).status_code == 403
        assert http.post("/x402/generate-token/1").json() == {"detail": "Payment not verified: 1"}
        assert http.get(f"{ROOT}/analytics", headers={"authorization": "Bearer x402_live_" + "A" * 43}).status_code == 401
        assert http.get("/.well-known/x402").status_code == http.post("/.well-known/x402").status_code == 402
