"""From the 402 to the content: every spelling, by a transfer and by each form of the contract, on the sandbox's Stacks."""

from __future__ import annotations

import time

import anyio
import pytest

from first import states
from x402_agent import PaymentInDoubt
from x402_agent.dialects.x402pay import till
from x402pay.shop import PRICE, Shop, jwt


def get(payer, url, world="sync", times=1):
    if world == "sync":
        with payer.client(timeout=60) as http:
            return [http.get(url) for _ in range(times)]

    async def main():
        async with payer.async_client(timeout=60) as http:
            return [await http.get(url) for _ in range(times)]

    return anyio.run(main, backend=world)


@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_a_transfer_is_shown_by_its_id_and_a_fresh_nonce(payer, shop, world):
    (reply,) = get(payer, shop.url(), world)
    assert reply.content == b"the article" and shop.moved() == PRICE and states(payer) == ["CLAIMED"]
    assert shop.seen[-1].startswith("0x") and len(shop.nonces) == 2


@pytest.mark.parametrize("contract", ["", "revenue-split", "revenue-split-two"])
@pytest.mark.parametrize("spelling", ["prd", "openapi"])
def test_a_token_is_bought_once_and_used_again(api, seller, contract, spelling):
    shop = Shop(seller, api.box, spelling=spelling, contract=contract)
    register(shop)
    replies = get(api, shop.url(), times=2)
    assert [each.content for each in replies] == [b"the article"] * 2 and shop.moved() == PRICE and states(api) == ["CLAIMED"]
    assert len(shop.calls("/v1/payments/verify")) == 1 and set(shop.opened) == shop.tokens
    assert {hit.headers.get("x-api-key") for hit in seller.hits if hit.path.startswith("/v1")} == {"key-of-ours"}
    assert not [hit for hit in seller.hits if "x-api-key" in hit.headers and not hit.path.startswith("/v1")]


def register(shop):
    """Whoever made the content says so: the contract with four arguments sells no other."""
    if shop.contract:
        shop.box.ground.chain._state.put(shop.contract, ("content", shop.content), (shop.box.pay_to, shop.price))


def test_what_rounds_away_stays_with_us(api, seller):
    shop = Shop(seller, api.box, contract="revenue-split-two", price=103)
    assert get(api, shop.url())[0].status_code == 200
    assert shop.moved() == 102 and states(api) == ["CLAIMED"]


def test_the_gateway_knows_us_by_our_address(payer, seller):
    shop = Shop(seller, payer.box, contract="revenue-split")
    register(shop)
    url = shop.url("/gateway?contentId=article-1")
    replies = get(payer, url, times=3)
    assert [each.json()["access"] for each in replies] == [True] * 3 and shop.moved() == PRICE and states(payer) == ["CLAIMED"]
    assert not [hit for hit in seller.hits if hit.method == "POST" and 'transaction"' in hit.body.decode()]


def test_what_was_granted_elsewhere_is_not_paid_for(payer, seller):
    shop = Shop(seller, payer.box)
    shop.granted.add(("article-1", payer.box.payer_address))
    assert get(payer, shop.url("/gateway?contentId=article-1"))[0].json()["access"] and shop.moved() == 0 and states(payer) == []


def test_a_token_that_has_ended_is_asked_for_again_before_anything_is_paid(api, shop):
    def brief():
        made = jwt(shop.content, ends=3600 if shop.tokens else -5, jti=str(len(shop.tokens)))
        shop.tokens.add(made)
        return made

    shop.token = brief
    replies = get(api, shop.url())
    api.credentials._clock = lambda: time.time() + 120
    replies += get(api, shop.url())
    assert [each.status_code for each in replies] == [200, 200] and shop.moved() == PRICE and states(api) == ["CLAIMED"]
    assert len(shop.calls("/v1/payments/verify")) == 2 and len({each["txId"] for each in shop.calls("/v1/payments/verify")}) == 1


def test_a_nonce_that_ended_is_exchanged_and_never_paid_for_twice(api, shop):
    first = []

    def late(hit):
        if not first:
            first.append(hit)
            shop.payment()
        return Shop.verify(shop, hit)

    shop.seller.serves("/v1/payments/verify", late)
    assert get(api, shop.url())[0].status_code == 200
    told = shop.calls("/v1/payments/verify")
    assert len(told) == 2 and told[0]["txId"] == told[1]["txId"] and told[0]["nonce"] != told[1]["nonce"] and shop.moved() == PRICE


