"""Schema and operators' verbs: the same on both engines, from one text."""

from __future__ import annotations

import json
import os
import threading

import pytest
from typer.testing import CliRunner

from x402_agent.cli.app import app
from x402_agent.sandbox import books

PUBLISHED = {
    "x402_service_configs": "service_id service_type owner_wallet platform_wallet base_price currency pricing_model min_payment max_payment max_session_amount requires_preauth"
    " allowed_origins webhook_url is_active",
    "x402_payment_sessions": "wallet_address session_token authorized_amount remaining_amount resource_pattern expires_at auto_renew renewal_amount initial_payment_signature"
    " sol_amount usd_amount conversion_rate status",
    "x402_payment_credits": "wallet_address service_id service_type balance",
    "x402_transactions": "wallet_address service_id service_type transaction_signature amount currency status resource_type http_method",
    "x402_payment_authorizations": "wallet_address service_id spending_limit_per_request spending_limit_per_day spending_limit_per_month status",
    "x402_analytics": "date service_id service_type",
}
INDEXES = {
    "sqlite": "select count(*) as n from sqlite_master where type = 'index' and sql is not null and tbl_name in ({})",
    "postgresql": "select count(*) as n from pg_indexes where schemaname = current_schema() and indexname like 'idx%%' and tablename in ({})",
}


@pytest.fixture
def kept(database):
    made = books("lily", database)
    yield made
    made.close()


@pytest.fixture
def db(tmp_path, monkeypatch, database):
    """Runs a verb; -> (exit code, what --json said)."""
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    url = database or str(tmp_path / "lily.db")
    monkeypatch.setenv("DATABASE_URL", url)

    def run(*words):
        done = CliRunner().invoke(app, ["sandbox", "db", *words, "--seller", "lily", "--json"])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, json.loads(done.stdout)

    run.url = url
    return run


def test_six_tables_thirty_indexes_and_their_way_back(kept):
    before = kept.database.names()
    kept.migrate()
    for table, columns in PUBLISHED.items():
        assert kept.database.rows(f"select {', '.join(columns.split())} from {table}") == []
    named = ", ".join(f"'{each}'" for each in PUBLISHED)
    assert kept.database.rows(INDEXES[kept.database.engine].format(named)) == [{"n": 30}]
    kept.rollback(0)
    assert kept.database.names() == [*before, "x402_migrations"]
    kept.migrate()
    assert all(kept.test().values())


@pytest.mark.parametrize("wrong", [
    "update x402_payment_sessions set remaining_amount = -1", "update x402_payment_sessions set remaining_amount = authorized_amount + 1",
    "update x402_payment_sessions set status = 'open'", "update x402_payment_credits set balance = -1", "update x402_service_configs set currency = 'EUR'",
    "update x402_service_configs set pricing_model = 'free'", "update x402_transactions set purpose = 'proof', transaction_signature = 'same'",
    "insert into x402_payment_sessions select * from x402_payment_sessions", "update x402_transactions set session_id = 'none'",
])  # fmt: skip
def test_what_the_database_itself_refuses(till, wrong):
    till.session(), till.session(), till.top_up()
    with pytest.raises(till.box.seller.store.books.database.errors):
        till.rows(wrong)


def test_an_operators_day(db, till_on, tmp_path):
    assert db("stats")[0] == 2
    code, made = db("create-tables")
    assert (code, made["applied"][0]) == (0, "0001_tables") and db("create-tables")[1]["applied"] == []
    till = till_on(database=db.url)
    token = till.session()["session_token"]
    assert till.get(session=token).status_code == 200
    till.top_up(250_000)
    code, found = db("stats")
    assert (found["sessions"], found["unused_usd"], found["credits"]) == ({"active": 1}, {"active": "0.090000"}, {"wallets": 1, "usd": "0.250000"})
    assert db("test")[0] == 0 and db("cleanup")[1]["expired"] == 0
    till.box.warp(86_400)
    assert till.get().status_code == 402
    assert db("cleanup")[1]["expired"] == 1 and db("stats")[1]["sessions"] == {"expired": 1}

    copy = tmp_path / "copy.jsonl"
    assert db("export", str(copy))[0] == 0 and os.stat(copy).st_mode & 0o077 == 0
    assert db("reset")[0] == 2
    code, done = db("reset", "--yes")
    assert (code, done["rows"]["x402_payment_sessions"]) == (0, 0)
    assert db("migrate", "--restore", str(copy), "--yes")[0] == 0 and db("stats")[1]["sessions"] == {"expired": 1}


@pytest.mark.full
def test_a_copy_of_one_engine_is_read_by_the_other(till_on, fresh, tmp_path):
    till = till_on(database=fresh)
    token = till.session()["session_token"]
    till.get(session=token), till.top_up()
    copy, back = tmp_path / "copy.jsonl", tmp_path / "back.jsonl"
    count = till.box.seller.store.books.export(copy)
    other = books("lily", str(tmp_path / "x.db"))
    other.migrate()
    assert other.restore(copy) == count and other.export(back) == count
    other.close()
    assert till.box.seller.store.books.restore(back) == count
    assert till.get(session=token).headers["x-402-remaining"] == "0.08"


@pytest.mark.full
def test_two_sellers_on_one_database_never_take_the_same_cent(till_on, fresh):
    """Two processes are two connections: what one statement does is whole between them, too."""
    till = till_on(database=fresh)
    token = till.session()["session_token"]
    till.top_up(100_000)
    now = int(till.ground.now() * 1000)
    headers = [till.header(session=token)] * 20 + [till.signed(timestamp=now + each) for each in range(20)]
    statuses = []

    def shown(header):
        statuses.append(till.get(header=header).status_code)

    threads = [threading.Thread(target=shown, args=(each,)) for each in headers]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (statuses.count(200), statuses.count(402)) == (20, 20)
    assert till.rows("select remaining_amount as n from x402_payment_sessions union all select balance from x402_payment_credits") == [{"n": 0}, {"n": 0}]


@pytest.mark.full
def test_twenty_at_once_with_one_transaction_are_one_payment(till):
    tx = till.pay()
    rows, statuses = [till.session_row(tx) for _ in range(10)], []
    work = [lambda row=row: statuses.append(till.rest("POST", "x402_payment_sessions", row).status_code) for row in rows]
    work += [lambda: statuses.append(till.rest("POST", "x402_transactions", till.top_up_row(tx)).status_code)] * 5
    work += [lambda: statuses.append(till.get(proof=tx).status_code)] * 5
    threads = [threading.Thread(target=each) for each in work]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    spent = till.spent()
    assert sum(spent.get(each, (0, 0))[0] for each in ("proof", "session", "credit_top_up")) == 1
    assert statuses.count(201) == (0 if "proof" in spent else 1) and statuses.count(200) == (5 if "proof" in spent else 0)
