"""A payer on the pretend TRON, whose blocks are solid at once, and a shop of ours that a test may spoil."""

from __future__ import annotations

import pytest

from tron_invoice.shop import Shop
from x402_agent import Budget, Payer
from x402_agent.dialects.tron_invoice import status


@pytest.fixture
def payer(monkeypatch):
    monkeypatch.setattr(status, "FIRST", 0.02)
    monkeypatch.setattr(status, "LONGEST", 0.05)
    monkeypatch.setattr(status, "EVERY", 0.01)
    with Payer.sandbox(chain="tron", serve=True, budget=Budget("50/day", per_call="5")) as made:
        made.box.ground.chain.depth = 0
        yield made


@pytest.fixture
def shop(seller, payer):
    return Shop(seller, payer.box)
