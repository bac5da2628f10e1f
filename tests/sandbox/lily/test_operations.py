"""Webhooks, analytics, alerts, and the verbs of who looks after it."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from x402_agent.cli.app import app
from x402_agent.sandbox import books
from x402_agent.sandbox.lily.store import AGENT, SERVICE
from x402_agent.sandbox.messages import Request

PRICE = 10_000
WHERE = f"x402_service_configs?service_id=eq.{SERVICE}"


class Receiver:
    """Somebody on loopback who takes webhooks; `got` is what came, by event."""

    def __init__(self, *answers):
        self.got, left, mine, self.free = [], list(answers), self, threading.Event()
        self.free.set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                mine.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
                mine.free.wait(30)
                self.send_response(left.pop(0) if left else 200)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def of(self, event):
        return [json.loads(body)["data"] for headers, body in self.got if headers["x-402-event"] == event]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def until(true, seconds=60.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def hooked(till, url):
    """The service's configuration names a receiver."""
    key = till.box.seller.keys()["service_role_key"]
    assert till.rest("PATCH", WHERE, {"webhook_url": url}, key).status_code == 200


def alerts(till):
    return [(row["kind"], row["subject"]) for row in till.rows("select kind, subject from x402_alerts order by created_at, kind")]


def call(till, client="127.0.0.1", **fields):
    """A call from an address."""
    answer = till.box.app.handle(Request("GET", till.box.origin, "/joke", {"x-402-payment": till.header(**fields)}, client=client))
    return answer.status


# -- webhooks -----------------------------------------------------------------------------------------------------------


def test_what_becomes_of_sessions_payments_and_credits_is_told_signed_and_once(till):
    with Receiver() as receiver:
        hooked(till, receiver.url)
        session = till.session(2 * PRICE)
        for _ in range(2):
            assert till.get(session=session["session_token"]).status_code == 200
        assert till.get(session=session["session_token"]).status_code == 402
        till.top_up(10 * PRICE)
        assert till.get(header=till.signed()).status_code == 200
        until(lambda: len(receiver.got) == 6)
        time.sleep(0.3)
    assert [sorted({headers["x-402-event"] for headers, _ in receiver.got})] == [["credit.low", "payment.completed", "payment.failed", "session.created", "session.depleted"]]
    who = {"serviceId": SERVICE, "serviceType": AGENT, "wallet": till.wallet}
    assert receiver.of("session.created") == [{**who, "sessionId": session["id"], "amount": "0.02"}]
    assert receiver.of("session.depleted") == [{**who, "sessionId": session["id"]}]
    assert receiver.of("credit.low") == [{**who, "balance": "0.09", "threshold": "0.10"}]
    assert {each["purpose"]: each["amount"] for each in receiver.of("payment.completed")} == {"session": "0.02", "credit_top_up": "0.10"}
    assert [(each["code"], each["sessionId"]) for each in receiver.of("payment.failed")] == [("INSUFFICIENT_BALANCE", session["id"])]
    secret = till.box.seller.keys()["webhook_secret"]
    for headers, body in receiver.got:
        assert headers["x-402-signature"] == hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        assert headers["x-402-delivery"] == json.loads(body)["id"] and session["session_token"].encode() not in body and secret.encode() not in body


def test_who_asks_without_paying_and_who_comes_too_often_are_no_failed_payments(till):
    with Receiver() as receiver:
        hooked(till, receiver.url)
        assert till.get().status_code == 402
        till.box.scenario = replace(till.box.seller.scenario, calls=1)
        session = till.session()
        assert [till.get(session=session["session_token"]).status_code for _ in range(2)] == [200, 429]
        until(lambda: receiver.of("session.created"))
        assert receiver.of("payment.failed") == []


