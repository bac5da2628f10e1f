"""benchmarks/load.py in a few seconds: whether what it sends is taken, and its books fit; what it finds is for a machine of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.messages import Request

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(*words):
    done = subprocess.run([sys.executable, BENCHMARKS / "load.py", *words, "--json"], env=dict(os.environ), capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


@pytest.mark.full
def test_each_seller_takes_what_is_sent_to_it(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from loading.shots import ROWS

    for row in ROWS:
        with Sandbox(chain=row.chain, seller=row.seller) as box:
            for method, path, headers, body in row.made(box, 3):
                request = Request(method, box.origin, path, {name.lower(): value for name, value in headers.items()}, body.encode())
                answer = box.app.handle(request)
                assert answer.status in (200, 201), (row.name, answer.chunks)


@pytest.mark.full
@pytest.mark.parametrize("which", ["shop, EVM, v2", "lily, credits"])
def test_a_seller_under_load(which):
    (found,) = load("sellers", "--quick", "--where", "--only", which)
    assert found["name"] == which
    for told in (found["held"], found["steady"]):
        assert told["sent"] == told["good"] > 0 and told["statuses"] == {"200": told["sent"]}
        assert 0 < told["took"]["min"] <= told["took"]["p50"] <= told["took"]["p95"] <= told["took"]["max"]
    assert sum(found["shares"].values()) == pytest.approx(1)


@pytest.mark.full
def test_lilys_books_fit_the_answers():
    found = load("lily", "--quick")
    assert found["open"] == 200 and found["told"]["sent"] == found["told"]["good"] > 50
    assert found["pass"]["books"] and found["books"]["sold"] == found["books"]["logged"]
    assert {"session", "credits", "write", "all"} <= found["times"].keys()
