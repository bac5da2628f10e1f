"""A sandbox that runs beside the test, as `sandbox up` in another terminal does, and the Pythons of other people's packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


@pytest.fixture
def up(tmp_path, monkeypatch):
    """The URL of something that costs a cent; X402_AGENT_HOME is this test's own."""
    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    with subprocess.Popen([BIN / "x402-agent", "sandbox", "up", "--json"], stdout=subprocess.PIPE, text=True) as process:
        try:
            urls = []
            for line in process.stdout:
                found = json.loads(line)
                if found.get("ready"):
                    break
                urls.append(found["url"])
            yield next(url for url in urls if url.endswith("/joke"))
        finally:
            process.kill()


@pytest.fixture(scope="session")
def python_of():
    def find(name):
        found = os.environ.get(name, "")
        assert found, f"set {name} to the Python of that environment; make test-all does"
        return found

    return find
