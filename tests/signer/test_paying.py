"""Paying through the service: the same conversation, and no key, policy or ledger on the agent's side."""

from __future__ import annotations

import pytest

from x402_agent import Budget, BudgetExceeded


def test_a_paid_call_through_the_service(running):
    box = running()
    with box.agent() as payer, payer.client() as http:
        reply = http.get(box.payer.sandbox.url("/joke"))
        assert reply.status_code == 200 and reply.extensions["payment"].outcome == "spent"
    (paid,) = box.payments()
    assert paid.state == "CLAIMED" and paid.agent == "research" and paid.payment_id == reply.extensions["payment"].payment_id
    assert not list((box.payer.settings.data_dir).glob("**/*.db"))


def test_the_services_limits_hold_and_name_their_rule(running):
    box = running(budget=Budget("0.025/total", per_call="0.02"))
    with box.agent() as payer, payer.client() as http:
        for _ in range(2):
            assert http.get(box.payer.sandbox.url("/joke")).status_code == 200
        with pytest.raises(BudgetExceeded, match="limit in total"):
            http.get(box.payer.sandbox.url("/joke"))
    assert len(box.payments()) == 2


def test_a_budget_in_the_agents_code_only_tightens(running):
    box = running(budget=Budget("5.00/total", per_call="0.02"))
    with box.agent() as payer, payer.client() as http:
        with pytest.raises(BudgetExceeded, match=r"0\.005"):
            http.get(box.payer.sandbox.url("/joke"), extensions={"payment": {"max": "0.005"}})
    assert not box.payments()
