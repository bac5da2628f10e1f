"""A payer on test money, whose payments settle in a real EVM."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from x402_agent import Payer


@pytest.fixture
def payer() -> Iterator[Payer]:
    with Payer.sandbox() as made:
        yield made


@pytest.fixture
def joke(payer: Payer) -> str:
    """A URL that costs 0.01 USDC."""
    return payer.sandbox.url("/joke")