def test_it_is_written_with_what_it_is_about_and_told_by_the_next_process(till_on, tmp_path):
    path = str(tmp_path / "lily.db")
    clock = lambda: 1_800_000_000.0  # noqa: E731
    with Receiver() as receiver:
        first = till_on("hooks_down", database=path, clock=clock)
        hooked(first, receiver.url)
        first.session()
        waiting = "select event, words from webhook_deliveries order by event"
        until(lambda: all(row["words"] for row in first.rows(waiting)))
        assert [row["event"] for row in first.rows(waiting)] == ["payment.completed", "session.created"] and receiver.got == []
        first.box.close()
        later = till_on(database=path, clock=clock)
        hooked(later, receiver.url)  # a new process's scenario configures its service anew
        later.box.warp(1)
        until(lambda: len(receiver.got) == 2)


def test_of_two_processes_on_one_database_one_tells(till_on, tmp_path):
    path = str(tmp_path / "lily.db")
    first = till_on(database=path)
    with Receiver() as receiver:
        receiver.free.clear()
        hooked(first, receiver.url)
        with first.box.seller.store.writing() as link:
            first.box.seller.hooks.tell(link, (SERVICE, AGENT), "credit.low", {})
        until(lambda: receiver.got)
        till_on(database=path).box.warp(5)  # its next attempt would be due, and the first one is still listened to
        time.sleep(0.4)
        receiver.free.set()
        until(lambda: first.rows("select status, attempts as n from webhook_deliveries") == [{"status": "delivered", "n": 1}])
        assert len(receiver.got) == 1


def test_a_hook_that_never_answers_well_is_disabled_until_its_url_changes(till):
    with Receiver(*[500] * 6) as receiver:
        hooked(till, receiver.url)
        with till.box.seller.store.writing() as link:
            till.box.seller.hooks.tell(link, (SERVICE, AGENT), "credit.low", {})
        for number, wait in enumerate((0, 1, 2, 4, 8, 16), 1):
            till.box.warp(wait)
            until(lambda number=number: till.rows("select attempts as n, response_status as s from webhook_deliveries") == [{"n": number, "s": 500}] and len(receiver.got) == number)
        until(lambda: till.rows("select status as s from webhook_deliveries") == [{"s": "failed"}])
        until(lambda: till.rows("select enabled as n from webhooks") == [{"n": 0}])
        till.session()
        assert len(till.rows("select id from webhook_deliveries")) == 1
        hooked(till, receiver.url + "?again")
        till.session()
        until(lambda: len(receiver.got) == 8)


def test_a_service_without_a_url_has_no_rows_of_what_nobody_hears(till):
    session = till.session()
    assert till.get(session=session["session_token"]).status_code == 200
    assert till.rows("select id from webhook_deliveries") == []


# -- alerts: each threshold, one below it and at it -----------------------------------------------------------------------


def test_payments_of_a_wallet_that_fail(till):
    for _ in range(4):
        assert call(till, proof="5" * 88) == 402
    assert alerts(till) == []
    assert call(till, proof="5" * 88) == 402
    assert call(till, proof="5" * 88) == 402
    assert alerts(till) == [("failed_payments", till.wallet)]  # once in a window
    till.box.warp(1_200)
    call(till, proof="5" * 88)
    assert len(alerts(till)) == 1


def test_a_session_that_is_refused_again_and_again(till):
    session = till.session(PRICE)
    assert call(till, session=session["session_token"]) == 200
    for _ in range(9):
        assert call(till, session=session["session_token"]) == 402
    assert ("session_abuse", session["id"]) not in alerts(till)
    assert call(till, session=session["session_token"]) == 402
    assert ("session_abuse", session["id"]) in alerts(till)


def test_a_session_that_comes_from_many_places(till):
    session = till.session()
    for client in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.3"):
        assert call(till, client, session=session["session_token"]) == 200
    assert alerts(till) == []
    assert call(till, "10.0.0.4", session=session["session_token"]) == 200
    assert alerts(till) == [("session_abuse", session["id"])]


def test_spending_that_is_unusual(till):
    till.box.scenario = replace(till.box.seller.scenario, price=1_000_000)
    session = till.session(10_000_000)
    for _ in range(4):
        assert call(till, session=session["session_token"], amount="1") == 200
    assert alerts(till) == []
    assert call(till, session=session["session_token"], amount="1") == 200
    assert alerts(till) == [("unusual_spending", till.wallet)]


