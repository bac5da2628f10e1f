"""Credits: asked for before anything is paid, spent by a signature, topped up by a person or by a rule, and once."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from decimal import Decimal
from itertools import count

import anyio
import pytest

from lily.bank import Bank
from lily.conftest import told
from x402_agent import NoAcceptableOffer, PaymentInDoubt, Policy
from x402_agent.dialects.lily import credits as credits_room
from x402_agent.payer.ahead import Balance
from x402_agent.payer.kit import Kit
from x402_agent.payer.quoting import HELD
from x402_agent.policy.file import parse


@pytest.fixture
def bank(seller, payer, monkeypatch):
    monkeypatch.setattr(credits_room, "PAUSE", 0.01)
    made = Bank(seller, payer.box)
    told(payer, made.settings())
    return made


def rows(payer):
    payer.ledger.flush()
    return [(row.state, row.amount) for row in payer.ledger.payments()]


def tops_up(payer, seller, amount="0.50"):
    """The rule that a person writes."""
    payer.policy = replace(payer.policy, budgets={**payer.policy.budgets, **parse(f'[hosts."127.0.0.1"]\ntop_up = "{amount}"', "policy.toml").budgets})


@pytest.mark.proves("solana", "lily", "pays")
def test_what_lies_there_is_spent_before_anything_is_paid(payer, bank):
    bank.balance = Decimal("0.025")
    assert HELD in payer.quote(bank.url()).unread
    with payer.client(timeout=60) as http:
        assert [http.get(bank.url()).text for _ in range(2)] == ["goods"] * 2
        assert rows(payer) == [] and bank.balance == Decimal("0.005")
        assert http.get(bank.url()).extensions["payment"].outcome == "spent"
    assert rows(payer) == [("CLAIMED", 10_000)] and bank.balance == Decimal("0.005")
    first, second = bank.shown[:2]
    assert list(first) == ["wallet", "amount", "currency", "timestamp", "signature"] and first["signature"] != second["signature"]


def test_the_sellers_count_holds_and_calls_take_turns(payer, bank):
    bank.balance = Decimal(1)
    with payer.client(timeout=60) as http:
        http.get(bank.url())
        bank.balance = Decimal("0.05")
        threads = [threading.Thread(target=http.get, args=(bank.url(),)) for _ in range(4)]
        [each.start() for each in threads]
        [each.join() for each in threads]
    assert bank.balance == Decimal("0.01") and [each.uses_left for each in payer.ledger.tokens()] == [1] and rows(payer) == []


def test_a_person_tops_up_and_nothing_is_asked_for_with_it(payer, bank):
    receipt = payer.top_up(bank.url(), "0.30")
    assert receipt.outcome == "spent" and bank.balance == Decimal("0.3") and rows(payer) == [("CLAIMED", 300_000)]
    assert not bank.shown and bank.noted[0]["purpose"] == "credit_top_up" and bank.patched == []
    found = payer.credits(bank.url())
    assert (found.dollars, found.price, found.calls, found.why, found.account) == (Decimal("0.3"), Decimal("0.01"), 30, "", payer.box.payer_address)
    with payer.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
    assert rows(payer) == [("CLAIMED", 300_000)]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_in_an_event_loop(payer, bank, backend):
    async def go():
        assert (await payer.top_up_async(bank.url(), "0.30")).outcome == "spent"
        async with payer.async_client(timeout=60) as http:
            return (await http.get(bank.url())).text

    assert anyio.run(go, backend=backend) == "goods" and bank.balance == Decimal("0.29")


def test_only_a_rule_tops_up_by_itself(payer, bank, seller):
    moments = count(int(time.time() * 1000))
    payer.clock = lambda: (next(moments) + 0.5) / 1000  # on loopback two calls fit into one millisecond, which has one signature
    tops_up(payer, seller)
    with payer.client(timeout=60) as http:
        reply = http.get(bank.url())
        assert reply.text == "goods" and reply.extensions["payment"].outcome == "spent"
        assert [http.get(bank.url()).text for _ in range(49)] == ["goods"] * 49
        assert rows(payer) == [("CLAIMED", 500_000)] and bank.balance == 0
        assert http.get(bank.url()).text == "goods"
    assert rows(payer) == [("CLAIMED", 500_000)] * 2 and bank.balance == Decimal("0.49")


def test_no_more_is_paid_ahead_than_was_said(payer, bank, seller):
    bank.price, bank.config["base_price"] = "0.40", 0.4
    with pytest.raises(NoAcceptableOffer, match="a top-up is of a call at least"):
        payer.top_up(bank.url(), "0.30")
    tops_up(payer, seller, "0.30")
    with payer.client(timeout=60) as http, pytest.raises(NoAcceptableOffer, match=r"one call costs 0.4, and 0.3 would be paid"):
        http.get(bank.url())
    assert rows(payer) == []


def test_policy_judges_a_top_up_as_any_payment(payer, bank, seller):
    tops_up(payer, seller, "6.00")
    with payer.client(timeout=60) as http, pytest.raises(Exception, match="for 600 calls, the limit for one payment is"):
        http.get(bank.url())
    assert rows(payer) == []


def test_a_failing_table_is_asked_again_with_the_same_transaction(payer, bank):
    bank.broken = 2
    assert payer.top_up(bank.url(), "0.30").outcome == "spent"
    assert rows(payer) == [("CLAIMED", 300_000)] and len(bank.noted) == 1


def test_paid_and_not_booked_is_said_and_never_paid_twice(payer, bank):
    bank.books = False
    for _ in range(2):
        with pytest.raises(PaymentInDoubt, match="is paid, and not booked: its balance is 0 as before"):
            payer.top_up(bank.url(), "0.30")
    assert len(rows(payer)) == 1 and len(bank.noted) == 1 and rows(payer)[0][0] in ("UNKNOWN", "PROVING")
    with payer.client(timeout=60) as http, pytest.raises(PaymentInDoubt, match="not booked"):
        http.get(bank.url())
    assert len(rows(payer)) == 1
    bank.balance = Decimal("0.30")  # its seller mends it
    (resumed,) = payer.resume()
    assert rows(payer) == [("CONFIRMED", 300_000)], resumed
    with payer.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
    assert len(rows(payer)) == 1 and bank.balance == Decimal("0.29")


def test_where_noting_books_nothing_the_balance_is_written_as_published_clients_do(payer, bank, seller):
    bank.books, bank.writes = False, True
    assert payer.top_up(bank.url(), "0.30").outcome == "spent"
    assert bank.balance == Decimal("0.3") and bank.patched == ["PATCH"] and rows(payer) == [("CLAIMED", 300_000)]
    (written,) = [hit.path for hit in seller.hits if hit.method == "PATCH"]
    assert written.endswith("&balance=eq.0")  # what another has written meanwhile is not written over


def test_a_balance_that_has_moved_meanwhile_is_not_written_over(payer, bank):
    bank.balance, bank.books, bank.writes, honest = Decimal(1), False, True, bank.written

    def spent_meanwhile(table, hit):
        made, bank.balance = honest(table, hit), Decimal("0.40")
        return made

    bank.written = spent_meanwhile
    with pytest.raises(PaymentInDoubt, match=r"its balance is 0\.4, and was 1 before"):
        payer.top_up(bank.url(), "0.30")
    assert bank.patched == [] and bank.balance == Decimal("0.40") and len(bank.noted) == 1


def test_what_could_not_be_noted_is_noted_later_though_the_chain_has_shown_it(payer, bank):
    before, honest = bank.earned, bank.found
    bank.found = lambda table, query: None if table == "x402_payment_credits" and bank.earned > before else honest(table, query)
    with pytest.raises(PaymentInDoubt, match="is paid, and not noted"):
        payer.top_up(bank.url(), "0.30")
    payer.resume()
    assert rows(payer) == [("CONFIRMED", 300_000)] and bank.noted == []
    bank.found = honest
    assert payer.top_up(bank.url(), "0.30").again and bank.balance == Decimal("0.3") and len(bank.noted) == 1 and len(rows(payer)) == 1
    (row,) = payer.ledger.payments()
    assert row.delivered, "or it would be shown again for ever, and nothing else bought there"


def test_credits_that_are_refused_buy_nothing_twice(payer, bank, seller):
    tops_up(payer, seller)
    bank.spending = False
    with payer.client(timeout=60) as http:
        assert [http.get(bank.url()).status_code for _ in range(2)] == [402, 402]
    assert len(rows(payer)) == 1
    bank.spending = True
    with payer.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
    assert len(rows(payer)) == 1 and bank.balance == Decimal("0.49")


def test_credits_that_were_bought_serve_at_another_price(payer, bank):
    payer.top_up(bank.url(), "0.30")
    with payer.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
        bank.price, bank.config["base_price"] = "0.02", 0.02
        assert [http.get(bank.url()).text for _ in range(2)] == ["goods"] * 2
    assert rows(payer) == [("CLAIMED", 300_000)] and bank.balance == Decimal("0.25")


def test_a_key_that_signs_nowhere_spends_no_credits_and_says_so(payer, bank, monkeypatch):
    bank.balance = Decimal(1)
    monkeypatch.setattr(type(payer.wallet.signers[0]), "local", False)
    quote = payer.quote(bank.url())
    assert any("credits lie there" in each and "locked or remote" in each for each in quote.unread)
    assert "locked or remote" in payer.credits(bank.url()).why
    told(payer, bank.settings(pays="credits"))
    with payer.client(timeout=60) as http, pytest.raises(NoAcceptableOffer, match="locked or remote"):
        http.get(bank.url())
    assert bank.balance == 1 and not bank.shown


@pytest.mark.parametrize("said", [{}, {"pays": "proof"}], ids=["no settings", "proofs alone"])
def test_credits_are_shown_only_where_settings_still_want_it(said, payer, bank):
    bank.balance = Decimal(1)
    with payer.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
        told(payer, bank.settings(**said) if said else {})
        bank.config["is_active"] = False
        with pytest.raises(NoAcceptableOffer):
            http.get(bank.url())
    assert len(bank.shown) == 1 and rows(payer) == []


def test_a_signature_that_fails_oddly_gives_its_turn_back(payer, bank, monkeypatch):
    def odd(*_):
        raise RuntimeError("a signer of somebody's")

    bank.balance = Decimal(1)
    with payer.client(timeout=60) as http:
        assert http.get(bank.url()).text == "goods"
        with monkeypatch.context() as patched:
            patched.setattr(Kit, "sign_in", odd)
            with pytest.raises(RuntimeError):
                http.get(bank.url())
        assert http.get(bank.url()).text == "goods"
    assert bank.balance == Decimal("0.98")


def test_settings_may_want_credits_alone(payer, bank):
    told(payer, bank.settings(pays="credits"))
    with payer.client(timeout=60) as http:
        with pytest.raises(NoAcceptableOffer, match="not enough"):
            http.get(bank.url())
        bank.balance = Decimal("0.01")
        assert http.get(bank.url()).text == "goods"
    assert rows(payer) == []


# -- standing authorisations ---------------------------------------------------------------------------------------------


def authorisation(bank, status="active", **most):
    return {"wallet_address": bank.box.payer_address, "service_id": bank.config["service_id"], "status": status,
            **{f"spending_limit_per_{name}": value for name, value in most.items()}}  # fmt: skip


@pytest.mark.parametrize(("most", "words"), [({"day": 0.015}, "day"), ({"month": 0.015}, "month"), ({"request": 0.005}, "for a request")])
def test_a_standing_authorisation_binds_beside_policy(payer, bank, most, words):
    bank.authorisations = [authorisation(bank, **most), authorisation(bank, "paused", request=0.001)]
    with payer.client(timeout=60) as http:
        for number in range(2):
            if "request" in most or number:
                with pytest.raises(Exception, match=words):
                    http.get(bank.url())
            else:
                assert http.get(bank.url()).text == "goods"
    assert len(rows(payer)) == (0 if "request" in most else 1)


@pytest.mark.parametrize("answer", [(503, b""), (200, b"<html>")], ids=["away", "odd"])
def test_authorisations_that_cannot_be_read_allow_nothing(answer, payer, bank, seller):
    seller.serves("/rest/v1/x402_payment_authorizations", seller.answer(*answer))
    with payer.client(timeout=60) as http, pytest.raises(NoAcceptableOffer, match="authorisations there cannot be read"):
        http.get(bank.url())
    assert rows(payer) == []


def test_where_one_is_wanted_and_none_is_active_nothing_is_paid(payer, bank):
    bank.config["requires_preauth"] = True
    for status, ends, words in (("paused", None, "paused"), ("active", "2020-02-02T00:00:00Z", "expired")):
        bank.authorisations = [authorisation(bank, status) | {"expires_at": ends}]
        with payer.client(timeout=60) as http, pytest.raises(NoAcceptableOffer, match=f"authorisation, and yours there is {words}"):
            http.get(bank.url())
    assert rows(payer) == []


# -- sessions by hand -----------------------------------------------------------------------------------------------------


def test_a_session_is_bought_by_hand_used_and_revoked(payer, bank):
    receipt = payer.buy_ahead(bank.url(), calls=3)
    assert receipt.outcome == "spent" and rows(payer) == [("CLAIMED", 30_000)] and not bank.shown
    with payer.client(timeout=60) as http:
        assert [http.get(bank.url()).text for _ in range(2)] == ["goods"] * 2
    (token,) = payer.ledger.tokens()
    assert token.serial and token.uses_left == 1
    from x402_agent.payer.ahead import revoked

    assert "its seller's row says revoked" in revoked(payer, token)
    assert bank.sessions[0]["status"] == "revoked" and payer.ledger.tokens() == []


def test_calls_on_a_session_take_turns(payer, bank):
    payer.buy_ahead(bank.url(), calls=6)
    with payer.client(timeout=60) as http:
        threads = [threading.Thread(target=http.get, args=(bank.url(),)) for _ in range(6)]
        [each.start() for each in threads]
        [each.join() for each in threads]
    assert bank.sessions[0]["remaining_amount"] == "0.00" and len(rows(payer)) == 1


def test_a_rule_about_top_ups_is_of_one_seller():
    with pytest.raises(Exception, match="credits are topped up at one"):
        parse('[budgets."asset:USDC"]\ntop_up = "1.00"', "policy.toml")
    assert parse('[budgets."origin:https://a.example"]\ntop_up = "1.00"', "policy.toml") != Policy()


def test_any_balance_and_price_are_a_number_of_calls():
    assert Balance("", Decimal("9" * 12), Decimal("1E-18")).calls == int("9" * 12) * 10**18


def test_what_settings_do_not_name_is_told_in_words(payer, seller, bank):
    told(payer, {})
    found = payer.credits(bank.url())
    assert found.dollars is None and "settings" in found.why
