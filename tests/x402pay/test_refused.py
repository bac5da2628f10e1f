"""What was bought and is refused later: exchanged for what the same payment opens with, and never bought again while it lives."""

from __future__ import annotations

import json
import time

import pytest

from first import states
from x402_agent import PolicyDenied
from x402_agent.dialects import builtin
from x402_agent.dialects.x402pay import till
from x402_agent.policy import Price
from x402pay.shop import PRICE, Shop
from x402pay.test_buying import get


class Later:
    """The price in two hours."""

    def price(self, asset):
        return Price(500_000, 0, int(time.time()) + 7200)


@pytest.fixture
def wary(api, shop):
    """A seller whose API gives tokens, and whose pages take none: `shop.answers` is the status, `shop.ids` whether they take an id."""
    shop.answers, shop.ids = 401, True

    def article(hit):
        shown = hit.headers.get("x-payment-proof", "")
        if shown and (not shown.startswith("0x") or not shop.ids):
            shop.seen.append(shown)
            return shop.ask() if shop.answers == 402 else shop.json({"error": "Invalid payment proof"}, 401)
        return Shop.article(shop, hit)

    shop.seller.serves("/articles/article-1", article)
    return shop


@pytest.mark.parametrize("status", [401, 402])
@pytest.mark.parametrize("world", ["sync", "trio"])
def test_who_takes_no_token_is_shown_the_id_itself(api, wary, status, world):
    wary.answers = status
    replies = get(api, wary.url(), world, times=3)
    assert [each.content for each in replies] == [b"the article"] * 3 and wary.moved() == PRICE and states(api) == ["CLAIMED"]
    assert len({each for each in wary.seen if each.startswith("0x")}) == 1 and api.ledger.verify() == []


@pytest.mark.parametrize("status", [401, 402])
def test_what_lives_is_never_bought_again(api, shop, status):
    assert get(api, shop.url())[0].status_code == 200
    shop.seller.serves("/v1/payments/verify", lambda _: shop.json({"error": "Conflict", "message": "Payment already processed"}, 409))

    def nothing(hit):
        refused = shop.ask() if status == 402 else shop.json({"error": "Invalid payment proof"}, 401)
        return refused if hit.headers.get("x-payment-proof") else shop.ask()

    shop.seller.serves("/articles/article-1", nothing)
    for _ in range(3):
        with pytest.raises(PolicyDenied, match="nothing was paid again") as caught:
            get(api, shop.url())
        assert caught.value.payment_id == api.ledger.payments()[0].payment_id
    assert shop.moved() == PRICE and states(api) == ["CLAIMED"] and len(api.ledger.tokens()) == 1
    api.credentials._clock = lambda: time.time() + 7200
    api.clock = lambda: time.time() + 7200
    api.prices = Later()
    get(api, shop.url())  # the token has ended, the id is used up: a purchase like any other
    assert shop.moved() == 2 * PRICE and len(states(api)) == 2


def test_a_person_may_pay_anew(api, shop):
    get(api, shop.url())
    dead = set(shop.tokens)
    shop.seller.serves("/v1/payments/verify", lambda _: shop.json({"error": "Conflict"}, 409))
    shop.seller.serves("/articles/article-1", lambda hit: shop.json({"error": "no"}, 401) if hit.headers.get("x-payment-proof") else shop.ask())
    with pytest.raises(PolicyDenied):
        get(api, shop.url())
    shop.seller.serves("/v1/payments/verify", shop.verify)
    shop.seller.serves("/articles/article-1", lambda hit: shop.json({"error": "no"}, 401) if hit.headers.get("x-payment-proof") in dead else shop.article(hit))
    with api.client(timeout=60) as http:
        assert http.get(shop.url(), extensions={"payment": {"again": True}}).status_code == 200
    assert shop.moved() == 2 * PRICE


def test_a_token_of_other_content_under_one_path_stops_no_purchase(api, seller):
    """What is refused there was bought by another request."""
    shop = Shop(seller, api.box)
    opened = {}

    def article(hit):
        shown, asked = hit.headers.get("x-payment-proof", ""), hit.path.partition("?")[2]
        if not shown:
            return shop.ask()
        if shown.startswith("0x") or opened.setdefault(shown, asked) != asked:
            return shop.json({"error": "Invalid payment proof"}, 401)
        return seller.answer(200, asked.encode())

    seller.serves("/articles/article-1", article)
    shop.paid = lambda txid: shop.used.setdefault(txid, "") == ""
    assert [get(api, shop.url(f"/articles/article-1?part={each}"))[0].content for each in (1, 2)] == [b"part=1", b"part=2"]
    assert shop.moved() == 2 * PRICE and states(api) == ["CLAIMED"] * 2


def test_a_bearer_token_that_was_lost_is_in_doubt_with_the_reason(payer, seller, monkeypatch):
    monkeypatch.setattr(till, "TRIES", 2)
    payer.dialects = builtin({"x402pay": {seller.origin: {"recipient": payer.box.pay_to}}})
    told = []
    body = {"error": "Payment required", "code": "PAYMENT_REQUIRED", "paymentEndpoint": "/pay", "requiredAmount": 0.1, "currency": "STX"}
    asked = seller.answer(402, json.dumps(body).encode(), content_type="application/json")

    def pay(hit):
        told.append(json.loads(hit.body))
        return b"" if len(told) == 1 else seller.answer(400, b'{"error":"Transaction hash already used"}')

    seller.serves("/generate", lambda hit: asked if "authorization" not in hit.headers else seller.answer(200, b"a thought"))
    seller.serves("/pay", pay)
    for _ in range(2):
        assert get(payer, seller.url("/generate"))[0].extensions["payment"].outcome in ("in_doubt", "spent")
    payer.resume()
    (payment,) = payer.ledger.payments()
    assert not payment.delivered and len({each["txHash"] for each in told}) == 1 and {each["amount"] for each in told} == {0.1}
    assert any("token was given for it already" in json.dumps(each.data) for each in payer.ledger.events(payment.payment_id))


def test_replies_of_other_dialects_stay_as_they_were(payer, seller):
    """A credential of nobody's dialect is shown and its 401 is the caller's."""
    from x402_agent.model import Ask, Credential

    url = seller.url("/own")
    payer.credentials.keep(Credential(seller.origin, "/own", {"x-token": "t"}, dialect="other"), Ask("GET", url, seller.origin, "127.0.0.1", "/own")).run()
    seller.serves("/own", lambda _: seller.answer(401))
    assert get(payer, url)[0].status_code == 401 and len(seller.hits) == 1 and len(payer.ledger.tokens()) == 1


