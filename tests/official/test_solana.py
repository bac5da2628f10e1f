"""The official facilitator takes what we sign on Solana, in both versions, and refuses each change of it."""

from __future__ import annotations

import base64
import json
"""The official client pays our shop on Solana; solana-py works with the sandbox's node."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from solders.hash import Hash

from chains.solana.svm import FACILITATOR, PAYEE, PAYER, USDC, text
from x402_agent.chains.solana import Solana
from x402_agent.chains.solana.message import Anchored
from x402_agent.dialects.x402 import X402
from x402_agent.model import Anchor, Ask, Hold
from x402_agent.steps import Reply
from x402_agent.wallet import KeySigner

pytestmark = pytest.mark.full
ASK = Ask("GET", "https://a.example/", "https://a.example", "a.example", "/")
DEV = {1: "solana-devnet", 2: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"}


class Headers:
    def get_list(self, key, /):
        return []


def entry(version, memo=""):
    extra = {"feePayer": text(FACILITATOR), **({"memo": memo} if memo else {})}
    both = {"scheme": "exact", "network": DEV[version], "asset": USDC, "payTo": text(PAYEE), "maxTimeoutSeconds": 60, "extra": extra}
    if version == 2:
        return {**both, "amount": "10000"}
    return {**both, "maxAmountRequired": "10000", "resource": ASK.url, "description": "", "mimeType": "application/json"}


def paid(version, memo="", nonce=bytes(range(32))):
    """Our payment for one entry, as it is sent."""
    dialect, chain, wanted = X402(), Solana(), entry(version, memo)
    document = {"x402Version": version, "accepts": [wanted], "error": "", "resource": {"url": ASK.url}}
    offer = dialect.read(Reply(402, Headers(), json.dumps(document).encode()), ASK).offers[0]
    anchor = Anchor(Anchored(bytes(Hash.hash(b"one")), 5, 4).text)
    terms = chain.terms(offer, text(PAYER), now=1_800_000_000, nonce=nonce, max_lifetime=60, anchor=anchor)
    steps = dialect.present(Hold("p", ASK, offer, terms), chain.prove(offer, terms, KeySigner(bytes([1] * 32), "solana")))
    with pytest.raises(StopIteration) as done:
        next(steps)
    (header,) = done.value.value.headers.values()
    return json.loads(base64.b64decode(header)), wanted


def test_it_takes_ours_and_no_changed_byte_of_it(python):
    rows = [paid(version, memo) for version in (1, 2) for memo in ("", "order 7", "é" * 128)]
    honest, wanted = rows[3]
    raw = base64.b64decode(honest["payload"]["transaction"])
    for at in [*range(65, len(raw), 3), 0, len(raw) - 1]:
        changed = bytearray(raw)
        changed[at] ^= 1
        rows.append(({**honest, "payload": {"transaction": base64.b64encode(changed).decode()}}, wanted))
    lines = "".join(json.dumps({"payload": sent, "requirements": asked}) + "\n" for sent, asked in rows)
    done = subprocess.run([python, Path(__file__).parent / "svm_facilitator.py"], input=lines, capture_output=True, text=True, timeout=120, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[:6] == [{"valid": True, "reason": None, "payer": text(PAYER)}] * 6
    assert len(found) == len(rows) > 100 and not any(each["valid"] for each in found[6:])

from x402_agent.sandbox import Sandbox

pytestmark = pytest.mark.full
HERE = Path(__file__).parent
PATHS = ("/joke", "/v1/joke", "/memo", "/upfront", "/both")


@pytest.fixture
def box():
    with Sandbox(chain="solana") as one:
        one.serve()
        yield one


@pytest.fixture
def run(python, box):
    """The output of a script of this folder, run with the payer's key."""

    def run(script, *arguments):
        direct = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run([python, HERE / script, *arguments], input=box.payer_key.hex(), text=True, env=direct,
                              capture_output=True, timeout=90, check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return run


def test_the_official_client_pays_our_shop(box, run):
    said = run("client_solana.py", box.rpc_url, *map(box.url, PATHS)).splitlines()
    assert [line[:3] for line in said] == ["200"] * len(PATHS)
    assert box.balance(box.pay_to) == 10_000 * len(PATHS) == 100_000_000 - box.balance(box.payer_address)
    assert len({each.tx for each in box.settlements}) == len(PATHS)
    for each in box.settlements:
        assert box.transaction(each.tx).tried.err is None


def test_solana_py_works_with_our_node(box, run):
    assert json.loads(run("node_solana.py", box.rpc_url)) == {
        "genesis": "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG", "decimals": 6, "units": "100000000", "same": "100000000",
        "accounts": 2, "behind": 20_000_000, "rent": 2_039_280, "connected": True, "fee": 5000, "dry": "None",
        "confirmed": "TransactionConfirmationStatus.Finalized", "history": 0, "base64": 5000, "json": 5000,
        "arrived": 5_000_000, "again": True,
    }  # fmt: skip
