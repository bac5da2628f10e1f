"""The deployed functions, and the routes of the Next app: as they speak, strict where they are lax."""

from __future__ import annotations

import base64
import json
import re

import pytest

GATE = "/functions/v1/x402-gateway"
NAME = "four-arguments"


def decode(text):
    return json.loads(base64.b64decode(text, validate=True))


def encode(document):
    return base64.b64encode(json.dumps(document).encode()).decode()


def pay(till, name=NAME):
    return till.call(name, 100_000, "STX", "x" + str(till.chain.nonce(till.payer.address)), name="revenue-split")


def test_the_402_of_the_gateway(till):
    reply = till.http.get(f"{GATE}?contentId={NAME}")
    body, contract = reply.json(), f"{till.box.pay_to}.revenue-split"
    token, expires = body["extra"]["challengeToken"], body["extra"]["expires"]
    assert reply.status_code == 402 and re.fullmatch("[0-9a-f-]{36}", token) and expires.endswith("Z")
    assert body == {
        "x402Version": 2, "scheme": "exact", "network": "stacks:2147483648",
        "resource": {"url": f"/x402-gateway?contentId={NAME}", "description": "Four arguments"},
        "accepts": [{"scheme": "exact", "network": "stacks:2147483648", "amount": "100000", "asset": "STX", "payTo": till.box.pay_to, "extra": {"contractAddress": contract}}],
        "extra": {"challengeToken": token, "expires": expires}, "contentId": NAME, "title": "Four arguments",
        "payment": {"address": till.box.pay_to, "amount": "100000", "asset": "STX", "contract": contract, "token": token, "expires": expires},
        "instructions": body["instructions"],
    }  # fmt: skip
    assert decode(reply.headers["payment-required"]) == body
    legacy = {name: reply.headers[f"x-payment-{name}"] for name in ("address", "amount", "asset", "contract", "token", "expires")}
    assert legacy == body["payment"]


def test_what_the_gateway_does_not_know(till):
    assert (till.http.get(GATE).status_code, till.http.get(GATE).json()) == (400, {"error": "contentId query parameter required"})
    assert (till.http.get(f"{GATE}?contentId=none").status_code, till.http.get(f"{GATE}?contentId=none").json()) == (404, {"error": "Content not found"})
    assert till.http.get(f"{GATE}?contentId=welcome").json() == {"access": True, "contentId": "welcome"}
    assert till.http.get(f"{GATE}?contentId={NAME}&address={'a' * 101}").status_code == till.http.get(f"{GATE}?contentId={NAME}&address=%00").status_code == 400
    for body in (b"", b"[]", b"{}", b'{"token":"a"}', b'{"token":1,"txId":2}'):
        reply = till.http.post(GATE, content=body)
        assert (reply.status_code, reply.json()) == (400, {"error": "token and txId are required"})
    assert till.http.post(GATE, json={"token": "a", "txId": "b"}).status_code == 404


@pytest.mark.parametrize("by", ["header", "body"])
def test_a_challenge_is_answered_and_access_is_known_by_address(till, by):
    address = till.payer.address
    token = till.http.get(f"{GATE}?contentId={NAME}&address={address}").json()["extra"]["challengeToken"]
    tx = pay(till)
    shown = {"token": token, "txId": tx}
    if by == "header":
        signature = encode({"scheme": "exact", "network": "stacks:2147483648", "payload": shown})
        reply = till.http.post(GATE, headers={"payment-signature": signature})
    else:
        reply = till.http.post(GATE, json=shown)
    body = reply.json()
    assert reply.status_code == 200 and (body["success"], body["access"], body["contentId"], body["txId"]) == (True, True, NAME, tx), body
    receipt = decode(reply.headers["payment-response"])
    assert (receipt["x402Version"], receipt["scheme"], receipt["network"]) == (2, "exact", "stacks:2147483648")
    assert receipt["settlement"] == body["settlement"] and {"txId", "status", "amount", "asset", "payTo", "settledAt"} == set(body["settlement"])
    assert till.http.get(f"{GATE}?contentId={NAME}&address={address}").json() == {"access": True, "contentId": NAME}
    assert till.http.get(f"{GATE}?contentId={NAME}", headers={"x-agent-id": address}).status_code == 200
    again = till.http.post(GATE, json=shown)
    assert (again.status_code, again.json()) == (404, {"error": "Invalid or expired challenge token"})
    assert till.get(f"/articles/{NAME}", x_agent_id=address).status_code == 200
    assert till.stranger("GET", f"/articles/{NAME}", {"x-agent-id": address})[0] == 402  # an address is nobody's secret


