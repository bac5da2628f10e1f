"""A payer on test money, and the verbs of one client over it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from x402_agent import Payer


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request) -> str:
    return request.param


@pytest.fixture
def payer() -> Iterator[Payer]:
    with Payer.sandbox() as made:
        yield made
