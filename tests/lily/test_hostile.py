"""Sellers who contradict themselves, and tables that are not what they were: nothing is paid that settings and the row do not agree on."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
import tomllib
from datetime import datetime

import pytest
from solders.pubkey import Pubkey

from lily.conftest import told
from lily.shop import KEY, Shop
from lily.test_buying import failing, left, many, rows
from needles import Needles, leaks
from x402_agent import ChallengeInvalid, NoAcceptableOffer, PaymentInDoubt, PolicyDenied
from x402_agent.dialects import Lily
from x402_agent.dialects.lily.till import ASIDE


def test_a_402_without_settings_says_which_line_is_missing(seller, payer):
    shop = Shop(seller, payer.box)
    with payer.client() as http, pytest.raises(NoAcceptableOffer, match=r"A line of settings\.toml: (dialects\.lily.+ = {.+})") as caught:
        http.get(shop.url())
    assert shop.asked == [] and "doctor" in caught.value.hint and "settings.toml" in caught.value.rule
    (line,) = re.findall(r"settings.toml: (dialects.lily.+?}) \(or", caught.value.what)
    assert seller.origin in tomllib.loads(line)["dialects"]["lily"]  # it may be typed as it stands


SPOILT = {
    "dearer than its row": ({"requiredAmount": 0.02}, NoAcceptableOffer, "one of them lies"),
    "an exponent": ({"requiredAmount": "1e-2"}, ChallengeInvalid, "plain number"),
    "negative": ({"requiredAmount": -0.01}, ChallengeInvalid, "plain number"),
    "huge": ({"requiredAmount": 1e300}, ChallengeInvalid, "plain number"),
    "another coin": ({"currency": "USDT"}, ChallengeInvalid, "one of"),
}


@pytest.mark.full
@pytest.mark.parametrize("name", SPOILT)
def test_a_price_that_is_none_is_not_paid(name, payer, shop):
    change, error, words = SPOILT[name]
    shop.bare, shop.spoil = True, lambda said: {**said, **change}
    with payer.client() as http, pytest.raises(error) as caught:
        http.get(shop.url())
    assert words in f"{caught.value} {caught.value.rule}" and rows(payer) == []


def test_the_key_goes_to_the_tables_alone_and_follows_no_redirect(seller, payer, shop):
    elsewhere = seller.serves("/elsewhere", seller.answer(200, b"[]"))
    shop.rows = lambda rows: seller.answer(307, b"", location=elsewhere)
    with payer.client() as http, pytest.raises(NoAcceptableOffer, match="cannot be read"):
        http.get(shop.url())
    shown = [hit.path for hit in seller.hits if KEY in str(hit.headers)]
    assert shown and all(path.startswith("/rest/v1/") for path in shown) and not any(hit.path == "/elsewhere" for hit in seller.hits)


def test_a_payee_that_changes_between_calls_is_not_paid(seller, payer):
    shop = Shop(seller, payer.box, currency="SOL")
    told(payer, shop.settings())
    many(payer, shop, 1, expect=1)
    other = "7EcDhSYGxXyscszYEp35KHN8vvw3svAuLKTzXwCFLtV"
    payer.box.ground.chain.endow(Pubkey.from_string(other), 10**9)
    shop.config["platform_wallet"] = other
    with payer.client() as http, pytest.raises(PolicyDenied, match="pin"):
        http.get(shop.url())
    assert len(rows(payer)) == 1


@pytest.mark.full
@pytest.mark.parametrize(
    ("change", "uses"),
    [({"remaining_amount": "0.05"}, 4), ({"remaining_amount": "99999"}, 9), ({"remaining_amount": "-1"}, 9), ({"remaining_amount": "1e9"}, 9),
     ({"expires_at": "1999-01-01T00:00:00Z"}, 9), ({"expires_at": "9999-12-31T00:00:00Z"}, 9), ({"expires_at": "soon"}, 9)],
    ids=lambda each: str(each)[:40],
)  # fmt: skip
def test_a_row_that_says_otherwise_is_kept_within_bounds(change, uses, payer, shop):
    def lies(_hit, write):
        write()
        return shop.json(json.dumps([{**shop.sessions[-1], **change}], default=str).encode(), 201)

    shop.insert = lies
    assert many(payer, shop, 1) == ["goods"] and left(payer) == [uses]
    (token,) = payer.ledger.tokens()
    (row,) = payer.ledger.payments()
    assert 3_500 < token.expires - row.created_at <= 24 * 3600


@pytest.mark.full
@pytest.mark.parametrize("body", [b"<html>", b"", b"[]", b'[{"session_token":"a;b"}]', b"[" * 10**5], ids=["HTML", "nothing", "no row", "no token", "deep"])
def test_an_answer_that_is_no_row_is_asked_for_again(body, payer, shop):
    def odd(hit, write):
        write()
        return shop.json(body, 201)

    shop.insert = odd
    assert many(payer, shop, 2) == ["goods"] * 2 and len(rows(payer)) == 1 and len(shop.sessions) == 1


def test_a_token_is_in_no_error_log_or_name(payer, shop, caplog):
    caplog.set_level("DEBUG")
    shop.by_session = lambda said: b""  # the answer is lost, each time
    with pytest.raises(PaymentInDoubt) as caught:
        many(payer, shop, 1)
    (said,) = shop.posted
    shown = f"{caught.value!r} {caught.value} {payer.ledger.tokens()} {payer.ledger.payments()} {caplog.text}"
    assert said["session_token"] not in shown and KEY not in shown and KEY not in repr(payer.settings)


def test_a_call_that_is_cancelled_while_a_table_is_silent_shows_no_token_in_any_frame(payer, shop):
    asked = threading.Event()

    def silent(hit, _write):
        shop.posted.append(json.loads(hit.body))
        asked.set()
        shop.seller.stop.wait(1)
        return b""

    async def go():
        with payer.task("many", expect_calls=5) as task:
            async with task.async_client(timeout=60) as http:
                call = asyncio.ensure_future(http.get(shop.url()))
                assert await asyncio.to_thread(asked.wait, 30)
                call.cancel()
                try:
                    await call
                except asyncio.CancelledError as why:
                    return why
        raise AssertionError("it was cancelled")

    shop.insert = silent
    stopped = asyncio.run(go())
    (said,) = shop.posted
    assert leaks(stopped, Needles(token=said["session_token"], key=KEY)) == []


# -- a session that is opened late, or shown again --------------------------------------------------------------------------


DAYS = 2 * 86_400


def test_a_session_that_is_opened_late_lives_as_long_is_shown_at_its_time_and_by_the_same_token(payer, shop):
    told(payer, shop.settings(pays="session"))
    failing(shop, 403)
    with pytest.raises(PaymentInDoubt):
        many(payer, shop, 1, expect=1)
    shop.seller.serves(ASIDE, shop.seller.answer(200, b"nothing"))
    with payer.client() as http:
        http.get(shop.url(ASIDE))  # what is noted there is no credential
    assert "x-402-payment" not in shop.seller.hits[-1].headers
    payer.dialects = tuple(Lily(shop.settings(pays="session")["lily"], clock=lambda: time.time() + DAYS) if each.name == "lily" else each for each in payer.dialects)
    assert many(payer, shop, 1, expect=1) == ["goods"] and len(rows(payer)) == 1
    first, last = shop.posted
    assert first["session_token"] == last["session_token"]
    assert DAYS - 60 < (datetime.fromisoformat(last["expires_at"]) - datetime.fromisoformat(first["expires_at"])).total_seconds() < DAYS + 60
    assert abs(int(shop.shown[-1]["timestamp"]) / 1000 - time.time() - DAYS) < 60


def test_what_is_shown_again_raises_no_count(payer, shop):
    honest, shop.by_session = shop.by_session, lambda said: b""
    with pytest.raises(PaymentInDoubt):
        many(payer, shop, 1)
    shop.by_session, shop.counts = lambda said: shop.seller.answer(500, b"broken"), False
    assert many(payer, shop, 5) == ["broken"] * 5 and left(payer) == [4]
    shop.by_session = honest
    shop.rows = lambda rows: [{**each, **({"remaining_amount": "0.1"} if "remaining_amount" in each else {})} for each in rows]  # a seller who counts elsewhere
    payer.resume()
    payer.ledger.flush()
    assert left(payer) == [4] and len(rows(payer)) == 1


def test_a_session_whose_first_call_was_lost_is_followed_by_another_once_it_is_used_up(payer, shop):
    honest = shop.by_session

    def lost(said):
        honest(said)  # it is counted there
        return b""

    told(payer, shop.settings(pays="session"))
    shop.by_session = lost
    with payer.task("few", expect_calls=5) as task, task.client(timeout=60) as http, pytest.raises(PaymentInDoubt):
        http.post(shop.url())
    shop.by_session = honest
    assert many(payer, shop, 4, expect=5) == ["goods"] * 4 and left(payer) == [0]
    assert rows(payer) == [("CLAIMED", 50_000)]
    assert many(payer, shop, 1, expect=5) == ["goods"] and len(rows(payer)) == 2 and len(shop.sessions) == 2
