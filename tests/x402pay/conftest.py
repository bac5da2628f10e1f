"""A payer on the sandbox's Stacks, for whom a coin has a price, and a small x402Pay that a test may spoil."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from x402_agent import Payer
from x402_agent.dialects import builtin
from x402_agent.dialects.x402pay import till
from x402_agent.policy import Price
from x402pay.shop import Shop


class Half:
    """A coin is worth half a dollar."""

    def price(self, asset):
        return Price(500_000, 0, int(time.time()))


@pytest.fixture
def payer(monkeypatch):
    monkeypatch.setattr(till, "PAUSE", 0.05)
    with Payer.sandbox(chain="stacks", serve=True) as made:
        made.prices = Half()
        yield made


@pytest.fixture
def shop(seller, payer):
    return Shop(seller, payer.box)


@pytest.fixture
def api(payer, shop):
    """The same payer, who knows the seller's API."""
    told = {"x402pay": {shop.seller.origin: {"api": f"{shop.seller.origin}/v1", "key": "key-of-ours", "agent": "tester"}}}
    payer.settings = replace(payer.settings, dialects=told)
    payer.dialects = builtin(told)
    return payer
