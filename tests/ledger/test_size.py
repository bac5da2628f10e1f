"""A ledger that has grown: opening it and paying from it take no longer (row S10)."""

import time

import pytest

from x402_agent.ledger import SqliteLedger
from x402_agent.model import Limit

MANY = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})
INSERT INTO x402_payments ({columns})
SELECT {values} FROM x402_payments, n WHERE x402_payments.id = (SELECT MIN(id) FROM x402_payments)
"""


def grown(desk, count):
    """One payment a year ago, as many copies of it, and the counters that they make."""
    desk.clock.now -= 365 * 86400
    ledger = desk.open()
    hold = desk.pay(ledger, desk.ask("/old"))
    ledger.close(hold, "CLAIMED", status=200).run()
    ledger.flush()
    db = ledger._store.db
    columns = [row[1] for row in db.execute("PRAGMA table_info(x402_payments)") if row[1] != "id"]
    values = ["lower(hex(randomblob(8)))" if c == "payment_id" else c for c in columns]
    db.execute("BEGIN")
    db.execute("DROP INDEX x402_payments_payment_id")
    db.execute(MANY.format(count=count, columns=",".join(columns), values=",".join(values)))
    db.execute("CREATE UNIQUE INDEX x402_payments_payment_id ON x402_payments (payment_id)")
    db.execute("UPDATE x402_counters SET micros = micros * ?", (count + 1,))
    db.execute("COMMIT")
    ledger.shut()
    desk.clock.now += 365 * 86400


@pytest.mark.full
def test_S10_a_million_payments_open_at_once(desk):
    count = 1_000_000
    grown(desk, count)
    start = time.perf_counter()
    ledger = SqliteLedger(desk.path, clock=desk.clock)
    opened = time.perf_counter() - start
    limits = (Limit("all", "day", 10**9), Limit("all", "total", 10_000 * (count + 2)))
    start = time.perf_counter()
    desk.pay(ledger, desk.ask("/new"), limits=limits)
    paid = time.perf_counter() - start
    assert desk.counted(ledger) == 10_000 * (count + 2)
    ledger.shut()
    assert (opened < 2, paid < 1) == (True, True), (opened, paid)
