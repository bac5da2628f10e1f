"""What comes back for a proof and cannot be used; uploads that are read too slowly; options that would buy twice."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from contextlib import suppress

import httpx
import pytest

from x402_agent import PaymentInDoubt, SettingsError

GARBLED = {
    "no gzip": {"content_encoding": "gzip"},
    "a chain of codings": {"content_encoding": "gzip, gzip, gzip, gzip, gzip, gzip, gzip"},
    "no deflate after gzip": {"content_encoding": "deflate, gzip"},
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # trio: the library's own generators
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.parametrize("how", GARBLED)
def test_V10_a_body_that_cannot_be_decoded_is_not_delivered_and_never_bought_twice(call, seller, till, payer, how):
    body = gzip.compress(b"no deflate") if "deflate" in how else b"this is neither"
    url = seller.sells("/paid", seller.ok(body, **GARBLED[how]))
    for _ in range(2):
        with pytest.raises(PaymentInDoubt, match="DecodingError"):
            call(payer, "GET", url)
    assert till.rows(payer) == [("PAID_UNDELIVERED", "spent")]
    assert len(seller.nonces) == 1


def test_what_can_be_decoded_is(call, seller, till, payer):
    url = seller.sells("/paid", seller.ok(gzip.compress(b"paid content"), content_encoding="gzip"))
    assert call(payer, "GET", url).content == b"paid content"
    assert till.rows(payer) == [("CLAIMED", "spent")]


@pytest.mark.parametrize("status", [402, 404, 500])
def test_I5_an_error_page_that_breaks_off_does_not_hide_that_a_proof_is_out(call, seller, till, payer, status):
    url = seller.sells("/paid", lambda hit: iter([b"HTTP/1.1 %d X\r\ncontent-length: 100\r\n\r\nhalf" % status]))
    for _ in range(2):
        with pytest.raises(PaymentInDoubt, match="stays counted"):
            call(payer, "GET", url)
    assert till.rows(payer) == [("UNKNOWN", "refused" if status == 402 else "in_doubt")]
    assert len(seller.nonces) == 1


def test_T2_an_upload_that_is_read_drop_by_drop_ends_with_the_deadline(till):
    with socket.create_server(("127.0.0.1", 0)) as listener, till.payer(deadline=1.5).client(timeout=1.5) as client:

        def sip() -> None:
            conn, _ = listener.accept()
            with conn, suppress(OSError):
                while conn.recv(1 << 17):
                    time.sleep(0.05)

        threading.Thread(target=sip, daemon=True).start()
        start = time.monotonic()
        with pytest.raises(httpx.TimeoutException):
            client.post(f"http://127.0.0.1:{listener.getsockname()[1]}/", content=b"a" * 60_000_000)
        assert time.monotonic() - start < 20


def test_a_key_that_is_zero_is_a_key(call, seller, till, payer):
    url = seller.sells("/paid")
    call(payer, "GET", url, times=2, extensions={"payment": {"key": 0}})
    assert len(seller.nonces) == 1


@pytest.mark.parametrize("option", [{"key": ""}, {"key": False}, {"again": "false"}, {"again": 0}, {"again": "no"}])
def test_options_that_are_not_what_they_seem_are_refused(call, seller, payer, option):
    with pytest.raises(SettingsError):
        call(payer, "GET", seller.sells("/paid"), extensions={"payment": option})
    assert not seller.hits


def test_S9_a_402_in_pieces_of_one_byte_is_read_in_linear_time(call, seller, payer):
    """Sixty thousand of them were counted anew for each, for a minute, in the middle of an event loop."""

    def crumbs(hit):
        yield b"HTTP/1.1 402 X\r\ntransfer-encoding: chunked\r\n\r\n"
        yield b"1\r\na\r\n" * 60_000 + b"0\r\n\r\n"

    start = time.thread_time()
    reply = call(payer, "GET", seller.serves("/crumbs", crumbs))
    assert (reply.status_code, len(reply.content)) == (402, 60_000)
    assert time.thread_time() - start < 20
