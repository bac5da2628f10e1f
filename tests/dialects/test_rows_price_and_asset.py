"""money-safety 1.1, 1.2 and 1.4 as far as reading can meet them: a test per row, its id first."""

from __future__ import annotations

import json

import pytest

from x402_agent.errors import ChallengeInvalid

HUGE = 1 << 256

BROKEN_AMOUNTS = [
    pytest.param(str(HUGE), "P2", id="P2-two-to-the-256"),
    pytest.param(str(HUGE + 10000), "P2", id="P2-wraps-to-10000"),
    pytest.param(HUGE, "P2", id="P2-as-a-number"),
    pytest.param("-1", "P3", id="P3-negative-text"),
    pytest.param(-1, "P3", id="P3-negative-number"),
    pytest.param("0.01", "P4", id="P4-decimal-text"),
    pytest.param(10000.0, "P4", id="P4-float"),
    pytest.param(0.01, "P4", id="P4-small-float"),
    pytest.param(True, "P4", id="P4-boolean"),
    pytest.param(["10000"], "P4", id="P4-array"),
    pytest.param("1e4", "P5", id="P5-exponent"),
    pytest.param("0x2710", "P5", id="P5-hex"),
    pytest.param("10_000", "P5", id="P5-underscore"),
    pytest.param(" +10000 ", "P5", id="P5-spaces-and-sign"),
    pytest.param("+10000", "P5", id="P5-sign"),
    pytest.param("10000\n", "P5", id="P5-newline"),
    pytest.param("１００００", "P6", id="P6-full-width"),
    pytest.param("١٠٠٠٠", "P6", id="P6-arabic"),
    pytest.param("9" * 79, "P7", id="P7-79-digits"),
    pytest.param("1" * 5000, "P7", id="P7-5000-digits"),
    pytest.param("", "P8", id="P8-empty"),
    pytest.param(None, "P8", id="P8-null"),
    pytest.param(..., "P8", id="P8-missing"),
    pytest.param("0", "P8", id="P8-zero-text"),
    pytest.param("000", "P8", id="P8-zeros"),
    pytest.param(0, "P8", id="P8-zero-number"),
]


@pytest.mark.parametrize(("value", "row"), BROKEN_AMOUNTS)
def test_amount_refused_in_v2(value, row, dialect, ask, v2, entry2, in_header):
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(v2(accepts=[entry2(amount=value)])), ask)
    assert caught.value.rule.endswith(f"({row})")


@pytest.mark.parametrize(("value", "row"), BROKEN_AMOUNTS)
def test_amount_refused_in_v1(value, row, dialect, ask, v1, entry1, in_body):
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_body(v1(accepts=[entry1(maxAmountRequired=value)])), ask)
    assert caught.value.rule.endswith(f"({row})")


def test_P7_a_json_number_of_5000_digits_is_refused_before_int(dialect, ask, v2, in_header):
    text = json.dumps(v2()).replace('"10000"', "1" * 5000)
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(text), ask)
    assert "P7" in caught.value.rule


@pytest.mark.parametrize("value", ["10000", 10000, "0010000"], ids=["text", "number", "leading-zeros"])
def test_honest_amounts_are_read(value, dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(amount=value)])), ask).offers
    assert offer.amount == 10000
    assert type(offer.amount) is int


def test_P2_the_largest_uint256_is_an_amount(dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(amount=str(HUGE - 1))])), ask).offers
    assert offer.amount == HUGE - 1


def test_P9_the_description_sets_no_price(dialect, ask, v2, entry2, in_header):
    document = v2(accepts=[entry2(amount="900000")], resource={"url": ask.url, "description": "only 0.01 USDC"})
    (offer,) = dialect.read(in_header(document), ask).offers
    assert offer.amount == 900000


def test_P10_decimals_come_from_the_table(dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(extra={"decimals": 18})])), ask).offers
    assert offer.asset.decimals == 6
    assert offer.money.micros == 10000


def test_P11_v1_judges_by_its_own_field(dialect, ask, v1, entry1, in_body):
    (offer,) = dialect.read(in_body(v1(accepts=[entry1(amount="1")])), ask).offers
    assert offer.amount == 10000


