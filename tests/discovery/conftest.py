"""A catalogue on loopback for each test that wants one."""

from __future__ import annotations

import pytest

from market import Market


@pytest.fixture
def market(seller, tmp_path):
    return Market(seller, tmp_path)
