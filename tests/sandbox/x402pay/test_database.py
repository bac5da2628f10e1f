"""Schema and operators' verbs: the same on both engines."""

from __future__ import annotations

import os

import pytest

from x402_agent.sandbox import Sandbox, books

SEED = {
    "users": {"id", "wallet_address"}, "api_keys": {"key_hash", "key_preview", "scopes"}, "audit_logs": {"id", "action"},
    "content": {"content_id", "price_stx", "price_sbtc", "price_usdcx", "default_asset", "metadata", "ipfs_cid", "status", "enabled"},
    "payments": {"tx_id", "payer_address", "amount", "asset", "creator_amount", "platform_amount", "collaborator_amount", "status", "is_agent"},
    "access_grants": {"user_address", "content_id", "access_token", "expires_at", "revoked_at"}, "payment_events": {"time", "amount", "asset"},
    "x402_challenges": {"content_id", "requester", "is_agent", "amount", "asset", "recipient", "contract_addr", "challenge_token", "status", "expires_at", "paid_tx_id", "paid_at"},
}  # fmt: skip


@pytest.fixture
def kept(database):
    made = books("x402pay", database)
    yield made
    made.close()


def test_the_tables_of_the_seed_and_their_way_back(kept):
    before = kept.database.names()
    kept.migrate()
    for table, columns in SEED.items():
        assert kept.database.rows(f"select {', '.join(columns)} from {table}") == []
    for view in ("revenue_hourly", "revenue_daily", "content_performance_daily"):
        assert kept.database.rows(f"select bucket, payments, amount from {view}") == []
    kept.rollback(0)
    assert kept.database.names() == [*before, "x402_migrations"]
    kept.migrate()
    assert all(kept.test().values())


@pytest.mark.parametrize("wrong", [
    "insert into payments (id, tx_id, content_id, payer_address, amount, asset, created_at) values ('a', '0xzz', 'about', 'S', 1, 'STX', '2026-01-01')",
    "insert into payments (id, tx_id, content_id, payer_address, amount, asset, created_at) values ('a', '{tx}', 'about', 'S', 1, 'ETH', '2026-01-01')",
    "insert into payments (id, tx_id, content_id, payer_address, amount, asset, created_at) values ('a', '{tx}', 'none', 'S', 1, 'STX', '2026-01-01')",
    "update content set price_stx = 0", "update content set status = 'sold'", "update users set wallet_address = null",
])  # fmt: skip
def test_what_the_database_itself_refuses(till, wrong):
    database = till.box.seller.store.database
    with pytest.raises(database.errors):
        database.rows(wrong.replace("{tx}", "0x" + "ab" * 32))


def test_creators_are_credited_by_the_databases_own_function(till):
    till.buy()
    database, owner = till.box.seller.store.database, till.box.seller.catalogue.find("about").owner
    daily = database.rows("select asset, payments, amount, creator_amount, unique_payers from revenue_daily where creator_id = ?", owner)
    assert [(row["asset"], int(row["payments"]), int(row["amount"]), int(row["creator_amount"]), int(row["unique_payers"])) for row in daily] == [("STX", 1, 100_000, 100_000, 1)]
    if database.engine == "postgresql":
        found = database.rows("select asset, amount from calculate_creator_revenue(?, '2000-01-01', '5000-01-01')", owner)
        assert [(row["asset"], int(row["amount"])) for row in found] == [("STX", 100_000)]


def test_an_operators_day(db, till_on, tmp_path):
    assert db("stats")[0] == 2
    code, made = db("create-tables")
    assert (code, made["applied"]) == (0, ["0001_tables", "0002_webhooks"]) and db("create-tables")[1]["applied"] == []
    till = till_on(database=db.url)
    tx = till.transfer()
    token = till.verify(tx).json()["accessToken"]
    till.asked(), till.http.get("/functions/v1/x402-gateway?contentId=premium-data")
    code, found = db("stats")
    assert (found["payments"], found["revenue"], found["active_grants"], found["content"]) == ({"confirmed": 1}, {"STX": "100000"}, 1, {"published": 7})
    assert db("test")[0] == 0 and db("cleanup")[1]["expired"] == 0
    assert [(row["asset"], int(row["amount"])) for row in db("analytics")[1]["hours"]] == [("STX", 100_000)]
    till.box.warp(1_000)
    till.get("/health")
    assert db("cleanup")[1]["expired"] == 3  # two nonces, a challenge

    copy = tmp_path / "copy.jsonl"
    assert db("export", str(copy))[0] == 0 and token not in copy.read_text() and os.stat(copy).st_mode & 0o077 == 0
    assert db("reset")[0] == 2
    code, done = db("reset", "--yes")
    assert (code, done["rows"]["payments"]) == (0, 0)
    assert till.get(x_payment_proof=token).status_code in (401, 404)
    assert db("migrate", "--restore", str(copy), "--yes")[0] == 0
    assert till.get(x_payment_proof=token).status_code == 200
    assert db("migrate", "--rollback", "--yes")[1]["undone"] == ["0002_webhooks"]
    assert db("migrate")[1]["applied"] == ["0002_webhooks"]


@pytest.mark.full
def test_a_copy_of_one_engine_is_read_by_the_other(till_on, fresh, tmp_path):
    till = till_on(database=fresh)
    till.buy()
    copy = tmp_path / "copy.jsonl"
    count = till.box.seller.store.books.export(copy)
    other = books("x402pay", str(tmp_path / "x.db"))
    other.migrate()
    assert other.restore(copy) == count
    back = tmp_path / "back.jsonl"
    assert other.export(back) == count
    assert till.box.seller.store.books.restore(back) == count
    other.close()


def test_yesterdays_payments_are_here_today(tmp_path, till_on):
    path = str(tmp_path / "x.db")
    till = till_on(database=path)
    till.buy()
    address = till.payer.address
    till.box.close()
    with Sandbox(seller="x402pay", chain="stacks", database=path) as box:
        assert box.seller.store.history(address, 10, 0)[1] == 1
        assert box.seller.catalogue.find("about").creator == box.pay_to
