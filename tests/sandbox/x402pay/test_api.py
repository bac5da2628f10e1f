"""The API below /v1: who logs in, whose keys open what, what was paid, what is sold, what was earned."""

from __future__ import annotations

import secrets

import pytest

from x402_agent.sandbox.stacks.accounts import Account

NAME = "paying-by-transfer"


@pytest.fixture
def creator(till):
    """Somebody who sells something of his own."""
    found = Account(secrets.token_bytes(32))
    till.chain.endow("STX", found.address, 10**9)
    return found


def body(reply, status):
    assert reply.status_code == status, reply.text
    return reply.json()


def test_login_is_by_a_signature_once_and_soon(till, creator):
    made = body(till.login(creator), 200)
    assert made["user"]["walletAddress"] == creator.address and made["token"].count(".") == 2
    now = till.box.ground.now()
    assert body(till.login(creator), 401)["code"] == "MESSAGE_USED"
    assert body(till.login(creator, now - 300), 401)["code"] == body(till.login(creator, now + 61), 401)["code"] == "MESSAGE_EXPIRED"
    assert till.login(creator, (now - 5) * 1000).status_code == 200  # milliseconds
    message = f"x402Pay Login\nTimestamp: {now}"
    good = {"address": creator.address, "signature": "00" * 65, "message": message, "timestamp": now}
    spoilt = {"signature": ("00" * 65, 401), "message": ("x402Pay Login", 401), "address": ("SP3FGQ8Z7JY9BWYZ5WM53E0M9NK7WHJF0691NZ159", 400), "timestamp": ("soon", 401)}
    for name, (value, status) in spoilt.items():
        assert set(body(till.http.post("/v1/auth/login", json={**good, name: value}), status)) == {"error", "message", "code"}
    assert till.http.post("/v1/auth/login", content=b"[]").status_code == 400


def test_a_session_lives_for_seven_days(till):
    session = till.session()
    till.box.warp(7 * 86_400 - 1)
    assert till.http.get("/v1/payments/history", headers=session).status_code == 200
    till.box.warp(1)
    assert body(till.http.get("/v1/payments/history", headers=session), 401)["code"] == "INVALID_SESSION"


def test_a_session_is_no_token_and_a_token_no_session(till):
    token = till.buy()
    assert till.http.get("/v1/payments/history", headers={"authorization": f"Bearer {token}"}).status_code == 401
    assert till.get(x_payment_proof=till.session()["authorization"][7:]).status_code == 401


def test_the_history_is_the_callers_own(till, creator):
    first, second = till.transfer(), till.transfer()
    for tx in (first, second):
        till.verify(tx)
        till.box.warp(1)
    found = body(till.http.get("/v1/payments/history?limit=1", headers=till.session()), 200)
    assert found["total"] == 2 and [each["txId"] for each in found["payments"]] == [second]
    mine = found["payments"][0]
    assert (mine["contentId"], mine["amount"], mine["asset"], mine["status"], mine["payer"]) == (NAME, "100000", "STX", "confirmed", till.payer.address)
    assert body(till.http.get("/v1/payments/history", headers=till.session(creator)), 200) == {"payments": [], "total": 0}
    for query in ("limit=0", "limit=101", "limit=x", "offset=-1"):
        assert till.http.get(f"/v1/payments/history?{query}", headers=till.session(Account(secrets.token_bytes(32)))).status_code == 400


def test_keys_are_kept_as_hashes_and_do_what_they_may(till, creator):
    session = till.session(creator)
    made = body(till.http.post("/v1/api-keys", json={"scopes": ["read"]}, headers=session), 201)
    rows = till.box.seller.store.database.rows("select key_hash, key_preview from api_keys where id = ?", made["id"])
    assert len(rows[0]["key_hash"]) == 64 and made["key"] not in str(rows) and made["key"].startswith(rows[0]["key_preview"][:8])
    key = {"x-api-key": made["key"]}
    assert till.http.post("/v1/payments/initiate", json={"contentId": NAME}, headers=key).status_code == 402
    assert body(till.http.post("/v1/content", json={}, headers=key), 403)["code"] == "SCOPE_MISSING"
    assert body(till.http.post("/v1/api-keys", json={"scopes": ["admin"]}, headers=session), 403)["code"] == "SCOPE_MISSING"
    assert body(till.http.post("/v1/payments/initiate", json={"contentId": NAME}, headers={"x-api-key": "x"}), 401)["code"] == "INVALID_API_KEY"
    assert till.http.delete(f"/v1/api-keys/{made['id']}", headers=till.session()).status_code == 404  # somebody else's
    assert till.http.delete(f"/v1/api-keys/{made['id']}", headers=session).status_code == 200
    assert till.http.post("/v1/payments/initiate", json={"contentId": NAME}, headers=key).status_code == 401
    assert body(till.http.get("/v1/api-keys", headers=session), 200)["keys"][0]["active"] is False


