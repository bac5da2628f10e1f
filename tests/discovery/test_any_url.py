"""A URL that answers 402 itself, and one of which nobody says what it is: its answer does, whatever its seller would like."""

from __future__ import annotations

import gzip
import json

import pytest

from market import BASE, row


def asking(market, amount, path="/w", **changes):
    terms = market.seller.terms(path, amount, **changes)
    market.seller.routes[path] = lambda hit: market.seller.answer(402, b"{}", payment_required=market.seller.packed(terms))
    return market.seller.url(path)


def test_a_402_is_a_row_with_what_it_asks_now(market):
    url = asking(market, 7_000)
    report = market.crawl(("402", url))
    assert (report.rows, report.failed) == (1, [])
    (found,) = market.search()
    assert (found.url, found.method, found.micros, found.payable, found.prices[0].pay_to.lower()) == (url, "GET", 7_000, True, BASE["payTo"].lower())
    asking(market, 9_000)  # only its header changes: the body is the same
    assert market.crawl(("402", url)).changed == 1
    assert market.search()[0].micros == 9_000
    market.crawl(("402", url), probes=1)
    assert (market.search()[0].verdict, market.search()[0].agreement) == ("live-402", "agreement")
    assert not [hit for hit in market.seller.hits if hit.proof]


def test_a_402_in_the_body_is_read_through_its_coding_and_a_bomb_is_none(market):
    body = market.seller.terms_v1("/v1", 3_000)
    packed = gzip.compress(json.dumps(body).encode())
    market.seller.routes["/v1"] = lambda hit: market.seller.answer(402, packed, content_type="application/json", content_encoding="gzip")
    market.crawl(("402", market.seller.url("/v1")))
    assert [each.micros for each in market.search()] == [3_000]
    bomb = gzip.compress(b"{" + b" " * (20 << 20))
    market.seller.routes["/bomb"] = lambda hit: market.seller.answer(402, bomb, content_encoding="gzip")
    assert market.crawl(("402", market.seller.url("/bomb"))).rows <= 1
    assert [each.micros for each in market.search()] == [3_000]


def test_one_that_asks_for_nothing_any_more_is_missing_and_a_broken_one_is_named(market):
    url = asking(market, 7_000)
    market.crawl(("402", url))
    market.text("/w", "free for all")
    assert market.crawl(("402", url)).reasons["it answers without asking for money"] == 1
    assert market.show(market.search()[0].id)[1][0]["missed"] == 1
    for amount in ("-1", "1e4", "9" * 90, 1.5):
        broken = asking(market, amount, "/broken")
        report = market.crawl(("402", broken))
        assert report.rows <= 1 and not [each for each in market.search() if each.url == broken and each.micros is not None]
    market.seller.routes["/broken"] = lambda hit: market.seller.answer(402, b"x" * 200_000, payment_required="!!!")
    assert market.crawl(("402", market.seller.url("/broken"))).rows == 0


SITE = "https://a.example"
PAID = {"protocols": ["x402"], "price": {"mode": "fixed", "currency": "USD", "amount": "0.01"}}
DOCUMENTS = {
    "openapi": {"openapi": "3.1.0", "info": {"title": "W"}, "paths": {"/w": {"get": {"x-payment-info": PAID}}}},
    "bazaar": {"x402Version": 2, "items": [row(f"{SITE}/w")], "pagination": {"limit": 1, "offset": 0, "total": 1}},
    "well-known": {"resources": [f"{SITE}/w"]},
    "priced": {"products": [{"path": "/w", "price": "0.01"}]},
    "map": {"endpoints": {"/w": {"price": "0.01"}}},
    "mpp": {"services": [{"name": "W", "serviceUrl": SITE, "endpoints": [{"path": "/w", "method": "GET", "payment": {"amount": "1", "currency": "x", "method": "y"}}]}]},
    "satring": {"services": [{"slug": "w", "url": f"{SITE}/w", "pricing_usd": 0.01, "pricing_sats": 5}]},
    "x402pay": {"items": [{"contentId": "a-1", "url": f"{SITE}/w", "pricing": {"usdcx": "0.01"}}]},
    "llms": "# W\n- [weather](SELLER/w): 402, pay per call\n",
    "urls": f"# mine\n{SITE}/w\nPOST {SITE}/v\n",
}


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_what_a_url_answers_says_what_it_is(market, kind):
    document = DOCUMENTS[kind]
    text = document.replace("SELLER", market.seller.origin) if isinstance(document, str) else json.dumps(document)
    report = market.crawl(("url", market.text("/some/where", "\ufeff " + text if kind == "urls" else text)))
    assert report.rows >= 1 and not report.failed, report.failed
    assert market.search(every=True)


def test_pages_that_follow_are_read_as_the_first_one_was(market):
    market.rows = [row(f"https://s{n}.example/w") for n in range(7)]
    report = market.crawl(("url", market.seller.url("/x402/discovery/resources") + "?offset=0"))
    assert report.rows == 7 and report.services == 7


@pytest.mark.parametrize("body", ["<html>buy here</html>", "", "null", "[]", "{}", '{"a": 1}', "[1, 2]", "[[[", '{"items": 5}', "\x00\x01"])
def test_what_is_no_catalogue_is_named_and_nothing_else_happens(market, body):
    report = market.crawl(("url", market.text("/x", body)))
    assert report.rows == 0 and report.services == 0


def test_a_url_that_answers_402_needs_no_name(market):
    url = asking(market, 7_000)
    assert market.crawl(("url", url)).rows == 1 and market.search()[0].micros == 7_000
