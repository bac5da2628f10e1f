"""Whatever is sent, there is an answer, and nobody comes in by it."""

from __future__ import annotations

import base64
import json
import random

from x402_agent.sandbox.messages import Request

PATHS = ["/exploits", "/x402/verify-payment", "/x402/generate-token/1", "/x402/generate-token/%31", "/x402/payment/1", "/x402/stats", "/x402/", "/x402//",
         "/x402/cleanup", "/.well-known/x402", "/api/csrf-token", "/api/v1/x402/verify", "/api/v1/x402/usage", "/api/v1/x402/keys/x",
         "/api/v1/x402/analytics", "/api/v1/x402/admin/create-tenant", "/api/v1/x402/", "/", "//", "/exploits\x00"]  # fmt: skip
VALUES = ["", "0x", "0x" + "00" * 32, "0x" + "zz" * 32, "1" * 88, "\x00", "é" * 50, "a" * 5000, "' or 1=1 --", "Bearer ", "Bearer x402_live_" + "a" * 43, None, 5, -1, 1e300,
          float("nan"), 10**400, True, [], {}, ["0x"], {"a": {}}, "\ud800"]  # fmt: skip
HEADERS = ["x-payment", "x-payment-tx", "x-payment-chain", "x-payment-token", "authorization", "cookie", "x-csrf-token", "x-admin-key", "user-agent"]
FIELDS = ["tx_hash", "txHash", "chain", "expected_amount", "expectedAmount", "from_address", "email", "tier", "environment", "payment_address"]


def body(chance, chain):
    fields = {name: chance.choice([*VALUES, chain]) for name in chance.sample(FIELDS, 4)}
    raw = json.dumps(fields).encode()
    return chance.choice([raw, raw, raw, raw[:-1], b"", b"\xff\xfe", b"[" * 500])


def header(chance, chain):
    value = chance.choice([each for each in VALUES if isinstance(each, str)] + [chain])
    if chance.random() < 0.3:
        value = base64.b64encode(body(chance, chain)).decode()
    return value.encode("utf-8", "replace").decode("latin-1")


def test_nothing_breaks_it_and_nothing_opens_it(till):
    chance = random.Random(402)
    box = till.box
    identity = till.verify(till.pay())["payment_id"]
    box.seller.saas.tenants.create("a@b.test")
    seen = set()
    for number in range(1_500):
        headers = {name: header(chance, till.chain) for name in chance.sample(HEADERS, 3)}
        path, method = chance.choice(PATHS), chance.choice(["GET", "POST", "HEAD", "PUT", "OPTIONS"])
        query = chance.choice(["", "days=1", "days=999", "from_address=%00", "from_address=%ff", "&&=="])
        answer = box.app.handle(Request(method, box.origin, path, headers, body(chance, till.chain), query, "10.9.8.7"))
        seen.add(answer.status)
        assert answer.status < 500 or path in ("/x402/stats", "/api/v1/x402/admin/create-tenant"), (path, headers)
        assert not (path == "/exploits" and answer.status == 200), headers
        if number % 50 == 0:
            box.warp(3600)
    assert {200, 400, 401, 402, 403, 404, 405, 422, 429} <= seen
    assert box.seller.store.payment(identity).used == 0
    assert len(box.seller.store.database.rows('select id from "X402Tenant"')) == 1