def test_P11_v2_judges_by_its_own_field(dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(maxAmountRequired="1")])), ask).offers
    assert offer.amount == 10000


def test_P11_the_other_version_s_field_alone_is_no_amount(dialect, ask, v2, entry2, in_header):
    with pytest.raises(ChallengeInvalid):
        dialect.read(in_header(v2(accepts=[entry2(amount=..., maxAmountRequired="1")])), ask)


@pytest.mark.parametrize(
    "where", ['"amount": "10000"', '"x402Version": 2', '"name": "USDC"'], ids=["entry", "top", "extra"]
)
def test_P12_duplicate_keys_are_refused(where, dialect, ask, v2, in_header):
    text = json.dumps(v2())
    assert where in text
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(text.replace(where, f"{where}, {where}")), ask)
    assert "P12" in caught.value.rule


def test_P12_escaped_spelling_of_a_key_is_the_same_key(dialect, ask, v2, in_header):
    text = json.dumps(v2()).replace('"amount": "10000"', '"amount": "10000", "\\u0061mount": "1"')
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(text), ask)
    assert "P12" in caught.value.rule


USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
NOT_OURS = [
    pytest.param({"asset": "0x" + "12" * 20}, "A1", id="A1-a-token-that-calls-itself-USDC"),
    pytest.param({"asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7f"}, "A1", id="A2-one-digit-off"),
    pytest.param({"asset": USDC + "00"}, "A1", id="A2-suffixed"),
    pytest.param({"asset": USDC + " "}, "A1", id="A2-trailing-space"),
    pytest.param({"network": "eip155:8453"}, "A1", id="A4-testnet-token-on-mainnet"),
    pytest.param({"asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"}, "A1", id="A4-mainnet-token-on-testnet"),
    pytest.param({"network": "eip155:084532"}, "A5", id="A5-leading-zero"),
    pytest.param({"network": "eip155:84532 "}, "A5", id="A5-trailing-space"),
    pytest.param({"network": "base-sepolia-2"}, "A5", id="A5-near-name"),
    pytest.param({"network": "EIP155:84532"}, "A5", id="A5-upper-case"),
    pytest.param({"network": "84532"}, "A5", id="A5-bare-number"),
    pytest.param({"network": "tvm:-239"}, "A5", id="A5-another-chain"),
    pytest.param({"asset": "0x" + "0" * 40}, "A1", id="A6-zero-address"),
    pytest.param({"asset": "0x" + "e" * 40}, "A1", id="A6-native-placeholder"),
    pytest.param({"asset": "ETH"}, "A6", id="A6-native-coin"),
    pytest.param({"scheme": "batch-settlement"}, "A7", id="A7-another-scheme"),
    pytest.param({"scheme": "Exact"}, "A7", id="A7-other-case"),
    pytest.param({"scheme": "direct-transfer"}, "A7", id="W9-send-on-chain"),
    pytest.param(
        {"network": "eip155:8453", "asset": "0xd9aAEc86B65D86f6A7B5B1b0c42FFA531710b6CA"}, "A1", id="A12-USDbC"
    ),
    pytest.param(
        {"network": "eip155:137", "asset": "0x2791Bca1f2de4661ED88A30C99A7a9449Aa84174"}, "A1", id="A12-USDC.e"
    ),
    pytest.param({"extra": {"assetTransferMethod": "erc7710"}}, "A7", id="A7-another-method"),
    pytest.param({"extra": {"assetTransferMethod": "default"}}, "A7", id="A7-never-on-the-wire"),
    pytest.param({"extra": {"assetTransferMethod": "Permit2"}}, "A7", id="A7-method-in-other-case"),
    pytest.param({"extra": {"assetTransferMethod": 7}}, "A7", id="A7-odd-method"),
    pytest.param({"extra": {"assetTransferMethod": ["permit2"]}}, "A7", id="A7-method-in-an-array"),
    pytest.param({"scheme": "upto", "extra": {"assetTransferMethod": "eip3009"}}, "A7", id="A7-upto-by-eip3009"),
    pytest.param({"extra": {"paymentFlow": "later"}}, "paymentFlow", id="unknown-flow"),
    pytest.param({"extra": {"paymentFlow": {}}}, "paymentFlow", id="odd-flow"),
]


