"""A seller who was paid and wants more: what was bought goes to his origin alone, and no answer of his is followed anywhere else."""

from __future__ import annotations

import logging
from contextlib import suppress

import anyio
import httpx
import pytest

from loopback import Seller
from x402_agent import PaymentError
from x402_agent.transport import drivers

NATIVE = 100_000
SHOWN = ("x-payment", "x-payment-tx", "x-payment-token", "x-payment-chain", "cookie", "x-csrf-token", "authorization")


@pytest.fixture
def other():
    """Whoever listens elsewhere: everything is free here, and noted."""
    made = Seller()
    for path in ("/exploits", "/x402/verify-payment", "/x402/supported-chains", "/api/csrf-token", "/x402/generate-token/1"):
        made.serves(path, made.answer(200, b'{"is_valid": true, "payment_id": 1, "payment_token": "stolen-stolen-stolen", "csrf_token": "stolen-stolen"}'))
    yield made
    made.close()


def moved(payer):
    return payer.box.balance(payer.box.pay_to)


def rows(payer):
    payer.ledger.flush()
    return payer.ledger.payments()


def leaked(other):
    """What of ours came to the other origin."""
    return sorted({name for hit in other.hits for name in hit.headers if name in SHOWN})


def read(payer, url, library="httpx", **options):
    with payer.client(library=library, follow_redirects=True, timeout=30) as http:
        return http.get(url, **options)


WHERE = ["/x402/verify-payment", "/x402/generate-token/1", "/api/csrf-token", "/x402/supported-chains"]


@pytest.mark.parametrize("status", [pytest.param(each, marks=() if each == 307 else pytest.mark.full) for each in (301, 302, 307, 308)])
@pytest.mark.parametrize("path", WHERE)
def test_his_routes_lead_nowhere_else(payer, shop, seller, other, path, status):
    turned = seller.answer(status, b"", location=other.url(path))
    if "generate-token" in path:
        shop.generate = lambda hit, number: turned
    else:
        seller.serves(path, turned)
    if "csrf" in path:
        seller.serves("/x402/verify-payment", shop.json({"error": "csrf_token_invalid"}, 403))
    for _ in range(2):
        read(payer, shop.url())
    assert other.hits == [] and moved(payer) == NATIVE and len(rows(payer)) == 1


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_no_token_travels_over_a_redirect(payer, shop, seller, other, library, status):
    assert read(payer, shop.url(), library).content == b"goods"
    before = sum(shop.left.values())
    seller.serves("/exploits", seller.answer(status, b"", location=other.url("/exploits")))
    reply = read(payer, shop.url(), library)
    assert reply.status_code == 200 and reply.url.port == other.port and leaked(other) == []
    assert sum(shop.left.values()) == before and moved(payer) == NATIVE

    async def main():
        async with payer.async_client(library=library, follow_redirects=True, timeout=30) as http:
            return await http.get(shop.url())

    assert anyio.run(main).status_code == 200 and leaked(other) == [] and len(other.hits) == 2


def test_no_transfer_travels_over_the_redirect_that_answers_it(payer, shop, seller, other):
    honest = seller.routes["/exploits"]
    seller.serves("/exploits", lambda hit: seller.answer(302, b"", location=other.url("/exploits")) if hit.headers.get("x-payment-tx") else honest(hit))
    assert read(payer, shop.url()).status_code == 200
    assert leaked(other) == [] and moved(payer) == NATIVE and len(rows(payer)) == 1


def test_a_token_is_of_one_origin_by_every_spelling(payer, shop, other):
    read(payer, shop.url())
    for url in (other.url("/exploits"), shop.url().replace("127.0.0.1", "localhost"), shop.url().replace("127.0.0.1", "127.0.0.2"), shop.url().replace("//", "//user:word@")):
        with suppress(PaymentError, httpx.TransportError):
            read(payer, url, extensions={"payment": {"max": "0.000001"}})
    assert leaked(other) == [] and moved(payer) == NATIVE
    asked = [hit.headers for hit in shop.seller.hits if hit.headers.get("host", "").startswith("localhost")]
    assert asked and not any("x-payment-token" in each for each in asked)


