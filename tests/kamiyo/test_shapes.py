"""Its 402 bodies, as published servers send them: what is offered, what is passed over and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from x402_agent import ChallengeInvalid
from x402_agent.chains.solana import Solana
from x402_agent.chains.solana.message import ITSELF
from x402_agent.dialects import X402, Escrow, Kamiyo, StacksV1, builtin
from x402_agent.model import Ask
from x402_agent.steps import Reply

FOLDER = Path(__file__).parent.parent / "vectors" / "kamiyo"
MERCHANT = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"


class Headers:
    def __init__(self, **lines):
        self.lines = {name.replace("_", "-"): value for name, value in lines.items()}

    def get_list(self, key, /):
        return [self.lines[key]] if key in self.lines else []


def golden(name, **changes):
    return {**json.loads((FOLDER / f"{name}.json").read_text("utf-8")), **changes}


def ask(expect=1):
    made = Ask("GET", "https://api.kamiyo.ai/exploits", "https://api.kamiyo.ai", "api.kamiyo.ai", "/exploits")
    made.expect = expect
    return made


def read(document, expect=1, **headers):
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    reply = Reply(402, Headers(**headers), body)
    assert X402().read(reply, ask()) is None and StacksV1().read(reply, ask()) is None
    return Kamiyo().read(reply, ask(expect))


def test_the_gateway_offers_base_by_its_facilitator_and_calls_on_chain():
    found = read(golden("gateway"))
    assert [(o.scheme, o.flow, o.network.name, o.amount, o.serves, o.pay_to) for o in found.offers] == [
        ("transfer", "quota", "base", 100_000, 100, MERCHANT), ("transfer", "quota", "ethereum", 100_000, 100, MERCHANT),
        ("transfer", "quota", "solana", 100_000, 100, "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd")]  # fmt: skip
    assert [o.details for o in found.offers] == ["", "", ITSELF] and found.offers[2].asset.symbol == "USDC"
    text = "\n".join(found.passed_over)
    for words in ("feePayer None", "extra.name 'USDC' is not 'USD Coin'", "compares every proof with its entry for base"):
        assert words in text


def test_the_same_with_the_tokens_own_name_or_none_is_signed_by_the_pinned_domain():
    for extra in ({"name": "USD Coin", "version": "2"}, None):
        body = golden("gateway")
        body["payment_options"][0]["x402_standard"]["accepts"][0]["extra"] = extra
        (offer,) = [each for each in read(body).offers if each.scheme == "exact"]
        assert (offer.dialect, offer.network.name, offer.amount, offer.serves) == ("kamiyo", "base", 10_000, 1)


@pytest.mark.parametrize(("expect", "amount"), [(1, 100_000), (100, 100_000), (101, 101_000), (5_000, 5_000_000)])
def test_as_many_calls_are_bought_as_are_expected_and_never_less_than_the_minimum(expect, amount):
    found = read(golden("native"), expect).offers
    assert {each.amount for each in found} == {amount, 100_000} and found[0].amount == amount


def test_a_price_above_the_minimum_is_paid():
    assert {each.amount for each in read(golden("native", amount_usdc=0.25)).offers} == {250_000}


def test_the_well_known_page_is_plain_x402_and_its_version_is_no_signing_domain():
    reply = Reply(402, Headers(), json.dumps(golden("well-known")).encode())
    assert Kamiyo().read(reply, ask()) is None
    listed = X402().read(reply, Ask("GET", "https://api.kamiyo.ai/.well-known/x402", "https://api.kamiyo.ai", "api.kamiyo.ai", "/.well-known/x402"))
    assert listed.offers == () and "not sold itself" in listed.passed_over[0]
    found = X402().read(reply, ask())  # where a page itself asks so
    assert [(each.asset.eip712, each.lifetime) for each in found.offers] == [(("USD Coin", "2"), 300)] * 2


def test_the_documented_shape_is_known_and_not_paid():
    found = read(golden("documented"))
    assert found.offers == () and "readme" in found.passed_over[0]


@pytest.mark.parametrize(("change", "words"), [
    ({"amount_usdc": "1e400"}, "P4"), ({"amount_usdc": -1}, "P4"), ({"amount_usdc": None}, "P4"), ({"amount_usdc": [1]}, "P4"),
    ({"payment_methods": [{"type": "onchain", "payment_addresses": {}}]}, "R2"),
    ({"payment_methods": [{"type": "onchain", "payment_addresses": "0x"}]}, "R2"),
])  # fmt: skip
def test_what_cannot_be_read_is_broken(change, words):
    with pytest.raises(ChallengeInvalid, match=words):
        read(golden("native", **change))


@pytest.mark.parametrize(("addresses", "words"), [
    ({"base": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C\n"}, "R2"), ({"base": 7}, "R2"), ({"polygon": MERCHANT}, "no such chain"),
    ({"\x1b[31mbase": MERCHANT}, "x1b"), ({"bsc": MERCHANT}, "supported_chains"),
])  # fmt: skip
def test_a_chain_that_is_not_paid_says_why(addresses, words):
    methods = [{"type": "onchain", "supported_chains": [name for name in addresses if name != "bsc"], "payment_addresses": addresses}]
    found = read(golden("native", payment_methods=methods))
    assert found.offers == () and words in found.passed_over[0] and found.passed_over[0].isprintable()


@pytest.mark.parametrize("address", [MERCHANT, "7x7x", "11111111111111111111111111111111", "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"])
def test_what_is_no_address_of_solana_is_refused_by_its_chain(address):
    """Published servers carry their merchant of EVM there, or a placeholder; programs and the mint are nobody's accounts."""
    methods = [{"type": "onchain", "supported_chains": ["solana"], "payment_addresses": {"solana": address}}]
    offers = read(golden("native", payment_methods=methods)).offers
    assert offers and all(Solana().refuses(each, "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd") for each in offers)


