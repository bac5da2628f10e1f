"""A payer on test money, and the verbs of one client over it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from x402_agent import Payer


@pytest.fixture
def anyio_backend() -> str:
    """Identity and the verbs are tried on trio, too; the rest is the same code."""
    return "asyncio"


@pytest.fixture
def payer() -> Iterator[Payer]:
    with Payer.sandbox() as made:
        yield made
