"""What the command line meets on loopback."""

from __future__ import annotations

import pytest

from loopback import Seller


@pytest.fixture
def seller():
    made = Seller()
    yield made
    made.close()
