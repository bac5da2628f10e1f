"""A seller that was paid natively and then lies: whatever he answers, no second payment is made for the same calls."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from x402_agent import BudgetExceeded, NoAcceptableOffer, PaymentInDoubt, PolicyDenied
from x402_agent.assets import asset_by_id
from x402_agent.dialects.kamiyo import native
from x402_agent.model import QUOTA, Ask, Hold, Offer, Proof, Terms
from x402_agent.steps import Fetched

NATIVE = 100_000
NOW = 1_795_248_000  # 2026-11-21 08:00 UTC
USDC = asset_by_id("eip155:8453/erc20:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913")


def moved(payer):
    return payer.box.balance(payer.box.pay_to)


def rows(payer):
    payer.ledger.flush()
    return payer.ledger.payments()


def get(payer, url, **options):
    with payer.client() as http:
        return http.get(url, **options)


LIES = {
    "402 to everything": {"/exploits": 402},
    "500 to everything": {"/exploits": 500},
    "verify says no": {"/x402/verify-payment": {"is_valid": False, "error_message": "Payment amount too low: 0.05 < 0.1"}},
    "verify says another": {"/x402/verify-payment": {"is_valid": True, "tx_hash": "0x" + "12" * 32, "payment_id": 7}},
    "verify waits for ever": {"/x402/verify-payment": {"is_valid": False, "error_message": "Insufficient confirmations: 0/6"}},
    "verify breaks": {"/x402/verify-payment": 500},
    "no token after valid": {"/x402/generate-token/1": 400},
    "a number that is a path": {"/x402/verify-payment": {"is_valid": True, "payment_id": "../../exploits"}},
    "a token that breaks requests": {"/x402/generate-token/1": {"payment_token": "x\r\nhost: evil", "payment_id": 1}},
    "a csrf circle": {"/x402/verify-payment": 403, "/api/csrf-token": {"csrf_token": "t" * 20}},
    "too many requests": {"/x402/verify-payment": 429},
}


QUICK = ("402 to everything", "no token after valid", "a csrf circle")


@pytest.mark.parametrize("lie", [pytest.param(lie, marks=() if lie in QUICK else pytest.mark.full) for lie in LIES])
def test_no_lie_after_a_transfer_makes_a_second_one(payer, shop, seller, lie):
    for path, said in LIES[lie].items():
        spoil(shop, seller, path, said)
    for path in ("/exploits", "/exploits", "/protocols/risk-score"):
        get(payer, shop.url(path))
    assert moved(payer) == NATIVE and len(rows(payer)) == 1
    assert len(seller.hits) < 100
    assert rows(payer)[0].micros == NATIVE and payer.ledger.verify() == []


def spoil(shop, seller, path, said):
    honest = seller.routes.get(path)

    def route(hit):
        if path == "/exploits" and not (hit.headers.get("x-payment-tx") or hit.headers.get("x-payment-token")):
            return honest(hit)
        if path == "/exploits" and said == 402:
            return shop.ask(hit)
        return shop.json({"detail": "csrf_token_invalid" if said == 403 else ""}, said) if isinstance(said, int) else shop.json(said)

    if "generate-token" in path:
        shop.generate = lambda hit, number: route(hit)
    else:
        seller.serves(path, route)


def test_the_id_of_the_transfer_opens_where_no_token_comes_and_is_shown_again(payer, shop, seller):
    spoil(shop, seller, "/x402/generate-token/1", 400)
    assert [get(payer, shop.url()).content for _ in range(3)] == [b"goods"] * 3
    assert shop.opened == ["tx"] * 3 and moved(payer) == NATIVE
    assert [each.uses_left for each in payer.ledger.tokens()] == [97]


def test_a_token_that_is_refused_leads_back_to_its_payment_and_never_to_a_new_one(payer, shop):
    assert get(payer, shop.url()).content == b"goods"
    shop.tokens.clear()  # the seller forgets what it sold
    assert get(payer, shop.url("/protocols/risk-score")).content == b"goods"
    assert shop.asked == ["verify", "token"] * 2 and moved(payer) == NATIVE and len(rows(payer)) == 1
    assert [each.uses_left for each in payer.ledger.tokens()] == [shop.left[1]], "calls are counted once"
    shop.payments.clear()
    shop.verify = lambda hit: shop.json({"is_valid": False, "error_message": "Transaction too old"})
    shop.seller.serves("/x402/verify-payment", shop.verify)
    shop.tokens.clear()
    for _ in range(3):
        reply = get(payer, shop.url())
        assert (reply.status_code, reply.extensions["payment"].outcome) == (402, "spent")
    assert moved(payer) == NATIVE and len(rows(payer)) == 1


def test_what_was_refused_is_bought_anew_by_a_persons_word_alone(payer, shop):
    get(payer, shop.url())
    shop.tokens.clear()
    shop.payments.clear()
    shop.seller.serves("/x402/verify-payment", lambda hit: shop.json({"is_valid": False, "error_message": "gone"}))
    assert get(payer, shop.url()).status_code == 402
    shop.seller.serves("/x402/verify-payment", shop.verify)
    reply = get(payer, shop.url(), extensions={"payment": {"again": True}})
    assert reply.content == b"goods" and moved(payer) == 2 * NATIVE and len(rows(payer)) == 2


def test_a_used_quota_and_an_ended_token_are_bought_anew(payer, shop, seller):
    shop.rate = 20  # two calls for the least amount
    assert [get(payer, shop.url()).content for _ in range(3)] == [b"goods"] * 3
    assert moved(payer) == 2 * NATIVE and [row.state for row in rows(payer)] == ["CLAIMED"] * 2


def test_R4_another_recipient_at_the_second_402_is_not_paid(payer, shop):
    shop.rate = 10  # one call
    get(payer, shop.url())
    shop.pay_to = "0x" + "ab" * 20
    with pytest.raises(PolicyDenied, match="R4"):
        get(payer, shop.url())
    assert moved(payer) == NATIVE


@pytest.mark.parametrize(("page", "words"), [
    ({"payment_addresses": {"base-sepolia": "0x" + "ab" * 20}}, "names one recipient in its 402 and another"),
    ({"supported_chains": ["ethereum"]}, "its own page does not take it"),
])  # fmt: skip
def test_before_anything_is_held_the_sellers_own_page_must_agree(payer, shop, seller, page, words):
    seller.serves("/x402/supported-chains", shop.json(page))
    with pytest.raises(NoAcceptableOffer, match=words):
        get(payer, shop.url())
    assert moved(payer) == 0 and rows(payer) == []


def test_the_least_that_its_own_page_says_is_paid_or_nothing(payer, shop, seller):
    seller.serves("/x402/supported-chains", shop.json({"min_payment_amount": 0.5}))
    with pytest.raises(BudgetExceeded, match=r"asks 0\.5"):
        get(payer, shop.url())
    assert moved(payer) == 0 and rows(payer) == []
    payer.policy = replace(payer.policy, per_call=1_000_000)
    assert get(payer, shop.url()).content == b"goods" and moved(payer) == 500_000


@pytest.mark.parametrize("page", [b'{"min_payment_amount": "lots"}', *(pytest.param(each, marks=pytest.mark.full) for each in (b"", b"[]", b"{" * 2000))])
def test_a_page_that_says_nothing_is_no_hindrance(payer, shop, seller, page):
    seller.serves("/x402/supported-chains", seller.answer(200, page))
    assert get(payer, shop.url()).content == b"goods"


def test_confirmations_for_ever_end_with_the_deadline(payer, shop, seller, monkeypatch):
    monkeypatch.setattr(native, "PAUSE", 3600.0)
    payer.deadline = 2.0
    spoil(shop, seller, "/x402/verify-payment", {"is_valid": False, "error_message": "Insufficient confirmations: 0/6"})
    with pytest.raises(PaymentInDoubt):
        get(payer, shop.url(), timeout=1.0)
    assert moved(payer) == NATIVE and len(rows(payer)) == 1


def token_of(said):
    """What the dialect makes of this answer to its question for a token, without a chain."""
    offer = Offer("kamiyo", "transfer", USDC, NATIVE, "0x" + "ab" * 20, 60, flow=QUOTA, method="transfer", wire=("native", "base"))
    ask = Ask("GET", "https://a.example/x", "https://a.example", "a.example", "/x")
    steps = native.present(Hold("p", ask, offer, Terms("0x" + "01" * 20, "0x" + "02" * 32, NOW, 1 << 39)), Proof({"transaction": "0xab"}, "", "0x", 1))
    valid, token = (Fetched(200, {}, json.dumps(each).encode()) for each in ({"is_valid": True, "payment_id": 1}, {"payment_token": "t" * 43, **said}))
    next(steps)
    steps.send(valid)
    with pytest.raises(StopIteration) as done:
        steps.send(token)
    return done.value.value


@pytest.mark.parametrize(("said", "uses"), [
    ({"requests_remaining": 10**9}, 99), ({"requests_remaining": 60}, 59), ({"requests_remaining": 1e9}, 99), ({"requests_remaining": -5}, 99),
    ({"requests_remaining": 10**30}, 99), ({"requests_remaining": 1}, None), ({}, 99), ({"requests_remaining": True}, 99),
])  # fmt: skip
def test_a_quota_is_a_number_within_bounds(said, uses):
    found = token_of(said)
    assert (found.credential.uses_left if found.credential else None) == uses and found.headers["x-payment-token"] == "t" * 43


@pytest.mark.parametrize(("said", "hours"), [
    ("2099-01-01T00:00:00", 720), ("2001-01-01T00:00:00", 24), ("soon", 24), (None, 24), (7, 24), ("9" * 5000, 24),
    ("2026-11-21T20:00:00", 12), ("2026-11-21T20:00:00+00:00", 12),
])  # fmt: skip
def test_a_tokens_end_is_an_hour_to_a_month_away_or_not_believed(said, hours):
    assert token_of({"expires_at": said}).credential.expires == NOW + hours * 3600


@pytest.mark.parametrize("said", [{"payment_token": "short"}, {"payment_token": 7}, {"payment_token": "a b" * 20}, {"payment_id": 2}])
def test_what_is_no_token_leaves_the_transaction_to_be_shown(said):
    found = token_of(said)
    assert dict(found.headers) == {"x-payment-tx": "0xab", "x-payment-chain": "base"} and found.credential is None
    assert found.good.uses_left == 99 and repr(found) == "Presented(x-payment-tx, x-payment-chain)"


def test_csrf_is_answered_once_by_header_and_cookie(payer, shop, seller):
    honest, words = shop.verify, []

    def guarded(hit):
        words.append((hit.headers.get("x-csrf-token"), hit.headers.get("cookie")))
        return honest(hit) if words[-1][0] else shop.json({"error": "csrf_token_invalid"}, 403)

    seller.serves("/x402/verify-payment", guarded)
    seller.serves("/api/csrf-token", lambda hit: shop.json({"csrf_token": "w" * 30}, set_cookie="a=b; Path=/, csrftoken=signed.word; HttpOnly"))
    assert get(payer, shop.url()).content == b"goods"
    assert words == [(None, None), ("w" * 30, "csrftoken=signed.word")]
    assert shop.opened == ["token"]


def test_another_agents_open_payment_is_not_handed_over(payer, shop, seller):
    for path in ("/exploits", "/protocols/risk-score"):
        seller.serves(path, shop.ask)
    for name in ("one", "two"):
        payer.bounds = payer.bounds._replace(under=payer.bounds.under._replace(agent=name))
        if name == "one":
            get(payer, shop.url())
    with pytest.raises(PolicyDenied, match="another agent"):
        get(payer, shop.url("/protocols/risk-score"))
    assert moved(payer) == NATIVE
