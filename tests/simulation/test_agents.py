"""Agents under load and faults for a few seconds (benchmarks/loading/agents.py): one process, then several that are killed; every verdict, exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = Path(__file__).parents[2] / "benchmarks" / "load.py"
ONLY = {"goods came", "memory is flat"}  # what a busy machine may fail


@pytest.mark.full
def test_agents_under_faults_leave_books_that_agree():
    done = subprocess.run([sys.executable, LOAD, "agents", "--quick", "--json"], env=dict(os.environ), capture_output=True, text=True, timeout=900)
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert [each["variant"] for each in found] == ["one process", "several processes"]
    for each in found:
        failed = {what: told["words"] for what, told in each["verdicts"].items() if not told["pass"] and what not in ONLY}
        assert not failed and each["requests"] and each["faults"], (each["variant"], failed, done.stderr[-2000:])
        assert len(each["verdicts"]) == 12
