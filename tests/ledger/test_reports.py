"""The reading side, and the views that users of such systems know."""

import pytest

from x402_agent.errors import LedgerError
from x402_agent.model import Limit

VIEWS = {
    "v_x402_active_payments": {"id", "tx_hash", "chain", "amount_usdc", "from_address", "to_address", "status",
                               "created_at", "expires_at"},
    "v_x402_stats_24h": {"chain", "total_payments", "total_amount_usdc", "unique_payers", "average_payment_usdc"},
    "v_x402_top_payers": {"from_address", "chain", "payment_count", "total_amount_usdc", "last_payment_at", "agent"},
    "v_x402_top_payees": {"to_address", "chain", "payment_count", "total_amount_usdc", "last_payment_at"},
    "v_x402_endpoint_stats": {"endpoint", "method", "total_requests", "avg_response_time_ms"},
    "x402_usage": {"id", "payment_id", "endpoint", "method", "status_code", "response_time_ms", "created_at"},
    "x402_payments": {"id", "payment_id", "tx_hash", "chain", "from_address", "to_address", "nonce", "network", "asset",
                      "amount", "micros", "state", "created_at", "updated_at"},
    "x402_tokens": {"token_hash", "payment_id", "created_at", "expires_at", "last_used_at"},
    "x402_analytics": {"hour_bucket", "chain", "total_payments", "total_amount_usdc", "total_requests",
                       "unique_payers", "average_payment_usdc", "created_at"},
    "x402_events": {"seq", "payment_id", "from_state", "state", "at", "data", "prev_hash", "hash"},
    "x402_pins": {"origin", "network", "pay_to"},
    "x402_counters": {"scope", "window", "began_at", "micros", "payments", "units"},
}  # fmt: skip


@pytest.fixture
def busy(desk, ledger):
    """Four payments: spent, refused, in doubt, released; two hosts."""
    import time

    desk.clock.now = time.time()
    one = desk.pay(ledger, desk.ask("/one"))
    ledger.close(one, "CLAIMED", status=200, milliseconds=40, transaction="0xt").run()
    two = desk.pay(ledger, desk.ask("/two", host="b.example"), desk.offer(250_000))
    ledger.close(two, "UNKNOWN", refused=True, status=402, milliseconds=20).run()
    three = desk.pay(ledger, desk.ask("/three"))
    four = ledger.hold(desk.ask("/four"), desk.offer(), desk.terms(), (), reserve=True).run()
    ledger.close(four, "RELEASED").run()
    ledger.flush()
    return [one, two, three, four]


@pytest.mark.parametrize("name", VIEWS)
def test_views_and_tables_have_the_promised_columns(ledger, busy, name):
    found = ledger._store.db.execute(f"SELECT * FROM {name}")
    assert {column[0] for column in found.description} >= VIEWS[name]
    found.fetchall()


def rows(ledger, query):
    cursor = ledger._store.db.execute(query)
    return [dict(zip([column[0] for column in cursor.description], row, strict=True)) for row in cursor]


def test_views_add_up(ledger, busy):
    active = rows(ledger, "SELECT * FROM v_x402_active_payments ORDER BY id")
    assert [(row["amount_usdc"], row["status"]) for row in active] == [("0.250000", "pending"), ("0.010000", "pending")]
    (stats,) = rows(ledger, "SELECT * FROM v_x402_stats_24h")
    assert (stats["total_payments"], stats["total_amount_usdc"], stats["average_payment_usdc"]) == (
        3, "0.270000", "0.090000",
    )  # fmt: skip
    payees = rows(ledger, "SELECT * FROM v_x402_top_payees")
    assert [(row["host"], row["payment_count"]) for row in payees] == [("b.example", 1), ("api.example.com", 2)]
    usage = rows(ledger, "SELECT * FROM x402_usage ORDER BY id")
    assert [(row["endpoint"], row["status_code"], row["response_time_ms"]) for row in usage] == [
        ("https://api.example.com/one", 200, 40), ("https://b.example/two", 402, 20),
    ]  # fmt: skip
    endpoints = rows(ledger, "SELECT * FROM v_x402_endpoint_stats ORDER BY endpoint")
    assert [(row["successful_requests"], row["failed_requests"]) for row in endpoints] == [(1, 0), (0, 1)]


