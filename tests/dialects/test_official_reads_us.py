"""The official x402 package, in its own environment, decodes our headers and its facilitator accepts our signature.

X402_OFFICIAL_PYTHON names the Python of an environment with `x402[evm]`; it sets the recursion limit on import, so it
never runs in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from x402_agent.chains.evm import Evm
from x402_agent.model import Hold
from x402_agent.primitives import EvmKey

pytestmark = pytest.mark.full

THEIRS = """
import json, sys
from x402.http.utils import decode_payment_signature_header
from x402.mechanisms.evm.exact.facilitator import ExactEvmScheme
from x402.mechanisms.evm.exact.v1.facilitator import ExactEvmSchemeV1
from x402.schemas import PaymentRequirements
from x402.schemas.v1 import PaymentRequirementsV1

class Chain:
    def get_addresses(self): return []
    def get_chain_id(self): return 84532
    def get_code(self, address): return b"\\x60" if address.lower() == asked["asset"].lower() else b""
    def read_contract(self, *call): return None

given = json.load(sys.stdin)
asked = given["asked"]
model = decode_payment_signature_header(given["header"])
if model.x402_version == 1:
    verdict = ExactEvmSchemeV1(Chain()).verify(model, PaymentRequirementsV1.model_validate(asked))
else:
    verdict = ExactEvmScheme(Chain()).verify(model, PaymentRequirements.model_validate(asked))
print(json.dumps({
    "model": model.model_dump(by_alias=True, exclude_none=True, mode="json"),
    "valid": verdict.is_valid, "reason": verdict.invalid_reason, "payer": verdict.payer,
}))
"""


class Signer:
    key = EvmKey(b"k" * 32)

    def address(self, namespace: str) -> str:
        return self.key.address

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        return self.key.sign(digest)


@pytest.fixture
def official():
    """Ask the official package about a header; the environment must be named."""
    python = os.environ.get("X402_OFFICIAL_PYTHON", "")
    assert python, "set X402_OFFICIAL_PYTHON to the Python of an environment with x402[evm]"

    def run(header, asked):
        given = json.dumps({"header": header, "asked": asked})
        done = subprocess.run(
            [python, "-c", THEIRS], input=given, check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture
def pay(dialect, ask):
    """The payment header for a reply, signed now."""

    def run(reply):
        (offer,) = dialect.read(reply, ask).offers
        evm, signer = Evm(), Signer()
        terms = evm.terms(offer, signer.key.address, now=int(time.time()), nonce=os.urandom(32), max_lifetime=600)
        proof = evm.prove(offer, terms, signer)
        with pytest.raises(StopIteration) as done:
            next(dialect.present(Hold("p", ask, offer, terms, identifier="pay_0123456789abcdef"), proof))
        (value,) = done.value.value.headers.values()
        return value, proof

    return run


def test_v2(official, pay, v2, entry2, in_header):
    advertised = {"payment-identifier": {"info": {"required": True}, "schema": {"type": "object"}}}
    document = v2(extensions=advertised)
    header, proof = pay(in_header(document))
    found = official(header, entry2())
    assert (found["valid"], found["reason"], found["payer"]) == (True, None, proof.payer)
    assert found["model"]["accepted"] == document["accepts"][0]
    assert found["model"]["resource"] == document["resource"]
    assert found["model"]["payload"] == proof.payload
    assert found["model"]["extensions"]["payment-identifier"]["info"] == {
        "required": True,
        "id": "pay_0123456789abcdef",
    }


def test_v1(official, pay, v1, entry1, in_body):
    header, proof = pay(in_body(v1()))
    found = official(header, entry1())
    assert (found["valid"], found["reason"], found["payer"]) == (True, None, proof.payer)
    assert found["model"] == {"x402Version": 1, "scheme": "exact", "network": "base-sepolia", "payload": proof.payload}


def test_the_check_can_fail(official, pay, v2, entry2, in_header):
    header, _ = pay(in_header(v2()))
    assert official(header, entry2(extra={"name": "USDC", "version": "1"}))["valid"] is False
    assert official(header, entry2(amount="10001"))["valid"] is False
