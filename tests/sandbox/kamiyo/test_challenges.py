"""Every JSON literal of the facilitator's page against what this seller writes: the same keys, the same kinds."""

from __future__ import annotations

import base64
import json

import pytest

ENTRY = {
    "scheme": "exact", "network": "base", "maxAmountRequired": "10000", "asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913",
    "payTo": "0x<merchant>", "resource": "/exploits", "description": "...", "mimeType": "application/json", "maxTimeoutSeconds": 60,
    "extra": {"name": "USDC", "version": "2"},
}  # fmt: skip
GATEWAY = {
    "payment_required": True, "endpoint": "/exploits", "amount_usdc": 0.01,
    "payment_options": [
        {"provider": "PayAI Network", "type": "facilitator", "priority": 1, "recommended": True,
         "supported_chains": ["solana", "base", "polygon", "avalanche", "sei", "iotex"],
         "x402_standard": {"x402Version": 1, "error": "X-PAYMENT header is required", "accepts": [ENTRY]}},
        {"provider": "KAMIYO Native", "type": "direct_transfer", "priority": 2, "recommended": False,
         "supported_chains": ["base", "ethereum", "solana"],
         "payment_addresses": {"base": "0x..", "ethereum": "0x..", "solana": ".."}},
    ],
    "api_documentation": "https://kamiyo.ai/docs/x402-payments", "support": "support@kamiyo.ai",
}  # fmt: skip
NATIVE = {
    "payment_required": True, "endpoint": "/exploits", "method": "GET", "amount_usdc": 0.01, "description": "",
    "payment_methods": [{"type": "onchain", "supported_chains": [""], "payment_addresses": {"base": ""}, "instructions": ""},
                        {"type": "token", "instructions": ""}],
}  # fmt: skip
CHAINS = {"supported_chains": ["base"], "payment_addresses": {"base": ""}, "min_payment_amount": 0.1}
VALID = {
    "is_valid": True, "tx_hash": "", "chain": "", "amount_usdc": 0.1, "from_address": "", "to_address": "", "block_number": 1,
    "confirmations": 6, "risk_score": 0.1, "error_message": None, "payment_id": 1,
}  # fmt: skip
TOKEN = {"payment_token": "", "payment_id": 1, "expires_at": "", "requests_remaining": 100}


def same(golden, found, where="$"):
    """The keys of the golden document are all there, with values of its kinds; names of chains may differ."""
    if isinstance(golden, dict):
        if where.endswith("payment_addresses"):
            assert found and all(isinstance(each, str) for each in found.values())
            return
        assert set(golden) == set(found), where
        for key, value in golden.items():
            same(value, found[key], f"{where}.{key}")
    elif isinstance(golden, list):
        assert isinstance(found, list) and found, where
        rows = golden * len(found) if len(golden) == 1 else golden
        if where.endswith("supported_chains"):
            rows = [""] * len(found)
        assert len(rows) == len(found), where
        for index, (value, other) in enumerate(zip(rows, found, strict=True)):
            same(value, other, f"{where}[{index}]")
    else:
        assert type(found) is type(golden), where


def test_the_402_of_the_gateway(till):
    reply = till.get()
    assert reply.status_code == 402
    assert {k: reply.headers[k] for k in ("x-payment-required", "x-payment-amount", "x-payment-currency")} == {
        "x-payment-required": "true", "x-payment-amount": "0.01", "x-payment-currency": "USDC"}  # fmt: skip
    same(GATEWAY, reply.json())
    entry = reply.json()["payment_options"][0]["x402_standard"]["accepts"][0]
    assert (entry["maxAmountRequired"], entry["resource"], entry["payTo"]) == ("10000", "/exploits", till.box.pay_to)
    assert till.http.head("/exploits").status_code == 402
    assert till.http.get("/exploits?page=2").status_code == 402
    assert [till.http.get(path).status_code for path in ("/exploits/", "/health")] == [404, 200]
    assert till.http.post("/exploits").status_code == 405


def test_the_402_of_the_older_gateway(till):
    till.box.scenario = "native_only"
    reply = till.get()
    same(NATIVE, reply.json())
    assert reply.status_code == 402