@pytest.mark.parametrize("body", [
    b"", b"[]", b"{}", b'{"payment_required": false, "payment_options": []}', b'{"payment_required": true}',
    b'{"payment_required": true, "payment_options": {}}', b'{"payment_required": 1, "payment_methods": []}',
])  # fmt: skip
def test_what_is_not_its_own_is_left_to_others(body):
    assert read(body) is None


def test_a_body_that_is_cut_off_or_names_a_key_twice_is_broken():
    text = json.dumps(golden("gateway")).encode()
    for body in (text[:-1], text.replace(b'"amount_usdc"', b'"endpoint": 1, "amount_usdc"', 1)):
        with pytest.raises(ChallengeInvalid):
            Kamiyo().read(Reply(402, Headers(), body), ask())


def test_a_v2_header_decides_alone():
    body = json.dumps(golden("gateway")).encode()
    assert Kamiyo().read(Reply(402, Headers(payment_required="e30="), body), ask()) is None


def test_many_options_and_chains_are_bounded():
    many = [{"type": "onchain", "payment_addresses": {f"c{n}": MERCHANT for n in range(40)}}] * 20
    assert len(read(golden("native", payment_methods=many)).passed_over) <= 8 * 16


def test_an_escrow_of_x402resolve_is_recognised_and_nobody_elses():
    lines = {"www_authenticate": 'Solana realm="api"', "x_escrow_address": "Required", "x_price": "0.001 SOL", "x_program_id": "AFmBBw7kbrnwhhzYadAMCMh4BBBZcZdS3P7Z6vpsqsSR"}
    body = json.dumps({"error": "Payment Required", "amount": 0.001, "currency": "SOL", "escrow_program": "AFmB"}).encode()
    reply = Reply(402, Headers(**lines), body)
    readers = [each.name for each in builtin() if each.read(reply, ask()) is not None]
    assert readers == ["x402resolve"] and Escrow().read(reply, ask()).untouched
    assert Escrow().read(Reply(402, Headers(x_escrow_address="Required"), body), ask()) is None


def test_the_escrows_402_comes_back_untouched(payer, seller):
    lines = {"x_escrow_address": "Required", "x_program_id": "AFmB"}
    seller.serves("/x", seller.answer(402, b'{"error": "Payment Required"}', **lines))
    with payer.client() as http:
        reply = http.get(seller.url("/x"))
    assert reply.status_code == 402 and reply.json() == {"error": "Payment Required"} and "payment" not in reply.extensions
    assert not payer.quote(seller.url("/x")).understood
