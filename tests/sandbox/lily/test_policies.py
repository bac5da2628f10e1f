"""Who may do what with which rows: one table of rules, tried on both engines; and PostgreSQL by itself, with statements of a stranger's own."""

from __future__ import annotations

import json

import pytest

from x402_agent import SettingsError
from x402_agent.sandbox import books
from x402_agent.sandbox.lily.policies import ANON, AUTHENTICATED, RULES, SERVICE, Claims, Forbidden, acting

ME, YOU = "M" * 44, "Y" * 44
MADE, WHEN, LATER = "2026-01-02 03:04:05.678", "2026-01-02", "2036-01-02 03:04:05.678"
PAID, SIGNED = 500_000, "S" * 88
TYPES = {"service_type": "agent_execution", "created_at": MADE, "updated_at": MADE}


def rows_of(wallet, name):
    """A row of each table that is a wallet's, or its service's; ids end with `name`."""
    service = {"service_id": f"service {name}"} | TYPES
    session = {"authorized_amount": PAID, "remaining_amount": PAID, "currency": "USDC", "resource_pattern": "agent/x/*", "usd_amount": PAID, "expires_at": LATER}
    transaction = {"amount": PAID, "currency": "USDC", "status": "completed", "purpose": "session", "transaction_signature": f"{SIGNED}{name}"[-88:]}
    sums = {"date": WHEN, "updated_at": MADE, "service_id": f"service {name}", "service_type": "agent_execution"}
    found = {
        "x402_service_configs": {"owner_wallet": wallet, "platform_wallet": "P", "base_price": 10_000, "is_active": int(name != "hidden")} | service,
        "x402_payment_sessions": {"wallet_address": wallet, "session_token": f"{name:0>64}", "initial_payment_signature": f"{SIGNED}{name}"[-88:]} | session | service,
        "x402_payment_credits": {"wallet_address": wallet, "balance": 7, "total_deposited": 7} | service,
        "x402_transactions": {"wallet_address": wallet} | transaction | {k: v for k, v in service.items() if k != "updated_at"},
        "x402_payment_authorizations": {"wallet_address": wallet, "spending_limit_per_day": 5} | service,
        "x402_analytics": sums,
    }
    return {table: {"id": f"{table[5:16]} {name}"} | row for table, row in found.items()}


@pytest.fixture
def kept(database):
    """The whole schema, a row of each table that is mine, one that is yours, and a service that sells nothing any more."""
    found = books("lily", database)
    found.reset() if found.applied() else found.migrate()
    for name, wallet in (("mine", ME), ("yours", YOU), ("hidden", YOU)):
        for table, row in rows_of(wallet, name).items():
            found.database.rows(f"insert into {table} ({', '.join(row)}) values ({', '.join('?' * len(row))})", *row.values())
    yield found
    found.close()


def does(kept, claims, verb, table, *what):
    """What comes of it, "no" where it is forbidden; nothing of it stays."""
    found = "no"
    try:
        with kept.database.transaction():
            with acting(kept.database, claims, kept.schema) as who:
                found = getattr(who, verb)(table, *what)
            raise LookupError
    except (Forbidden, LookupError):
        return found


CHANGED = {  # what a table's owner might want to change, and may
    "x402_service_configs": {"base_price": 20_000}, "x402_payment_sessions": {"status": "revoked"},
    "x402_payment_authorizations": {"spending_limit_per_day": 9},
}  # fmt: skip
MINE = {  # whom a key of mine lets do what with my own rows: select, insert, update, delete
    "x402_service_configs": "s---", "x402_payment_sessions": "siu-", "x402_payment_credits": "s---", "x402_transactions": "si--",
    "x402_payment_authorizations": "siud", "x402_analytics": "----",
}  # fmt: skip


def reached(kept, claims, table, name):
    """Which of the four verbs reach the row with this name, as letters."""
    row = f"{table[5:16]} {name}"
    new = rows_of(claims.wallet or ME, "new")[table] if name == "mine" else rows_of(YOU, "new")[table]
    found = ""
    for verb, what in (
        ("select", (["id"], "id = ?", [row])),
        ("insert", (new,)),
        ("update", (CHANGED.get(table, {"id": "other"}), "id = ?", [row])),
        ("delete", ("id = ?", [row])),
    ):
        came = does(kept, claims, verb, table, *what)
        found += verb[0] if came and came != "no" else "-"
    return found


def test_a_wallets_key_reaches_its_own_rows_and_only_as_the_table_says(kept):
    me = Claims(AUTHENTICATED, ME, f"{SIGNED}new"[-88:], PAID)
    assert {table: reached(kept, me, table, "mine") for table in MINE} == MINE
    assert {table: reached(kept, me, table, "yours") for table in MINE} == {table: "s---" if table == "x402_service_configs" else "----" for table in MINE}


