"""Benchmarks that no other test runs still run: with the smallest numbers, for whether they work and not for what they find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.full
@pytest.mark.parametrize(("words", "said"), [(("where.py", "--calls", "20"), "| x402_agent, ledger |"), (("fifty.py", "--rounds", "1", "--calls", "60"), "httpx2: "),
                                            (("nodes.py", "--purchases", "1", "--chain", "evm", "--away", "0.001"), "| kamiyo, evm | 2 | 2 | 1 |")])
def test_it_ends_with_a_table(words, said):
    done = subprocess.run([sys.executable, BENCHMARKS / words[0], *words[1:]], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and said in done.stdout, done.stderr
