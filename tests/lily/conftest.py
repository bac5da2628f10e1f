"""A payer on the pretend Solana, for whom SOL has a price, and a shop of ours that a test may spoil."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lily.shop import Shop
from x402_agent import Budget, Payer
from x402_agent.dialects import builtin
from x402_agent.dialects.lily import till
from x402_agent.payer.facts import pretend


@pytest.fixture
def payer(monkeypatch):
    monkeypatch.setattr(till, "PAUSE", 0.01)
    with Payer.sandbox(chain="solana", serve=True, budget=Budget("50/day", per_call="5")) as made:
        made.prices = pretend({"SOL": 150_000_000})
        made.box.ground.chain.endow(made.box.ground.payer.pubkey(), 10**10)
        yield made


def told(payer, said):
    """The same payer, with these settings of sellers."""
    payer.settings = replace(payer.settings, dialects=said)
    payer.dialects = builtin(said)
    return payer


@pytest.fixture
def shop(seller, payer):
    made = Shop(seller, payer.box)
    told(payer, made.settings())
    return made
