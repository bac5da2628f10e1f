"""Who wishes this seller ill, and who only speaks as published clients do: neither loses money, and neither gets anything for nothing."""

from __future__ import annotations

import base64
import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from x402_agent.database import connect
from x402_agent.sandbox.books import stamp
from x402_agent.sandbox.lily.store import AGENT, SERVICE
from x402_agent.sandbox.messages import Request

PRICE = 10_000
SINGLE = "application/vnd.pgrst.object+json"
OWN = "x402_payment_authorizations"


def call(till, path="/joke", client="127.0.0.1", **fields):
    """A call from an address."""
    return till.box.app.handle(Request("GET", till.box.origin, path, {"x-402-payment": till.header(**fields)}, client=client)).status


def alone(till, method, path, body=None):
    """As supabase-js asks with .single()."""
    headers = {"apikey": till.key, "authorization": f"Bearer {till.key}", "prefer": "return=representation", "accept": SINGLE}
    return till.http.request(method, f"/rest/v1/{path}", json=body, headers=headers)


def turned(reply, status, code):
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text


def alerts(till):
    return [(row["kind"], row["subject"]) for row in till.rows("select kind, subject from x402_alerts order by kind")]


def limits(**change):
    return {"service_id": SERVICE, "service_type": AGENT, **change}


# -- as published clients write -----------------------------------------------------------------------------------------


