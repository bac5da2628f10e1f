"""Sellers that stall, flood, lie, loop and redirect (docs/safety.md, rows T S W O L V): bounded seconds, one proof, typed error."""

from __future__ import annotations

import base64
import gzip
import re
import threading
import time
import zlib
from contextlib import contextmanager

import httpx
import pytest

from loopback import Seller, reads
from x402_agent import ChallengeInvalid, PaymentError, PaymentInDoubt, Policy, PolicyDenied
from x402_agent.steps import Send
from x402_agent.transport import watched, wire

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n"


@contextmanager
def within(seconds):
    """So many seconds of a quiet machine; a busy one has four times as many."""
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 4 * seconds


@pytest.fixture
def quick(till):
    """A second for everything, from the 402 on."""
    return till.payer(deadline=1.0)


def stalls(seller, how):
    return {
        "says nothing": seller.hang,
        "drips headers": lambda hit: seller.drip(b"HTTP/1.1 402 X\r\n", piece=b"x-drip: 1\r\n"),
        "drips one header": lambda hit: seller.drip(b"HTTP/1.1 402 X\r\nx-drip: ", piece=b"a"),
        "continues for ever": lambda hit: seller.drip(piece=b"HTTP/1.1 100 Continue\r\n\r\n"),
        "drips the 402 body": lambda hit: seller.drip(b"HTTP/1.1 402 X\r\ncontent-length: 9000\r\n\r\n", piece=b" "),
        "drips chunks": lambda hit: seller.drip(
            b"HTTP/1.1 402 X\r\ntransfer-encoding: chunked\r\n\r\n", piece=b"1\r\n \r\n"
        ),
    }[how]


@pytest.mark.parametrize(
    "how",
    ["says nothing", "drips headers", "drips one header", "continues for ever", "drips the 402 body", "drips chunks"],
)  # T1 T2 T3
def test_a_stall_before_payment_ends_at_the_deadline(drive, seller, till, quick, how):
    url = seller.serves("/stall", stalls(seller, how))
    quick.deadline = 0.3
    with within(3), pytest.raises(httpx.TimeoutException):
        drive(quick, "GET", url, timeout=reads(0.25))
    assert (till.rows(quick), till.signer.count) == ([], 0)


@pytest.mark.parametrize("how", ["says nothing", "drips headers", "drips one header", "continues for ever"])  # T1-T3 T5
def test_a_stall_after_payment_is_in_doubt_at_the_deadline(drive, seller, till, quick, how):
    url = seller.sells("/stall", stalls(seller, how))
    with within(3), pytest.raises(PaymentInDoubt):
        drive(quick, "GET", url, timeout=None)
    assert (len(set(seller.proofs)), till.rows(quick)) == (1, [("UNKNOWN", "in_doubt")])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # trio: the library's own generators
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
def test_a_paid_body_that_drips_is_paid_and_not_delivered(drive, seller, till, quick, monkeypatch):  # T2 T5
    monkeypatch.setattr(watched, "GRACE", 0.3)
    url = seller.sells("/drip", lambda hit: seller.drip(HEAD.replace(b"100", b"100000") + b"\r\n", piece=b"a"))
    with within(3), pytest.raises(PaymentInDoubt):
        drive(quick, "GET", url, timeout=None)
    assert till.rows(quick) == [("PAID_UNDELIVERED", "spent")]


@pytest.mark.full
def test_a_drip_through_the_real_grace_of_a_minute(seller, till, payer):
    url = seller.sells("/drip", lambda hit: seller.drip(HEAD.replace(b"100", b"100000") + b"\r\n", piece=b"a"))
    with payer.client() as client, within(70), pytest.raises(PaymentInDoubt):
        client.get(url)


@pytest.mark.parametrize("kind", ["text/event-stream", "Text/Event-Stream; charset=utf-8", "application/x-ndjson", "application/jsonl"])
def test_a_stream_of_events_may_be_slow(drive, seller, till, payer, monkeypatch, kind):
    monkeypatch.setattr(watched, "GRACE", 0.1)

    def events(hit):
        yield f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n\r\n".encode()
        for _ in range(5):
            seller.stop.wait(0.1)
            yield b"data: 1\n\n"

    assert drive(payer, "GET", seller.sells("/events", events)).text == "data: 1\n\n" * 5


