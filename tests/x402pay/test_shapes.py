"""The 402s as published, word for word, and what is refused of them before anything is signed."""

from __future__ import annotations

import json

import httpx
import pytest

from x402_agent import ChallengeInvalid
from x402_agent.chains.stacks import Stacks
from x402_agent.dialects import X402, X402Pay, builtin
from x402_agent.dialects.x402.passed import Passed
from x402_agent.dialects.x402pay.items import item, units
from x402_agent.encodings import c32_address, unc32_address
from x402_agent.model import Ask
from x402_agent.steps import Reply

MAKER, OWNER = "SP2C2YFP12AJZB4MABJBAJ55XECVS7E4PMMZ89YZR", "SP3FBR2AGK5H9QBDH3EEN6DF8EK8JY7RX8QJ5SVTE"
TESTER = c32_address(26, unc32_address(MAKER)[1])
HOME = "https://blog.example"
PRD = {"recipient": MAKER, "amount": "0.10", "asset": "STX", "chain": "stacks", "contract": f"{OWNER}.revenue-split", "nonce": "a" * 32, "signature_required": True}
OPEN = {"contentId": "article-1", "amount": "100000", "asset": "STX", "recipient": MAKER, "nonce": "b" * 32}
GATEWAY = {
    "x402Version": 2, "scheme": "exact", "network": "stacks:2147483648", "resource": {"url": "/x402-gateway?contentId=article-1", "description": "…"},
    "accepts": [{"scheme": "exact", "network": "stacks:2147483648", "amount": "100000", "asset": "STX", "payTo": TESTER,
                 "extra": {"contractAddress": "STZMYH3JZXAHA1E993K0AATCCAAPTTFQVHWCVARF.revenue-split"}}],
    "extra": {"challengeToken": "5a3b0b57-1111-4222-8333-9a4444444444", "expires": "2026-11-22T01:15:00.000Z"},
    "contentId": "article-1", "title": "t", "payment": {"address": TESTER, "amount": "100000", "asset": "STX"}, "instructions": {},
}  # fmt: skip
BEARER = {"error": "Payment required", "code": "PAYMENT_REQUIRED", "paymentEndpoint": "/api/x402/verify", "requiredAmount": 1, "currency": "STX", "message": "m"}
WWW = {"www-authenticate": 'Bearer realm="x402Pay", payment_url="/api/x402/verify"'}


def asked(path="/articles/article-1"):
    return Ask("GET", HOME + path, HOME, "blog.example", path.partition("?")[0])


