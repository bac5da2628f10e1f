"""`x402-agent sandbox db --seller monitor`, as its db_manager is typed; and its schema, on both engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
from typer.testing import CliRunner

from x402_agent import SettingsError
from x402_agent.cli.app import app
from x402_agent.database import Pool, connect
from x402_agent.sandbox import books

MICRO = 1_000_000
PAYMENTS = ["id", "wallet_address", "expected_amount_usdt", "callback_url", "order_id", "status", "transaction_hash", "received_amount_usdt", "created_at",
            "completed_at", "last_checked_timestamp", "callback_attempts", "last_callback_attempt", "callback_success"]  # fmt: skip
LOGS = ["id", "payment_id", "event_type", "message", "event_metadata", "created_at"]


def sell(till_on, url):
    till = till_on(database=url)
    one = till.create(callback_url="http://10.0.0.1/")
    till.pay(12_340_000)
    till.create(expected_amount_usdt=2)
    asked = till.asked()
    till.solid()
    assert till.status(one)["status"] == "completed"
    return till, one, asked


def test_an_operators_day(db, till_on, tmp_path):
    assert db("stats")[0] == 2
    assert db("create-tables")[1]["applied"] == ["0001_payments"]
    assert db("create-tables")[1]["applied"] == []
    till, one, asked = sell(till_on, db.url)
    code, found = db("stats")
    assert (code, found["rows"]["payments"], found["payments"], found["total_usdt"]) == (0, 3, {"completed": 1, "pending": 2}, "12.340000")
    assert found["failed_callbacks"] == 1  # that nobody was reached is found in the books
    assert db("test")[0] == 0
    assert db("cleanup")[1]["expired"] == 0
    (day,) = db("analytics")[1]["hours"]
    assert (int(day["payments"]), int(day["micros"])) == (1, 12_340_000)

    copy = tmp_path / "copy.jsonl"
    assert db("export", "--file", str(copy))[1]["rows"] >= 3
    assert os.stat(copy).st_mode & 0o077 == 0
    assert db("export")[0] == 2
    assert db("reset")[0] == 2  # nobody is there to ask
    code, done = db("reset", "--yes")
    assert (code, done["rows"]["payments"]) == (0, 0)
    assert till.http.get(f"/payment_status/{one}").status_code == 404
    code, told = db("migrate", "--restore", str(copy), "--yes")
    assert code == 0, told
    assert till.status(one)["status"] == "completed"
    till.create(expected_amount_usdt=3)  # ids of the log go on behind those that were restored
    till.pay(round(float(asked["amount"]) * MICRO))
    till.solid()
    assert till.status(asked["payment_id"])["status"] == "completed"


def test_old_lines_of_the_log_go(db, till_on):
    till, one, _ = sell(till_on, db.url)
    assert db("cleanup-logs")[1]["deleted"] == 0
    till.box.warp(20 * 86_400)
    till.create(order_id="later", expected_amount_usdt=7)
    assert db("cleanup-logs", "--days", "30")[1]["deleted"] == 0
    assert db("cleanup-logs", "--days", "10")[1]["deleted"] >= 4
    assert till.status(one)["status"] == "completed"
    assert CliRunner().invoke(app, ["sandbox", "db", "cleanup-logs", "--days", "0"]).exit_code == 2


def test_an_invoice_that_nobody_watches_expires_by_its_operator(db, till_on):
    till = till_on("stuck", database=db.url)
    one = till.create()
    till.box.warp(86_401)
    till.create(expected_amount_usdt=2)
    assert db("cleanup")[1]["expired"] == 0  # what came in time may still become final
    till.box.warp(700)
    till.create(expected_amount_usdt=3)
    assert db("cleanup")[1]["expired"] == 1
    assert (till.status(one)["status"], till.log(one)[-1]) == ("expired", "expired")


def test_another_seller_keeps_no_such_log(tmp_path, monkeypatch):
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    books("kamiyo", str(tmp_path / "kamiyo.db")).migrate()
    done = CliRunner().invoke(app, ["sandbox", "db", "cleanup-logs", "--seller", "kamiyo", "--database", str(tmp_path / "kamiyo.db"), "--json"])
    assert (done.exit_code, json.loads(done.stdout)["hint"]) == (2, "--seller monitor")


def columns(database, table):
    if database.engine == "sqlite":
        return [row["name"] for row in database.rows(f"select name from pragma_table_info('{table}') order by cid")]
    where = "table_schema = current_schema() and table_name = ?"
    return [row["n"] for row in database.rows(f"select column_name as n from information_schema.columns where {where} order by ordinal_position", table)]


def test_the_published_columns_come_first_and_words_are_upper_case(database, till_on):
    till = till_on(database=database)
    one = till.create()
    with till.box.seller.store.pool.lent() as link:
        assert columns(link, "payments")[: len(PAYMENTS)] == PAYMENTS
        assert columns(link, "payment_logs") == LOGS
        assert link.one("select status, order_id, expected_amount_usdt as a from payments where id = ?", one) == {"status": "PENDING", "order_id": "o1", "a": "12.340000"}
        with pytest.raises(Exception, match=r"(?i)enum|check"):
            link.rows("update payments set status = 'pending'")


def test_every_change_has_a_way_back(database):
    kept = books("monitor", database)
    before = kept.database.names()
    kept.migrate()
    kept.rollback(0)
    assert kept.database.names() == [*before, "x402_migrations"]
    kept.migrate()
    kept.close()


def test_what_was_watched_is_watched_by_the_next_one(till_on, tmp_path, database):
    url = database or str(tmp_path / "kept.db")
    till = till_on(database=url)
    one = till.create()
    tx = till.pay(12_340_000)
    ground = till.box.ground
    till.box.seller.close()
    again = till_on(database=url, clock=ground.chain._clock)
    again.box.seller.grid._ground = ground
    again.box.warp(63)
    ground.warp(63)
    assert again.status(one)["transaction_hash"] == tx


@pytest.mark.full
def test_an_export_of_one_engine_is_restored_on_the_other(fresh, till_on, tmp_path):
    sell(till_on, str(tmp_path / "a.db"))
    first, second = books("monitor", str(tmp_path / "a.db")), books("monitor", fresh)
    rows = first.export(tmp_path / "copy.jsonl")
    second.migrate()
    assert second.restore(tmp_path / "copy.jsonl") == rows
    second.export(tmp_path / "back.jsonl")
    same = [[json.loads(line) for line in (tmp_path / name).read_text().splitlines()[1:]] for name in ("copy.jsonl", "back.jsonl")]
    assert len(same[0]) == len(same[1])
    first.close()
    second.close()


CHILD = """
import sys, time, uuid
from x402_agent.sandbox.monitor.books import MonitorBooks
from x402_agent.sandbox.monitor.store import Payment, Store
store = Store(MonitorBooks(sys.argv[1]), time.time)
for each in range(10**6):
    made = Payment(str(uuid.uuid4()), "T" * 34, 1000000 + each, "", str(uuid.uuid4()), "pending", created=time.time())
    assert store.add(made, "/report")
    print(made.id, flush=True)