def test_who_has_no_wallet_reads_what_is_for_sale_and_nothing_else(kept):
    for claims in (Claims(ANON), Claims(AUTHENTICATED), Claims(ANON, ME, SIGNED, PAID)):
        for table in MINE:
            sold = "s---" if table == "x402_service_configs" else "----"
            assert reached(kept, claims, table, "yours") == sold, (claims, table)
            assert reached(kept, claims, table, "hidden") == "----", (claims, table)


def test_the_service_reaches_everything(kept):
    assert {reached(kept, Claims(SERVICE), table, name) for table in MINE for name in ("mine", "yours")} == {"siud"}
    with pytest.raises(Forbidden, match="no such role"), acting(kept.database, Claims("x402_lily_anon; reset role"), kept.schema):
        pass


@pytest.mark.parametrize(("claims", "table", "change"), [
    (Claims(AUTHENTICATED, ME), "x402_payment_sessions", {"remaining_amount": 9}), (Claims(AUTHENTICATED, ME), "x402_payment_sessions", {"status": "depleted"}),
    (Claims(AUTHENTICATED, ME), "x402_payment_sessions", {"status": "revoked", "wallet_address": YOU}), (Claims(AUTHENTICATED, ME), "x402_payment_sessions", {"expires_at": LATER}),
    (Claims(AUTHENTICATED, ME), "x402_payment_credits", {"balance": 9_000_000}), (Claims(AUTHENTICATED, ME), "x402_payment_authorizations", {"wallet_address": YOU}),
    (Claims(AUTHENTICATED, ME), "x402_payment_authorizations", {"day_spent": 0}), (Claims(AUTHENTICATED, ME), "x402_service_configs", {"platform_wallet": ME}),
    (Claims(AUTHENTICATED, ME), "x402_transactions", {"status": "refunded"}), (Claims(ANON), "x402_service_configs", {"base_price": 1}),
], ids=lambda each: "-".join(each) if isinstance(each, dict) else each.role if isinstance(each, Claims) else each[5:])  # fmt: skip
def test_what_money_hangs_on_is_changed_by_no_owner(kept, claims, table, change):
    assert does(kept, claims, "update", table, change, "1 = 1", []) == "no"


def test_a_revoked_session_stays_revoked(kept):
    kept.database.rows("update x402_payment_sessions set status = 'revoked'")
    assert does(kept, Claims(AUTHENTICATED, ME), "update", "x402_payment_sessions", {"status": "revoked"}, "1 = 1", []) == []
    assert does(kept, Claims(AUTHENTICATED, ME), "update", "x402_payment_sessions", {"status": "active"}, "1 = 1", []) in ([], "no")


@pytest.mark.parametrize("claims", [
    Claims(AUTHENTICATED, ME), Claims(AUTHENTICATED, ME, f"{SIGNED}new"[-88:], PAID - 1), Claims(AUTHENTICATED, ME, "another", PAID),
    Claims(AUTHENTICATED, YOU, f"{SIGNED}new"[-88:], PAID), Claims(ANON, ME, f"{SIGNED}new"[-88:], PAID),
], ids=["unseen", "too-much", "another-payment", "another-wallet", "no-key"])  # fmt: skip
@pytest.mark.parametrize("table", ["x402_payment_sessions", "x402_transactions"])
def test_a_row_that_says_paid_is_written_for_a_payment_that_was_seen(kept, claims, table):
    assert does(kept, claims, "insert", table, rows_of(ME, "new")[table]) == "no"


@pytest.mark.parametrize("name", ["authorized_amount", "remaining_amount"])
def test_a_session_is_as_large_as_its_payment(kept, name):
    me, row = Claims(AUTHENTICATED, ME, f"{SIGNED}new"[-88:], PAID), rows_of(ME, "new")["x402_payment_sessions"]
    assert does(kept, me, "insert", "x402_payment_sessions", row) != "no"
    more = {"authorized_amount": PAID + 1, name: PAID + 1}
    assert does(kept, me, "insert", "x402_payment_sessions", row | more) == "no"


# -- PostgreSQL alone ---------------------------------------------------------------------------------------------------


def raw(kept, role, claims, sql):
    """What a statement of a stranger's own gives: rows, or the database's words."""
    database = kept.database
    try:
        with database.transaction():
            database.rows("select set_config('request.jwt.claims', ?, true)", json.dumps(claims))
            database.script(f"set local role x402_lily_{role}")
            return database.rows(sql)
    except database.errors as cause:
        return str(cause).partition("\n")[0]


