"""Any bytes in any place of a 402: bounded, typed, and nothing signed but what our tables and limits allow (I12, I13, I16)."""

from __future__ import annotations

import time

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.exchange import HONEST, OLDER, WAYS, decode, exchange
from hostile.arena import PAYS, Arena, Case, harm
from loopback import reads
from x402_agent import PaymentError

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
LONG = settings(max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ways = st.sampled_from(WAYS)
TOKENS = [
    b"\\u0000", b"\\ud800", b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"null", b"NaN", b"1e999", b"-", b"0x", b"\xff",
    b"\xe2\x80\xae", b"permit2", b"upto", b'"amount":"1",', b"99999999999999999999", b"mainnet", b"eip155:8453", b'"extra":{},',
]  # fmt: skip
cuts = st.lists(
    st.tuples(st.integers(0, 600), st.integers(0, 9), st.binary(max_size=5) | st.sampled_from(TOKENS)), max_size=5
)


def cut(data: bytes, where: list[tuple[int, int, bytes]]) -> bytes:
    for at, length, put in where:
        data = data[:at] + put + data[at + length :]
    return data


def test_the_honest_ones_are_paid_in_every_way_that_carries_them():
    paid = {way for way in WAYS for data in (HONEST, OLDER) if exchange(way, data) == "paid"}
    assert paid == {"header", "body", "gzip", "deflate", "raw deflate", "text coding"}


@MANY
@given(ways, st.binary(max_size=500))
def test_any_bytes(way, data):
    assert exchange(way, data) != "paid"
    decode(data)


@MANY
@given(ways, st.sampled_from([HONEST, OLDER]), cuts)
def test_honest_documents_cut_and_patched(way, data, where):
    exchange(way, cut(data, where))


@pytest.mark.full
@LONG
@given(ways, st.sampled_from([HONEST, OLDER]), cuts)
def test_honest_documents_cut_and_patched_at_length(way, data, where):
    exchange(way, cut(data, where))


@MANY
@given(ways, st.sampled_from([b"[", b'{"a":', b'"\\', b"1", b'{"x402Version":1,"accepts":[', b"\\u0000", b","]), st.integers(1, 70_000))
def test_repetition_is_linear(way, piece, times):
    exchange(way, (piece * times)[:200_000])


@pytest.fixture(scope="module")
def arena(tmp_path_factory):
    made = Arena(tmp_path_factory.mktemp("wire"), lambda name, value: None)
    yield made
    made.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["v2", "v1", "v2 after payment"]), cuts)
def test_any_bytes_on_the_wire(arena, kind, where):
    """The whole answer, status line and all, to a real client with a real ledger; each example is a purchase of its own."""
    seller = arena.seller
    for each in arena.sellers:
        each.hits.clear()
    broken = cut(seller.ask("/paid") if kind.startswith("v2") else seller.ask_v1("/paid"), where)

    def route(hit):
        if hit.proof:
            return iter([cut(seller.ok(), where)]) if kind.endswith("payment") else seller.ok()
        return seller.ask("/paid") if kind.endswith("payment") else iter([broken])

    url = seller.serves("/paid", route)
    case = Case("I16", "wire", lambda _: url, PAYS, deadline=1.5)
    start = time.monotonic()
    payer = arena.payer_for(case)
    with payer.client(timeout=reads(0.5)) as client:
        try:
            client.get(url)
        except (httpx.HTTPError, PaymentError) as why:
            assert str(why)
    arena.seconds = time.monotonic() - start
    payer.ledger.flush()
    counted = {payment.nonce for payment in payer.ledger.payments(limit=1000) if payment.outcome != "released"}
    payer.close()
    arena.till.made.remove(payer)
    assert harm(arena, case) == []
    assert {proof["nonce"] for proof in arena.proofs} <= counted
