"""TRON in x402's own words: the captured challenge, its two spellings of the network, and every field turned against us."""

from __future__ import annotations

import base64
import copy
import json

import pytest

from x402_agent.dialects.x402 import X402
from x402_agent.errors import ChallengeInvalid
from x402_agent.model import Ask
from x402_agent.steps import Reply

ASK = Ask("GET", "https://api.example/permit", "https://api.example", "api.example", "/permit")
# as published software of one generation writes it, word for word but for the host
CAPTURED = json.loads(
    '{"x402Version":2,"error":"Payment required","resource":{"url":"https://api.example/permit","description":null,"mimeType":null},'
    '"accepts":[{"scheme":"exact_permit","network":"tron:nile","amount":"1000","asset":"TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf",'
    '"payTo":"TJRabPrwbZy45sbavfcjinPJC18kjpRTv8","maxTimeoutSeconds":3600,"extra":{"name":"Tether USD","version":"1","fee":'
    '{"facilitatorId":"http://127.0.0.1:47091","feeTo":"TGneCZXUdubDichAjxttbax7RCXHDwXh2Q","feeAmount":"100",'
    '"caller":"TGneCZXUdubDichAjxttbax7RCXHDwXh2Q"}}}],"extensions":{"paymentPermitContext":{"meta":{"kind":"PAYMENT_ONLY",'
    '"paymentId":"0x9c9be2770121075aedc9cf7625621db7","nonce":"96910973056528620668117010432228565332",'
    '"validAfter":1795218559,"validBefore":1795222159}}}}'
)
FEE_TO = "TGneCZXUdubDichAjxttbax7RCXHDwXh2Q"


class Headers:
    def __init__(self, text):
        self.text = text

    def get_list(self, key, /):
        return [self.text] if self.text and key.lower() == "payment-required" else []


def read(document):
    text = base64.b64encode(json.dumps(document).encode()).decode()
    return X402().read(Reply(402, Headers(text)), ASK)


def changed(*path, value):
    document = copy.deepcopy(CAPTURED)
    where = document
    for step in path[:-1]:
        where = where[step]
    if value is ...:
        where.pop(path[-1])
    else:
        where[path[-1]] = value
    return document


ENTRY, FEE = ("accepts", 0), ("accepts", 0, "extra", "fee")
META = ("extensions", "paymentPermitContext", "meta")


def test_the_captured_challenge():
    (offer,) = read(CAPTURED).offers
    assert (offer.scheme, offer.method, offer.network.id) == ("exact_permit", "payment-permit", "tron:0xcd8690dc")
    assert (offer.amount, offer.fee_cap, offer.fees, offer.money.amount) == (1000, 100, (("facilitator", 100),), 1100)
    assert offer.facilitator == FEE_TO
    assert json.loads(offer.details) == {"feeTo": FEE_TO, "paymentId": "0x9c9be2770121075aedc9cf7625621db7"}
    assert offer.wire[1] == "tron:nile"