def test_what_a_wallet_always_spends_is_not_unusual(till):
    till.box.scenario = replace(till.box.seller.scenario, price=1_000_000)
    session = till.session(10_000_000)
    assert call(till, session=session["session_token"], amount="1") == 200
    till.rows("update x402_transactions set amount = 200000000 where purpose = 'call'")  # 200 dollars in the week before: 1.19 an hour
    till.box.warp(7_200)
    for _ in range(5):
        assert call(till, session=session["session_token"], amount="1") == 200
    assert alerts(till) == []  # five times the usual is 5.95
    assert call(till, session=session["session_token"], amount="1") == 200
    assert alerts(till) == [("unusual_spending", till.wallet)]


def test_credit_that_runs_out(till):
    till.top_up(11 * PRICE)
    assert till.get(header=till.signed()).status_code == 200
    assert alerts(till) == []  # for ten calls
    till.box.warp(1)
    assert till.get(header=till.signed()).status_code == 200
    assert alerts(till) == [("low_credit", till.wallet)]
    till.box.warp(3_600)
    assert till.get(header=till.signed()).status_code == 200
    assert len(alerts(till)) == 1  # it was crossed before


# -- operators ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def db(tmp_path, monkeypatch, database):
    """Runs a verb; -> (exit code, what --json said)."""
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database or str(tmp_path / "lily.db"))

    def run(*words):
        done = CliRunner().invoke(app, ["sandbox", "db", *words, "--seller", "lily", "--json"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, json.loads(done.stdout)

    run.url = os.environ["DATABASE_URL"]
    return run


def test_an_operators_day(db, till_on, tmp_path):
    assert db("stats")[0] == 2
    made = db("create-tables")[1]["applied"]
    assert made[:2] == ["0001_tables", "0002_operations"] and db("create-tables")[1]["applied"] == []
    till = till_on(database=db.url)
    session = till.session(3 * PRICE)
    token = {"session": session["session_token"]}
    assert [call(till, **token) for _ in range(2)] == [200, 200]
    for _ in range(5):
        call(till, proof="5" * 88)
    assert till.get(proof=till.pay()).status_code == 200

    code, found = db("stats")
    assert (code, found["sessions"], [each["kind"] for each in found["alerts"]]) == (0, {"active": 1}, ["failed_payments"])
    assert db("test")[0] == 0
    for _ in range(2):  # twice is once
        (day,) = db("analytics")[1]["hours"]
        numbers = {name: int(day[name]) for name in ("total_requests", "successful_payments", "failed_payments", "total_revenue", "unique_wallets")}
        assert numbers == {"total_requests": 8, "successful_payments": 2, "failed_payments": 5, "total_revenue": 4 * PRICE, "unique_wallets": 1}
    assert till.rows("select count(*) as n from x402_analytics") == [{"n": 1}]

    copy = tmp_path / "copy.jsonl"
    assert db("export", "--file", str(copy))[0] == 0 and os.stat(copy).st_mode & 0o077 == 0
    assert db("reset")[0] == 2
    assert db("reset", "--yes")[1]["rows"]["x402_payment_sessions"] == 0
    assert till.get(**token).status_code in (402, 404)
    assert db("migrate", "--restore", str(copy), "--yes")[0] == 0
    assert till.get(**token).status_code == 200
    till.box.warp(90_000)
    till.get()
    assert db("cleanup")[1]["expired"] == 0  # it was emptied before its time was over
    assert db("migrate", "--rollback", "--to", "1", "--yes")[1]["undone"] == made[:0:-1]
    assert db("migrate")[1]["applied"] == made[1:]


@pytest.mark.full
def test_a_copy_of_one_engine_is_read_by_the_other(till_on, fresh, tmp_path):
    till = till_on(database=fresh)
    till.session()
    call(till, proof="5" * 88)
    count = till.box.seller.store.books.export(tmp_path / "copy.jsonl")
    other = books("lily", str(tmp_path / "x.db"))
    other.migrate()
    assert other.restore(tmp_path / "copy.jsonl") == count == other.export(tmp_path / "back.jsonl")
    assert till.box.seller.store.books.restore(tmp_path / "back.jsonl") == count
    other.close()