def test_what_the_gateway_refuses(till):
    ask = lambda: till.http.get(f"{GATE}?contentId={NAME}").json()["extra"]["challengeToken"]  # noqa: E731
    answer = lambda tx, token=None: till.http.post(GATE, json={"token": token or ask(), "txId": tx})  # noqa: E731
    till.chain.automatic = False
    tx = pay(till)
    token = ask()
    assert (answer(tx, token).status_code, answer(tx, token).json()) == (400, {"error": "Transaction not successful", "tx_status": "pending"})
    till.chain.mine()
    till.chain.automatic = True
    assert answer(tx, token).status_code == 200  # pending took nothing away
    assert answer("0x" + "ab" * 32).json() == {"error": "Transaction not found on Stacks"} and answer("0x" + "ab" * 32).status_code == 404
    assert answer(till.call("some", function="register-content", name="revenue-split")).json() == {"error": "Wrong contract function called"}
    assert answer(till.transfer(1)).status_code == 400  # deployed: 1 microSTX to anybody pays
    assert answer(pay(till, "paying-by-contract")).status_code == 400
    assert till.http.post(GATE, json={"token": till.http.get(f"{GATE}?contentId=premium-data").json()["extra"]["challengeToken"], "txId": tx}).status_code == 400  # one for two
    late = ask()
    till.box.warp(900)
    assert [answer(tx, late).status_code for _ in range(2)] == [410, 404]
    assert answer(tx).status_code == 200  # a fresh challenge, the same transaction
    address = till.box.ground.facilitator.address
    other = till.http.get(f"{GATE}?contentId={NAME}&address={address}").json()["extra"]["challengeToken"]
    assert answer(pay(till), other).json() == {"error": "Payment was sent by somebody else"}
    assert till.stranger("POST", GATE, body=json.dumps({"token": ask(), "txId": pay(till)}).encode())[0] == 404


def test_an_article_in_the_gateways_spelling(till):
    till.box.scenario = "gateway"
    path = f"/articles/{NAME}"
    token = till.get(path).json()["extra"]["challengeToken"]
    shown = {"payment-signature": encode({"payload": {"txId": pay(till), "token": token}})}
    reply = till.http.get(path, headers=shown)
    assert reply.status_code == 200 and reply.json()["content"] and decode(reply.headers["payment-response"])["settlement"]["status"] == "confirmed"
    token = till.get("/api/premium-data").json()["extra"]["challengeToken"]
    assert till.http.post("/api/premium-data", json={"token": token, "txId": till.transfer()}).json()["access"] is True
    assert till.get("/api/premium-data", x_agent_id=till.payer.address).json()["data"]
    wrong = till.get(path).json()["extra"]["challengeToken"]
    assert till.get("/api/premium-data", payment_signature=encode({"payload": {"txId": till.transfer(), "token": wrong}})).status_code == 401


