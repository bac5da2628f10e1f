"""Schema, views and functions: the same on both engines, with the objects that the published ones have."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import traceback

import pytest

from x402_agent.database import connect
from x402_agent.errors import SettingsError
from x402_agent.sandbox import Sandbox, books

PAYMENTS = ["id", "tx_hash", "chain", "amount_usdc", "from_address", "to_address", "block_number", "confirmations", "status", "risk_score",
            "requests_allocated", "requests_used", "created_at", "verified_at", "expires_at", "updated_at"]  # fmt: skip
TABLES = {
    "x402_payments": [*PAYMENTS, "claimed_by"],
    "x402_tokens": ["id", "token_hash", "payment_id", "created_at", "expires_at", "last_used_at"],
    "x402_usage": ["id", "payment_id", "endpoint", "method", "status_code", "response_time_ms", "ip_address", "user_agent", "created_at"],
    "x402_analytics": ["id", "hour_bucket", "chain", "total_payments", "total_amount_usdc", "total_requests", "unique_payers",
                       "average_payment_usdc", "created_at"],
}  # fmt: skip
VIEWS = ["v_x402_active_payments", "v_x402_stats_24h", "v_x402_top_payers", "v_x402_endpoint_stats"]


@pytest.fixture
def kept(database):
    made = books("kamiyo", database)
    yield made
    made.close()


def columns(database, table):
    if database.engine == "sqlite":
        return [row["name"] for row in database.rows(f"select name from pragma_table_info('{table}') order by cid")]
    where = "table_schema = current_schema() and table_name = ?"
    return [row["n"] for row in database.rows(f"select column_name as n from information_schema.columns where {where} order by ordinal_position", table)]


def test_tables_columns_and_fourteen_indexes(kept):
    opened = kept.database
    assert [each.number for each in kept.migrate()][:2] == [1, 2]
    assert kept.migrate() == []
    for table, names in TABLES.items():
        assert columns(opened, table) == names
    where = "sqlite_master where type = 'index' and name" if opened.engine == "sqlite" else "pg_indexes where schemaname = current_schema() and indexname"
    found = opened.rows(f"select tbl_name as t from {where} like 'idx_x402_%'" if opened.engine == "sqlite" else
                        f"select tablename as t from {where} like 'idx_x402_%%' and 1 = ?", *([] if opened.engine == "sqlite" else [1]))  # fmt: skip
    owned = [row["t"] for row in found if row["t"] in TABLES]
    assert [owned.count(table) for table in TABLES] == [6, 3, 3, 2]
    assert len(owned) == 14
    for view in VIEWS:
        assert opened.rows(f"select * from {view}") == []


def test_every_change_has_a_way_back(kept):
    opened = kept.database
    before = opened.names()
    kept.migrate()
    undone = kept.rollback()
    assert [each.number for each in undone] == [kept.migrations()[-1].number]
    kept.rollback(0)
    assert opened.names() == [*before, "x402_migrations"]
    kept.migrate()
    assert set(TABLES) <= set(opened.names())


def test_views_and_functions_tell_what_was_sold(till):
    database = till.box.seller.store.database
    tx = till.pay(200_000)
    token = till.token(till.verify(tx)["payment_id"])["payment_token"]
    for path in ("/exploits", "/exploits", "/wallets/risk-check"):
        assert till.get(path, x_payment_token=token).status_code == 200
    active = database.rows("select * from v_x402_active_payments")
    assert [(row["tx_hash"], row["requests_remaining"], row["amount_usdc"]) for row in active] == [(tx, 197, "0.200000")]
    top = database.rows("select * from v_x402_top_payers")
    assert [(row["from_address"], row["total_amount_usdc"]) for row in top] == [(till.box.payer_address, "0.200000")]
    day = database.rows("select * from v_x402_stats_24h")
    assert [(row["chain"], row["total_payments"], row["unique_payers"], row["requests_used"]) for row in day] == [(till.chain, 1, 1, 3)]
    ends = {row["endpoint"]: row["total_requests"] for row in database.rows("select * from v_x402_endpoint_stats")}
    assert ends == {"/exploits": 2, "/wallets/risk-check": 1}

    till.box.warp(3600)
    till.get()  # the clock of the world reaches the database with a request
    for _ in range(2):
        till.box.seller.store.books.analytics()
    rows = database.rows("select * from x402_analytics")
    fields = ("chain", "total_payments", "total_amount_usdc", "total_requests", "unique_payers", "average_payment_usdc")
    assert [tuple(row[name] for name in fields) for row in rows] == [(till.chain, 1, "0.200000", 3, 1, "0.200000")]

    assert till.box.seller.store.books.cleanup() == 0
    till.box.warp(86_400)
    till.get()
    assert database.rows("select * from v_x402_active_payments") == []
    assert till.box.seller.store.books.cleanup() == 1
    assert database.rows("select status from x402_payments") == [{"status": "expired"}]
    assert database.rows("select * from x402_tokens") == []


def test_the_same_hash_twice_and_a_used_up_quota_are_the_databases_own_rules(kept):
    opened = kept.database
    kept.migrate()
    insert = ("insert into x402_payments (tx_hash, chain, amount_usdc, from_address, to_address, block_number, requests_allocated, requests_used, expires_at)"
              " values ('0x1', 'base', '0.100000', 'a', 'b', 1, 100, ?, '2030-01-01')")  # fmt: skip
    opened.rows(insert, 0)
    for used in (0, 101):
        with pytest.raises(Exception, match=r"(?i)unique|check"):
            opened.rows(insert, used)
    with pytest.raises(Exception, match=r"(?i)foreign"):
        opened.rows("insert into x402_tokens (token_hash, payment_id, expires_at) values (?, 77, '2030-01-01')", "a" * 64)
    opened.rows("insert into x402_tokens (token_hash, payment_id, expires_at) values (?, (select id from x402_payments), '2030-01-01')", "a" * 64)
    opened.rows("delete from x402_payments")
    assert opened.rows("select * from x402_tokens") == []


def test_postgresql_sells_too(fresh, till_on):
    till = till_on(database=fresh)
    tx = till.pay()
    token = till.token(till.verify(tx)["payment_id"])["payment_token"]
    assert till.get(x_payment_token=token).status_code == 200
    database = till.box.seller.store.database
    assert (database.engine, database.one("select requests_used as n from x402_payments")) == ("postgresql", {"n": 1})
    till.box.warp(90_000)
    assert till.get(x_payment_token=token).status_code == 402
    assert till.box.seller.store.books.cleanup() == 1
    till.box.seller.store.books.analytics()


def test_what_a_seller_sold_outlives_it(tmp_path, till_on):
    path = str(tmp_path / "kamiyo.db")
    with Sandbox(seller="kamiyo", database=path) as box:
        till = type(till_on())(box)
        token = till.buy()
        till.box.warp(1000)
        till.get(x_payment_token=token)
    again = till_on(database=f"sqlite:///{path}")
    assert again.get(x_payment_token=token).status_code == 200
    with sqlite3.connect(path) as link:
        assert link.execute("select requests_used from x402_payments").fetchall() == [(2,)]
        assert abs(link.execute("select ahead from x402_clock").fetchone()[0]) < 2
    link.close()


def test_a_database_that_is_not_there():
    for url, words in [("mysql://x", "mysql"), ("postgresql://x402:hunter2@127.0.0.1:1/none", "127.0.0.1"), ("/nowhere/at/all.db", "nowhere")]:
        with pytest.raises(SettingsError) as caught:
            connect(url, "x402_kamiyo")
        assert words in str(caught.value)
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("word", ["hunter2/x", "12/hunter2", "hunter2#x", "12#hunter2", "hunter2?", "hunter2@x/y", "1/[hunter2"])
def test_a_password_that_is_not_encoded_is_in_no_error(word):
    with pytest.raises(SettingsError) as caught:
        connect(f"postgresql://x402:{word}@127.0.0.1:1/none", "x402_kamiyo")
    assert "cannot be read" in caught.value.what
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caught.value.hint


def test_a_database_that_goes_away_opens_nothing_and_comes_back(fresh, till_on):
    import psycopg

    till = till_on(database=fresh)
    token = till.buy()
    with psycopg.connect(fresh, autocommit=True) as link:
        link.execute("select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid() and backend_type = 'client backend'")
    assert till.get(x_payment_token=token).status_code == 500
    assert till.get(x_payment_token=token).status_code == 200
    assert till.box.seller.store.database.one("select requests_used as n from x402_payments") == {"n": 1}


def test_two_sellers_of_one_database_never_sell_a_call_twice(till_on, database, tmp_path):
    url = database or str(tmp_path / "shared.db")
    tills = [till_on(database=url) for _ in range(2)]
    token = tills[0].buy()
    answers = []

    def work(till):
        answers.extend(till.get(x_payment_token=token).status_code for _ in range(35))

    threads = [threading.Thread(target=work, args=(till,)) for till in tills * 2]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (answers.count(200), answers.count(402)) == (100, 40)
    database = tills[1].box.seller.store.database
    assert database.one("select requests_used as n, status from x402_payments") == {"n": 100, "status": "used"}
    assert database.one("select count(*) as n from x402_usage") == {"n": 100}


CHILD = """
import sys, time
from x402_agent.sandbox.kamiyo.books import KamiyoBooks
from x402_agent.sandbox.kamiyo.sight import Seen
from x402_agent.sandbox.kamiyo.store import Store
store = Store(KamiyoBooks(sys.argv[1]), time.time, time.time)
bought = store.sold(Seen("0x1", "a", "b", 10**9, 1, 1, 6), "base", allocated=10**6, used=0, life=86400, caller="c")
while store.take(bought.id):
    print("taken", flush=True)
"""


def test_what_was_counted_survives_kill_9(database, tmp_path):
    url = database or str(tmp_path / "killed.db")
    with subprocess.Popen([sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE, text=True) as child:
        acked = [child.stdout.readline() for _ in range(200)]
        child.kill()
        acked += child.stdout.readlines()
    kept = books("kamiyo", url)
    try:
        used = int(kept.database.one("select requests_used as n from x402_payments")["n"])
    finally:
        kept.close()
    assert used - len([line for line in acked if line == "taken\n"]) in (0, 1)
