"""The header and every 402 as published, word for word; what is none of Lily's, and what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from x402_agent import ChallengeInvalid
from x402_agent.assets import asset_by_id
from x402_agent.dialects import Lily, builtin
from x402_agent.dialects.lily import header
from x402_agent.model import Ask, Credential
from x402_agent.steps import Reply

WIRE = json.loads((Path(__file__).parent.parent / "vectors" / "lily" / "wire.json").read_text())
HOME = "https://agents.example"
SAID = {HOME: {"rest_url": "https://p.example", "service_id": WIRE["config"]["service_id"]}}
DESIGN = WIRE["asks"]["the design"]


def asked(path="/run", expect=1):
    made = Ask("GET", HOME + path, HOME, "agents.example", path)
    made.expect = expect
    return made


def reply(document, status=402, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Reply(status, httpx.Headers({name.replace("_", "-"): value for name, value in headers.items()}), body)


def read(document, settings=SAID, **headers):
    return Lily(settings).read(reply(document, **headers), asked())


def test_the_header_is_written_as_published_and_cut_as_published():
    said = header.parts(WIRE["header"])
    assert list(said) == list(header.NAMES) and said["timestamp"] == "1795218184617"
    assert header.written(dict(reversed(said.items()))) == WIRE["header"]
    assert header.written({"wallet": "A", "session": "", "proof": "SIG"}) == "proof=SIG; wallet=A"
    assert {key.strip().lower(): value for key, value in (each.split("=") for each in WIRE["header"].split(";"))} == said


def test_a_kept_header_says_the_time_of_its_request_and_loses_an_old_signature():
    shown = Lily().fresh(Credential(HOME, "/", {header.HEADER: WIRE["header"]}, dialect="lily"), 1795218200.25, None)
    assert shown[header.HEADER] == "session=T; proof=SIG; wallet=ADDR; amount=0.01; currency=USDC; timestamp=1795218200250"


@pytest.mark.parametrize("value", ["a;b", "a=b", "a b", "a\n", "é", "x" * 257, "a,b"])
def test_a_value_that_would_be_cut_in_two_is_never_written(value):
    with pytest.raises(ChallengeInvalid, match="cut in two"):
        header.written({"wallet": value})


@pytest.mark.parametrize("name", WIRE["asks"])
def test_each_ask_as_published_is_read(name):
    assert read(WIRE["asks"][name]).pages == ("0.01", "USDC", "", "guide" if "guide" in name else "")
    assert read(b"payment, please", x_402_amount="0.01", x_402_currency="USDC").pages == ("0.01", "USDC", "", "")


def test_a_rate_is_read_where_a_seller_quotes_one():
    assert read({**DESIGN, "currency": "SOL", "details": {"conversionRate": 142.55}}).pages == ("0.01", "SOL", "142.55", "")
    assert read({**WIRE["asks"]["the guide's middleware"], "conversion_rate": "142.550"}).pages[2] == "142.55"


@pytest.mark.parametrize("code", [each for each, body in WIRE["refusals"].items() if body["paymentRequired"]])
def test_each_error_is_known_by_its_code(code):
    body = WIRE["refusals"][code]
    assert read(body).pages[0] == ("0.01" if "requiredAmount" in body else "") and Lily(SAID).read(reply(body, 403), asked()) is None


@pytest.mark.parametrize("words", [*WIRE["said by the guide"], ""])
def test_what_anybody_could_say_is_known_where_settings_name_the_origin(words):
    body = {"error": words, "paymentRequired": True} if words else WIRE["text"].encode()
    assert read(body).pages == ("", "", "", "guide") and read(body, {}) is None


def test_a_402_without_settings_is_passed_over_with_the_line_that_is_missing():
    found = read(DESIGN, {})
    assert found.offers == () and found.pages == () and f'dialects.lily."{HOME}" = {{ rest_url' in found.passed_over[0]


OTHERS = {
    "x402": {"x402Version": 1, "error": "Payment required", "accepts": []},
    "x402Pay": {"error": "Payment required", "payment": {"recipient": "SP2C2YFP12AJZB4MABJBAJ55XECVS7E4PMMZ89YZR", "amount": "1", "asset": "STX"}},
    "KAMIYO": {"payment_required": True, "amount_usdc": 0.01, "payment_methods": []},
    "an invoice": {"error": "Payment required", "amount": "1", "currency": "USDT_TRC20", "payment_id": "p", "wallet_address": "T", "status_url": "u"},
    "nobody's": {"error": "no credit", "code": 1}, "no object": [1], "no JSON": b"<html>pay", "nothing": b"",
}  # fmt: skip


@pytest.mark.parametrize("name", OTHERS)
def test_what_others_say_is_theirs(name):
    assert read(OTHERS[name], {}) is None


def test_its_place_in_the_order_of_trust():
    names = [each.name for each in builtin()]
    assert names.index("x402") < names.index("x402pay") < names.index("lily") < names.index("tron-invoice")


BROKEN = {
    "an exponent (P5)": {**DESIGN, "requiredAmount": "1e-3"}, "negative (P3)": {**DESIGN, "requiredAmount": -0.01}, "zero (P8)": {**DESIGN, "requiredAmount": 0},
    "hex (P5)": {**DESIGN, "requiredAmount": "0x10"}, "other digits (P6)": {**DESIGN, "requiredAmount": "\u0660.\u0661"}, "words": {**DESIGN, "requiredAmount": "free"},
    "huge (P2)": {**DESIGN, "requiredAmount": 10**11}, "many digits (P7)": {**DESIGN, "requiredAmount": "9" * 500}, "a comma": {**DESIGN, "requiredAmount": "0,01"},
    "a float that JSON writes with an exponent (P4)": json.dumps(DESIGN).replace("0.01", "1E-2").encode(), "a boolean": {**DESIGN, "requiredAmount": True},
    "a list": {**DESIGN, "requiredAmount": [0.01]}, "a false twin": {**DESIGN, "amount": 0.02}, "another coin (A1)": {**DESIGN, "currency": "USDC.e"},
    "a coin that is none": {**DESIGN, "currency": ["USDC"]}, "a key twice (P12)": json.dumps(DESIGN).replace("{", '{"requiredAmount":9,', 1).encode(),
    "NaN (W2)": json.dumps(DESIGN).replace("0.01", "NaN").encode(), "half a body": json.dumps(DESIGN)[:-9].encode(), "deep (S5)": json.dumps(DESIGN)[:-1].encode() + b',"a":' + b"[" * 99,
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_no_price(name):
    with pytest.raises(ChallengeInvalid):
        read(BROKEN[name])


def test_a_header_that_contradicts_its_body_is_broken_and_so_are_two_of_them():
    with pytest.raises(ChallengeInvalid, match="one plain number"):
        read(DESIGN, x_402_amount="0.02")
    with pytest.raises(ChallengeInvalid, match="one of"):
        read(DESIGN, x_402_amount="0.010", x_402_currency="SOL")
    both = Reply(402, httpx.Headers([("x-402-amount", "0.01")] * 2), json.dumps(DESIGN).encode())
    with pytest.raises(ChallengeInvalid, match="2 x-402-amount"):
        Lily(SAID).read(both, asked())


KEPT = Credential(HOME, "/", {header.HEADER: "session=T; wallet=A; amount=0.01; currency=USDC; timestamp=1"}, dialect="lily")


@pytest.mark.parametrize(
    ("told", "left"),
    [({"x-402-remaining": "0.09"}, 9), ({"x-402-remaining": "0.0999"}, 9), ({"x-402-remaining": "0"}, 0), ({"x-402-remaining": "-1"}, None), ({"x-402-remaining": "9" * 12}, 10**9),
     ({"x-402-remaining": "1e3"}, None), ({}, None)],
)  # fmt: skip
def test_what_is_left_is_what_an_answer_says(told, left):
    assert Lily().left(Reply(200, httpx.Headers(told), b"goods"), KEPT) == left


def test_what_is_left_stands_in_errors_too():
    assert Lily().left(reply(WIRE["refusals"]["SESSION_EXPIRED"]), KEPT) == 5
    assert Lily().left(reply(WIRE["refusals"]["INSUFFICIENT_BALANCE"]), KEPT) == 0
    assert Lily().left(reply(b"[" * 10**5), KEPT) is None


def test_both_coins_are_of_the_table():
    assert asset_by_id("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp/slip44:501").symbol == "SOL"
    assert set(WIRE["fields that designs disagree on"]["currency"]) == {"USDC", "SOL", "USD"}
