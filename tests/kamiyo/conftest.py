"""Payers on the sandbox's chain, and a KAMIYO of ours that a test may spoil."""

from __future__ import annotations

import pytest

from kamiyo.shop import Shop
from x402_agent import Payer
from x402_agent.dialects.kamiyo import native


@pytest.fixture
def payer(monkeypatch):
    monkeypatch.setattr(native, "PAUSE", 0.05)
    monkeypatch.setattr(native, "LONGEST", 0.05)
    with Payer.sandbox(serve=True) as made:
        made.box.fund(made.box.payer_address, 2_000_000)
        yield made


@pytest.fixture
def shop(seller, payer):
    """Only calls on chain are sold here."""
    return Shop(seller, payer.box, gateway=False)


@pytest.fixture
def gateway(seller, payer):
    """Its facilitator beside them."""
    return Shop(seller, payer.box)