def test_the_documented_402(till):
    till.box.scenario = "documented_shape"
    assert list(till.get().json()) == ["error", "price", "merchant", "paymentOptions"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_well_known_is_a_402_of_its_own(till, method):
    reply = till.http.request(method, "/.well-known/x402")
    body = reply.json()
    assert (reply.status_code, body["x402Version"]) == (402, 1)
    entry = body["accepts"][0]
    assert (entry["resource"], entry["maxTimeoutSeconds"]) == (till.box.url("/exploits"), 300)
    assert "outputSchema" in entry
    assert (entry["extra"]["version"], entry["extra"]["name"]) == ("2", "USDC")
    till.box.scenario = "well_known_without_domain"
    entry = till.http.get("/.well-known/x402").json()["accepts"][0]
    assert list(entry["extra"]) == ["provider", "version", "documentation"]
    assert entry["extra"]["version"] == "1.0.0"


def test_the_answers_of_the_native_flow(till):
    same(CHAINS, till.http.get("/x402/supported-chains").json())
    pricing = till.http.get("/x402/pricing").json()
    assert list(pricing) == ["pricing_tiers", "endpoint_specific_pricing", "payment_methods", "payment_addresses"]
    assert pricing["endpoint_specific_pricing"] == {
        "/exploits": 0.01, "/exploits/latest-alert": 0.01, "/protocols/risk-score": 0.02, "/wallets/risk-check": 0.005}  # fmt: skip
    found = till.verify(till.pay())
    same(VALID, found)
    made = till.token(found["payment_id"])
    same(TOKEN, made)
    assert made["expires_at"].count("T") == 1 and not made["expires_at"].endswith(("Z", "+00:00"))
    assert list(till.verify("0x")) == list(VALID)
    assert till.http.post("/x402/generate-token/999").json() == {"detail": "Payment not verified: 999"}
    stats = till.http.get("/x402/stats", params={"from_address": till.box.payer_address}).json()
    assert (stats["total_payments"], stats["total_amount_usdc"], stats["active_payments"]) == (1, 0.1, 1)


def test_the_facilitators_way_sells_one_answer_with_a_receipt(till, authorization):
    header = authorization(till)
    paid = till.get(x_payment=header)
    assert paid.status_code == 200
    receipt = json.loads(base64.b64decode(paid.headers["x-payment-response"]))
    assert receipt["success"] is True
    assert till.box.balance(till.box.pay_to) == 10_000
    assert till.get(x_payment=header).status_code == 402
    bought = till.box.seller.store.by_tx(receipt["transaction"])
    assert (bought.status, bought.allocated, bought.used) == ("used", 1, 1)
    till.box.mine(6)
    assert till.verify(receipt["transaction"])["is_valid"] is False
    assert till.get(x_payment_tx=receipt["transaction"], x_payment_chain=till.chain).status_code == 402


def test_a_dear_authorization_buys_nothing_natively(till, authorization):
    till.box.seller.routes["/dear"] = till.box.seller.routes["/exploits"]
    receipt = till.get(x_payment=authorization(till)).headers["x-payment-response"]
    tx = json.loads(base64.b64decode(receipt))["transaction"]
    till.box.scenario = till.box.scenario.with_(minimum=10_000)
    till.box.mine(6)
    assert till.verify(tx)["error_message"] == "Payment used"


def test_a_proof_that_fails_gives_way_to_the_next(till):
    token = till.buy()
    assert till.get(x_payment="nonsense", x_payment_tx="0x", x_payment_chain="base", x_payment_token=token).status_code == 200
    assert till.get(x_payment="nonsense", x_payment_token="nonsense").status_code == 402
    assert till.get(authorization="Bearer anything").status_code == 402


@pytest.mark.parametrize("after, status", [("content", 200), ("challenge", 402), ("error", 500)])
def test_what_follows_a_settled_proof(till, authorization, after, status):
    header = authorization(till)
    till.box.scenario = till.box.scenario.with_(after=after, times=1)
    assert till.get(x_payment=header).status_code == status
    again = till.get(x_payment=header).status_code
    assert again == (402 if after == "content" else 200)
    assert len(till.box.settlements) == 1
