"""How sellers on Stacks ask: version 2 as npm and PyPI speak it, the foundation's draft, and the body of version 1."""

from __future__ import annotations

import base64
import json

import pytest

from x402_agent import assets
from x402_agent.dialects import StacksV1
from x402_agent.dialects.x402 import X402
from x402_agent.errors import ChallengeInvalid
from x402_agent.flow import judge
from x402_agent.model import Ask, Hold, Proof, Terms
from x402_agent.steps import Reply

URL = "http://127.0.0.1:47402/v2/sbtc"
SBTC = "ST1F7QA2MDF17S807EPA36TSS8AMEFY4KA9TVGWXT.sbtc-token"
PAY_TO = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
ENTRY = {"scheme": "exact", "network": "stacks:2147483648", "amount": "100", "asset": SBTC, "payTo": PAY_TO, "maxTimeoutSeconds": 300}
V1 = {
    "maxAmountRequired": "100", "resource": "/v1/sbtc", "payTo": PAY_TO, "network": "testnet",
    "nonce": "89cf1c66e2a00b1e284b1d813a56227f", "expiresAt": "2026-11-20T23:40:34.548Z", "tokenType": "sBTC",
    "tokenContract": {"address": SBTC.partition(".")[0], "name": "sbtc-token"},
}  # fmt: skip
ASK = Ask("GET", URL, "http://127.0.0.1:47402", "127.0.0.1", "/v2/sbtc")


class Headers:
    def __init__(self, lines=()):
        self.lines = lines

    def get_list(self, key, /):
        return [value for name, value in self.lines if name.lower() == key.lower()]


def encoded(document):
    return base64.b64encode(json.dumps(document).encode()).decode()


def read(version=2, **changes):
    entry = {key: value for key, value in (ENTRY | changes).items() if value is not ...}
    if version == 1:
        entry["maxAmountRequired"] = entry.pop("amount")
    document = {"x402Version": version, "resource": {"url": URL}, "accepts": [entry]}
    return X402().read(Reply(402, Headers([("payment-required", encoded(document))])), ASK)


def read_v1(raw=None, headers=(), **changes):
    body = {key: value for key, value in (V1 | changes).items() if value is not ...}
    return StacksV1().read(Reply(402, Headers(headers), json.dumps(body).encode() if raw is None else raw), ASK)


def ended(steps):
    try:
        while True:
            next(steps)
    except StopIteration as done:
        return done.value


def shown(dialect, offer, payload):
    terms = Terms("SP", "0x" + "07" * 32, 0, 1)
    return ended(dialect.present(Hold("id", ASK, offer, terms), Proof(payload, "SP", terms.nonce, 1))).headers


def test_version_2_as_it_was_captured():
    (offer,) = read().offers
    assert (offer.amount, offer.pay_to, offer.asset.symbol, offer.asset.detail, offer.details) == (100, PAY_TO, "sBTC", "sbtc-token", "")
    headers = shown(X402(), offer, {"transaction": "8080"})
    sent = json.loads(base64.b64decode(headers["PAYMENT-SIGNATURE"]))
    assert sent == {"x402Version": 2, "resource": {"url": URL}, "accepted": ENTRY, "payload": {"transaction": "8080"}}


@pytest.mark.parametrize("word, symbol", [
    ("STX", "STX"), ("slip44:5757", "STX"), ("SBTC", "sBTC"), ("sBTC", "sBTC"), ("sbtc", "sBTC"), ("USDCX", "USDCx"), ("USDCx", "USDCx"),
    (SBTC, "sBTC"), (f"{SBTC}::sbtc-token", "sBTC"), (f"sip010:{SBTC}.sbtc-token", "sBTC"),
    (f"stacks:2147483648/sip010:{SBTC}.sbtc-token", "sBTC"), ("stacks:2147483648/slip44:5757", "STX"),
])  # fmt: skip
def test_every_spelling_of_a_listed_asset(word, symbol):
    assert read(asset=word).offers[0].asset.symbol == symbol


