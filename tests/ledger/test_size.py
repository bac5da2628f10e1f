"""A ledger that has grown: opening it, asking it about today and paying from it take no longer (row S10)."""

import importlib
import sys
import time
from pathlib import Path

import pytest

from x402_agent.ledger import SqliteLedger
from x402_agent.model import Limit

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.full
def test_S10_many_payments_open_at_once_and_are_whole(desk, monkeypatch):
    """The million is in benchmarks/check.py; this one is walked to its last hash as well."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    large_ledger = importlib.import_module("large_ledger")
    count = 50_000
    large_ledger.build(desk.path, count)
    sys.modules.pop("large_ledger")
    start = time.perf_counter()
    ledger = SqliteLedger(desk.path)
    opened = time.perf_counter() - start
    desk.opened.append(ledger)
    desk.clock.now = time.time()
    start = time.perf_counter()
    desk.pay(ledger, desk.ask("/new"), limits=(Limit("all", "day", 10**12), Limit("all", "total", 10**12)))
    paid = time.perf_counter() - start
    assert (opened < 2, paid < 1) == (True, True), (opened, paid)
    assert len(ledger.payments(limit=count)) == count and ledger.verify() == []