def test_content_is_made_changed_sold_and_archived(till, creator):
    session = till.session(creator)
    made = {"contentId": "my-poem", "title": "A poem", "body": "Roses.", "preview": "R…", "pricing": {"stx": "0.10"}}
    assert till.http.post("/v1/content", json=made).status_code == 401
    item = body(till.http.post("/v1/content", json=made, headers=session), 201)
    assert (item["url"], item["pricing"], item["accessControl"]) == (till.box.url("/articles/my-poem"), {"stx": "0.10"}, "pay-per-view")
    assert body(till.http.post("/v1/content", json=made, headers=session), 409)["code"] == "CONTENT_EXISTS"
    assert till.asked("/articles/my-poem")["recipient"] == creator.address and till.show(till.transfer(), "/articles/my-poem").status_code == 401
    assert till.show(till.transfer(to=creator.address), "/articles/my-poem").json()["content"] == "Roses."
    other = till.session()
    assert body(till.http.put("/v1/content/my-poem", json={"title": "Mine"}, headers=other), 403)["code"] == "NOT_YOURS"
    changed = body(till.http.put("/v1/content/my-poem", json={"title": "Poem", "pricing": {"stx": "0.2", "usdcx": "0.05"}}, headers=session), 200)
    assert changed["title"] == "Poem" and changed["pricing"] == {"stx": "0.20", "usdcx": "0.05"}
    assert till.asked("/articles/my-poem")["amount"] == "0.20"
    assert till.http.delete("/v1/content/my-poem", headers=session).status_code == 200
    assert till.get("/articles/my-poem").status_code == 404 == till.http.get("/v1/content/my-poem").status_code
    assert body(till.http.get("/v1/content/my-poem", headers=session), 200)["status"] == "archived"
    actions = [row["action"] for row in till.box.seller.store.database.rows("select action from audit_logs order by created_at, action")]
    assert sorted(actions) == ["content.archived", "content.changed", "content.created"]


@pytest.mark.parametrize("wrong", [
    {"contentId": "a b"}, {"contentId": "x" * 51}, {"contentId": "../x"}, {"title": ""}, {"title": 1}, {"title": "t" * 201}, {"body": "b" * 100_001}, {"status": "sold"},
    {"contentType": "api"}, {"pricing": {"stx": 0.1}}, {"pricing": {"stx": "0"}}, {"pricing": {"stx": "-1"}}, {"pricing": {"stx": "0.0000001"}},
    {"pricing": {"eth": "1"}}, {"pricing": {"stx": "1000001"}}, {"pricing": "1"},
])  # fmt: skip
def test_content_that_is_none(till, wrong):
    good = {"contentId": "c", "title": "t", "pricing": {"stx": "0.10"}}
    assert till.http.post("/v1/content", json=good | wrong, headers=till.session()).status_code == 400
    assert till.box.seller.catalogue.find("c") is None


def test_discovery_items_say_where_they_are(till):
    found = body(till.http.get("/v1/content?limit=100"), 200)
    items = {each["contentId"]: each for each in found["items"]}
    assert found["total"] == len(items) == 7
    assert items["four-arguments"] == {
        "contentId": "four-arguments", "title": "Four arguments", "pricing": {"stx": "0.10", "sbtc": "0.0000002", "usdcx": "0.05"}, "agentCompatible": True,
        "contractAddress": f"{till.box.pay_to}.revenue-split", "accessControl": "pay-per-view", "contentType": "article", "tokenGate": None,
        "url": till.box.url("/articles/four-arguments"),
    }  # fmt: skip
    assert items["welcome"]["accessControl"] == "free" and items["premium-data"]["url"].endswith("/api/premium-data")
    assert body(till.http.get("/v1/content/four-arguments"), 200)["preview"]


