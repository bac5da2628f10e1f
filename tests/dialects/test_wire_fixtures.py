"""Golden fixtures: each shape of x402 v1 and v2, `exact` and `upto`, on the wire, read, and the payment written back.

The expected payments in tests/vectors/x402 were composed by hand and signed by eth_account and solders, not by this package.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from x402_agent.chains import builtin
from x402_agent.model import Anchor, Claim, Hold
from x402_agent.wallet import KeySigner

FOLDER = Path(__file__).parent.parent / "vectors" / "x402"
FIXTURES = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
CHALLENGES = [pytest.param(row, id=name) for name, row in FIXTURES.items() if row["kind"] == "challenge"]
CHAINS = {chain.namespace: chain for chain in builtin()}
HOW = ("method", "facilitator")
RECEIPTS = [pytest.param(row, id=name) for name, row in FIXTURES.items() if row["kind"] == "receipt"]


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
    namespace = offer.network.namespace
    chain, signer = CHAINS[namespace], KeySigner(row["key"], namespace)
    payer, nonce = signer.address(namespace), bytes.fromhex(row["nonce"][2:])
    assert chain.refuses(offer, payer) == ""
    terms = chain.terms(offer, payer, now=row["now"], nonce=nonce, max_lifetime=600, anchor=Anchor(row.get("anchor", "")))
    proof = chain.prove(offer, terms, signer)
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
    waiting = row["document"].get("errorReason") == "settlement_pending"
    claim = Claim(row["success"], row["transaction"], row["document"], extension["info"]["receipt"], waiting=waiting)
    assert dialect.receipt(reply, None) == claim
