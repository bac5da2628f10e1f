"""Its `/.well-known/x402`, a 402 that is no word about a token: what was bought opens its other pages still, and the list is not paid."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from x402_agent import NoAcceptableOffer

LIST = "/.well-known/x402"
DOCUMENT = json.loads((Path(__file__).parent.parent / "vectors" / "kamiyo" / "well-known.json").read_text("utf-8"))


@pytest.fixture
def listing(shop):
    """A shop with the page as its published servers have it, for a coin that this payer has."""
    entry = {**DOCUMENT["accepts"][0], "network": shop.chain, "asset": shop.box.ground.asset.address, "payTo": shop.pay_to}
    shop.plain = lambda hit: shop.json({**DOCUMENT, "accepts": [entry]}, 402)
    shop.seller.serves(LIST, shop.plain)
    return shop


def get(payer, url):
    with payer.client() as http:
        return http.get(url)


def test_a_402_that_is_no_word_about_the_token_leaves_it_and_the_list_is_not_paid(payer, listing):
    assert get(payer, listing.url()).content == b"goods"
    listing.seller.hits.clear()
    with pytest.raises(NoAcceptableOffer, match="lists what the site sells") as refused:
        get(payer, listing.url(LIST))
    assert "crawl" in refused.value.hint
    (hit,) = listing.seller.hits
    assert hit.headers.get("x-payment-token") and not hit.headers.get("x-payment")
    asked = list(listing.asked)
    assert get(payer, listing.url("/protocols/risk-score")).content == b"goods" and listing.opened[-1] == "token"
    assert listing.asked == asked, "no token is fetched again"
    payer.ledger.flush()
    assert len(payer.ledger.payments()) == 1 and [each.uses_left for each in payer.ledger.tokens()] == [97]


def test_the_list_is_quoted_as_what_nobody_sells(payer, listing):
    quote = payer.quote(listing.url(LIST))
    assert (quote.dialect, quote.offers, quote.chosen) == ("x402", (), None) and "lists what" in str(quote.reason)


def test_a_page_that_is_sold_by_plain_x402_is_a_purchase_of_its_own_and_leaves_the_token(payer, listing):
    get(payer, listing.url())
    listing.seller.serves("/plain", lambda hit: listing.seller.answer(200, b"plain") if hit.headers.get("x-payment") else listing.plain(hit))
    assert get(payer, listing.url("/plain")).content == b"plain"
    assert get(payer, listing.url()).content == b"goods" and listing.opened[-1] == "token"
    assert len(payer.ledger.payments()) == 2 and listing.asked == ["verify", "token"]
