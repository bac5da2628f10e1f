"""What a shop, its monitor or a stranger may say: nothing leaves before it fits, and nothing is paid twice after it has."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from x402_agent import Budget, ChallengeInvalid, NoAcceptableOffer, Payer, PaymentInDoubt, PolicyDenied, Wallet
from x402_agent.dialects.tron_invoice import dialect, status
from x402_agent.dialects.tron_invoice.invoice import offers

USDT = "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"


def buy(payer, url, **options):
    with payer.client(timeout=60) as http:
        return http.get(url, extensions={"payment": options})


def untouched(payer, shop, before):
    assert shop.earned == before and not shop.shown
    assert all(each.state == "RELEASED" for each in payer.ledger.payments())


BROKEN = {
    "P4: a float": ({"amount": 0.100017}, "goes through a float"),
    "P4: an exponent": ({"amount": "1e-1"}, "decimal text"),
    "P4: seven places": ({"amount": "0.1000170"}, "decimal text"),
    "P6: other digits": ({"amount": "\u0660.1"}, "decimal text"),
    "P8: zero": ({"amount": "0.000000"}, "zero"),
    "R2: another last letter": ({"wallet_address": "TLPsV2meGxAiUjYnt5DMZCjPJW5dwD9XaB"}, "wrong base58 checksum"),
    "R2: an address of Bitcoin": ({"wallet_address": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"}, "no address of TRON"),
    "R2: a number": ({"wallet_address": 7}, "no address of TRON"),
    "D6: without a zone": ({"expires_at": "2099-01-01T00:00:00"}, "no time with a zone"),
    "D6: milliseconds": ({"expires_at": 1795303552350}, "unix seconds"),
    "D6: a text": ({"expires_at": "tomorrow"}, "no time with a zone"),
    "D6: true": ({"expires_at": True}, "unix seconds"),
    "W4: an id that is none": ({"payment_id": "a b\r\nx-evil: 1"}, "is not an id"),
    "W4: a status page of another id": ({"status_url": "/payment_status/another"}, "tell of another payment"),
    "W4: a key in the URL": ({"status_url": "http://me:key@127.0.0.1/x"}, "no plain URL"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_invoice_is_refused_with_the_reason(name, payer, shop):
    change, words = BROKEN[name]
    before = shop.earned
    shop.spoil = lambda told: told | change
    with pytest.raises(ChallengeInvalid, match=words):
        buy(payer, shop.url())
    untouched(payer, shop, before)


PASSED = {
    "R1: the token": ({"wallet_address": USDT}, "is the token contract"),
    "A5: another chain": ({"network": "eip155:1"}, "none of TRON's"),
    "A3: real money": ({"network": "tron:mainnet"}, "a network of real money"),
    "A1: another currency": ({"currency": "USDC"}, "is not USDT_TRC20"),
    "O1: a status page elsewhere": ({"status_url": "https://monitor.example/payment_status/ID"}, "another origin"),
    "D6: over": ({"expires_at": 1_000_000_000}, "too late to pay it"),
    "D6: ten minutes after the epoch": ({"expires_at": 600}, "too late to pay it"),
    "D6: before it": ({"expires_at": "1969-01-01T00:00:00Z"}, "too late to pay it"),
}


@pytest.mark.parametrize("name", PASSED)
def test_what_is_not_paid_is_passed_over(name, payer, shop):
    change, words = PASSED[name]
    before = shop.earned
    shop.spoil = lambda told: told | {key: value.replace("ID", told["payment_id"]) if key == "status_url" else value for key, value in change.items()}
    with pytest.raises((NoAcceptableOffer, PolicyDenied), match=words):
        buy(payer, shop.url())
    untouched(payer, shop, before)


def test_R1_our_own_account_is_not_paid(payer, shop):
    shop.spoil = lambda told: told | {"wallet_address": payer.box.payer_address}
    with pytest.raises(NoAcceptableOffer, match="our own account") as caught:
        buy(payer, shop.url())
    assert "networks" not in caught.value.rule and caught.value.hint == f"x402-agent get --dry-run {shop.url()} --sandbox"


@pytest.mark.parametrize("left, paid", [(599, False), (700, True)])
def test_D6_its_last_ten_minutes_are_not_paid_in(left, paid, payer, shop):
    shop.spoil = lambda told: told | {"expires_at": payer.clock() + left}
    if paid:
        assert buy(payer, shop.url()).text == "goods"
        return
    with pytest.raises(NoAcceptableOffer, match="too late") as caught:
        buy(payer, shop.url())
    assert "D6" in caught.value.rule and "new one" in caught.value.hint and "swapped" not in caught.value.what


def test_a_year_of_four_digits_is_a_time_like_any_other(payer, shop):
    shop.spoil = lambda told: told | {"expires_at": "9999-12-31T23:59:59+00:00"}
    assert buy(payer, shop.url()).text == "goods"


BEFORE = {
    "of another payment": lambda told, _: told | {"id": "another"},
    "another wallet": lambda told, _: told | {"wallet_address": USDT},
    "rounded to five places": lambda told, _: told | {"expected_amount_usdt": 0.10002},
    "less": lambda told, _: told | {"expected_amount_usdt": 0.1},
    "one unit more": lambda told, _: told | {"expected_amount_usdt": round(told["expected_amount_usdt"] + 1e-6, 6)},
    "of another order": lambda told, _: told | {"order_id": "another"},
    "NaN": lambda told, _: told | {"expected_amount_usdt": float("nan")},
    "a number without end": lambda told, _: told | {"expected_amount_usdt": "1e999999999"},
    "paid by somebody, and not completed yet": lambda told, _: told | {"transaction_hash": "ab" * 32},
    "completed before": lambda told, _: told | {"status": "completed", "transaction_hash": "ab" * 32},
    "expired": lambda told, _: told | {"status": "expired"},
    "no status": lambda told, _: {"hello": "world"},
    "nonsense": lambda told, _: b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n[[[",
    "elsewhere": lambda told, _: b"HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
    "gone": lambda told, _: b"HTTP/1.1 404 X\r\ncontent-length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("name", BEFORE)
def test_what_no_monitor_waits_for_is_not_paid(name, payer, shop):
    before = shop.earned
    shop.status = BEFORE[name]
    with pytest.raises(NoAcceptableOffer, match="its status page"):
        buy(payer, shop.url())
    with pytest.raises(NoAcceptableOffer, match="its status page"):
        payer.invoice(**{key: value for key, value in shop.new().items() if key != "error"})
    untouched(payer, shop, before)


AFTER = {  # what its status page says once the money has moved
    "blind for ever": lambda told: told | {"status": "pending"},
    "expired": lambda told: told | {"status": "expired"},
    "failed": lambda told: told | {"status": "failed"},
    "of another payment": lambda told: told | {"id": "another", "status": "completed"},
    "gone": lambda told: b"HTTP/1.1 404 X\r\ncontent-length: 2\r\n\r\n{}",
    "broken": lambda told: b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n",
    "elsewhere": lambda told: b"HTTP/1.1 302 X\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
}


@pytest.mark.proves("tron", "invoice", "fate")
@pytest.mark.parametrize("name", AFTER)
def test_a_monitor_that_does_not_notice_is_reported_with_the_transaction_and_never_paid_again(name, payer, shop, monkeypatch):
    before = shop.earned
    monkeypatch.setattr(status, "PATIENCE", 0.2)
    shop.blind, shop.status = True, lambda told, number: told if number == 1 else AFTER[name](told)
    for _ in range(2):
        with pytest.raises(PaymentInDoubt) as caught:
            buy(payer, shop.url())
        (row,) = payer.ledger.payments()
        assert row.transaction in caught.value.what and caught.value.payment_id == row.payment_id and row.payment_id[:8] in caught.value.hint
        assert shop.earned - before == 100_017 and row.outcome in ("in_doubt", "spent") and not row.delivered
    shop.blind, shop.status = False, lambda told, _: told
    (found,) = payer.resume()
    assert "receipt found" in found.note, found
    assert buy(payer, shop.url()).text == "goods"
    assert shop.earned - before == 100_017


GONE = b"HTTP/1.1 404 X\r\ncontent-length: 2\r\n\r\n{}"


def test_two_404s_are_a_hiccup_and_three_in_a_row_are_believed(payer, shop, monkeypatch):
    monkeypatch.setattr(status, "PATIENCE", 2.0)  # forty questions more, for who does not believe it
    shop.status = lambda told, number: {2: GONE, 3: GONE, 4: told | {"status": "pending"}, 5: GONE, 6: GONE}.get(number, told)
    assert buy(payer, shop.url()).text == "goods" and len(shop.polls) == 7
    shop.amount, shop.status = "0.100018", lambda told, number: told if number == 8 else GONE
    shop.seller.serves("/other", shop.door)
    with pytest.raises(PaymentInDoubt, match="its monitor answered 404"):
        buy(payer, shop.seller.url("/other"))
    assert len(shop.polls) == 8 + status.LOST


def test_a_status_that_flips_and_a_strangers_transaction_are_told_and_open_the_door(payer, shop):
    shop.status = lambda told, number: told | ({"transaction_hash": "ab" * 32, "received_amount_usdt": 0.05} if told["status"] == "completed" else {})
    assert buy(payer, shop.url()).text == "goods"
    (row,) = payer.ledger.payments()
    assert row.note == "the monitor completed it with another transaction than ours, 0.05 received, 0.100017 paid"


def test_one_invoice_is_paid_once_whoever_asks_and_by_whichever_way(payer, shop):
    told = shop.new()
    shop.spoil = lambda _: told
    shop.seller.serves("/other", lambda hit: shop.json(told, 402))
    before = shop.earned
    assert buy(payer, shop.url()).text == "goods"
    shop.status = lambda page, _: page | {"status": "pending", "transaction_hash": None}  # it flips back: an invitation to pay again
    with pytest.raises(PolicyDenied, match="was paid for before") as caught:
        buy(payer, shop.seller.url("/other"))
    assert caught.value.payment_id == payer.ledger.payments()[0].payment_id
    bare = {key: value for key, value in told.items() if key != "error"}
    with pytest.raises(PolicyDenied, match="was paid for before"):
        payer.invoice(**bare)
    with pytest.raises(PolicyDenied, match="was paid for before"):
        payer.invoice(**bare | {"status_url": told["status_url"] + "?a=b"})
    assert shop.earned - before == 100_017


def test_the_callers_deadline_ends_the_waiting(payer, shop):
    shop.blind, payer.deadline = True, 3.0
    with payer.client(timeout=3) as http, pytest.raises(PaymentInDoubt, match="its monitor says 'pending'"):
        http.get(shop.url())


def test_two_invoices_of_one_amount_at_one_wallet_are_not_open_at_once(payer, shop, monkeypatch):
    monkeypatch.setattr(status, "PATIENCE", 0.1)
    shop.blind = True
    with pytest.raises(PaymentInDoubt):
        buy(payer, shop.url())
    shop.seller.serves("/second", lambda hit: shop.json(shop.new(), 402))
    before = shop.earned
    with pytest.raises(PolicyDenied, match="another invoice of exactly"):
        buy(payer, shop.seller.url("/second"))
    shop.amount = "0.100018"
    with pytest.raises(PaymentInDoubt):
        buy(payer, shop.seller.url("/second"))
    assert shop.earned - before == 100_018


def test_an_account_without_TRX_says_what_to_send_and_sends_nothing(payer, shop):
    box = payer.box
    poor = Wallet.from_key("33" * 32, "tron")
    box.fund(poor.address("tron"), 10_000_000)
    with Payer(wallet=poor, policy=payer.policy.with_budget(Budget("9/day")), settings=payer.settings) as other:
        with pytest.raises(NoAcceptableOffer, match=r"has 0 sun of TRX, and energy and bandwidth may burn") as caught:
            buy(other, shop.url())
    assert f"of TRX to {poor.address('tron')}" in caught.value.hint and not shop.shown


def test_a_transfer_that_failed_on_chain_paid_nothing_and_the_same_invoice_is_paid_by_another(payer, shop, monkeypatch):
    ground, told, before = payer.box.ground, {key: value for key, value in shop.new().items() if key != "error"}, shop.earned
    honest, had = ground.chain.submit, payer.box.balance(payer.box.payer_address)

    def emptied(wire):  # between the look at the account and the block
        monkeypatch.setattr(ground.chain, "submit", honest)
        ground.contracts.transfer(ground.payer, bytes([7]) * 20, had)
        return honest(wire)

    monkeypatch.setattr(ground.chain, "submit", emptied)
    with pytest.raises(PaymentInDoubt, match="failed"):
        payer.invoice(**told)
    payer.box.fund(payer.box.payer_address, had)
    assert payer.invoice(**told).status == "completed"
    payer.ledger.flush()
    assert sorted(each.state for each in payer.ledger.payments()) == ["CLAIMED", "REVERTED"] and shop.earned - before == 100_017
    assert payer.invoice(**told).receipt.again and len(payer.ledger.payments()) == 2 and shop.earned - before == 100_017


def test_a_402_that_is_no_invoice_is_left_to_others(payer, shop):
    for body in (b"{}", b"[]", b'{"payment_id": "1", "wallet_address": "T"}', b"<html>", b'{"accepts": [], "payment_id": 1, "wallet_address": 2, "status_url": 3}'):
        shop.seller.serves("/x", shop.seller.answer(402, body))
        with suppress(ChallengeInvalid):
            assert buy(payer, shop.seller.url("/x")).status_code == 402
    shop.seller.serves("/x", shop.seller.answer(402, b'{"payment_id": "1", "payment_id": "2", "wallet_address": "T", "status_url": "x"}'))
    with pytest.raises(ChallengeInvalid, match="twice"):
        buy(payer, shop.seller.url("/x"))


def test_an_agent_that_sends_an_invoice_without_a_name_is_refused_and_the_ledger_goes_on(payer, shop, monkeypatch):
    with monkeypatch.context() as lying:
        lying.setattr(dialect, "offers", lambda *given: tuple(replace(each, wire=("invoice",)) for each in offers(*given)))
        lying.setattr(dialect.TronInvoice, "agrees", None)
        with pytest.raises(PolicyDenied, match="this one has none"):
            buy(payer, shop.url())
    shop.amount = "0.100018"
    assert not shop.shown and buy(payer, shop.url()).text == "goods" and not payer.ledger.verify()


def test_the_status_page_is_told_nothing_of_the_request(payer, shop):
    with payer.client(timeout=60, headers={"authorization": "Bearer mine"}) as http:
        http.get(shop.url())
    asked = [hit for hit in shop.seller.hits if hit.path.startswith("/payment_status")]
    assert asked and not [hit for hit in asked if "authorization" in hit.headers or "x-payment-id" in hit.headers]
