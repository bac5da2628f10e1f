"""What was bought, by whatever door, is what a service ranks by: the ledger tells the catalogue when it is asked, and no payment waits for that."""

from __future__ import annotations

from contextlib import suppress

import pytest

from market import Market, row
from x402_agent import Payer, PaymentError
from x402_agent.tools import Tools


@pytest.fixture
def shop(seller, tmp_path):
    """A payer of the sandbox, and a catalogue that lists three routes of a seller of ours."""
    with Payer.sandbox(serve=True) as payer:
        market = Market(seller, tmp_path)
        market.path, market.page = payer.settings.catalogue_path, 100
        for path in ("/a", "/b", "/c"):
            seller.sells(path)
        market.rows = [row(seller.url(path)) for path in ("/a", "/b", "/c")]
        yield payer, market


def known(payer, url):
    return next(each for each in payer.discover.search("weather", every=True) if each.url == url)


def bought(payer, url):
    return [each for each in known(payer, url).why if each.startswith("you bought")]


def test_a_plain_client_and_a_model_teach_the_catalogue_too(shop):
    payer, market = shop
    a, b, c = (market.seller.url(path) for path in ("/a", "/b", "/c"))
    with payer.client() as http, Tools(payer, loopback=True).sync as tools:
        http.get(a + "?page=1")
        market.crawl()  # what was bought before it was listed counts as well
        assert bought(payer, a) == ["you bought here once (+100)"]
        assert not bought(payer, b)
        http.get(a + "?page=2")
        assert tools.buy(tools.quote(b).offer_id).outcome == "spent"
        assert bought(payer, a) == ["you bought here 2 times (+200)"]
        assert bought(payer, b) and not bought(payer, c)
        assert payer.discover.show(known(payer, b).id)[0].points == known(payer, b).points > known(payer, c).points
        assert [each.url for each in payer.discover.search("weather", every=True)] == [a, b, c]


def test_what_went_wrong_counts_against_it_until_it_is_put_right(shop):
    payer, market = shop
    url = market.seller.url("/a")
    market.crawl()
    good = market.seller.routes["/a"]
    market.seller.routes["/a"] = lambda hit: market.seller.answer(500, b"no") if hit.proof else good(hit)
    with payer.client() as http:
        with suppress(PaymentError):
            http.get(url)
        assert bought(payer, url) == ["you bought here once, and it went wrong (-150)"]
        market.seller.routes["/a"] = good
        assert http.get(url).extensions["payment"].again
        assert bought(payer, url) == ["you bought here once (+100)"]


def test_nothing_is_written_where_nothing_is_new_and_a_ledger_that_fails_hinders_no_answer(shop, monkeypatch):
    payer, market = shop
    url = market.seller.url("/a")
    market.crawl()
    with payer.client() as http:
        http.get(url)
    assert payer.discover.learn() == 1
    monkeypatch.setattr(payer.discover.store, "writing", lambda: pytest.fail("it was written"))
    assert payer.discover.learn() == 0 and bought(payer, url)

    def broken(since):
        raise PaymentError("no ledger")

    payer.discover.past = (payer.discover.past[0]._replace(since=broken),)
    assert bought(payer, url)