def reply(document, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(402, httpx.Headers({"content-type": "application/json", **headers}, encoding="latin-1"), body)



def read(document, path="/articles/article-1", settings=None, **headers):
    return X402Pay(settings).read(reply(document, **headers), asked(path))


def one(document, *rest, **more):
    (offer,) = read(document, *rest, **more).offers
    return offer


def designed(payment):
    return {"error": "Payment Required", "payment": payment, "access_after": "instant"}


def test_the_design_in_its_first_spelling():
    offer = one(designed(PRD))
    assert (offer.amount, offer.asset.symbol, offer.network.id, offer.pay_to) == (100_000, "STX", "stacks:1", f"{OWNER}.revenue-split")
    assert offer.wire == ("prd", "article-1", "a" * 32) and (offer.scheme, offer.method) == ("transfer", "transfer")
    told = json.loads(offer.details)
    assert told["arguments"] == [["ascii", "article-1"], ["uint", "100000"]] and told["kept"] == 0 and told["payees"] == [MAKER]
    assert told["instead"] == [[["ascii", "article-1"], ["uint", "100000"], ["ascii", "STX"], ["nonce"]], [["buffer", b"article-1".hex()], ["uint", "100000"]]]


def test_the_design_in_its_second_spelling():
    offer = one(designed(OPEN))
    assert (offer.amount, offer.pay_to, offer.details, offer.wire) == (100_000, MAKER, "", ("openapi", "article-1", "b" * 32))


def test_the_gateways_document_is_never_x402s(b64):
    for found in (reply(GATEWAY), reply(b"{}", **{"payment-required": b64(GATEWAY)})):
        assert X402().read(found, asked()) is None
        readers = [each.name for each in builtin() if each.read(found, asked("/x402-gateway?contentId=article-1")) is not None]
        assert readers == ["x402pay"]
    offer = one(GATEWAY, "/x402-gateway?contentId=article-1")
    assert offer.wire == ("gateway", "article-1", "5a3b0b57-1111-4222-8333-9a4444444444") and offer.network.testnet and offer.amount == 100_000


@pytest.fixture
def b64():
    import base64

    return lambda document: base64.b64encode(json.dumps(document).encode()).decode()


def test_the_bearer_variant_names_nobody_so_settings_must():
    (why,) = read(BEARER, "/api/ai/generate", **WWW).passed_over
    assert "names nobody" in why and "recipient" in why
    offer = one(BEARER, "/api/ai/generate", {HOME: {"recipient": MAKER}}, **WWW)
    assert (offer.amount, offer.pay_to, offer.wire) == (1_000_000, MAKER, ("bearer", "", "", "/api/x402/verify", "1"))


@pytest.mark.parametrize(("said", "asset", "wanted"), [
    ("0.10", "STX", 100_000), ("100000", "STX", 100_000), (100_000, "STX", 100_000), ("0.0001", "sBTC", 10_000), ("0.25", "USDCx", 250_000),
    ("1.0", "STX", 1_000_000), ("0.1000000000", "STX", 100_000),
])  # fmt: skip
def test_each_spelling_has_its_own_unit(said, asset, wanted):
    assert one(designed({**OPEN, "amount": said, "asset": asset})).amount == wanted


@pytest.mark.parametrize("change", [
    {"amount": 0.1}, {"amount": True}, {"amount": "-1"}, {"amount": "1e5"}, {"amount": "0"}, {"amount": "0.0000001"}, {"amount": "\u0661"}, {"amount": None},
    {"amount": " 1"}, {"amount": "1."}, {"amount": ".5"}, {"amount": "25", "asset": "USDCx"}, {"amount": 25, "asset": "USDCx"}, {"amount": str(1 << 64)},
    {"recipient": "SP000"}, {"recipient": MAKER[:-1] + "A"}, {"recipient": None}, {"recipient": f"{MAKER}.revenue-split"}, {"contentId": "a/b"},
    {"contentId": "a" * 51}, {"contentId": ""}, {"contentId": 7}, {"nonce": "a b"}, {"nonce": 5}, {"contract": 5}, {"contract": MAKER},
    {"contract": f"{TESTER}.revenue-split"}, {"contract": f"{OWNER}.9"}, {"contract": f"{OWNER}.a.b"}, {"contract": OWNER[:-1] + "A.revenue-split"},
])  # fmt: skip
def test_what_contradicts_itself_is_broken(change):
    with pytest.raises(ChallengeInvalid) as caught:
        read(designed({**OPEN, **change}))
    assert caught.value.rule


@pytest.mark.parametrize(("change", "words"), [
    ({"asset": "sBTC", "amount": "0.001", "contract": f"{OWNER}.revenue-split"}, "moves STX alone"),
    ({"asset": "USDCx", "amount": "0.10", "contract": f"{OWNER}.revenue-split"}, "moves STX alone"),
    ({"amount": "4", "contract": f"{OWNER}.revenue-split"}, "is nothing"),
    ({"asset": "DOGE"}, "none of STX"), ({"chain": "base"}, "chain"),
])  # fmt: skip
def test_what_would_be_lost_is_passed_over_with_the_reason(change, words):
    found = read(designed({**OPEN, **change}))
    assert found.offers == () and words in found.passed_over[0]


@pytest.mark.parametrize("change", [
    {"contentId": "article-2"}, {"contentId": None}, {"extra": {"challengeToken": 5}}, {"accepts": []}, {"accepts": None}, {"accepts": [5]},
    {"accepts": [{**GATEWAY["accepts"][0], "network": "stacks:1"}]}, {"accepts": [{**GATEWAY["accepts"][0], "payTo": MAKER}]},
    {"accepts": [{**GATEWAY["accepts"][0], "amount": "0.1"}]}, {"accepts": [{**GATEWAY["accepts"][0], "extra": {"contractAddress": f"{OWNER}.x"}}]},
])  # fmt: skip
def test_a_gateway_that_contradicts_itself_is_broken(change):
    with pytest.raises(ChallengeInvalid):
        read({**GATEWAY, **change}, "/x402-gateway?contentId=article-1")


@pytest.mark.parametrize(("change", "header"), [
    ({"paymentEndpoint": "https://evil.example/verify"}, {}), ({"paymentEndpoint": 5}, {}), ({}, {"www-authenticate": 'Bearer payment_url="/other"'}),
    ({"paymentEndpoint": "//evil.example/x"}, {}), ({"requiredAmount": 1e-07}, {}), ({"requiredAmount": 0}, {}),
])  # fmt: skip
def test_a_bearer_challenge_that_leads_elsewhere_is_broken(change, header):
    with pytest.raises(ChallengeInvalid):
        read({**BEARER, **change}, "/api/ai/generate", {HOME: {"recipient": MAKER}}, **header)


def test_our_own_account_is_never_the_payee():
    chain, called = Stacks(), one(designed(PRD))
    assert chain.refuses(called, "SP1P72Z3704VMT3DMHPP2CB8TGQWGDBHD3RPR9GZS") == ""
    assert "own account" in chain.refuses(called, MAKER) and "own contract" in chain.refuses(called, OWNER)
    assert "own account" in chain.refuses(one(designed(OPEN)), MAKER) and "own account" in chain.refuses(one(designed(PRD)), TESTER)


@pytest.mark.parametrize("document", [{}, {"payment": 5}, {"payment": {}}, {"error": "Payment Required"}, {"x402Version": 2, "payment": OPEN}, b"", b"[]", b"<html>"])
def test_what_is_another_systems_is_left_to_it(document):
    assert read(document) is None


def test_a_cut_off_challenge_is_broken():
    with pytest.raises(ChallengeInvalid):
        read(json.dumps(designed(OPEN)).encode()[:-3])


def test_discovery_items_say_offers():
    found = item({"contentId": "a-1", "title": "T\x1b", "pricing": {"sbtc": "0.0001", "stx": "0.10", "usdcx": "0.25", "doge": "1"}, "contractAddress": f"{OWNER}.revenue-split"})
    assert [(each.symbol, each.units) for each in found.prices[:3]] == [("sBTC", 10_000), ("STX", 100_000), ("USDCx", 250_000)]
    assert found.prices[3].reason and found.prices[3].asset is None and "\x1b" not in found.title
    with pytest.raises(Passed):
        item({"contentId": "a/1"})
    assert units("2", found.prices[2].asset, whole=True) == 2_000_000