def test_a_row_as_published_opens_its_session(till):
    """Without service, type and currency, which published rows do not have; with spent_amount, and a renewal of nothing."""
    token = secrets.token_hex(32)
    ends = (datetime.fromtimestamp(till.ground.now(), UTC) + timedelta(hours=24)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    row = {
        "wallet_address": till.wallet, "session_token": token, "authorized_amount": 0.1, "spent_amount": 0, "remaining_amount": 0.1, "resource_pattern": f"agent/{SERVICE}/*",
        "status": "active", "expires_at": ends, "auto_renew": False, "renewal_amount": 0, "initial_payment_signature": till.pay(100_000),
    }  # fmt: skip
    reply = alone(till, "POST", "x402_payment_sessions?select=*", row)
    assert (reply.status_code, reply.json()["session_token"], reply.json()["remaining_amount"]) == (201, token, 0.1), reply.text
    assert alone(till, "GET", f"x402_payment_sessions?select=*&session_token=eq.{token}").json()["status"] == "active"
    assert call(till, session=token) == 200


def test_one_row_by_itself_is_one_or_nothing_happens(till):
    turned(alone(till, "GET", f"x402_payment_sessions?select=*&session_token=eq.{'0' * 64}"), 406, "PGRST116")
    made = [till.session(PRICE), till.session(PRICE)]
    turned(alone(till, "PATCH", "x402_payment_sessions?status=eq.active", {"status": "revoked"}), 406, "PGRST116")
    assert [call(till, session=each["session_token"]) for each in made] == [200, 200]


def test_a_payment_that_is_told_of_late_still_opens_what_it_paid_for(till):
    first, second = till.pay(100_000), till.pay(100_000)
    till.box.warp(3_600)
    assert till.rest("POST", "x402_payment_sessions", till.session_row(first)).status_code == 201
    assert call(till, proof=second) == 402  # nobody has shown that he is who paid it
    till.box.warp(86_400)
    turned(till.rest("POST", "x402_transactions", till.top_up_row(second)), 400, "P0001")


def test_rows_that_come_together_are_written_together_or_not_at_all(till):
    tx = till.pay(50_000)
    topped = till.pay(50_000)
    turned(till.rest("POST", "x402_payment_sessions", [till.session_row(tx), till.session_row(tx)]), 409, "23505")
    turned(till.rest("POST", "x402_transactions", [till.top_up_row(topped), till.top_up_row(topped, purpose="log")]), 403, "42501")
    assert till.rows("select id from x402_transactions") == till.rows("select id from x402_payment_sessions") == []
    assert len(till.rest("POST", "x402_payment_sessions", [till.session_row(tx), till.session_row(topped)]).json()) == 2


def test_any_origin_is_written_as_a_star(till):
    key = till.box.seller.keys()["service_role_key"]
    where = f"x402_service_configs?service_id=eq.{SERVICE}"
    assert till.rest("PATCH", where, {"allowed_origins": ["*"]}, key).status_code == 200
    told = {"x-402-payment": till.header(session=till.session()["session_token"]), "origin": "https://any.example"}
    assert till.http.get("/joke", headers=told).status_code == 200
    for wrong in (5, "https://a.example", [1], {"a": 1}):
        turned(till.rest("PATCH", where, {"allowed_origins": wrong}, key), 400, "22P02")


def test_an_amount_that_a_float_has_made_is_what_it_is_to_six_places(shared):
    token = shared.session(2 * PRICE)["session_token"]
    said = [call(shared, session=token, amount=each) for each in ("0.30000000000000004", "0.0099994", "0.009999999999999998")]
    assert said == [200, 402, 200]


# -- at the tables' door ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["1e999999", "-1e999999", "1e99", "NaN", "sNaN", "Infinity", "-0.000001", "9" * 79, "0x10", ""], ids=lambda each: each[:12] or "nothing")
def test_numbers_that_are_no_amounts(shared, value):
    turned(shared.rest("GET", f"x402_payment_credits?balance=gte.{value}"), 400, "22P02")
    turned(shared.rest("POST", OWN, limits(wallet_address=shared.wallet, spending_limit_per_day=value)), 400, "22P02")


def test_a_query_of_ten_thousand_conditions(shared):
    for many in ("&".join(["status=eq.active"] * 10_000), f"status=in.({','.join(['a'] * 40_000)})"):
        status, said = shared.stranger("GET", "/rest/v1/x402_payment_sessions", {"apikey": shared.key}, query=many)
        assert (status, b"54001" in said) == (400, True), said


def test_what_is_null_stands_last_on_both_engines(till):
    rows = [till.session(PRICE) for _ in range(3)]
    assert call(till, session=rows[1]["session_token"]) == 200
    asked = [[each["last_used_at"] is None for each in till.rest("GET", f"x402_payment_sessions?order=last_used_at{how}").json()] for how in ("", ".asc", ".desc")]
    assert asked == [[False, True, True], [False, True, True], [True, True, False]]


def test_what_a_wallet_allows_itself_is_bounded(till):
    row = limits(wallet_address=till.wallet, spending_limit_per_day=5)
    for wide in ({"service_type": "x" * 51}, {"id": "x" * 37}, {"status": "x" * 11}):
        turned(till.rest("POST", OWN, {**row, **wide}), 400, "22P02")
    assert len(till.rest("POST", OWN, [row] * 99).json()) == 99
    turned(till.rest("POST", OWN, [row] * 2), 400, "54000")
    assert till.rest("POST", OWN, row).status_code == 201
    turned(till.rest("POST", OWN, row), 400, "54000")
    assert till.rest("DELETE", f"{OWN}?status=eq.active").status_code == 200 and till.rest("POST", OWN, row).status_code == 201


def test_a_message_for_another_site_opens_nothing_here(shared):
    """Who makes a wallet sign in to his own site relays it under that site's name: the Host header is his to write."""

    def came(host):
        when = datetime.fromtimestamp(shared.ground.now(), UTC).isoformat()
        message = f"{host} wants you to sign in with your Solana account:\n{shared.wallet}\n\nIssued At: {when}"
        body = {"chain": "solana", "message": message, "signature": base64.b64encode(bytes(shared.ground.payer.sign_message(message.encode()))).decode()}
        return shared.http.post(f"http://{host}/auth/v1/token?grant_type=web3", json=body).status_code

    assert [came(host) for host in ("other.example", "localhost.other.example", "10.0.0.1", "localhost:8402", "127.0.0.1:8402")] == [400, 400, 400, 200, 200]


# -- at the gate --------------------------------------------------------------------------------------------------------


def test_a_signature_of_nothing_spends_no_credits(till):
    till.top_up()
    nothing = till.ground.payer.sign_message(b"")
    reply = till.get(header=f"{till.header()};signature={nothing}")
    assert (reply.status_code, reply.json()["errorCode"]) == (402, "VALIDATION_FAILED")
    assert till.rows("select balance from x402_payment_credits") == [{"balance": 100_000}]


def test_who_comes_too_often_is_no_failed_payment_in_alerts_and_sums_either(till):
    till.box.warp(60 - till.ground.now() % 60)
    till.box.scenario = replace(till.box.seller.scenario, calls=1)
    token = till.session()["session_token"]
    assert [call(till, session=token) for _ in range(5)] == [200, 429, 429, 429, 429]
    assert call(till, proof="5" * 88) == 402  # one that failed, beside four that did not
    assert alerts(till) == []
    (day,) = till.box.seller.store.books.analytics()
    assert (int(day["total_requests"]), int(day["failed_payments"])) == (6, 1)


def test_what_was_taken_back_is_neither_spent_nor_used(till):
    """A service that fails takes nothing: its calls are no spending, and those who made them have used no session."""
    till.box.scenario = replace(till.box.seller.scenario, price=1_000_000)
    token = till.session(10_000_000)["session_token"]
    places = [f"10.0.0.{number}" for number in range(1, 5)]
    assert [call(till, "/joke-500", client, session=token, amount="1") for client in places] == [500] * 4
    assert call(till, session=token, amount="1") == 200
    assert alerts(till) == []  # one dollar from one address
    assert [call(till, client=client, session=token, amount="1") for client in places[:2]] == [200] * 2
    assert alerts(till) == []
    assert call(till, client=places[2], session=token, amount="1") == 200
    assert [kind for kind, _ in alerts(till)] == ["session_abuse"]


def test_a_token_in_anothers_hands_is_an_abuse_of_its_session(till):
    made, thief = till.session(), str(till.other().pubkey())
    assert [call(till, session=made["session_token"], wallet=thief) for _ in range(10)] == [403] * 10
    assert alerts(till) == [("failed_payments", thief), ("session_abuse", made["id"])]


# -- below ----------------------------------------------------------------------------------------------------------------


def test_old_lines_of_the_log_go_and_what_was_paid_stays(till):
    session = till.session()
    assert [call(till, session=session["session_token"]), *(call(till, proof="5" * 88) for _ in range(5))] == [200] + [402] * 5
    books = till.box.seller.store.books
    assert (len(alerts(till)), books.cleanup_logs(1)) == (1, 0)
    till.box.warp(3 * 86_400)
    till.get()
    assert (books.cleanup_logs(30), books.cleanup_logs(1)) == (0, 6)
    assert sorted(till.spent()) == ["call", "session"] and alerts(till) == []


def test_a_commit_that_fails_takes_its_transaction_along():
    link = connect("", "x402_lily")
    link.script("create table a (id int primary key);\ncreate table b (a int references a (id) deferrable initially deferred)")
    with pytest.raises(link.errors), link.transaction():
        link.rows("insert into b values (5)")
    with link.transaction():
        link.rows("insert into a values (5)")
    assert (link.rows("select id from a"), link.rows("select a from b")) == ([{"id": 5}], [])
    link.close()


def test_times_are_in_the_order_of_time_whatever_the_year():
    assert [stamp(each) for each in (-62e9, 0, 1_800_000_000.0019)] == ["0005-04-19 09:46:40.000", "1970-01-01 00:00:00.000", "2027-01-15 08:00:00.001"]