@pytest.mark.parametrize(("change", "row"), NOT_OURS)
def test_what_we_do_not_pay_is_passed_over_with_its_reason(change, row, dialect, ask, v2, entry2, in_header):
    challenge = dialect.read(in_header(v2(accepts=[entry2(**change)])), ask)
    assert challenge.offers == ()
    (line,) = challenge.passed_over
    assert line.startswith("accepts[0]: ")
    assert row in line


@pytest.mark.parametrize(
    ("change", "row"),
    [
        pytest.param({"asset": USDC.replace("0x", "0х")}, "A2", id="A2-cyrillic-x"),
        pytest.param({"asset": None}, "A2", id="A2-null"),
        pytest.param({"asset": [USDC]}, "A2", id="A2-array"),
        pytest.param({"asset": ""}, "A2", id="A2-empty"),
        pytest.param({"network": None}, "A5", id="A5-null"),
        pytest.param({"network": 84532}, "A5", id="A5-number"),
        pytest.param({"network": "base\nsepolia"}, "A5", id="A5-newline"),
        pytest.param({"scheme": None}, "A7", id="A7-null"),
        pytest.param({"scheme": {}}, "A7", id="A7-object"),
        pytest.param({"payTo": None}, "R2", id="R2-null"),
        pytest.param({"payTo": ""}, "R2", id="R2-empty"),
        pytest.param({"payTo": "0x" + "a" * 400}, "R2", id="R2-too-long"),
        pytest.param({"payTo": "0x20\u202e9693"}, "R2", id="R2-bidi"),
        pytest.param({"payTo": 7}, "R2", id="R2-number"),
        pytest.param({"maxTimeoutSeconds": -1}, "D6", id="D6-negative"),
        pytest.param({"maxTimeoutSeconds": 0}, "D6", id="D6-zero"),
        pytest.param({"maxTimeoutSeconds": "60"}, "D6", id="D6-text"),
        pytest.param({"maxTimeoutSeconds": 60.0}, "D6", id="D6-float"),
        pytest.param({"maxTimeoutSeconds": True}, "D6", id="D6-boolean"),
        pytest.param({"maxTimeoutSeconds": None}, "D6", id="D6-null"),
        pytest.param({"maxTimeoutSeconds": ...}, "D6", id="D6-missing"),
        pytest.param({"maxTimeoutSeconds": 1 << 70}, "D5", id="D5-two-to-the-70"),
        pytest.param({"extra": "USDC"}, "W4", id="W4-extra-is-text"),
        pytest.param({"extra": []}, "W4", id="W4-extra-is-an-array"),
    ],
)
def test_a_broken_entry_alone_is_a_broken_challenge(change, row, dialect, ask, v2, entry2, in_header):
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(v2(accepts=[entry2(**change)])), ask)
    assert caught.value.rule.startswith("accepts[0]: ")
    assert f"({row})" in caught.value.rule


def test_A9_a_poisoned_first_entry_does_not_hide_the_honest_second(dialect, ask, v2, entry2, in_header):
    document = v2(accepts=[entry2(asset="0x" + "12" * 20), entry2(amount="1e4"), entry2(amount="20000")])
    challenge = dialect.read(in_header(document), ask)
    assert [offer.amount for offer in challenge.offers] == [20000]
    assert [line.partition(":")[0] for line in challenge.passed_over] == ["accepts[0]", "accepts[1]"]
    assert challenge.passed_over[1] == "accepts[1]: amount '1e4' is not digits (P5)"


@pytest.mark.parametrize("name", ["eip155:84532", "base-sepolia"], ids=["caip-2", "legacy"])
def test_A14_both_spellings_of_a_network_in_v1(name, dialect, ask, v1, entry1, in_body):
    (offer,) = dialect.read(in_body(v1(accepts=[entry1(network=name)])), ask).offers
    assert offer.network.id == "eip155:84532"
    assert offer.wire[1] == name


@pytest.mark.parametrize("name", ["eip155:84532", "base-sepolia"], ids=["caip-2", "legacy"])
def test_A14_both_spellings_of_a_network_in_v2(name, dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(network=name)])), ask).offers
    assert offer.network.id == "eip155:84532"
    assert offer.wire[1] == name


