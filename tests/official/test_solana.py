"""The official facilitator takes what we sign on Solana, in both versions, and refuses each change of it."""

from __future__ import annotations

import base64
import json
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


@pytest.mark.proves("solana", "exact", "judge", by="official facilitator")
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