@pytest.mark.parametrize("price", [pytest.param("0.01", marks=pytest.mark.full), "0.50", pytest.param("100000", marks=pytest.mark.full)])
def test_a_higher_price_after_the_transfer_is_not_paid(payer, shop, seller, price):
    honest = seller.routes["/exploits"]

    def dearer(hit):
        if not any(name.startswith("x-payment") for name in hit.headers):
            return honest(hit)
        shop.price = price
        return shop.ask(hit)

    seller.serves("/exploits", dearer)
    replies = [read(payer, shop.url()) for _ in range(3)]
    assert [each.status_code for each in replies] == [402] * 3
    assert moved(payer) == NATIVE and len(rows(payer)) == 1 and rows(payer)[0].micros == NATIVE


HUGE = {
    "a token of a megabyte": {"payment_token": "t" * 1_000_000, "payment_id": 1},
    "a token of many lines": {"payment_token": "t" * 20 + "\nx-payment-token: v", "payment_id": 1},
    "a token of no letters": {"payment_token": "é" * 43, "payment_id": 1},
    "a token that is a list": {"payment_token": ["t" * 43], "payment_id": 1},
    "a megabyte beside the token": {"payment_token": "t" * 43, "payment_id": 1, "more": "m" * 1_000_000},
}


@pytest.mark.parametrize("said", [pytest.param(each, marks=() if "many lines" in each else pytest.mark.full) for each in HUGE])
def test_what_is_no_token_is_not_shown_and_the_transfer_opens(payer, shop, said):
    shop.generate = lambda hit, number: shop.json(HUGE[said])
    assert [read(payer, shop.url()).content for _ in range(2)] == [b"goods"] * 2
    assert shop.opened == ["tx"] * 2 and moved(payer) == NATIVE and len(rows(payer)) == 1


@pytest.mark.parametrize("status", [200, 500])
def test_a_token_route_that_breaks_after_the_money_moved(payer, shop, seller, status):
    shop.generate = lambda hit, number: seller.answer(status, b"<html>oops")
    assert [read(payer, shop.url()).content for _ in range(3)] == [b"goods"] * 3
    assert shop.opened == ["tx"] * 3 and moved(payer) == NATIVE


def test_a_quota_that_is_never_more_than_one_stays_within_limits(payer, shop):
    shop.generate = lambda hit, number: shop.json({"payment_token": f"token-{number}-{'x' * 30}", "payment_id": number, "requests_remaining": 1})
    with payer.task("bounded", budget="0.25"):
        for _ in range(5):
            with suppress(PaymentError):
                read(payer, shop.url())
    assert moved(payer) <= 2 * NATIVE


def test_nothing_that_was_bought_is_logged_or_left_on_the_request(payer, shop, caplog):
    caplog.set_level(logging.DEBUG)
    replies = [read(payer, shop.url(), library) for library in ("httpx", "httpx2") for _ in range(2)]
    words = [*shop.tokens, *shop.payments]
    seen = caplog.text + repr(replies) + "".join(repr(each.request.headers) + repr(each.extensions) for each in replies) + repr(payer.ledger.tokens())
    assert len(shop.tokens) == 1
    assert [word for word in shop.tokens if word in seen] == []
    assert not any(name in each.request.headers for each in replies for name in SHOWN)
    assert words


def test_a_clock_of_his_own_moves_nothing(payer, shop, seller):
    honest = seller.routes["/exploits"]
    seller.serves("/exploits", lambda hit: honest(hit).replace(b" X\r\n", b" X\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\nexpires: 0\r\nage: 999999999\r\n", 1))
    shop.expires = "1970-01-01T00:00:00"
    assert [read(payer, shop.url()).content for _ in range(3)] == [b"goods"] * 3
    assert moved(payer) == NATIVE and shop.opened == ["token"] * 3


@pytest.mark.parametrize("loop", ["asyncio", pytest.param("trio", marks=pytest.mark.full)])
def test_his_silence_takes_no_more_time_than_all_legs_have(payer, shop, seller, loop, monkeypatch):
    payer.deadline, asked = 2.0, []
    honest = drivers.fetch_async
    monkeypatch.setattr(drivers, "fetch_async", lambda step, *rest: asked.append(step.timeout) or honest(step, *rest))
    seller.serves("/x402/verify-payment", seller.hang)

    async def main():
        async with payer.async_client(timeout=1.0) as http:
            await http.get(shop.url())

    with pytest.raises(PaymentError):
        anyio.run(main, backend=loop)
    assert asked and max(asked) <= 2.0 and moved(payer) <= NATIVE
