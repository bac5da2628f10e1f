"""docs/compare.md is a measurement: what it says of our side is what the seller sees."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OURS = {
    "the answer is lost, the caller calls three times": "1 authorisation signed",
    "the seller asks for a ten-year authorisation": "signed for 10 minutes",
    "the first of two offers costs 0.050, the second 0.001": "0.001 USDC signed",
    "the paid request is redirected to another host": "the proof stayed with the host that asked",
    "20 calls at once at 0.01 under a budget of 0.05": "5 authorisations signed",
    "the answer is lost, the process ends, a new one calls again": "1 authorisation signed",
    "one malformed entry before a good one": "the good entry is paid",
}


@pytest.mark.full
def test_the_ten_situations():
    done = subprocess.run([sys.executable, ROOT / "benchmarks" / "compare.py", "--json"], env=dict(os.environ),
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    found = {row["situation"]: row["ours"] for row in rows}
    assert len(rows) == 10 and all(row["official"] for row in rows)
    assert {name: found[name] for name in OURS} == OURS
    for name in ("a 402 whose JSON is 200,000 brackets deep", "a 402 of 0.3 MB that unpacks to 300 MB"):
        kind, _, cost = found[name].partition("; ")
        seconds, _, megabytes = cost.partition(", ")
        assert kind == "ChallengeInvalid" and float(seconds.split()[0]) < 2 and int(megabytes.split()[0]) < 16
    page = (ROOT / "docs" / "compare.md").read_text("utf-8")
    assert all(f"| {name} |" in page for name in found)