DAMAGE = {
    "FIN": lambda hit: b"",
    "RST": lambda hit: hit.reset(),
    "half a header": lambda hit: iter([b"HTTP/1.1 200 OK\r\ncontent-le"]),
    "garbage": lambda hit: iter([b"\x00\xff\x16\x03garbage\r\n\r\n" * 20]),
    "not HTTP": lambda hit: iter([b"SSH-2.0-OpenSSH_9.9\r\n"]),
    "bad length": lambda hit: iter([b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n"]),
    "two lengths": lambda hit: iter([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello"]),
    "endless header": lambda hit: iter([b"HTTP/1.1 200 OK\r\nx: ", *[b"a" * 65536] * 20]),
    "a million headers": lambda hit: iter([b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n" * 10000] * 20]),
}  # T4 W10 S1


@pytest.mark.parametrize("how", DAMAGE)
def test_a_broken_answer_to_a_proof_is_in_doubt(drive, seller, till, payer, how):
    url = seller.sells("/broken", DAMAGE[how])
    with within(6), pytest.raises(PaymentInDoubt):
        drive(payer, "POST", url)
    assert till.rows(payer) == [("UNKNOWN", "in_doubt")] and len(set(seller.proofs)) == 1
    seller.sells("/broken")
    assert drive(payer, "POST", url).text == "paid content"
    assert len(set(seller.proofs)) == 1 and till.rows(payer) == [("CLAIMED", "spent")]


@pytest.mark.parametrize("how", DAMAGE)
def test_a_broken_answer_before_payment_is_the_librarys_own_error(drive, seller, till, payer, how):
    with within(6), pytest.raises(httpx.TransportError):
        drive(payer, "GET", seller.serves("/broken", DAMAGE[how]))
    assert (till.rows(payer), till.signer.count) == ([], 0)


@pytest.mark.parametrize("how", ["FIN", "RST"])
def test_a_safe_request_sends_the_same_bytes_three_times_at_most(drive, seller, till, payer, how):
    with within(6), pytest.raises(PaymentInDoubt):
        drive(payer, "GET", seller.sells("/broken", DAMAGE[how]))
    assert (len(seller.proofs), len(set(seller.proofs))) == (3, 1)


def test_a_safe_request_is_delivered_when_only_the_first_answer_was_lost(drive, seller, till, payer):  # T7
    url = seller.sells("/flaky", lambda hit: b"" if len(seller.proofs) == 1 else seller.ok())
    assert drive(payer, "GET", url).text == "paid content"
    assert (len(seller.proofs), len(set(seller.proofs)), till.rows(payer)) == (2, 1, [("CLAIMED", "spent")])


@pytest.mark.parametrize("how", ["cut", "broken chunk"])  # W10
def test_a_402_body_that_breaks_pays_nothing(drive, seller, till, payer, how):
    raw = {
        "cut": b'HTTP/1.1 402 X\r\ncontent-length: 500\r\n\r\n{"x402Version":1,',
        "broken chunk": b"HTTP/1.1 402 X\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}",
    }[how]
    with within(3), pytest.raises((httpx.TransportError, PaymentError)):
        drive(payer, "GET", seller.serves("/cut", lambda hit: iter([raw])))
    assert till.signer.count == 0


def test_a_second_dearer_402_behind_the_first_is_never_paid(drive, seller, till, payer):  # W11
    url = seller.serves("/split", lambda hit: seller.ok() if hit.proof else seller.ask("/split") + seller.ask("/split", 90_000))
    for _ in range(2):
        try:
            drive(payer, "GET", url)
        except PaymentInDoubt:
            pass
    assert {seller.authorization(proof)["value"] for proof in seller.proofs} == {"10000"}
    assert till.signer.count <= 2 and len(seller.nonces) <= 2
    states = {state for state, _ in till.rows(payer)}
    assert states <= {"UNKNOWN", "CLAIMED"}


def two_lengths(head, body):
    return head + b"\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"


def as_long(head, body, size=1 << 16):
    """As many bytes as are read at once: asyncio has what comes behind them in a queue, where no poll shows it."""
    head = re.sub(rb"content-length: \d+", b"content-length: 00000", head)
    body = body.ljust(size - len(head) - 4)
    return head.replace(b"00000", b"%d" % len(body)) + b"\r\n\r\n" + body


ODD = {
    "another 402 behind it": lambda ask: ask + ask,
    "an answer to the proof behind it": lambda ask: ask + Seller.answer(200, b"not what was bought"),
    "an answer to the proof behind a whole buffer": lambda ask: as_long(*ask.split(b"\r\n\r\n", 1)) + Seller.answer(200, b"not what was bought"),
    "half an answer behind it": lambda ask: ask + b"HTTP/1.1 200",
    "a newline behind it": lambda ask: ask + b"\r\n",
    "HTTP/1.0": lambda ask: ask.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"\r\n", b"\r\nconnection: keep-alive\r\n", 1),
    "a say in the connection": lambda ask: ask.replace(b"\r\n", b"\r\nconnection: keep-alive, payment-signature\r\n", 1),
    "an upgrade": lambda ask: ask.replace(b"\r\n", b"\r\nupgrade: h2c\r\n", 1),
    "two lengths": lambda ask: two_lengths(*ask.split(b"\r\n\r\n", 1)),
    "nothing odd": lambda ask: ask,
}  # fmt: skip


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("how", ODD)
def test_after_an_odd_402_the_proof_goes_on_a_fresh_connection(call, seller, till, payer, how, version):  # W11
    ask = seller.ask("/odd") if version == 2 else seller.ask_v1("/odd")
    url = seller.serves("/odd", lambda hit: seller.ok() if hit.proof else ODD[how](ask))
    reply = call(payer, "GET", url)
    assert (reply.text, reply.extensions["payment"].outcome) == ("paid content", "spent")
    first, paid = seller.hits
    assert (first.conn is paid.conn) is (how == "nothing odd")
    assert till.rows(payer) == [("CLAIMED", "spent")]


def test_what_comes_behind_a_402_while_we_decide_is_not_the_answer(drive, seller, till):  # W11
    read, sent = threading.Event(), threading.Event()

    def route(hit):
        if hit.proof:
            yield seller.ok()
            return
        yield seller.ask("/late")
        read.wait(30)
        yield seller.answer(200, b"not what was bought")
        sent.set()
        seller.stop.wait(5)

    def trace(_ask, step, _value):
        if isinstance(step, Send) and not step.paid:
            read.set()
            assert sent.wait(30)

    payer = till.payer(trace=trace)
    reply = drive(payer, "GET", seller.serves("/late", route))
    assert reply.text == "paid content" and till.rows(payer) == [("CLAIMED", "spent")]


def assert_left_alone(drive, payer, url):
    """Either a typed error or the untouched 402, and soon."""
    with within(3):
        try:
            reply = drive(payer, "GET", url)
        except ChallengeInvalid:
            return
        assert reply.status_code == 402 and "payment" not in reply.extensions


BIG = 24 * 1024 * 1024


def flood(first: bytes, piece: bytes, pieces: int):
    yield first
    for _ in range(pieces):
        yield piece


@pytest.mark.parametrize("header", [True, False])  # S2
def test_a_huge_402_body_is_not_read(drive, seller, till, payer, header):
    ask = seller.ask("/big", body=b"").replace(b"content-length: 0", b"content-length: %d" % (1 << 40))
    head = ask if header else b"HTTP/1.1 402 X\r\ncontent-length: %d\r\n\r\n" % (1 << 40)
    sent = []

    def route(hit):
        if hit.proof:
            return seller.ok()

        def pieces():
            yield head
            while not seller.stop.is_set():
                sent.append(1)
                yield b"a" * 65536

        return pieces()

    url = seller.serves("/big", route)
    with within(3):
        if header:
            assert drive(payer, "GET", url).text == "paid content"
        else:  # nobody understands it: the caller gets it as it is, unread
            with payer.client() as client, client.stream("GET", url) as reply:
                assert reply.status_code == 402
    assert till.signer.count == (1 if header else 0) and len(sent) < 500


def test_a_gzip_bomb_as_402_is_never_inflated(drive, seller, till, payer):  # S3
    squeezer = zlib.compressobj(wbits=31)
    bomb = b"".join([squeezer.compress(b" " * BIG), squeezer.flush()])
    beside = seller.ask("/bomb", body=bomb, content_encoding="gzip")
    url = seller.serves("/bomb", lambda hit: seller.ok() if hit.proof else beside)
    with within(3):
        assert drive(payer, "GET", url).text == "paid content"
    alone = seller.serves("/alone", seller.answer(402, bomb, content_encoding="gzip"))
    assert_left_alone(drive, payer, alone)
    small = seller.serves("/small", seller.answer(402, gzip.compress(b" " * 1_000_000), content_encoding="gzip"))
    assert_left_alone(drive, payer, small)
    assert till.signer.count == 1


def test_a_huge_paid_answer_streams_and_is_not_held_in_memory(seller, till, payer):  # S4
    import tracemalloc

    url = seller.sells("/big", lambda hit: flood(HEAD.replace(b"100", b"%d" % BIG) + b"\r\n", b"a" * 65536, BIG // 65536))
    with payer.client() as client, client.stream("GET", url) as reply:
        tracemalloc.start()
        assert sum(map(len, reply.iter_raw())) == BIG
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < BIG // 4 and till.rows(payer) == [("CLAIMED", "spent")]


DEEP = b"[" * 200_000 + b"]" * 200_000


def test_deep_json_is_no_crash(drive, seller, till, payer):  # S5
    assert_left_alone(drive, payer, seller.serves("/deep", seller.answer(402, DEEP, content_type="application/json")))
    short = b'{"x402Version":1,"accepts":' + b"[" * 20_000 + b"]" * 20_000 + b"}"
    for raw in (seller.answer(402, short), seller.answer(402, payment_required=base64.b64encode(short[:30_000]).decode())):
        assert_left_alone(drive, payer, seller.serves("/deep", raw))
    assert till.signer.count == 0
    assert drive(payer, "GET", seller.sells("/after", seller.ok(DEEP))).content == DEEP
    assert till.rows(payer) == [("CLAIMED", "spent")]


# -- redirects and origins ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["other port", "//host", "file:///etc/passwd", "data:,x", "gopher://127.0.0.1/"])
def test_a_paid_answer_that_redirects_takes_no_proof_along(drive, seller, other, till, payer, target):  # O1 O2 O4
    other.serves("/take", other.answer(200, b"taken"))
    where = {"other port": other.url("/take"), "//host": f"//127.0.0.1:{other.port}/take"}.get(target, target)
    url = seller.sells("/paid", seller.answer(302, location=where))
    if ":" in target:
        with within(3), pytest.raises((httpx.UnsupportedProtocol, httpx.RemoteProtocolError, httpx.InvalidURL)):
            drive(payer, "GET", url)
    else:
        assert drive(payer, "GET", url).text == "taken"
    assert other.proofs == [] and len(seller.proofs) == 1
    came = "PAID_UNDELIVERED" if target.startswith("data:") else "CLAIMED"  # nobody read of what leads nowhere
    assert till.rows(payer) == [(came, "spent")]


def test_a_v1_proof_is_not_redirected_either(drive, seller, other, till, payer):  # O2
    take = other.serves("/take", other.answer(200, b"taken"))
    url = seller.serves(
        "/v1", lambda hit: seller.answer(307, location=take) if "x-payment" in hit.headers else seller.ask_v1("/v1")
    )
    drive(payer, "POST", url, content=b"x")
    assert other.proofs == [] and len(seller.proofs) == 1


@pytest.mark.parametrize("networks", [("testnet",), ("mainnet",)])
def test_plain_http_beyond_this_machine_is_never_paid(networks, till, seller):  # O3
    hits = []

    def handler(request):
        hits.append(request)
        made = seller.ask().partition(b"payment-required: ")[2].partition(b"\r\n")[0].decode()
        return httpx.Response(402, headers={"payment-required": made})

    payer = till.payer(policy=Policy(networks=networks))
    with payer.client(transport=httpx.MockTransport(handler)) as client, pytest.raises(PaymentError):
        client.get("http://shop.example/paid")
    assert (len(hits), till.signer.count) == (1, 0)


def test_location_and_refresh_on_the_402_are_ignored(drive, seller, other, till, payer):  # O5
    trap = other.sells("/trap")
    url = seller.serves(
        "/paid", lambda hit: seller.ok() if hit.proof else seller.ask("/paid", location=trap, refresh=f"0; url={trap}")
    )
    assert drive(payer, "GET", url).text == "paid content"
    assert other.hits == [] and len(seller.proofs) == 1


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("https://good.example@evil.example/", "https://evil.example", "evil.example"),
        ("https://good.example.evil.example/", "https://good.example.evil.example", "good.example.evil.example"),
        ("https://GOOD.example./a", "https://good.example", "good.example"),
        ("https://gооd.example/", "https://xn--gd-jlca.example", "xn--gd-jlca.example"),
        ("https://good.example:443/", "https://good.example", "good.example"),
        ("https://good.example:8443/", "https://good.example:8443", "good.example"),
        ("http://[::1]:80/", "http://[::1]", "::1"),
    ],
)  # O8
def test_origins_are_parsed_once_and_compared_exactly(library, url, origin, host):
    lib = __import__(library)
    made = wire.ask(lib.Request("GET", url), lib)
    if "xn--" in host:
        assert made.host.startswith("xn--") and made.origin == f"https://{made.host}"
        return
    assert (made.origin, made.host) == (origin, host)


# -- loops ----------------------------------------------------------------------------------------------------------


def refusals(seller):
    return {
        "for ever": lambda hit: seller.ask("/loop"),  # L1
        "a cent more each time": lambda hit: seller.ask("/loop", 10_000 + 1000 * len(seller.hits)),  # L2
        "partial payment": lambda hit: seller.ask("/loop", 5_000, body=b'{"error":"partial payment, send the rest"}'),  # L3
        "sign again": lambda hit: seller.ask("/loop", body=b'{"error":"invalid signature: nonce used, sign again"}'),  # L4
        "a receipt with a 402": lambda hit: seller.ask("/loop", payment_response=seller.receipt()),  # L5
        "now the other version": lambda hit: seller.ask_v1("/loop"),  # L6
    }


@pytest.mark.parametrize("how", ["for ever", "a cent more each time", "partial payment", "sign again",
                                 "a receipt with a 402", "now the other version"])  # fmt: skip
def test_a_402_after_payment_is_never_paid_again(drive, seller, till, payer, how):
    reply = drive(payer, "GET", seller.sells("/loop", refusals(seller)[how]), times=3)
    assert reply.status_code == 402
    assert (len(seller.nonces), len(set(seller.proofs)), till.signer.count <= 3) == (1, 1, True)
    assert [state for state, _ in till.rows(payer)] == ["UNKNOWN"]  # still counted


@pytest.mark.parametrize("status", [429, 502, 503, 504])  # L7
def test_retry_after_is_the_same_bytes_and_bounded(drive, seller, till, payer, status):
    with within(4):
        reply = drive(payer, "GET", seller.sells("/busy", seller.answer(status, retry_after="0")))
    assert reply.status_code == status and reply.extensions["payment"].outcome == "in_doubt"
    assert (len(seller.proofs), len(set(seller.proofs))) == (3, 1)


def test_a_long_retry_after_is_not_waited_for(drive, seller, till, payer):
    with within(2):
        assert drive(payer, "GET", seller.sells("/busy", seller.answer(503, retry_after="3600"))).status_code == 503
    assert len(seller.proofs) == 1


def test_each_paid_page_leads_to_the_next_paywall(drive, seller, till, payer):  # L8
    for page in range(5):
        seller.sells(f"/{page}", seller.answer(302, location=f"/{page + 1}"))
    with pytest.raises(PolicyDenied):
        drive(payer, "GET", seller.url("/0"))
    assert len(seller.nonces) == 1


def test_a_redirect_loop_ends(drive, seller, till, payer):  # L9
    url = seller.sells("/loop", seller.answer(302, location="/free"))
    seller.serves("/free", seller.answer(302, location="/free"))
    with within(5), pytest.raises(httpx.TooManyRedirects):
        drive(payer, "GET", url)
    assert len(seller.nonces) == 1


# -- receipts that lie ----------------------------------------------------------------------------------------------

RECEIPTS = {
    "success false": lambda seller: {"payment_response": seller.receipt(success=False, transaction="")},  # V2
    "refund": lambda seller: {"payment_response": seller.receipt(success=False, errorReason="refunded")},
    "missing": lambda seller: {"payment_response": ""},  # V3
    "undecodable": lambda seller: {"payment_response": "%%%"},
    "wrong type": lambda seller: {"payment_response": base64.b64encode(b'["a", 1]').decode()},
    "wrong fields": lambda seller: {"payment_response": seller.receipt(success="yes", transaction=[1], network={})},
    "deep": lambda seller: {"payment_response": base64.b64encode(b"[" * 20_000 + b"]" * 20_000).decode()},
    "huge": lambda seller: {"payment_response": seller.receipt(junk="x" * 40_000)},
    "forged": lambda seller: {"payment_response": seller.receipt(amount="1", payer="0x" + "99" * 20)},  # V1
}


@pytest.mark.parametrize("how", RECEIPTS)
def test_the_content_is_delivered_and_the_money_counted_whatever_the_receipt(drive, seller, till, payer, how):
    reply = drive(payer, "GET", seller.sells("/paid", seller.ok(**RECEIPTS[how](seller))))
    assert (reply.status_code, reply.text) == (200, "paid content")
    assert reply.extensions["payment"].money.amount == 10_000
    assert till.rows(payer) == [("CLAIMED", "spent")] and len(seller.proofs) == 1
