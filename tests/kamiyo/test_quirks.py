"""Our client against the sandbox's KAMIYO in each of its scenarios: nothing is lost, nothing is bought twice, and who delivers is reached."""

from __future__ import annotations

from dataclasses import replace

import pytest

from x402_agent import Payer, PaymentError
from x402_agent.dialects.kamiyo import native
from x402_agent.model import Limit
from x402_agent.sandbox.seller import scenarios
from x402_agent.steps import Fetch

QUICK = {"honest", "valid_payment_402", "token_refused", "csrf"}
SILENT = {  # scenarios in which nobody is ever let in, and why
    "documented_shape": "nothing in it can be paid", "wrong_checksum": "R2", "never_confirms": "it takes money and denies it",
    "transfer_not_found": "likewise", "valid_payment_402": "likewise", "recipient_flips": "its page names another than its 402",
    "minimum_raised": "it advertises less than it asks",
}  # fmt: skip
NAMES = [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in scenarios("kamiyo")]
CALLS = 200_000
SIZES = {"minimum_above_price": 500_000, "quota_huge": 100_000}  # what 200 calls cost there


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("PAUSE", "LONGEST"):
        monkeypatch.setattr(native, name, 0.01)


def bought(scenario, expect):
    """Three requests for two paths. -> statuses or errors, what moved, rows, what is counted."""
    def deep(ask, step, value):
        if isinstance(step, Fetch) and step.method == "POST":
            payer.box.mine(8)

    with Payer.sandbox(scenario, seller="kamiyo", trace=deep) as payer:
        payer.policy = replace(payer.policy, per_call=1_000_000)
        payer.box.fund(payer.box.payer_address, 1_000_000)
        before, said = payer.box.balance(payer.box.payer_address), []
        with payer.task("watch", expect_calls=expect), payer.client(timeout=20) as http:
            for path in ("/exploits", "/exploits", "/protocols/risk-score"):
                try:
                    said.append(http.get(payer.box.url(path)).status_code)
                except PaymentError as why:
                    said.append(type(why).__name__)
        payer.ledger.flush()
        assert payer.ledger.verify() == []
        counted = payer.ledger.spent([Limit("all", "total", 10**9)], realm="sandbox")[0].spent
        return said, before - payer.box.balance(payer.box.payer_address), payer.ledger.payments(), counted


@pytest.mark.parametrize("scenario", NAMES)
def test_calls_are_bought_once(scenario):
    said, moved, rows, counted = bought(scenario, 200)
    most = 2 if scenario == "quota_below_what_is_said" else 1  # two calls for the price of two hundred: they are used up, and the next are bought
    calls = SIZES.get(scenario, CALLS)
    assert moved <= most * calls and counted >= moved
    assert len([row for row in rows if row.amount == calls]) == moved // calls
    assert (200 in said) == (scenario not in SILENT), said


@pytest.mark.parametrize("scenario", NAMES)
def test_single_calls_are_paid_once_each(scenario):
    said, moved, rows, counted = bought(scenario, 1)
    assert moved <= max(40_000, 100_000 * (scenario in ("wrong_domain", "native_only"))) and counted >= moved
    assert len(rows) <= 3, said
