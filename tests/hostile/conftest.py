"""One arena per test, and one call in the worlds that users live in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hostile.arena import Arena


@pytest.fixture
def arena(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Arena]:
    made = Arena(tmp_path, monkeypatch.setenv)
    yield made
    made.close()
