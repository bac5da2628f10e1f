"""Golden fixtures: each shape of x402 v1 and v2, `exact` and `upto`, on the wire, read, and the payment written back.

The expected payments in tests/vectors/x402 were composed by hand and signed by eth_account, not by this package.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from x402_agent.chains.evm import Evm
from x402_agent.model import Claim, Hold
from x402_agent.primitives import EvmKey

FOLDER = Path(__file__).parent.parent / "vectors" / "x402"
FIXTURES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
CHALLENGES = [pytest.param(row, id=name) for name, row in FIXTURES.items() if row["kind"] == "challenge"]
HOW = ("method", "facilitator")
RECEIPTS = [pytest.param(row, id=name) for name, row in FIXTURES.items() if row["kind"] == "receipt"]


class Signer:
    def __init__(self, key: str) -> None:
        self.key = EvmKey(bytes.fromhex(key[2:]))

    def address(self, namespace: str) -> str:
        return self.key.address

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        return self.key.sign(digest)


@pytest.fixture
def challenge(dialect, ask, in_header, in_body):
    """The challenge of a fixture, read from where the fixture puts it."""
    return lambda row: dialect.read((in_header if row["where"] == "header" else in_body)(row["document"]), ask)


def test_there_are_fixtures_of_each_kind():
    assert len(CHALLENGES) >= 20
    assert len(RECEIPTS) >= 5


@pytest.mark.parametrize("row", CHALLENGES)
def test_the_challenge_is_read(row, challenge):
    found = challenge(row)
    assert list(found.passed_over) == row["passed_over"]
    assert [
        {
            "amount": str(offer.amount),
            "asset": offer.asset.id,
            "pay_to": offer.pay_to,
            "flow": offer.flow,
            "lifetime": offer.lifetime,
            "description": offer.description,
        }
        for offer in found.offers
    ] == [{key: value for key, value in wanted.items() if key not in HOW} for wanted in row["offers"]]
    for offer, wanted in zip(found.offers, row["offers"], strict=True):
        assert [offer.method, offer.facilitator] == [wanted.get(key, "") for key in HOW]


@pytest.mark.parametrize("row", CHALLENGES)
def test_the_payment_is_written(row, challenge, dialect, ask):
    offer = challenge(row).offers[0]
    evm, signer = Evm(), Signer(row["key"])
    payer = signer.address("eip155")
    assert evm.refuses(offer, payer) == ""
    terms = evm.terms(offer, payer, now=row["now"], nonce=bytes.fromhex(row["nonce"][2:]), max_lifetime=600)
    proof = evm.prove(offer, terms, signer)
    with pytest.raises(StopIteration) as done:
        next(dialect.present(Hold("p", ask, offer, terms, identifier=row["identifier"]), proof))
    headers = done.value.value.headers
    assert list(headers) == [row["header"]]
    text = base64.b64decode(headers[row["header"]], validate=True).decode()
    assert json.loads(text) == row["sent"]
    assert list(json.loads(text)) == list(row["sent"])


@pytest.mark.parametrize("row", RECEIPTS)
def test_the_receipt_is_read(row, dialect, b64, with_headers):
    reply = with_headers((row["header"], b64(row["document"])))
    extension = row["document"].get("extensions", {}).get("offer-receipt", {"info": {"receipt": None}})
    claim = Claim(row["success"], row["transaction"], row["document"], extension["info"]["receipt"])
    assert dialect.receipt(reply, None) == claim