@pytest.mark.parametrize("word", [
    "ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.sbtc-token", f"{SBTC}2", "stx ", "Stx", "stacks:1/slip44:5757", "sip010:STX", "STХ",
])  # fmt: skip
def test_A1_an_unknown_asset_is_refused_and_never_STX(word):
    try:
        found = read(asset=word)
    except ChallengeInvalid as why:
        assert "A2" in str(why)
    else:
        assert not found.offers and "A1" in found.passed_over[0]


@pytest.mark.parametrize("extra, details", [
    ({"nonce": "abc-1"}, {"memo": "abc-1"}),
    ({"nonce": "n" * 40}, {"memo": "n" * 34}),
    ({"nonce": "a", "tokenType": "sBTC"}, {"memo": "a", "field": "signedTransaction"}),
    ({"tokenContract": V1["tokenContract"]}, {"field": "signedTransaction"}),
    ({"sponsored": True}, {"sponsored": True}),
    ({"sponsored": False, "name": "x"}, None),
])  # fmt: skip
def test_what_extra_says(extra, details):
    found = read(extra=extra).offers[0].details
    assert (json.loads(found) if found else None) == details


def test_version_1_with_a_version_is_the_drafts():
    assert json.loads(read(1, network="stacks-testnet").offers[0].details) == {"field": "signedTransaction"}


@pytest.mark.parametrize("extra", [
    {"nonce": 7}, {"nonce": "a b"}, {"nonce": "\x1b[2J"}, {"nonce": "x" * 129}, {"sponsored": "yes"}, {"tokenType": "STX"}, {"tokenType": 1},
    {"tokenContract": {"address": "ST2", "name": "sbtc-token"}}, {"tokenContract": SBTC},
])  # fmt: skip
def test_what_extra_may_not_say(extra):
    with pytest.raises(ChallengeInvalid):
        read(extra=extra)


def test_A7_only_exact():
    assert not read(scheme="upto").offers


def test_the_body_of_version_1_as_it_was_captured():
    (offer,) = read_v1().offers
    assert (offer.dialect, offer.amount, offer.pay_to) == ("x402-stacks-v1", 100, PAY_TO)
    assert offer.asset is assets.asset(assets.network("stacks-testnet"), SBTC)
    assert json.loads(offer.details) == {"memo": V1["nonce"]}
    assert dict(shown(StacksV1(), offer, {"transaction": "8080"})) == {"X-PAYMENT": "8080", "X-PAYMENT-TOKEN-TYPE": "sBTC"}


def test_without_a_token_type_it_is_STX():
    (offer,) = read_v1(tokenType=..., tokenContract=..., network="mainnet", payTo="SP3").offers
    assert offer.asset.native and offer.network.id == "stacks:1"


@pytest.mark.parametrize("changes", [
    {"nonce": ...}, {"expiresAt": ...}, {"x402Version": 1}, {"accepts": []}, {"raw": b"[]"}, {"raw": b"pay"}, {"raw": b'{"payTo":1'},
    {"headers": (("payment-required", "e30="),)},
])  # fmt: skip
def test_what_is_not_its_own_is_left_to_others(changes):
    assert read_v1(**changes) is None
    assert StacksV1().read(Reply(403, Headers(), json.dumps(V1).encode()), ASK) is None


@pytest.mark.parametrize("changes", [
    {"maxAmountRequired": "-1"}, {"maxAmountRequired": 1.5}, {"maxAmountRequired": "1e4"}, {"payTo": 7}, {"payTo": "ST\x1b"}, {"nonce": 7},
    {"tokenContract": ...}, {"tokenContract": {"address": PAY_TO, "name": "sbtc-token"}}, {"tokenType": ..., "tokenContract": V1["tokenContract"]},
])  # fmt: skip
def test_a_broken_one_is_refused(changes):
    with pytest.raises(ChallengeInvalid):
        read_v1(**changes)