@pytest.mark.parametrize(
    "name, asset",
    [("tron:nile", "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"), ("tron:0xcd8690dc", "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"),
     ("tron:mainnet", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"), ("tron:0x2b6653dc", "TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t"),
     ("tron:shasta", "TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs"), ("tron:0x94a9059e", "TG3XXyExBkPp9nzdajDZsozEu4BkaSJozs")],
)  # fmt: skip
def test_both_spellings_of_every_network(name, asset):
    document = changed(*ENTRY, "network", value=name)
    document["accepts"][0]["asset"] = asset
    (offer,) = read(document).offers
    assert offer.asset.address == asset and offer.wire[1] == name


@pytest.mark.parametrize("name", ["tron", "tron-nile"])
def test_our_own_names_of_networks_are_known(name):
    document = changed(*ENTRY, "network", value=name)
    assert bool(read(document).offers) is (name == "tron-nile")  # the token is Nile's


@pytest.mark.parametrize("name", ["tron:Nile", "tron:0xCD8690DC", "tron:3448148188", "tron:nile ", "tron:0xcd8690d", "TRON:nile"])
def test_A5_other_spellings_are_not_in_the_table(name):
    found = read(changed(*ENTRY, "network", value=name))
    assert not found.offers and "A5" in found.passed_over[0]


def test_what_the_seller_says_of_nonce_and_window_is_not_read():
    (plain,) = read(CAPTURED).offers
    for name, value in (("nonce", "1"), ("nonce", ...), ("validBefore", 1 << 70), ("validBefore", "x"), ("validAfter", ...)):
        (offer,) = read(changed(*META, name, value=value)).offers
        assert (offer.details, offer.fee_cap, offer.facilitator) == (plain.details, plain.fee_cap, plain.facilitator)


def test_D2_contracts_named_by_the_seller_are_not_read():
    (plain,) = read(CAPTURED).offers
    (offer,) = read(changed(*ENTRY, "extra", "verifyingContract", value=FEE_TO)).offers
    assert (offer.details, offer.method, offer.facilitator) == (plain.details, plain.method, plain.facilitator)


@pytest.mark.parametrize("value", [..., None, {}])
def test_without_a_fee_nothing_is_added(value):
    (offer,) = read(changed(*FEE, value=value)).offers
    assert (offer.fee_cap, offer.fees, offer.facilitator) == (0, (), "")
    assert json.loads(offer.details)["feeTo"] == "T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb"


def test_a_zero_caller_is_anybody():
    (offer,) = read(changed(*FEE, "caller", value="T9yD14Nj9j7xAB4dbGeiX9h8unkKHxuWwb")).offers
    assert offer.facilitator == ""


BROKEN = [
    (*FEE, "feeAmount", "-1"), (*FEE, "feeAmount", "1.5"), (*FEE, "feeAmount", 1.0), (*FEE, "feeAmount", True),
    (*FEE, "feeAmount", "0x10"), (*FEE, "feeAmount", "1e3"), (*FEE, "feeAmount", str(1 << 256)), (*FEE, "feeAmount", None),
    (*FEE, "feeAmount", "１００"), (*FEE, "feeAmount", [100]), (*FEE, "feeAmount", ""), (*FEE, "feeTo", 7),
    (*FEE, "feeTo", "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"), (*FEE, "caller", "nobody"), (*FEE, "caller", ["T"]),
    (*FEE, "5"), (*META, "paymentId", ...), (*META, "paymentId", "0x12"), (*META, "paymentId", "0x" + "zz" * 16),
    (*META, "paymentId", 12), (*META, None), (*META, []), ("extensions", "paymentPermitContext", ...),
    ("extensions", "paymentPermitContext", "meta"), ("extensions", ...), ("extensions", None),
]  # fmt: skip


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: f"{case[-2]}-{case[-1]!r:.12}")
def test_what_cannot_be_signed_is_broken(case):
    with pytest.raises(ChallengeInvalid):
        read(changed(*case[:-1], value=case[-1]))


@pytest.mark.parametrize("kind", ["PAYMENT_AND_DELIVERY", 0, None, ..., "payment_only", 1])
def test_other_kinds_of_permits_are_not_signed(kind):
    found = read(changed(*META, "kind", value=kind))
    assert not found.offers and "kind" in found.passed_over[0]


@pytest.mark.parametrize("extra", [{}, None, {"assetTransferMethod": "eip3009"}, {"name": "Tether USD", "version": "1"}])
def test_eip_3009_is_refused_with_the_reason(extra):
    document = changed(*ENTRY, "scheme", value="exact")
    document["accepts"][0]["extra"] = extra
    found = read(document)
    assert not found.offers and "no EIP-3009: such a signature never settles" in found.passed_over[0]


def test_exact_by_permit2():
    document = changed(*ENTRY, "scheme", value="exact")
    document["accepts"][0]["extra"] = {"assetTransferMethod": "permit2", "fee": {"feeAmount": "5"}}
    (offer,) = read(document).offers
    assert (offer.method, offer.fee_cap, offer.facilitator, offer.details) == ("permit2", 0, "", "")


@pytest.mark.parametrize("scheme, method", [("upto", "permit2"), ("upto", None), ("exact", "gasfree"), ("exact", 7),
                                            ("exact_gasfree", None)])  # fmt: skip
def test_A7_other_ways_are_passed_over(scheme, method):
    document = changed(*ENTRY, "scheme", value=scheme)
    document["accepts"][0]["extra"] = {"assetTransferMethod": method}
    found = read(document)
    assert not found.offers and "A7" in found.passed_over[0]


def test_exact_permit_elsewhere_is_passed_over():
    entry = {"scheme": "exact_permit", "network": "eip155:84532", "amount": "1", "maxTimeoutSeconds": 60,
             "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"}  # fmt: skip
    found = read({"x402Version": 2, "accepts": [entry]})
    assert not found.offers and "A7" in found.passed_over[0]


def test_version_1_does_not_pay_on_tron():
    entry = {**CAPTURED["accepts"][0], "scheme": "exact", "maxAmountRequired": "1000", "resource": ASK.url}
    found = X402().read(Reply(402, Headers(""), json.dumps({"x402Version": 1, "accepts": [entry]}).encode()), ASK)
    assert not found.offers and "version 2" in found.passed_over[0]