def test_verify_payment_compares_all_of_it(till):
    url, tx = "/functions/v1/verify-payment", pay(till)
    good = {"txId": tx, "contentId": NAME, "expectedAmount": 100_000, "asset": "STX", "payerAddress": till.payer.address, "contractAddress": f"{till.box.pay_to}.revenue-split"}
    for name, value, status in (("expectedAmount", 1, 400), ("asset", "sBTC", 400), ("contractAddress", f"{till.box.pay_to}.revenue-split-two", 400),
                                ("payerAddress", till.box.pay_to, 400), ("contentId", "none", 404), ("txId", "0x" + "cd" * 32, 404), ("txId", 1, 400)):  # fmt: skip
        assert till.http.post(url, json={**good, name: value}).status_code == status, name
    reply = till.http.post(url, json=good, headers={"user-agent": "curl/8"})
    body = reply.json()
    assert reply.status_code == 200 and body.pop("payment_id") and body == {"success": True, "access_granted": True, "amount": "100000", "asset": "STX", "is_ai_agent": True}
    assert (till.http.post(url, json=good).status_code, till.http.post(url, json=good).json()) == (409, {"error": "Payment already processed"})
    assert till.http.post(url, content=b"x").status_code == 400


@pytest.mark.parametrize(("headers", "agent"), [
    ({"x-agent-id": "me"}, 1.0), ({"user-agent": "python-requests/2.3"}, 0.8), ({"user-agent": "axios/1"}, 0.8), ({"user-agent": "httpx"}, 0.8),
    ({"user-agent": "Mozilla/5.0 (X11)"}, 0.0), ({"user-agent": ""}, 0.5),
])  # fmt: skip
def test_who_is_an_agent(till, headers, agent):
    found = till.http.get("/functions/v1/agent-detect", headers=headers).json()
    assert (found["is_ai_agent"], found["confidence"], found["agent_id"]) == (agent >= 0.5, agent, headers.get("x-agent-id"))
    assert len(till.box.seller.store.database.rows("select * from agent_detections")) == (agent >= 0.5)


def test_the_routes_of_the_next_app(till):
    reply = till.http.get("/api/ai/generate")
    assert reply.status_code == 402 and reply.headers["www-authenticate"] == 'Bearer realm="x402Pay", payment_url="/api/x402/verify"'
    assert reply.json() == {"error": "Payment required", "code": "PAYMENT_REQUIRED", "paymentEndpoint": "/api/x402/verify", "requiredAmount": 1, "currency": "STX", "message": "This costs 1 STX"}
    tx = till.transfer(1_000_000)
    good = {"txHash": tx[2:], "walletAddress": till.payer.address, "amount": 1}
    verify = lambda **change: till.http.post("/api/x402/verify", json=good | change)  # noqa: E731
    assert verify(txHash="ab" * 32).status_code == 402 and verify(txHash=tx).status_code == 400
    assert verify(txHash=till.transfer(999_999)[2:]).json()["error"] == "Payment verification failed"
    assert verify(walletAddress=till.box.pay_to).status_code == 402
    body = verify().json()
    token = body["accessToken"]
    assert body["success"] is True and base64.b64decode(token).decode().split(":")[:2] == [tx[2:], till.payer.address]
    assert till.http.get("/api/ai/generate", headers={"authorization": f"Bearer {token}"}).json()["result"]
    assert till.http.get("/api/ai/generate", params={"token": token}).status_code == 200 == verify().status_code
    forged = base64.b64encode(":".join(base64.b64decode(token).decode().split(":")[:3]).encode()).decode()
    for wrong in (forged, "x", "", "é", base64.b64encode(b"a:b:c:d").decode()):
        reply = till.http.get("/api/ai/generate", params={"token": wrong})
        assert reply.status_code == (401 if wrong else 402) and reply.json()["code"] == ("INVALID_TOKEN" if wrong else "PAYMENT_REQUIRED")
    till.box.warp(3_600)
    assert till.http.get("/api/ai/generate", params={"token": token}).status_code == 401
    assert till.show(tx, "/api/premium-data").json()["details"] == "Transaction already used"
    assert till.stranger("POST", "/api/x402/verify", body=json.dumps(good).encode()) == (400, b'{"error":"Transaction hash already used"}')