def test_R5_the_v2_header_wins_over_a_v1_body(dialect, ask, v1, v2, entry1, b64, with_headers):
    other = v1(accepts=[entry1(payTo="0x" + "99" * 20, maxAmountRequired="1")])
    reply = with_headers(("PAYMENT-REQUIRED", b64(v2())), raw=json.dumps(other).encode())
    (offer,) = dialect.read(reply, ask).offers
    assert offer.pay_to == "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
    assert offer.wire[0] == "2"


def test_R6_what_is_bought_is_the_url_asked_and_the_other_host_is_named(dialect, ask, v2, in_header):
    document = v2(resource={"url": "https://evil.example/take", "description": "Weather"})
    (offer,) = dialect.read(in_header(document), ask).offers
    assert offer.resource == ask.url
    assert offer.description == "Weather (the seller names another host: evil.example)"


def test_R6_in_v1(dialect, ask, v1, entry1, in_body):
    (offer,) = dialect.read(in_body(v1(accepts=[entry1(resource="http://evil.example/")])), ask).offers
    assert offer.resource == ask.url
    assert "evil.example" in offer.description


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com/other", "http://api.example.com:8080/weather", "/weather", "mcp://", "http://[", None, 7],
)
def test_R6_the_same_host_or_no_host_needs_no_note(url, dialect, ask, v2, in_header):
    (offer,) = dialect.read(in_header(v2(resource={"url": url, "description": "Weather"})), ask).offers
    assert offer.description == "Weather"


FACILITATOR = "0x857b06519E91e3A54538791bDbb0E22373e36b66"


@pytest.mark.parametrize("method", [None, "permit2"])
def test_upto_is_by_permit2_and_its_ceiling_is_the_price(method, dialect, ask, v2, entry2, in_header):
    extra = {"facilitatorAddress": FACILITATOR, "name": "USDC", "version": "2"}
    if method:
        extra["assetTransferMethod"] = method
    entry = entry2(scheme="upto", amount="50000", extra=extra)
    (offer,) = dialect.read(in_header(v2(accepts=[entry])), ask).offers
    assert (offer.scheme, offer.method, offer.facilitator) == ("upto", "permit2", FACILITATOR)
    assert offer.money.amount == 50_000


@pytest.mark.parametrize(
    "facilitator",
    [..., None, "", 7, "0x12", FACILITATOR[2:], FACILITATOR + "00", "fac.eth", FACILITATOR + "\n", [FACILITATOR]],
)
def test_R2_upto_without_an_address_to_settle_it_is_passed_over(facilitator, dialect, ask, v2, entry2, in_header):
    extra = {} if facilitator is ... else {"facilitatorAddress": facilitator}
    challenge = dialect.read(in_header(v2(accepts=[entry2(scheme="upto", extra=extra), entry2()])), ask)
    assert [offer.scheme for offer in challenge.offers] == ["exact"]
    (line,) = challenge.passed_over
    assert "facilitatorAddress" in line and "(R2)" in line


def test_D4_what_else_the_seller_says_about_permit2_is_not_read(dialect, ask, v2, entry2, in_header):
    evil = {"spender": "0x" + "66" * 20, "permit2": "0x" + "66" * 20, "permit2Address": "0x" + "66" * 20,
            "facilitatorAddress": FACILITATOR, "amount": "1", "nonce": "1", "deadline": "99999999999"}  # fmt: skip
    entry = entry2(extra={"assetTransferMethod": "permit2", **evil})
    (offer,) = dialect.read(in_header(v2(accepts=[entry])), ask).offers
    assert (offer.method, offer.facilitator, offer.amount) == ("permit2", "", 10_000)


@pytest.mark.parametrize("change", [{"extra": {"assetTransferMethod": "permit2"}}, {"scheme": "upto"}])
def test_version_1_has_neither_permit2_nor_upto(change, dialect, ask, v1, entry1, in_body):
    challenge = dialect.read(in_body(v1(accepts=[entry1(**change)])), ask)
    assert challenge.offers == () and "(A7)" in challenge.passed_over[0]
