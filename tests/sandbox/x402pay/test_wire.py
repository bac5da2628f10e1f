"""Golden fixtures: every answer that the description of the wire spells out, compared whole; what differs from sale to sale has a name.

The 402s among them are read by the payer's own dialect, too.
"""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from x402_agent.dialects import X402Pay
from x402_agent.model import Ask
from x402_agent.steps import Reply

WIRE = json.loads((Path(__file__).parents[2] / "vectors" / "x402pay" / "wire.json").read_text("utf-8"))
NAME, GATE, NEXT = "four-arguments", "/functions/v1/x402-gateway", "/api/x402/verify"
ARTICLE = f"/articles/{NAME}"
NAMES = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"), "<uuid>"), (re.compile(r"0x[0-9a-f]{64}"), "<txid>"),
    (re.compile(r"[0-9a-f]{32}"), "<nonce>"), (re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"), "<iso>"),
    (re.compile(r"eyJ[\w-]+\.eyJ[\w-]+\.[\w-]{43}"), "<jwt>"), (re.compile(r"300\d{4}"), "<height>"), (re.compile(r"[A-Za-z0-9+/]{150,}={0,2}"), "<base64>"),
]  # fmt: skip


def plain(value, till):
    if isinstance(value, dict):
        return {name: plain(each, till) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each, till) for each in value]
    if not isinstance(value, str):
        return value
    value = value.replace(till.box.pay_to, "<seller>").replace(till.payer.address, "<payer>").replace(till.box.origin, "<origin>")
    return next((name for pattern, name in NAMES if pattern.fullmatch(value)), value)


def decode(text):
    return json.loads(base64.b64decode(text, validate=True))


def exchanges(till):
    """Each answer by its name in the fixtures."""
    pay = lambda: till.call(NAME, 100_000, "STX", f"t{till.chain.nonce(till.payer.address)}", name="revenue-split")  # noqa: E731
    token = lambda: till.http.get(f"{GATE}?contentId={NAME}").json()["extra"]["challengeToken"]  # noqa: E731
    answer = lambda tx, key: till.http.post(GATE, json={"token": key, "txId": tx})  # noqa: E731
    yield "prd", till.get(ARTICLE)
    yield "openapi", till.http.post("/v1/payments/initiate", json={"contentId": NAME}, headers={"x-api-key": till.key})
    yield "bad_proof", till.get(ARTICLE, x_payment_proof="no")
    yield "gateway", till.http.get(f"{GATE}?contentId={NAME}")
    yield "gateway_no_content", till.http.get(GATE)
    yield "gateway_unknown", till.http.get(f"{GATE}?contentId=none")
    yield "gateway_missing", till.http.post(GATE, json={})
    yield "gateway_not_found", answer("0x" + "ab" * 32, token())
    till.chain.automatic = False
    key, tx = token(), pay()
    yield "gateway_pending", answer(tx, key)
    till.chain.automatic = True
    till.chain.mine()
    yield "gateway_paid", answer(tx, key)
    yield "gateway_used", answer(tx, key)
    yield "gateway_access", till.http.get(f"{GATE}?contentId={NAME}&address={till.payer.address}")
    yield "login", till.login()
    yield "history", till.http.get("/v1/payments/history", headers={"authorization": f"Bearer {till.login(moment=till.box.ground.now() - 1).json()['token']}"})
    yield "verify_refused", till.verify(pay(), NAME, till.asked()["nonce"])
    yield "verify", till.verify(pay(), NAME)
    body = {"txId": pay(), "contentId": NAME, "expectedAmount": 100_000, "asset": "STX", "payerAddress": till.payer.address, "contractAddress": f"{till.box.pay_to}.revenue-split"}
    yield "verify_payment", till.http.post("/functions/v1/verify-payment", json=body)
    yield "verify_payment_again", till.http.post("/functions/v1/verify-payment", json=body)
    yield "bearer", till.get("/api/ai/generate")
    yield "bearer_refused", till.http.post(NEXT, json={"txHash": "ab" * 32, "walletAddress": till.payer.address, "amount": 1})
    yield "bearer_paid", till.http.post(NEXT, json={"txHash": till.transfer(1_000_000)[2:], "walletAddress": till.payer.address, "amount": 1})
    yield "bearer_token", till.http.get("/api/ai/generate", params={"token": "x"})
    yield "item", till.http.get(f"/v1/content/{NAME}")
    late = token()
    till.box.warp(900)
    yield "gateway_expired", answer(tx, late)


def test_every_answer_is_as_it_is_written(till):
    met = set()
    for name, reply in exchanges(till):
        wanted, body = WIRE[name], reply.json()
        met.add(name)
        assert (reply.status_code, plain(body, till)) == (wanted["status"], wanted["body"]), name
        assert list(body) == list(wanted["body"]), name
        for header, value in wanted.get("headers", {}).items():
            said = reply.headers[header]
            if value == "<body>":
                assert decode(said) == body
            else:
                assert plain(decode(said) if isinstance(value, dict) else said, till) == value, header
    assert met == set(WIRE)


@pytest.mark.parametrize(("name", "way"), [("prd", "pay-for-content"), ("openapi", "transfer"), ("gateway", "pay-for-content")])
def test_the_payers_own_dialect_reads_it(till, name, way):
    reply = next(found for each, found in exchanges(till) if each == name)
    url = f"{till.box.origin}{GATE}?contentId={NAME}" if name == "gateway" else till.box.url(ARTICLE)
    (offer,) = X402Pay().read(Reply(reply.status_code, reply.headers, reply.content), Ask("GET", url, till.box.origin, "127.0.0.1", ARTICLE)).offers
    assert (offer.amount, offer.asset.symbol, offer.network.id) == (100_000, "STX", "stacks:2147483648")
    assert way in offer.description and offer.pay_to.startswith(till.box.pay_to)
