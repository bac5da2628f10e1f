"""Sellers that never pause, refusals that hold on to connections, cookies by the thousand: nothing is used up."""

from __future__ import annotations

import json
import time

import anyio
import httpx
import pytest

from loopback import reads
from x402_agent import BudgetExceeded, PaymentInDoubt
from x402_agent.transport.streams import DEADLINE


def flood(seller, first, piece):
    yield first
    while not seller.stop.is_set():
        yield piece


def asked(seller, path, *headers):
    lines = ("HTTP/1.1 402 X", f"payment-required: {seller.packed(seller.terms(path))}", *headers)
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def hints(seller):
    return flood(seller, b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 20)


def test_hints_without_a_pause_end_at_the_deadline(drive, seller, till):  # T3
    payer, start = till.payer(deadline=0.5), time.monotonic()
    with pytest.raises(httpx.TimeoutException):
        drive(payer, "GET", seller.serves("/hints", lambda hit: hints(seller)), timeout=reads(0.3))
    assert time.monotonic() - start < 20


def test_hints_without_a_pause_after_payment_are_in_doubt(drive, seller, till):  # T3 T5
    payer, start = till.payer(deadline=1.0), time.monotonic()
    with pytest.raises(PaymentInDoubt):
        drive(payer, "GET", seller.sells("/hints", lambda hit: hints(seller)), timeout=None)
    assert time.monotonic() - start < 20 and till.rows(payer) == [("UNKNOWN", "in_doubt")]


@pytest.mark.parametrize("how", ["a flood behind a small length", "a small body that drips"])
def test_the_body_of_a_402_does_not_use_up_the_time_for_paying(drive, seller, till, how):  # S2 T2
    def route(hit):
        if hit.proof:
            return seller.ok()
        if how == "a small body that drips":
            return seller.drip(asked(seller, "/c", "content-length: 9000"), piece=b" ")
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        return flood(seller, asked(seller, "/c", "content-length: 10", "transfer-encoding: chunked"), chunk)

    payer, start = till.payer(deadline=30.0), time.monotonic()
    assert drive(payer, "GET", seller.serves("/c", route)).text == "paid content"
    assert time.monotonic() - start < 15  # of thirty


def test_a_refused_402_gives_its_connection_back(library, world, seller, till, payer):
    url = seller.sells("/dear", amount=10**9)
    options = {"limits": httpx.Limits(max_connections=1), "timeout": 20.0}

    async def go():
        async with payer.async_client(library=library, **options) as client:
            for _ in range(3):
                with pytest.raises(BudgetExceeded):
                    await client.get(url)

    if world != "sync":
        anyio.run(go, backend=world)
        return
    with payer.client(library=library, **options) as client:
        for _ in range(3):
            with pytest.raises(BudgetExceeded):
                client.get(url)


def test_thousands_of_cookies_cost_no_time(drive, seller, till, payer):
    many = "".join(f"set-cookie: {number:x}=\r\n" for number in range(4000)).rstrip().encode()
    ask = asked(seller, "/c", "content-length: 0").replace(b"\r\n\r\n", b"\r\n" + many + b"\r\n\r\n")
    url = seller.serves("/c", lambda hit: seller.ok() if hit.proof else ask)
    start = time.process_time()
    assert drive(payer, "GET", url).text == "paid content"
    assert time.process_time() - start < 10


def test_letters_beyond_ascii_in_cookies_and_headers_do_not_cost_the_content(call, seller, till, payer):
    def route(hit):
        ask = seller.ask("/c", set_cookie="name=J\xe9r\xf4me; Path=/")
        return seller.ok(x_city="M\xfcnchen") if hit.proof else ask

    assert call(payer, "GET", seller.serves("/c", route)).text == "paid content"
    assert till.rows(payer) == [("CLAIMED", "spent")]


def test_the_deadline_of_an_async_payment_ends_with_it(seller, till, payer):
    async def go():
        async with payer.async_client(timeout=None) as client:
            assert (await client.get(seller.sells("/paid"))).text == "paid content"
        return DEADLINE.get()

    assert anyio.run(go) is None


@pytest.mark.parametrize("asked", ["gzip, deflate, br, zstd", "br;q=1.0, gzip;q=0.5", "br"])
def test_a_seller_who_compresses_by_whatever_we_take_is_paid(call, seller, till, payer, asked):  # S8
    def route(hit):
        if hit.proof:
            return seller.ok()
        taken = {each.partition(";")[0].strip() for each in hit.headers["accept-encoding"].split(",")}
        if {"br", "zstd"} & taken:
            return seller.answer(402, b"\x8b\x01" + bytes(40), content_encoding="br")
        return seller.ask_v1("/c")

    assert call(payer, "GET", seller.serves("/c", route), headers={"accept-encoding": asked}).text == "paid content"


@pytest.mark.parametrize("coding", ["utf-8", "none", "identity, identity", "UTF8"])
def test_a_plain_402_that_calls_itself_encoded_is_read(drive, seller, till, payer, coding):
    ask = seller.answer(402, json.dumps(seller.terms_v1("/c")).encode(), content_encoding=coding)
    url = seller.serves("/c", lambda hit: seller.ok() if hit.proof else ask)
    assert drive(payer, "GET", url).text == "paid content"
