"""Thieves and faults: nobody comes in for nothing, nobody pays for nothing, and nothing of it is a traceback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from x402_agent.errors import SettingsError
from x402_agent.sandbox.tokens import Tokens

BY_TRANSFER, NAME = "/articles/paying-by-transfer", "paying-by-transfer"


def b64(document):
    return base64.urlsafe_b64encode(document if isinstance(document, bytes) else json.dumps(document).encode()).rstrip(b"=").decode()


@pytest.fixture
def door(till):
    with httpx2.Client(base_url=till.box.serve(), trust_env=False, timeout=60) as http:
        yield http


def test_tokens_that_are_not_ours(till):
    token = till.buy()
    head, body, mac = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    kid = json.loads(base64.urlsafe_b64decode(head + "=="))["kid"]
    key = b"guess"
    sealed = lambda first: f"{first}.{body}." + b64(hmac.digest(key, f"{first}.{body}".encode(), hashlib.sha256))  # noqa: E731
    wrong = [
        f"{b64({'alg': 'none', 'kid': kid})}.{body}.", f"{b64({'alg': 'none', 'kid': kid})}.{body}.{mac}", sealed(b64({"alg": "HS256", "kid": kid})),
        sealed(b64({"alg": "HS256", "kid": "0" * 16})), sealed(b64({"alg": "HS512", "kid": kid})), f"{head}.{b64({**claims, 'contentId': 'x'})}.{mac}",
        f"{head}.{b64({**claims, 'exp': claims['exp'] + 1})}.{mac}", f"{head}.{body}.{mac[:-1]}", f"{head}.{body}.{'A' * 43}", f"{head}.{body}", token + "=", token + ".", " " + token[:-2],
        f"{b64([])}.{body}.{mac}", f"{b64(b'[' * 1000)}.{body}.{mac}", f"{b64(b'{' + b' ' * 4000)}.{body}.{mac}", "a" * 5000, "..", "\x7f",
    ]  # fmt: skip
    for each in wrong:
        assert till.get(x_payment_proof=each).status_code == 401, each
    assert till.stranger("GET", BY_TRANSFER, {"x-payment-proof": "\xe9"})[0] == 401
    assert till.get(x_payment_proof=token).status_code == 200


def test_another_algorithm_is_none_even_under_our_own_secret():
    tokens = Tokens(lambda: 1_000.0)
    (kid, secret), body = next(iter(tokens._known.items())), b64({"aud": "content", "exp": 2_000})
    for name, opens in (("HS256", True), ("HS512", False), ("none", False), (None, False)):
        first = b64({"alg": name, "kid": kid})
        made = f"{first}.{body}." + b64(hmac.digest(secret.raw, f"{first}.{body}".encode(), hashlib.sha256))
        assert (tokens.read(made, "content") is not None) is opens


def test_a_token_opens_until_its_end_whatever_the_clock_does():
    now = [1_000_000.0]
    tokens = Tokens(lambda: now[0])
    made = tokens.issue("content", 1_000_100, sub="a")
    now[0] = 1_000_099
    assert tokens.read(made, "content") and tokens.read(made, "session") is None
    now[0] = 1_000_100
    assert tokens.read(made, "content") is None
    now[0] = 999_000  # the clock runs back: it lives again, as its end says
    assert tokens.read(made, "content")
    for _ in range(3):
        tokens.rotate()
    assert tokens.read(made, "content")
    now[0] += 86_400
    tokens.rotate()
    assert tokens.read(made, "content") is None and len(tokens._known) == 2


def test_twenty_at_once_with_one_transaction_are_one_payment(till, door):
    tx = till.transfer()
    paths = (BY_TRANSFER, "/api/premium-data")
    nonces = {path: till.asked(path)["nonce"] for path in paths}
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda n: (n % 2, door.get(paths[n % 2], headers={"x-payment-proof": tx, "x-payment-nonce": nonces[paths[n % 2]]}).status_code), range(20)))
    opened = {path for path, status in answers if status == 200}
    assert len(opened) == 1 and [status for path, status in answers if path in opened] == [200] * 10
    assert {status for path, status in answers if path not in opened} == {401}
    assert till.box.seller.store.database.rows("select count(*) as n from payments")[0]["n"] == 1


def test_statements_in_words_are_words(till):
    evil = "x'; drop table payments; --"
    session = till.session()
    assert till.http.get(f"/v1/content/{evil}").status_code in (400, 404)
    assert till.http.get("/functions/v1/x402-gateway", params={"contentId": evil}).status_code == 404
    assert till.http.get("/functions/v1/x402-gateway", params={"contentId": NAME, "address": evil}).status_code == 402
    assert till.get(x_payment_proof="0x" + "ab" * 32, x_payment_nonce=evil).status_code == 401
    assert till.get(x_agent_id=evil, user_agent=evil).status_code == 402
    assert till.http.post("/v1/content", json={"contentId": "c", "title": evil, "pricing": {"stx": evil}}, headers=session).status_code == 400
    assert till.http.post("/v1/content", json={"contentId": "c", "title": evil, "body": evil}, headers=session).status_code == 201
    assert till.get("/articles/c").json()["title"] == evil
    assert till.http.get("/v1/analytics/revenue", params={"granularity": evil, "startDate": evil}, headers=session).status_code == 400
    assert till.box.seller.store.database.rows("select count(*) as n from payments")[0]["n"] == 0


@pytest.mark.parametrize("path", ["/v1/auth/login", "/v1/payments/verify", "/v1/payments/initiate", "/v1/content", "/v1/webhooks", "/functions/v1/x402-gateway", "/functions/v1/verify-payment", "/api/x402/verify"])
def test_rubbish_is_answered(till, path):
    headers = {"x-api-key": till.box.seller.admin_key}
    deep, numbers = b"[" * 100_000, b'{"txId":1e999,"contentId":NaN}'
    for body in (b"", b"null", b"[]", b'"', deep, b'{"a":' * 40 + b"1" + b"}" * 40, numbers, b"\xff\xfe", b'{"txId":"\\ud800","contentId":"a","nonce":"b"}', b'{"contentId":"\\u0000"}',
                 b'{"txId":{},"contentId":[],"nonce":1,"url":{},"token":[],"address":1,"signature":2,"message":3,"timestamp":[]}'):  # fmt: skip
        reply = till.http.post(path, content=body, headers=headers)
        assert reply.status_code in (400, 404, 429) and "error" in reply.json(), (body, reply.text)
        if reply.status_code == 429:
            till.new_window()


def test_rubbish_behind_the_question_mark(till):
    for query in ("payment=%00", "payment=0x", "payment=%ff", "payment=" + "a" * 9000, "token=%00", "payment=&payment=b", "=", "%"):
        assert till.http.get(f"{BY_TRANSFER}?{query}").status_code in (401, 402)
        assert till.http.get(f"/api/ai/generate?{query}").status_code in (401, 402)
        assert till.http.get(f"/functions/v1/x402-gateway?{query}").status_code == 400
    for cookie in ("payment", "payment=", "=payment", "payment=0x1; payment=2", ";;;"):
        assert till.get(cookie=cookie).status_code in (401, 402)


def test_a_body_that_is_too_large(till, door):
    assert door.post("/v1/content", content=b"[" + b"[]," * 2_000_000 + b"[]]").status_code == 413
    assert door.get("/health").status_code == 200


def test_two_proofs_are_none(till, door):
    token = till.buy()
    assert door.get(BY_TRANSFER, headers=[("x-payment-proof", token), ("x-payment-proof", token)]).status_code == 401
    assert door.get(BY_TRANSFER, headers={"x-payment-proof": token}).status_code == 200


def test_a_database_that_is_away_lets_nobody_in(till, monkeypatch):
    tx, nonce = till.transfer(), till.asked()["nonce"]
    database = till.box.seller.store.database
    real = database.rows

    def broken(sql, *values):
        if "access_grants" in sql:
            raise SettingsError("away", rule="database")
        return real(sql, *values)

    monkeypatch.setattr(database, "rows", broken)
    assert (till.show(tx, nonce=nonce).status_code, till.show(tx, nonce=nonce).json()) == (500, {"error": "Payment verification failed"})
    monkeypatch.undo()
    assert till.box.seller.store.known(tx) is False  # all of it or nothing
    assert till.show(tx, nonce=nonce).status_code == 200


def test_a_forged_webhook_signature_is_none_of_the_hooks(till):
    with till.receiver() as receiver:
        made = till.http.post("/v1/webhooks", json={"url": receiver.url}, headers={"x-api-key": till.box.seller.admin_key}).json()
        till.buy()
        till.until(lambda: receiver.got)
    headers, body = receiver.got[0]
    good = lambda raw: hmac.compare_digest(headers["x-x402pay-signature"], hmac.new(made["secret"].encode(), raw, "sha256").hexdigest())  # noqa: E731
    assert good(body) and not good(body.replace(b"100000", b"999999"))


def test_nothing_secret_is_told_or_kept(till):
    token = till.buy()
    session = till.session()["authorization"][7:]
    dump = json.dumps([till.box.seller.store.database.rows(f'select * from "{table}"') for table in till.box.seller.books.tables], default=str)
    for secret in (token, session, till.key, till.box.seller.admin_key):
        assert secret not in dump and secret not in till.http.get("/sandbox/state").text and secret not in repr(till.box.requests)