@pytest.mark.parametrize("changes", [{"network": "stacks:1"}, {"network": "devnet"}, {"network": 1}, {"tokenType": "DOGE"}, {"tokenType": 1}])
def test_what_is_not_in_the_table_is_passed_over(changes):
    found = read_v1(**changes)
    assert not found.offers and found.passed_over


def test_its_receipts():
    (offer,) = read_v1().offers
    claim = lambda document, status=200: StacksV1().receipt(  # noqa: E731
        Reply(status, Headers([("X-PAYMENT-RESPONSE", encoded(document))])), offer)  # fmt: skip
    good = claim({"txId": "0x12", "status": "success", "blockHeight": 1020})
    assert (good.success, good.transaction, good.waiting) == (True, "0x12", False)
    assert claim({"txId": "0x12", "status": "pending"}).waiting
    assert claim({"txId": 1, "status": []}).transaction == ""
    assert StacksV1().receipt(Reply(200, Headers([("x-payment-response", "?")])), offer).success is None
    waits = StacksV1().receipt(Reply(402, Headers(), b'{"error":"x","paymentStatus":"pending"}'), offer)
    assert waits.waiting and judge(402, waits, fresh=True) == ("UNKNOWN", False)
    failed = StacksV1().receipt(Reply(402, Headers(), b'{"error":"x","paymentStatus":"failed"}'), offer)
    assert judge(402, failed, fresh=True) == ("UNKNOWN", True)
    assert not StacksV1().receipt(Reply(402, Headers(), b"?"), offer).waiting


@pytest.mark.parametrize("reason, refused", [("transaction_held", False), ("settlement_pending", False), ("broadcast_failed", True), ([], True)])
def test_what_the_relay_holds_is_in_doubt_and_not_refused(reason, refused):
    (offer,) = read().offers
    answer = Reply(402, Headers([("payment-response", encoded({"success": False, "errorReason": reason}))]))
    claim = X402().receipt(answer, offer)
    assert judge(402, claim, fresh=True) == ("UNKNOWN", refused)


NEWER = "SN3VMHXEN64ZZF71JQ5VESXDWTR301XTTXGF4J8F1.sbtc-token"


def test_a_testnet_that_was_made_anew_has_two_contracts_of_one_word():
    newer = assets.asset(assets.network("stacks-testnet"), NEWER)
    assert newer.symbol == "sBTC" and assets.asset(newer.network, "sbtc") is not newer
    account, _, name = NEWER.partition(".")
    for extra in ({"tokenType": "sBTC"}, {"tokenContract": {"address": account, "name": name}}):
        assert read(asset=NEWER, extra=extra).offers[0].asset is newer
    with pytest.raises(ChallengeInvalid):
        read(asset=NEWER, extra={"tokenType": "USDCx"})
    assert read_v1(tokenContract={"address": account, "name": name}).offers[0].asset is newer
    with pytest.raises(ChallengeInvalid):  # the word of another token than the contract's
        read_v1(tokenType="USDCx", tokenContract={"address": account, "name": name})


@pytest.mark.parametrize("said, claim", [
    ({"tx_id": "0x12", "status": "confirmed"}, (True, "0x12", False)),
    ({"tx_id": "0x12", "status": "pending"}, (None, "0x12", True)),
    ({"tx_id": "0x12", "status": "failed"}, (False, "0x12", False)),
    ({"success": False, "status": "confirmed", "transaction": "0x34", "tx_id": "0x12"}, (False, "0x34", False)),
    ({"tx_id": 7, "status": []}, (None, "", False)),
])  # fmt: skip
def test_the_receipt_of_the_draft(said, claim):
    (offer,) = read(extra={"tokenType": "sBTC"}).offers
    found = X402().receipt(Reply(200, Headers([("payment-response", encoded(said))])), offer)
    assert (found.success, found.transaction, found.waiting) == claim