def test_what_was_earned_by_hour_day_week_and_month(till, creator):
    till.box.warp(86_400 - till.box.ground.now() % 86_400 + 600)
    first = till.transfer()
    till.verify(first)
    till.box.warp(3 * 3_600)
    till.http.headers["user-agent"] = "python-requests/2"
    till.verify(till.call("paying-by-contract"), "paying-by-contract")
    admin = {"x-api-key": till.box.seller.admin_key}
    for grain, counts in (("hour", [1, 1]), ("day", [2])):
        found = body(till.http.get(f"/v1/analytics/revenue?granularity={grain}", headers=admin), 200)
        assert [each["payments"] for each in found["revenue"]] == counts and found["total"] == {"STX": "200000"}
    assert sum(each["agentPayments"] for each in found["revenue"]) == 1 and found["revenue"][0]["creatorAmount"] == "180000"
    for grain in ("week", "month"):
        assert sum(each["payments"] for each in body(till.http.get(f"/v1/analytics/revenue?granularity={grain}", headers=admin), 200)["revenue"]) == 2
    top = body(till.http.get("/v1/analytics/top-content?limit=1", headers=admin), 200)["content"]
    assert len(top) == 1 and top[0]["payments"] == 1
    assert body(till.http.get("/v1/analytics/revenue", headers=till.session(creator)), 200)["revenue"] == []
    day = body(till.http.get("/v1/analytics/revenue?startDate=2020-01-01&endDate=2020-01-31", headers=admin), 200)
    assert day["revenue"] == []
    for query in ("granularity=year", "startDate=x", "startDate=2026-01-02&endDate=2026-01-01", "endDate=9999-12-31T23:59:59Z&startDate=0001-01-01", "endDate=9999-12-31"):
        status = till.http.get(f"/v1/analytics/revenue?{query}", headers=admin).status_code
        assert status == (200 if query.startswith("endDate=9999-12-31T") else 400)


def test_secrets_rotate_and_the_old_one_opens_for_a_day(till):
    token = till.buy()
    admin = {"x-api-key": till.box.seller.admin_key}
    assert till.http.post("/v1/admin/rotate-secret", headers=till.session()).status_code == 403
    assert body(till.http.post("/v1/admin/rotate-secret", headers=admin), 200) == {"rotated": True}
    assert till.get(x_payment_proof=token).status_code == 200
    session = till.session(Account(secrets.token_bytes(32)))
    till.box.seller.tokens.rotate()
    till.box.warp(86_399)
    assert till.http.get("/v1/payments/history", headers=session).status_code == 200
    till.box.warp(1)
    assert till.http.get("/v1/payments/history", headers=session).status_code == 401


def test_a_grant_that_was_revoked_opens_nothing(till):
    tx = till.transfer()
    token = till.verify(tx).json()["accessToken"]
    till.box.seller.store.revoke(till.payer.address, NAME)
    assert till.get(x_payment_proof=token).status_code == 401 and till.show(tx).status_code == 401
    assert token not in str(till.box.seller.store.database.rows("select * from access_grants"))


def test_limits_and_when_to_come_back(till):
    till.new_window()
    nonce = till.asked()["nonce"]
    send = lambda: till.http.post("/v1/payments/verify", json={"txId": "0x" + "ab" * 32, "contentId": NAME, "nonce": nonce})  # noqa: E731
    assert [send().status_code for _ in range(11)] == [401] * 10 + [429]
    assert int(send().headers["retry-after"]) == 60 and body(send(), 429)["code"] == "RATE_LIMITED"
    assert till.stranger("POST", "/v1/payments/verify", body=b"{}")[0] == 400  # another address
    assert till.http.post("/v1/payments/initiate", json={"contentId": NAME}, headers={"x-api-key": "made up"}).status_code == 429
    assert till.http.post("/v1/payments/initiate", json={"contentId": NAME}, headers={"x-api-key": till.key}).status_code == 402
    assert [till.http.get("/v1/content").status_code for _ in range(101)] == [200] * 100 + [429]
    till.new_window()
    assert till.http.get("/v1/content").status_code == 200


def test_routes_that_are_none(till):
    assert body(till.http.get("/v1/none"), 404)["code"] == "NOT_FOUND"
    assert body(till.http.get("/v1/auth/login"), 405)["code"] == "METHOD_NOT_ALLOWED"
    assert till.http.post("/articles/welcome").status_code == till.http.post("/articles").status_code == 405
    assert till.http.get("/health").status_code == 200 and till.http.get("/").status_code == 404