"""


def test_what_was_said_to_be_watched_survives_kill_9(database, tmp_path):
    url = database or str(tmp_path / "killed.db")
    with subprocess.Popen([sys.executable, "-c", CHILD, url], stdout=subprocess.PIPE, text=True) as child:
        said = [child.stdout.readline() for _ in range(100)]
        child.kill()
        said += child.stdout.readlines()
    kept = books("monitor", url)
    found = {row["id"] for row in kept.database.rows("select id from shop_orders")}
    assert {line.strip() for line in said if line.endswith("\n")} <= found
    assert len(found) == kept.database.one("select count(*) as n from payment_logs where event_type = 'created'")["n"]
    kept.close()


# -- connections --------------------------------------------------------------------------------------------------------


def borrow(pool):
    with pool.lent():
        pass


@pytest.mark.full
def test_a_pool_lends_keeps_and_renews_connections(fresh):
    now = [0.0]
    first = connect(fresh, "x402_monitor")
    pool = Pool(first, fresh, "x402_monitor", keep=2, more=1, life=120, clock=lambda: now[0])
    with pool.lent() as a, pool.lent() as b, pool.lent() as c:
        assert len({id(a), id(b), id(c)}) == 3
        waiting = threading.Thread(target=borrow, args=(pool,))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()  # three are lent, and no fourth is opened
        pids = {each.one("select pg_backend_pid() as n")["n"] for each in (a, b, c)}
        assert len(pids) == 3
    waiting.join(20)
    now[0] = 121
    with pool.lent() as fresh_one:
        assert fresh_one.one("select pg_backend_pid() as n")["n"] not in pids
    pool.close()


def test_sqlite_has_one_connection_and_everybody_gets_it():
    pool = Pool(connect("", "x402_monitor"), "", "x402_monitor")
    seen = []

    def work():
        for _ in range(50):
            with pool.lent() as link:
                seen.append(link.one("select 1 as n")["n"])

    threads = [threading.Thread(target=work) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(seen) == 400
    pool.close()
    with pytest.raises(SettingsError, match="closed"), pool.lent():
        pass