def test_pending_is_waiting(api, shop):
    turns = iter(range(3))

    def waits(hit):
        if next(turns, None) is not None:
            return shop.json({"error": "Unauthorized", "message": "Transaction is pending", "code": "PAYMENT_PENDING"}, 401)
        return Shop.verify(shop, hit)

    shop.seller.serves("/v1/payments/verify", waits)
    assert get(api, shop.url())[0].status_code == 200 and shop.moved() == PRICE and states(api) == ["CLAIMED"]


@pytest.mark.proves("stacks", "x402pay", "fate")
def test_a_gateway_that_says_pending_for_ever_gets_one_payment(payer, seller, monkeypatch):
    monkeypatch.setattr(till, "TRIES", 3)
    shop = Shop(seller, payer.box)
    settle, shop.settle = shop.settle, lambda _: shop.json({"error": "Transaction not successful", "tx_status": "pending"}, 400)
    url = shop.url("/gateway?contentId=article-1")
    for _ in range(2):
        reply = get(payer, url)[0]
        assert reply.status_code == 402 and reply.extensions["payment"].outcome in ("in_doubt", "spent")  # by the seller, by the chain
    assert shop.moved() == PRICE and len(states(payer)) == 1
    shop.settle = settle
    (row,) = payer.resume()
    assert row.after in ("CLAIMED", "CONFIRMED") and shop.moved() == PRICE


@pytest.mark.parametrize("answers", [(410, 404), (404, 404, 404, 404)])
def test_a_challenge_that_ended_is_exchanged_for_the_same_id(payer, seller, answers):
    shop = Shop(seller, payer.box)
    left, told, settle = list(answers), [], shop.settle

    def ended(asked):
        told.append(asked["txId"])
        return shop.json({"error": "Challenge expired"}, left.pop(0)) if left else settle(asked)

    shop.settle = ended
    replies = get(payer, shop.url("/gateway?contentId=article-1"), times=2)
    assert replies[1].json()["access"] and shop.moved() == PRICE and len(set(told)) == 1


def test_a_validator_that_refuses_after_the_money_moved_is_in_doubt_and_shown_the_same(api, shop):
    shop.seller.serves("/v1/payments/verify", lambda _: shop.json({"error": "Unauthorized", "code": "PAYMENT_INVALID"}, 401))
    paid, shop.paid = shop.paid, lambda _: False
    for _ in range(2):
        (reply,) = get(api, shop.url())
        assert reply.status_code == 401 and reply.extensions["payment"].outcome in ("in_doubt", "spent")  # by the seller, by the chain
    assert shop.moved() == PRICE and len(states(api)) == 1
    shop.paid = paid
    assert get(api, shop.url())[0].content == b"the article" and shop.moved() == PRICE and states(api) in (["CLAIMED"], ["CONFIRMED"])


def test_a_seller_who_hangs_up_after_the_payment_is_shown_the_same(api, shop):
    shop.seller.serves("/articles/article-1", lambda hit: shop.article(hit) if not hit.headers.get("x-payment-proof") else b"")
    with pytest.raises(PaymentInDoubt):
        get(api, shop.url())
    shop.seller.serves("/articles/article-1", shop.article)
    assert get(api, shop.url())[0].status_code == 200 and shop.moved() == PRICE and len(shop.calls("/v1/payments/verify")) == 1


def test_an_id_that_opened_once_is_shown_again_before_anything_is_paid(payer, shop):
    """Without an API: a seller who takes it again is not paid twice, and one for whom it is used up is paid anew."""
    replies = get(payer, shop.url(), times=3)
    assert [each.status_code for each in replies] == [200] * 3 and shop.moved() == PRICE and states(payer) == ["CLAIMED"]
    shop.paid, paid = (lambda txid: txid not in shop.opened and paid(txid)), shop.paid
    assert get(payer, shop.url())[0].status_code == 200 and shop.moved() == 2 * PRICE and states(payer) == ["CLAIMED"] * 2


def test_a_token_that_is_called_no_proof_is_asked_for_again_and_nothing_is_paid(api, shop):
    get(api, shop.url())
    shop.tokens.clear()  # its secret was changed, and nobody waited for it
    shop.seller.serves("/articles/article-1", lambda hit: shop.article(hit) if hit.headers.get("x-payment-proof", "") in {"", *shop.tokens}
                       else shop.json({"error": "Invalid payment proof"}, 401))  # fmt: skip
    replies = get(api, shop.url(), times=2)
    assert [each.status_code for each in replies] == [200, 200] and shop.moved() == PRICE and states(api) == ["CLAIMED"]
