"""Calls bought on chain: one transfer, one token, as many calls as were paid for, at the whole origin."""

from __future__ import annotations

import json
from contextlib import nullcontext
from types import SimpleNamespace

import anyio
import pytest
from typer.testing import CliRunner

from kamiyo.shop import Shop
from x402_agent import BudgetExceeded, NoAcceptableOffer, PaymentInDoubt
from x402_agent.cli import ahead
from x402_agent.cli.app import app
from x402_agent.model import Hold


def states(payer):
    payer.ledger.flush()
    return [row.state for row in payer.ledger.payments()]


def moved(payer):
    return payer.box.balance(payer.box.pay_to)


def test_one_transfer_buys_calls_of_the_whole_origin(payer, shop):
    with payer.client() as http:
        first = http.get(shop.url())
        assert (first.status_code, first.content, first.extensions["payment"].outcome) == (200, b"goods", "spent")
        for path in ("/exploits", "/protocols/risk-score", "/exploits"):
            reply = http.get(shop.url(path))
            assert reply.content == b"goods" and "payment" not in reply.extensions
    assert moved(payer) == 100_000 and states(payer) == ["CLAIMED"] and shop.asked == ["verify", "token"]
    (token,) = payer.ledger.tokens()
    assert token.uses_left == shop.left[1] == 96


def test_an_amount_in_dollars_is_for_who_keeps_an_account_and_buys_no_calls_of_another_price(payer, shop):
    for amount in ("0.05", "0.50"):
        with pytest.raises(NoAcceptableOffer, match="keeps no account"):
            payer.top_up(shop.url(), amount)
    assert moved(payer) == 0 and states(payer) == []


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_for_event_loops(payer, shop, backend):
    async def main():
        async with payer.async_client() as http:
            return [(await http.get(shop.url())).content for _ in range(3)]

    assert anyio.run(main, backend=backend) == [b"goods"] * 3
    assert moved(payer) == 100_000 and states(payer) == ["CLAIMED"]


@pytest.mark.parametrize("told", [True, False])
def test_calls_whose_first_was_lost_are_followed_by_others_once_they_are_used_up(payer, seller, told):
    """The first call that they open delivers their payment; else that would be shown for ever, and no other made."""
    shop = Shop(seller, payer.box, gateway=False, per_dollar=80)
    honest = shop.door

    def lost(hit):
        reply = honest(hit)
        return seller.answer(502) if shop.opened and told else b"" if shop.opened else reply

    seller.serves("/exploits", lost)
    with payer.client(timeout=30) as http:
        if told:
            assert http.get(shop.url()).status_code == 502
        else:
            with pytest.raises(PaymentInDoubt):
                http.get(shop.url())
        seller.serves("/exploits", honest)
        had = len(shop.opened)
        assert [http.get(shop.url()).content for _ in range(8 - had)] == [b"goods"] * (8 - had) and had < 8
        assert states(payer) == ["CLAIMED"]
        assert http.get(shop.url()).content == b"goods" and len(states(payer)) == 2 and moved(payer) == 200_000


def test_a_transaction_that_opens_calls_is_counted_each_time_it_is_shown(payer, shop):
    """Where no token is sold the transaction opens them, and a seller who answers 502 has counted that call."""
    honest = shop.door

    def counted_and_lost(hit):
        reply = honest(hit)
        return shop.seller.answer(502) if len(shop.opened) == 1 else reply

    shop.generate = lambda *_: shop.seller.answer(404)
    shop.seller.serves("/exploits", counted_and_lost)
    with payer.client(timeout=30) as http:
        assert http.get(shop.url()).content == b"goods" and shop.opened == ["tx", "tx"]
    assert [each.uses_left for each in payer.ledger.tokens()] == [shop.left[1]] == [98]


def test_calls_bought_for_later_are_all_there_and_found_again_after_a_crash(payer, shop):
    receipt = payer.buy_ahead(shop.url(), calls=50)
    assert receipt.outcome == "spent" and [each.uses_left for each in payer.ledger.tokens()] == [100] and shop.asked == ["verify", "token"]
    ask = SimpleNamespace(key="", has_body=False, output="", repeat=lambda: None)
    payer.ledger.close(Hold(receipt.payment_id, ask, receipt.offer, None), "PAID_UNDELIVERED").run()  # killed before it was closed
    assert payer.buy_ahead(shop.url(), calls=50).again
    assert states(payer) == ["CLAIMED"] and [each.uses_left for each in payer.ledger.tokens()] == [100]
    with payer.client() as http:
        assert http.get(shop.url()).content == b"goods"
    assert moved(payer) == 100_000 and payer.ledger.tokens()[0].uses_left == 99


def test_who_buys_200_calls_gets_no_fewer_because_of_a_limit(payer, shop):
    with pytest.raises(BudgetExceeded, match="for 200 calls"):
        payer.buy_ahead(shop.url(), calls=200)
    assert moved(payer) == 0 and states(payer) == [] and shop.asked == []


@pytest.mark.parametrize("as_json", [False, True], ids=["words", "json"])
def test_fewer_calls_than_were_asked_for_are_named_beside_them(payer, shop, monkeypatch, as_json):
    """Its pages do not say how many calls a dollar buys: the least is bought, and its token says what that was."""
    shop.seller.serves("/x402/pricing", shop.seller.answer(404))
    monkeypatch.setattr(ahead, "sandbox_payer", lambda _: nullcontext(payer))
    done = CliRunner().invoke(app, ["credentials", "buy", "--sandbox", shop.url(), "--calls", "200", *(["--json"] if as_json else [])])
    assert done.exit_code == 0 and moved(payer) == 100_000, done.output
    if as_json:
        told = json.loads(done.stdout)
        assert (told["asked"], told["uses_left"]) == (200, 100)
    else:
        assert "100 calls of 200 are paid for" in done.stdout