@pytest.mark.full
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
class TestPostgres:
    def test_24_policies_on_six_tables(self, kept):
        found = kept.database.rows("select tablename as t, cmd as c from pg_policies where schemaname = 'x402_lily'")
        assert {(row["t"], row["c"].lower()) for row in found} == set(RULES) and len(found) == 24
        here = kept.database.rows("select c.relname as t from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'x402_lily' and c.relrowsecurity")
        assert {row["t"] for row in here} == {table for table, _ in RULES}

    @pytest.mark.parametrize(("role", "sql", "comes"), [
        ("authenticated", "select session_token as t from x402_payment_sessions", [{"t": f"{'mine':0>64}"}]),
        ("authenticated", "select count(*) as n from x402_payment_sessions where wallet_address <> current_setting('request.jwt.claims')::json ->> 'wallet_address'", [{"n": 0}]),
        ("authenticated", "update x402_payment_credits set balance = 1000000", "permission denied for table x402_payment_credits"),
        ("authenticated", "update x402_payment_sessions set remaining_amount = 1", "permission denied for table x402_payment_sessions"),
        ("authenticated", "delete from x402_transactions", "permission denied for table x402_transactions"),
        ("authenticated", "truncate x402_transactions", "permission denied for table x402_transactions"),
        ("authenticated", "select secret from webhooks", "permission denied for table webhooks"),
        ("authenticated", "select * from x402_alerts", "permission denied for table x402_alerts"),
        ("authenticated", "drop table x402_payment_sessions", "must be owner of table x402_payment_sessions"),
        ("authenticated", "alter table x402_payment_sessions disable row level security", "must be owner of table x402_payment_sessions"),
        ("authenticated", "create table x402_lily.mine (n int)", "permission denied for schema x402_lily"),
        ("anon", "select session_token from x402_payment_sessions", "permission denied for table x402_payment_sessions"),
        ("anon", "select service_id as s from x402_service_configs order by 1", [{"s": "service mine"}, {"s": "service yours"}]),
        ("anon", "select service_id as s from x402_service_configs where is_active = 0", []),
        ("anon", "insert into x402_payment_sessions (id) values ('x')", "permission denied for table x402_payment_sessions"),
        ("anon", "select balance from x402_payment_credits", "permission denied for table x402_payment_credits"),
        ("service_role", "select count(*) as n from x402_payment_sessions", [{"n": 3}]),
    ])  # fmt: skip
    def test_the_database_itself_refuses(self, kept, role, sql, comes):
        assert raw(kept, role, {"wallet_address": ME}, sql) == comes

    def test_without_claims_nothing_is_anybodys(self, kept):
        for claims in ({}, {"wallet_address": ""}, {"wallet_address": None}):
            assert raw(kept, "authenticated", claims, "select id from x402_payment_sessions") == []

    def test_after_a_request_nobodys_claims_are_left(self, kept):
        with kept.database.transaction():
            with acting(kept.database, Claims(AUTHENTICATED, ME), kept.schema) as who:
                assert len(who.select("x402_payment_sessions", ["id"])) == 1
            assert kept.database.one("select count(*) as n from x402_payment_sessions") == {"n": 3}
        assert kept.database.one("select current_setting('request.jwt.claims', true) as c, current_user = session_user as o") == {"c": "", "o": True}

    def test_every_role_goes_with_the_schema_and_others_of_that_server_stay(self, kept):
        roles = "select rolname as r from pg_roles where rolname in ('anon', 'x402_lily_anon', 'x402_lily_authenticated', 'x402_lily_service_role') order by 1"
        kept.database.script("create role anon")
        try:
            assert len(kept.database.rows(roles)) == 4
            kept.rollback(0)
            assert kept.database.rows(roles) == [{"r": "anon"}]
            kept.migrate()
            assert len(kept.database.rows(roles)) == 4
        finally:
            kept.database.script("drop role anon")

    def test_a_role_of_somebody_elses_is_left_alone(self, kept):
        kept.rollback(0)
        kept.database.script("create role x402_lily_anon login")
        try:
            with pytest.raises(SettingsError, match="is somebody else's"), kept.database.spoken():
                kept.migrate()
        finally:
            kept.database.script("drop role x402_lily_anon")

    def test_who_may_make_no_roles_is_told(self, kept):
        kept.rollback(0)
        kept.database.script("drop schema x402_lily cascade")
        kept.database.script("create role plain login")
        kept.database.script("grant create on database postgres to plain")
        other = books("lily", kept.database._url.replace("x402@", "plain@"))
        try:
            with pytest.raises(SettingsError, match="permission denied to create role"), other.database.spoken():
                other.migrate()
        finally:
            other.close()
            kept.database.script("drop owned by plain cascade")
            kept.database.script("drop role plain")
