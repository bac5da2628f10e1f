"""Somebody else's seller in each spelling, with oddities that its descriptions allow, and with what they do not: paid once, or refused with a reason."""

from __future__ import annotations

import pytest

from first import states
from x402_agent import PaymentError
from x402_agent.dialects import builtin
from x402pay.test_buying import get
from x402pay.third import PRICE, Third

MAIN = "SP2C2YFP12AJZB4MABJBAJ55XECVS7E4PMMZ89YZR"
LEGAL = {
    "prd": [
        {}, {"drop": ("nonce",)}, {"nonce": None}, {"chain": None}, {"drop": ("chain", "asset")}, {"asset": "stx"}, {"contract": None, "contentId": None},
        {"amount": PRICE}, {"amount": "0.100000000"}, {"chain": "stacks:2147483648"}, {"chain": "Stacks"}, {"expires": 5, "memo": ["x"], "payment": {}},
    ],
    "openapi": [{}, {"amount": PRICE}, {"amount": "0.1"}, {"contract": None, "nonce": None}, {"drop": ("nonce",)}, {"contentId": "B_2-c"}, {"chain": "stacks", "url": "x"}],
    "gateway": [
        {}, {"where": "header"}, {"where": "body"}, {"entry": {"extra": None}}, {"entry": {"amount": PRICE}}, {"entry": {"asset": "stx", "maxTimeoutSeconds": 900}},
        {"more": ({"scheme": "exact", "network": "eip155:8453", "amount": "1", "asset": "0x", "payTo": "0x"},)}, {"title": None, "payment": None, "network": None},
    ],
    "bearer": [
        {}, {"header": ""}, {"drop": ("paymentEndpoint",)}, {"paymentEndpoint": None}, {"paymentEndpoint": "ORIGIN/pay", "header": 'bearer PAYMENT_URL = "ORIGIN/pay"'},
        {"paymentEndpoint": "../pay", "header": 'Basic realm="x", Bearer payment_url="/pay"'}, {"paymentEndpoint": "/pay?to=a", "header": ""}, {"requiredAmount": "0.10"},
        {"currency": "stx", "extra": {}},
    ],
}  # fmt: skip
BROKEN = {
    "prd": [
        {"recipient": MAIN}, {"recipient": MAIN[:-1] + "A"}, {"recipient": 5}, {"chain": "base"}, {"chain": "stacks:1"}, {"chain": 7}, {"asset": "USDT"},
        {"amount": None}, {"amount": 0.1}, {"amount": "-1"}, {"amount": True}, {"nonce": "a\nb"}, {"nonce": 5}, {"contract": "SP1.x"}, {"contract": f"{MAIN}.revenue-split"},
    ],
    "openapi": [{"contentId": "a/b"}, {"contentId": 5}, {"amount": "1e5"}, {"amount": "1" * 40}, {"asset": ["STX"]}, {"recipient": None}],
    "gateway": [
        {"entry": {"network": "stacks:1"}}, {"entry": {"payTo": MAIN}}, {"entry": {"amount": "0.1"}}, {"entry": {"scheme": "upto"}}, {"contentId": "other"},
        {"accepts": None}, {"extra": {"challengeToken": "a b"}}, {"entry": {"extra": {"contractAddress": 5}}},
    ],
    "bearer": [
        {"header": 'Bearer payment_url="/other"'}, {"paymentEndpoint": "https://evil.example/pay", "header": ""}, {"paymentEndpoint": "//evil.example/pay", "header": ""},
        {"paymentEndpoint": "/\\evil.example/pay", "header": ""}, {"paymentEndpoint": "ORIGIN@evil.example/", "header": ""}, {"requiredAmount": 0}, {"requiredAmount": "free"},
        {"requiredAmount": 1e-9}, {"currency": "DOGE"}, {"paymentEndpoint": ["/pay"], "header": ""},
    ],
}  # fmt: skip
QUICK = 3  # of each


def cases(table):
    for spelling, changes in table.items():
        for index, each in enumerate(changes):
            yield pytest.param(spelling, each, id=f"{spelling}-{index}", marks=() if index < QUICK else pytest.mark.full)


@pytest.fixture
def third(payer):
    made = Third(payer.box.rpc_url, payer.box.pay_to, payer.box.network)
    made.agent = payer.box.payer_address
    payer.dialects = builtin({"x402pay": {made.origin: {"recipient": payer.box.pay_to}}})
    yield made
    made.close()


def moved(payer):
    chain = payer.box.ground.chain
    return sum(move.amount for each in chain.history(payer.box.payer_address) for move in each.moves if each.status == "success")


@pytest.mark.parametrize(("spelling", "change"), list(cases(LEGAL)))
def test_odd_but_legal_is_paid(payer, third, spelling, change):
    third.asks = getattr(third, spelling)(**change)
    if spelling == "openapi":
        payer.dialects = builtin({"x402pay": {third.origin: {"api": f"{third.origin}/v1"}}})
    times = 1 if spelling == "prd" else 3  # without an API or a grant each showing of an id is one
    replies = get(payer, f"{third.origin}/blog/a-1?contentId=a-1", times=times)
    assert [each.content for each in replies] == [b"sold"] * times and moved(payer) == PRICE and states(payer) == ["CLAIMED"]


@pytest.mark.parametrize("path", ["/", "/data.json", "/a%20b", "/%2e%2e/x.y/"])
def test_a_path_that_names_no_content_is_paid_by_a_transfer(payer, third, path):
    third.asks = third.prd()
    assert get(payer, third.origin + path)[0].content == b"sold" and moved(payer) == PRICE


@pytest.mark.parametrize(("spelling", "change"), list(cases(BROKEN)))
def test_what_is_broken_is_refused_with_a_reason(payer, third, spelling, change):
    third.asks = getattr(third, spelling)(**change)
    with pytest.raises(PaymentError) as caught:
        get(payer, f"{third.origin}/blog/a-1?contentId=a-1")
    assert (caught.value.rule or caught.value.hint) and states(payer) == [] and moved(payer) == 0 and third.told == []