def test_analytics_add_up_and_may_run_again(ledger, busy):
    for _ in range(2):
        assert ledger.update_analytics() >= 1
    found = rows(ledger, "SELECT * FROM x402_analytics")
    assert sum(row["total_payments"] for row in found) == 3
    assert {row["chain"] for row in found} == {"base-sepolia"}
    assert sum(row["total_requests"] for row in found) == 2


def test_payments_are_filtered(desk, ledger, busy):
    one, two, three, four = (hold.payment_id for hold in busy)
    assert [p.payment_id for p in ledger.payments()] == [four, three, two, one]
    assert [p.payment_id for p in ledger.payments(host="b.example")] == [two]
    assert [p.payment_id for p in ledger.payments(outcome="spent")] == [one]
    assert [p.payment_id for p in ledger.payments(outcome="refused")] == [two]
    assert [p.payment_id for p in ledger.payments(outcome="in_doubt")] == [three]
    assert [p.payment_id for p in ledger.payments(outcome="released")] == [four]
    assert [p.payment_id for p in ledger.payments(in_doubt=True)] == [three, two]
    assert len(ledger.payments(limit=2)) == 2
    desk.clock.now += 86400
    assert ledger.payments(today=True) == []


def test_a_payment_is_found_by_a_unique_prefix(ledger, busy):
    wanted = busy[1].payment_id
    found = ledger.payment(wanted[:8])
    assert found.payment_id == wanted
    assert str(found.money) == "0.2500 USDC (base-sepolia)"
    assert found.outcome == "refused"
    for prefix in ("", "abc", "%%%%", "zzzz"):
        with pytest.raises(LedgerError):
            ledger.payment(prefix)


def test_totals(ledger, busy):
    assert [(t.name, t.payments, t.micros) for t in ledger.totals("host")] == [
        ("b.example", 1, 250_000), ("api.example.com", 2, 20_000),
    ]  # fmt: skip
    assert [t.micros for t in ledger.totals("day")] == [270_000]
    assert [t.realm for t in ledger.totals("agent")] == ["test"]
    assert [(t.name, t.payments) for t in ledger.totals("payee")] == [("0x209693bc6afc0c5328ba36faf03c514ef312287c", 3)]
    assert [t.name for by in ("group", "task", "tool", "category") for t in ledger.totals(by)] == [""] * 4
    with pytest.raises(LedgerError):
        ledger.totals("1; DROP TABLE x402_payments")


def test_spent_and_left(ledger, busy):
    limits = [Limit("all", "day", 1_000_000), Limit("host:b.example", "total", 200_000)]
    found = ledger.spent(limits, realm="test")
    assert [(each.spent, each.left) for each in found] == [(270_000, 730_000), (250_000, 0)]


def test_readers_wait_for_what_was_closed_before(desk, ledger):
    hold = desk.pay(ledger)
    ledger.close(hold, "CLAIMED").run()
    assert ledger.payment(hold.payment_id).state == "CLAIMED"


def test_today_is_found_among_years_of_payments_whatever_the_clock_did(desk):
    ledger = desk.open()
    midnight = desk.clock.now - desk.clock.now % 86400
    for number, at in enumerate([midnight - 900 * 86400, midnight - 86400, midnight - 200, midnight + 1, midnight - 3, midnight + 5]):
        desk.clock.now = at
        desk.pay(ledger, desk.ask(f"/{number}"))
    assert [p.url[-2:] for p in ledger.payments(today=True)] == ["/5", "/4", "/3"], "the ledger's time never runs backwards"
    desk.clock.now = midnight + 2 * 86400
    assert ledger.payments(today=True) == []
    desk.pay(ledger, desk.ask("/new"))
    assert [p.url[-4:] for p in ledger.payments(today=True)] == ["/new"]
