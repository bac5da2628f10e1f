"""The database's door: keys, filters, rows that stand for money, and what nobody may do."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import pytest

from x402_agent.sandbox.lily.rest import USE
from x402_agent.sandbox.lily.store import AGENT, SERVICE
from x402_agent.sandbox.tokens import Tokens

TABLES = ("x402_service_configs", "x402_payment_sessions", "x402_payment_credits", "x402_transactions", "x402_payment_authorizations", "x402_analytics")


def turned(reply, status, code):
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert set(reply.json()) == {"code", "message", "details", "hint"}


def test_what_is_for_sale_is_read_with_the_anon_key_and_nothing_else(till):
    anon = till.box.seller.anon_key
    (row,) = till.rest("GET", f"x402_service_configs?service_id=eq.{SERVICE}&service_type=eq.{AGENT}&select=*", key=anon).json()
    assert (row["platform_wallet"], row["base_price"], row["currency"], row["pricing_model"], row["min_payment"]) == (till.box.pay_to, 0.01, "USDC", "per_request", 0.01)
    assert (row["max_payment"], row["max_session_amount"], row["requires_preauth"], row["allowed_origins"], row["is_active"]) == (None, 10.0, False, [], True)
    till.session()
    for table in TABLES[1:]:
        turned(till.rest("GET", f"{table}?select=*", key=anon), 401, "42501")
        turned(till.rest("DELETE", f"{table}?id=neq.x", key=anon), 401, "42501")


def test_keys_that_are_none(till):
    turned(till.rest("GET", "x402_service_configs", key=""), 401, "PGRST301")
    turned(till.rest("GET", "x402_service_configs", key="a.b.c"), 401, "PGRST301")
    forged = Tokens(till.ground.now).issue(USE, 10**11, role="service_role")
    turned(till.rest("GET", "x402_service_configs", key=forged), 401, "PGRST301")
    short = till.box.seller.tokens.issue(USE, int(till.ground.now()) + 60, role="authenticated", wallet_address=till.wallet)
    assert till.rest("GET", "x402_payment_sessions", key=short).json() == []
    till.box.warp(61)
    turned(till.rest("GET", "x402_payment_sessions", key=short), 401, "PGRST301")
    assert till.box.seller.keys()["service_role_key"] not in repr(till.box.seller)


def test_rows_of_others_are_neither_read_nor_changed(till):
    made, topped = till.session(), till.top_up()
    stranger = till.box.seller.key(str(till.other().pubkey()))
    for table, row in (("x402_payment_sessions", made), ("x402_transactions", topped)):
        assert [each["id"] for each in till.rest("GET", f"{table}?id=eq.{row['id']}").json()] == [row["id"]]
        assert till.rest("GET", f"{table}?select=*", key=stranger).json() == []
    assert till.rest("GET", "x402_payment_credits", key=stranger).json() == []
    assert till.rest("PATCH", f"x402_payment_sessions?session_token=eq.{made['session_token']}", {"status": "revoked"}, key=stranger).json() == []
    turned(till.rest("POST", "x402_payment_sessions", till.session_row(till.pay()), key=stranger), 403, "42501")
    assert till.get(session=made["session_token"]).status_code == 200


@pytest.mark.parametrize(("method", "path", "body"), [
    ("PATCH", "x402_payment_sessions?status=eq.active", {"remaining_amount": 9}), ("PATCH", "x402_payment_credits?balance=gte.0", {"balance": 9}),
    ("POST", "x402_payment_credits", {"wallet_address": ..., "service_id": SERVICE, "service_type": AGENT, "balance": 9}), ("DELETE", "x402_transactions?amount=gte.0", None),
    ("POST", "x402_service_configs", {"service_id": SERVICE, "service_type": "other", "base_price": 1}), ("POST", "x402_analytics", {"date": "2026-01-01"}),
    ("DELETE", "x402_payment_sessions?status=eq.active", None), ("PATCH", "x402_transactions?amount=gte.0", {"status": "refunded"}),
], ids=["remaining", "balance", "credits", "log", "config", "analytics", "session", "refund"])  # fmt: skip
def test_what_nobody_does_to_his_own_rows(shared, method, path, body):
    shared.top_up(10_000), shared.session(10_000)
    said = {name: shared.wallet if value is ... else value for name, value in body.items()} if body else None
    turned(shared.rest(method, path, said), 403, "42501")


def test_a_session_is_as_large_as_what_was_paid_and_its_owner_cannot_make_it_larger(till):
    row = till.session_row(till.pay(50_000), 9.0, remaining_amount=9.0)
    made = till.rest("POST", "x402_payment_sessions", row).json()[0]
    assert (made["authorized_amount"], made["remaining_amount"], made["status"], made["session_token"]) == (0.05, 0.05, "active", row["session_token"])
    again = till.rest("POST", "x402_payment_sessions", row)
    turned(again, 409, "23505")
    turned(till.rest("POST", "x402_payment_sessions", {**row, "session_token": secrets.token_hex(32)}), 409, "23505")
    (told,) = till.rest("GET", f"x402_payment_sessions?initial_payment_signature=eq.{row['initial_payment_signature']}").json()
    assert told["session_token"] == row["session_token"]
    taken = till.session_row(till.pay(), 0.01, session_token=row["session_token"])
    turned(till.rest("POST", "x402_payment_sessions", taken), 409, "23505")
    assert till.rest("POST", "x402_payment_sessions", {**taken, "session_token": secrets.token_hex(32)}).status_code == 201  # its payment was not lost


@pytest.mark.parametrize(("change", "code"), [
    ({"session_token": "ab"}, "23514"), ({"session_token": "AB" * 32}, "23514"), ({"session_token": ...}, "23514"), ({"initial_payment_signature": "x"}, "23514"),
    ({"resource_pattern": "*"}, "23514"), ({"resource_pattern": f"agent/{SERVICE}"}, "23514"), ({"resource_pattern": f"agent/{SERVICE}/a b"}, "23514"),
    ({"service_id": "agent-xyz"}, "23503"), ({"currency": "SOL"}, "23514"), ({"expires_at": "soon"}, "22007"), ({"expires_at": "2020-01-01T00:00:00Z"}, "23514"),
    ({"expires_at": "2100-01-01T00:00:00Z"}, "23514"), ({"authorized_amount": "NaN"}, "22P02"), ({"authorized_amount": True}, "22P02"), ({"renewal_amount": -1}, "22P02"),
    ({"initial_payment_signature": "2" * 88}, "P0001"),
], ids=lambda each: "-".join(each) if isinstance(each, dict) else each)  # fmt: skip
def test_rows_that_are_no_sessions_use_no_payment_up(shared, change, code):
    row = shared.session_row(shared.paid, 0.1, **change)
    turned(shared.rest("POST", "x402_payment_sessions", row), 400, code)
    assert shared.rows("select count(*) as n from x402_transactions where transaction_signature = ?", shared.paid) == [{"n": 0}]


def test_payments_too_small_or_too_large_for_a_session(till_on):
    from x402_agent.sandbox import scenarios

    till = till_on(scenarios("lily")["honest"].with_(least=20_000, most_session=50_000))
    turned(till.rest("POST", "x402_payment_sessions", till.session_row(till.pay(19_999))), 400, "23514")
    turned(till.rest("POST", "x402_payment_sessions", till.session_row(till.pay(50_001))), 400, "23514")
    turned(till.rest("POST", "x402_transactions", till.top_up_row(till.pay(19_999))), 400, "23514")
    assert till.session(50_000)["authorized_amount"] == 0.05


def test_when_a_session_ends_is_said_in_any_zone(till):
    ends = datetime.fromtimestamp(till.ground.now(), UTC) + timedelta(hours=2)
    berlin = (ends.replace(tzinfo=None) + timedelta(hours=1)).isoformat(timespec="milliseconds") + "+01:00"
    made = till.session(expires_at=berlin)
    assert made["expires_at"] == ends.isoformat(timespec="milliseconds")
    assert till.get(session=made["session_token"]).status_code == 200
    till.box.warp(7_200)
    assert till.get(session=made["session_token"]).json()["errorCode"] == "SESSION_EXPIRED"


def test_filters_order_and_limits_as_postgrest_has_them(till):
    rows = [till.session(amount) for amount in (10_000, 20_000, 30_000)]
    asked = till.rest("GET", "x402_payment_sessions?remaining_amount=gte.0.02&order=remaining_amount.desc&select=id,remaining_amount").json()
    assert asked == [{"id": rows[2]["id"], "remaining_amount": 0.03}, {"id": rows[1]["id"], "remaining_amount": 0.02}]
    assert [each["id"] for each in till.rest("GET", "x402_payment_sessions?order=remaining_amount&limit=1&offset=1").json()] == [rows[1]["id"]]
    assert len(till.rest("GET", "x402_payment_sessions?status=in.(active,revoked)&last_used_at=is.null&currency=neq.SOL").json()) == 3
    for wrong, code in (("none=eq.1", "42703"), ("status=like.a", "PGRST100"), ("limit=-1", "PGRST100"), ("order=id;drop", "PGRST100"), ("select=password", "42703"), ("auto_renew=eq.x", "22P02")):
        turned(till.rest("GET", f"x402_payment_sessions?{wrong}"), 400, code)
    turned(till.rest("GET", "pg_user"), 404, "PGRST205")
    turned(till.rest("PUT", "x402_payment_sessions"), 405, "PGRST117")
    turned(till.rest("PATCH", "x402_payment_sessions", {"status": "revoked"}), 400, "21000")
    turned(till.rest("POST", "x402_payment_sessions", []), 400, "PGRST102")
    assert till.rest("POST", "x402_payment_sessions", till.session_row(till.pay()), prefer="").content == b""
    assert till.rest("PATCH", f"x402_payment_sessions?id=eq.{rows[0]['id']}", {"status": "revoked"}, prefer="").status_code == 204


def test_an_operators_key_may_everything(till):
    key = till.box.seller.keys()["service_role_key"]
    made = till.session()
    assert till.rest("GET", "x402_payment_sessions", key=key).json()[0]["id"] == made["id"]
    reply = till.rest("POST", "x402_service_configs", {"service_id": SERVICE, "service_type": "api_call", "owner_wallet": till.wallet, "platform_wallet": till.wallet, "base_price": 0.5}, key=key)
    assert (reply.status_code, reply.json()[0]["base_price"]) == (201, 0.5)
    turned(till.rest("POST", "x402_service_configs", {"service_id": SERVICE, "service_type": "api_call", "owner_wallet": "", "platform_wallet": "", "base_price": 0.5}, key=key), 409, "23505")
    turned(till.rest("PATCH", "x402_service_configs?service_type=eq.api_call", {"currency": "EUR"}, key=key), 400, "23514")
    assert till.rest("PATCH", "x402_service_configs?service_type=eq.api_call", {"is_active": False}, key=key).json()[0]["is_active"] is False
    assert len(till.rest("DELETE", "x402_service_configs?service_type=eq.api_call", key=key).json()) == 1


def test_statements_in_words_are_words(till):
    wild = "x' or '1'='1"
    assert till.rest("GET", f"x402_payment_sessions?session_token=eq.{wild}").json() == []
    turned(till.rest("GET", "x402_payment_sessions?wallet_address;--=eq.1"), 400, "42703")
    assert till.stranger("POST", "/rest/v1/x402_payment_sessions", {"apikey": till.key}, b"[" * 100_000)[0] == 400
