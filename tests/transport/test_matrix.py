"""What every payment must do, in all six worlds, on a pool of one connection."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import pytest

from loopback import reads
from x402_agent import Budget, BudgetExceeded, NotReplayable, PaymentInDoubt, Policy, PolicyDenied, SigningFailed

PAYMENT_HEADERS = {"payment-signature", "x-payment"}


def test_a_free_answer_costs_nothing(call, seller, till, payer):
    url = seller.serves("/free", seller.answer(200, b"free"))
    reply = call(payer, "GET", url)
    assert (reply.text, "payment" in reply.extensions, till.rows(payer), till.signer.count) == ("free", False, [], 0)


def test_a_402_is_paid_and_the_proof_stays_out_of_the_response(call, seller, till, payer):
    reply = call(payer, "GET", seller.sells("/paid"))
    receipt = reply.extensions["payment"]
    assert (reply.status_code, reply.text, receipt.outcome) == (200, "paid content", "spent")
    assert receipt.money.amount == 10_000 and receipt.transaction.startswith("0x12")
    assert not PAYMENT_HEADERS & set(reply.request.headers)
    assert not PAYMENT_HEADERS & set(seller.hits[0].headers) and len(seller.proofs) == 1
    assert seller.hits[1].headers["cache-control"] == "no-store"
    assert till.rows(payer) == [("CLAIMED", "spent")]


def test_a_v1_seller_is_paid(call, seller, till, payer):
    url = seller.serves("/v1", lambda hit: seller.ok() if "x-payment" in hit.headers else seller.ask_v1("/v1"))
    assert call(payer, "GET", url).text == "paid content"
    assert till.rows(payer) == [("CLAIMED", "spent")]


@pytest.mark.parametrize("kind", ["bytes", "json", "form", "multipart", "file", "factory", "generator factory", "file factory"])
def test_a_body_is_sent_again_whole(call, seller, till, payer, tmp_path: Path, kind):
    url = seller.sells("/upload", lambda hit: seller.ok(hit.body))
    file = tmp_path / "f"
    file.write_bytes(b"0123456789" * 5000)
    options = {
        "bytes": lambda: {"content": b"x" * 9},
        "json": lambda: {"json": {"a": 1}},
        "form": lambda: {"data": {"a": "1"}},
        "multipart": lambda: {"files": {"f": io.BytesIO(b"data" * 1000)}},
        "factory": lambda: {"content": b"abc", "extensions": {"payment": {"body_factory": lambda: b"abc"}}},
        "generator factory": lambda: {"content": b"abc", "extensions": {"payment": {"body_factory": lambda: iter([b"ab", b"c"])}}},
        "file factory": lambda: {"content": b"abc", "extensions": {"payment": {"body_factory": lambda: io.BytesIO(b"abc")}}},
    }  # fmt: skip
    if kind == "file":
        with file.open("rb") as handle:
            if _world(call) != "sync":
                with pytest.raises(RuntimeError):
                    call(payer, "POST", url, content=handle)  # the library's own refusal
                assert till.signer.count == 0
                return
            call(payer, "POST", url, content=handle)
    else:
        assert call(payer, "POST", url, **options[kind]()).status_code == 200
    first, second = seller.hits
    assert first.body == second.body and first.body and second.proof
    assert len(till.rows(payer)) == 1


def _world(call) -> str:
    return dict(zip(call.__code__.co_freevars, (c.cell_contents for c in call.__closure__), strict=True))["world"]


def test_a_one_shot_body_is_refused_with_nothing_held(call, seller, till, payer):
    url = seller.sells("/upload")
    if _world(call) == "sync":
        body = (piece for piece in [b"once"])
    else:

        async def pieces():
            yield b"once"

        body = pieces()
    with pytest.raises(NotReplayable):
        call(payer, "POST", url, content=body)
    assert (till.rows(payer), till.signer.count, seller.proofs) == ([], 0, [])


def test_over_budget_never_signs(call, seller, till):
    payer = till.payer(policy=Policy(networks=("testnet",)).with_budget(Budget("0.005/day")))
    with pytest.raises(BudgetExceeded):
        call(payer, "GET", seller.sells("/paid"))
    assert (till.rows(payer), till.signer.count, seller.proofs) == ([], 0, [])


def test_a_timeout_is_in_doubt_and_the_same_proof_is_shown_again(call, seller, till, payer):
    url = seller.sells("/slow", seller.hang)
    for _ in range(2):
        with pytest.raises(PaymentInDoubt) as error:
            call(payer, "GET", url, timeout=reads(0.6))
        assert error.value.payment_id and not error.value.retry_safe
    assert (len(seller.proofs), len(set(seller.proofs))) == (2, 1)
    assert (till.rows(payer), till.signer.count <= 2) == ([("UNKNOWN", "in_doubt")], True)
    seller.sells("/slow")
    assert call(payer, "GET", url).text == "paid content"
    assert till.rows(payer) == [("CLAIMED", "spent")] and len(set(seller.proofs)) == 1


def test_a_500_is_in_doubt(call, seller, till, payer):
    reply = call(payer, "GET", seller.sells("/500", seller.answer(500, b"boom")), times=2)
    assert (reply.status_code, reply.text, reply.extensions["payment"].outcome) == (500, "boom", "in_doubt")
    assert (till.rows(payer), len(set(seller.proofs))) == ([("UNKNOWN", "in_doubt")], 1)


def test_a_402_three_times_is_one_proof(call, seller, till, payer):
    url = seller.serves("/never", lambda hit: seller.ask("/never"))
    reply = call(payer, "GET", url, times=3)
    assert (reply.status_code, reply.extensions["payment"].outcome) == (402, "refused")
    assert (len(seller.proofs), len(set(seller.proofs))) == (3, 1)
    assert till.rows(payer) == [("UNKNOWN", "refused")]


def test_a_redirect_pays_on_the_right_hop(call, seller, other, till, payer):
    url = seller.serves("/go", seller.answer(302, location=other.sells("/paid")))
    assert call(payer, "GET", url).text == "paid content"
    assert (len(seller.hits), seller.proofs, len(other.hits), len(other.proofs)) == (1, [], 2, 1)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_after_payment_leaks_nothing(drive, seller, other, till, payer, status):
    echo = other.serves("/echo", lambda hit: other.answer(200, json.dumps(hit.headers).encode()))
    reply = drive(payer, "GET", seller.sells("/paid", seller.answer(status, location=echo)))
    assert not PAYMENT_HEADERS & set(reply.json()) and reply.json()
    assert len(seller.proofs) == 1 and other.proofs == []


@pytest.mark.parametrize("same_origin", [True, False])
def test_a_redirect_after_payment_to_the_next_paywall_is_not_paid_twice(call, seller, other, till, payer, same_origin):
    second = (seller if same_origin else other).sells("/second")
    with pytest.raises(PolicyDenied) as error:
        call(payer, "GET", seller.sells("/first", seller.answer(302, location=second)))
    assert "L8" in error.value.rule and error.value.payment_id
    assert (len(seller.proofs), other.proofs, till.signer.count, len(till.rows(payer))) == (1, [], 1, 1)


def test_other_auth_works_beside_payment(call, seller, till, payer):
    def route(hit):
        if "authorization" not in hit.headers:
            return seller.answer(401)
        return seller.ok() if hit.proof else seller.ask("/auth")

    reply = call(payer, "GET", seller.serves("/auth", route), auth=("u", "p"))
    assert (reply.text, len(seller.proofs)) == ("paid content", 1)


def test_cookies_of_the_402_go_along_with_the_proof(call, seller, till, payer):
    def route(hit):
        if not hit.proof:
            return seller.ask("/cookie", set_cookie="session=abc; Path=/")
        return seller.ok(hit.headers.get("cookie", "none").encode())

    reply = call(payer, "GET", seller.serves("/cookie", route), headers={"cookie": "mine=1"})
    assert reply.text == "mine=1; session=abc"
    assert any("session=abc" in value for value in reply.headers.get_list("set-cookie"))


def test_a_signing_failure_releases_the_hold(call, seller, till, payer):
    till.signer.broken = SigningFailed("wallet locked")
    with pytest.raises(SigningFailed):
        call(payer, "GET", seller.sells("/paid"))
    assert seller.proofs == [] and till.rows(payer) == []
    till.signer.broken = None
    assert call(payer, "GET", seller.url("/paid")).text == "paid content"


def test_attach_returns_the_untouched_402_with_the_reason(call, seller, till):
    payer = till.payer(policy=Policy(networks=("testnet",)).with_budget(Budget("0.005/day")))
    url = seller.serves("/paid", lambda hit: seller.ask("/paid", body=b'{"their": "own body"}', x_odd="1"))
    reply = call(payer, "GET", url, attached=True)
    assert (reply.status_code, reply.content, reply.headers["x-odd"]) == (402, b'{"their": "own body"}', "1")
    receipt = reply.extensions["payment"]
    assert receipt.outcome is None and isinstance(receipt.reason, BudgetExceeded)
    assert (till.signer.count, seller.proofs) == (0, [])


def test_attach_still_raises_what_is_in_doubt(call, seller, till, payer):
    with pytest.raises(PaymentInDoubt):
        call(payer, "GET", seller.sells("/slow", seller.hang), attached=True, timeout=reads(0.6))


@pytest.mark.parametrize("kind", ["empty", "text", "64 KiB and more", "gzip", "chunked"])
def test_a_402_nobody_understands_comes_back_byte_for_byte(call, seller, till, payer, kind):
    import gzip

    body = {"empty": b"", "text": b"<h1>Payment Required</h1>"}.get(kind, b"0123456789abcdef" * 20_000)
    if kind == "gzip":
        raw = seller.answer(402, gzip.compress(body), content_encoding="gzip", x_seen="1")
    elif kind == "chunked":
        chunks = b"".join(b"1000\r\n" + body[at : at + 4096] + b"\r\n" for at in range(0, 4096 * 70, 4096))
        raw = b"HTTP/1.1 402 X\r\ntransfer-encoding: chunked\r\nx-seen: 1\r\n\r\n" + chunks + b"0\r\n\r\n"
        body = body[: 4096 * 70]
    else:
        raw = seller.answer(402, body, x_seen="1")
    reply = call(payer, "GET", seller.serves("/odd", raw))
    assert (reply.status_code, reply.content == body, reply.headers["x-seen"]) == (402, True, "1")
    assert (len(seller.hits), till.rows(payer), till.signer.count) == (1, [], 0)


def test_a_pool_of_one_connection_survives_many_payments(call, seller, till, payer):
    reply = call(payer, "GET", seller.sells("/paid"), times=4)
    assert reply.text == "paid content" and len(seller.nonces) == 4


def test_a_body_that_breaks_half_way_is_paid_and_not_delivered(call, seller, till, payer):
    def half(hit):
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\npayment-response: " + seller.receipt().encode() + b"\r\n\r\nhalf"

    url = seller.sells("/half", half)
    for _ in range(2):
        with pytest.raises(PaymentInDoubt) as error:
            call(payer, "GET", url)
        assert error.value.payment_id
    assert till.rows(payer) == [("PAID_UNDELIVERED", "spent")]
    seller.sells("/half")
    assert call(payer, "GET", url).text == "paid content"
    assert till.rows(payer) == [("CLAIMED", "spent")]
    assert (len(seller.proofs), len(set(seller.proofs))) == (3, 1)


def test_what_is_signed_is_what_was_asked(call, seller, payer, till):
    call(payer, "GET", seller.sells("/paid", amount=12_345))
    signed = seller.authorization(seller.proofs[0])
    assert (signed["value"], signed["to"].lower()) == ("12345", "0x" + "ab" * 20)
    assert json.loads(base64.b64decode(seller.proofs[0]))["x402Version"] == 2
