"""npm's x402-stacks sells in front of our facilitator, and our client pays it. Needs Node, and its packages in STACKS_DIR."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from x402_agent import Payer

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shop():
    """The payer, and the origin of a seller that is not ours."""
    assert os.environ.get("STACKS_DIR"), "set STACKS_DIR to a folder with x402-stacks and express; make test-all does"
    with Payer.sandbox(chain="stacks") as payer:
        box = payer.sandbox
        with subprocess.Popen(
            ["node", str(HERE / "thirdparty.cjs"), box.facilitator_url, box.pay_to],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            yield payer, process.stdout.readline().strip()
            process.stdin.close()


@pytest.mark.proves("stacks", "exact", "judge", by="npm x402-stacks")
@pytest.mark.proves("stacks", "v1", "judge", by="npm x402-stacks")
@pytest.mark.full
@pytest.mark.parametrize("path", ["/v2/usdcx", "/v1/usdcx"])
def test_a_seller_of_npm_is_paid_once(shop, path):
    payer, origin = shop
    box = payer.sandbox
    before = len(box.settlements)
    with payer.client(library="httpx2") as http:
        reply = http.get(origin + path)
    assert reply.status_code == 200 and reply.json() == {"goods": True}
    assert reply.extensions["payment"].outcome == "spent"
    (row,) = box.settlements[before:]
    assert row.amount == 5_000 and reply.extensions["payment"].transaction == row.tx
