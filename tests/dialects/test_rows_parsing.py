"""money-safety 1.7 and 1.8 as far as reading can meet them: a test per row, its id first."""

from __future__ import annotations

import base64
import gzip
import json
import time
import zlib

import pytest

from x402_agent.dialects import strict
from x402_agent.errors import ChallengeInvalid
from x402_agent.steps import MAX_BODY

NOT_A_DOCUMENT = [
    pytest.param("%%%not base64%%%", "W1", id="W1-junk-base64"),
    pytest.param("", "W1", id="W1-empty-header"),
    pytest.param("AAAA=BBB", "W1", id="W1-padding-inside"),
    pytest.param("eyJ4===", "W1", id="W1-too-much-padding"),
    pytest.param("eyJ4N", "W1", id="W1-impossible-length"),
    pytest.param("é" * 8, "W1", id="W1-not-ascii"),
    pytest.param(b"not json", "W1", id="W1-junk-json"),
    pytest.param(b'{"x402Version":2,', "W1", id="W1-cut-off"),
    pytest.param(b'{"x402Version":2} x', "W1", id="W1-something-after"),
    pytest.param(b'{"x402Version":2}{}', "W1", id="W1-two-documents"),
    pytest.param(b"{'x402Version':2}", "W1", id="W1-single-quotes"),
    pytest.param(b'{"x402Version":2,}', "W1", id="W1-trailing-comma"),
    pytest.param(b'{"x402Version" 2}', "W1", id="W1-no-colon"),
    pytest.param(b'{"accepts":[1 2]}', "W1", id="W1-no-comma-in-accepts"),
    pytest.param(b'{"accepts":[1,]}', "W1", id="W1-trailing-comma-in-accepts"),
    pytest.param(b'{"accepts":[', "W1", id="W1-cut-off-in-accepts"),
    pytest.param(b'{"a":"x\ny"}', "W1", id="W1-raw-newline-in-string"),
    pytest.param(b'{"x402Version":2,"e":"\xff"}', "W1", id="W1-junk-utf8"),
    pytest.param('{"x402Version":2}'.encode("utf-16"), "W1", id="W1-utf16"),
    pytest.param('{"x402Version":2}'.encode("utf-16-le"), "W1", id="W1-utf16-without-mark"),
    pytest.param(b'\xef\xbb\xbf{"x402Version":2}', "W1", id="W1-byte-order-mark"),
    pytest.param(b'{"x402Version":NaN}', "W2", id="W2-nan"),
    pytest.param(b'{"x402Version":2,"a":Infinity}', "W2", id="W2-infinity"),
    pytest.param(b'{"x402Version":2,"a":[-Infinity]}', "W2", id="W2-minus-infinity"),
    pytest.param(b'{"x402Version":2,"a":1e999}', "W2", id="W2-overflow"),
    pytest.param(b"[]", "W1", id="W3-array"),
    pytest.param(b"null", "W1", id="W3-null"),
    pytest.param(b'"x402Version"', "W1", id="W3-string"),
    pytest.param(b"{}", "W5", id="W5-empty-object"),
    pytest.param(b'{"accepts":[]}', "W5", id="W5-missing"),
    pytest.param(b'{"x402Version":99,"accepts":[{}]}', "W5", id="W5-99"),
    pytest.param(b'{"x402Version":0,"accepts":[{}]}', "W5", id="W5-zero"),
    pytest.param(b'{"x402Version":"2","accepts":[{}]}', "W5", id="W5-text"),
    pytest.param(b'{"x402Version":2.0,"accepts":[{}]}', "W5", id="W5-float"),
    pytest.param(b'{"x402Version":true,"accepts":[{}]}', "W5", id="W5-boolean"),
    pytest.param(b'{"x402Version":null,"accepts":[{}]}', "W5", id="W5-null"),
    pytest.param(b'{"x402Version":[2],"accepts":[{}]}', "W5", id="W5-array"),
    pytest.param(b'{"x402Version":2}', "W4", id="W4-no-accepts"),
    pytest.param(b'{"x402Version":2,"accepts":[]}', "W4", id="W4-empty"),
    pytest.param(b'{"x402Version":2,"accepts":null}', "W4", id="W4-null"),
    pytest.param(b'{"x402Version":2,"accepts":{"0":{}}}', "W4", id="W4-object"),
    pytest.param(b'{"x402Version":2,"accepts":"exact"}', "W4", id="W4-text"),
    pytest.param(b'{"x402Version":2,"accepts":[null,7,"x",[],[[]]]}', "W4", id="W4-all-junk"),
    pytest.param(b'{"x402Version":2,"e":"a\\u0000b"}', "W17", id="W17-nul"),
    pytest.param(b'{"x402Version":2,"e":"\\ud800"}', "W17", id="W17-lone-high"),
    pytest.param(b'{"x402Version":2,"e":["\\udc00\\ud800"]}', "W17", id="W17-wrong-order"),
    pytest.param(b'{"x402Version":2,"\\uD800":1}', "W17", id="W17-in-a-key"),
    pytest.param(b'{"x402Version":2,"a":' + b"[" * 32 + b"]" * 32 + b"}", "S5", id="S5-33-deep"),
    pytest.param(b'{"x402Version":2,"a":' + b"[" * 40000, "S5", id="S5-40000-open"),
    pytest.param(b'{"a":' * 9000, "S5", id="S5-objects"),
    pytest.param(b'{"a":"' + b"x" * MAX_BODY + b'"}', "S6", id="S6-one-long-string"),
    pytest.param(b'{"x402Version":2,"a":' + b"9" * 81 + b"}", "P7", id="P7-number-of-81-digits"),
]


@pytest.mark.parametrize(("document", "row"), NOT_A_DOCUMENT)
def test_a_broken_header_is_a_typed_error(document, row, dialect, ask, b64, with_headers):
    value = b64(document) if isinstance(document, bytes) else document
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(with_headers(("PAYMENT-REQUIRED", value), status=402), ask)
    assert f"({row})" in caught.value.rule


OURS_BY_BODY = [case for case in NOT_A_DOCUMENT if isinstance(case.values[0], bytes)]


@pytest.mark.parametrize(("document", "row"), OURS_BY_BODY)
def test_a_broken_body_is_a_typed_error_or_not_ours(document, row, dialect, ask, in_body):
    said_so = b'"x402Version"' in document.replace(b"\0", b"") and b"{" in document[:8]
    meant = said_so or document == b'{"accepts":[]}'
    if not meant:
        assert dialect.read(in_body(document), ask) is None
        return
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_body(document), ask)
    assert f"({row})" in caught.value.rule


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="W3-empty"),
        pytest.param(b"<html>Pay us</html>", id="W3-html"),
        pytest.param(b'<script>window.x402 = {"x402Version": 1}</script>', id="W3-html-paywall"),
        pytest.param(b'[{"x402Version":1,"accepts":[{}]}]', id="W3-array"),
        pytest.param(b'{"message":"Payment required"}', id="W3-other-json"),
        pytest.param(b"{}", id="W3-empty-object"),
        pytest.param(b'{"error":"L402","macaroon":"AGIAJEemVQUTEyNCR0exk7ek90Cg=="}', id="W8-another-rail"),
        pytest.param(b"[" * 60000, id="S5-open-brackets"),
    ],
)
def test_what_is_not_x402_is_left_alone(body, dialect, ask, in_body):
    assert dialect.read(in_body(body), ask) is None


def test_W4_junk_entries_are_skipped(dialect, ask, v2, entry2, in_header):
    challenge = dialect.read(in_header(v2(accepts=[None, 7, "x", [], {}, entry2(), True])), ask)
    assert len(challenge.offers) == 1
    assert [line.partition(":")[0] for line in challenge.passed_over] == [f"accepts[{i}]" for i in (0, 1, 2, 3, 4, 6)]


def test_W6_v1_in_the_v2_header(dialect, ask, v1, in_header):
    (offer,) = dialect.read(in_header(v1()), ask).offers
    assert offer.wire[0] == "1"
    assert offer.amount == 10000


def test_W6_v2_in_the_body(dialect, ask, v2, in_body):
    (offer,) = dialect.read(in_body(v2()), ask).offers
    assert offer.wire[0] == "2"


def test_W6_a_broken_header_is_not_mended_by_an_honest_body(dialect, ask, v1, with_headers):
    reply = with_headers(("PAYMENT-REQUIRED", "junk!"), status=402, raw=json.dumps(v1()).encode())
    with pytest.raises(ChallengeInvalid):
        dialect.read(reply, ask)


@pytest.mark.parametrize("shape", ["v1 with v2 entries", "v2 with v1 entries"])
def test_W6_mixed_shapes_are_refused(shape, dialect, ask, v1, v2, entry1, entry2, in_header):
    document = v1(accepts=[entry2()]) if shape.startswith("v1") else v2(accepts=[entry1()])
    with pytest.raises(ChallengeInvalid):
        dialect.read(in_header(document), ask)


def test_W7_two_headers(dialect, ask, v2, b64, with_headers):
    line = ("PAYMENT-REQUIRED", b64(v2()))
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(with_headers(line, line, status=402), ask)
    assert "W7" in caught.value.rule


def test_W8_an_L402_challenge_beside_ours_changes_nothing(dialect, ask, v2, b64, with_headers):
    l402 = ("WWW-Authenticate", 'L402 macaroon="AGIA", invoice="lnbc1"')
    challenge = dialect.read(with_headers(l402, ("PAYMENT-REQUIRED", b64(v2())), status=402), ask)
    assert len(challenge.offers) == 1


def test_W10_a_cut_body_that_was_ours_is_a_typed_error(dialect, ask, v1, in_body):
    text = json.dumps(v1())
    for end in (len(text) - 1, len(text) // 2, 40):
        with pytest.raises(ChallengeInvalid):
            dialect.read(in_body(text[:end]), ask)


def test_W12_control_and_bidi_characters_are_escaped(dialect, ask, v1, entry1, in_body):
    hostile = "\x1b[2Jsafe\r\nFake-Log: 1\u202e txt\u2066\u200f\u2028\x9b"
    (offer,) = dialect.read(in_body(v1(accepts=[entry1(description=hostile)])), ask).offers
    assert offer.description.isprintable()
    assert "safe" in offer.description
    assert "\\x1b[2J" in offer.description
    assert "\\u202e" in offer.description


def test_W12_escaped_in_errors_and_reasons(dialect, ask, v2, entry2, in_header):
    hostile = "\x1b[31m\u202e\r\n"
    challenge = dialect.read(in_header(v2(accepts=[entry2(), entry2(amount=hostile), entry2(network=hostile)])), ask)
    assert len(challenge.passed_over) == 2
    assert all(line.isprintable() for line in challenge.passed_over)
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(v2(x402Version=hostile)), ask)
    assert caught.value.what.isprintable()


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
def test_W13_only_402_is_a_402(status, dialect, ask, v2, in_header):
    assert dialect.read(in_header(v2(), status=status), ask) is None


def test_W14_unknown_fields_are_ignored(dialect, ask, v2, entry2, in_header):
    challenge = dialect.read(in_header(v2(accepts=[entry2(gift=[1, {"a": None}], nonce="0x01")], mood="good")), ask)
    assert len(challenge.offers) == 1


@pytest.mark.parametrize(
    "extension",
    [{"info": {"required": True}}, {"required": True, "info": {}}],
    ids=["in-info", "on-itself"],
)
def test_W15_a_required_extension_that_we_lack(extension, dialect, ask, v2, in_header):
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(v2(extensions={"operation-binding": extension})), ask)
    assert "W15" in caught.value.rule
    assert "operation-binding" in caught.value.what


@pytest.mark.parametrize(
    "extension",
    [{"info": {"required": False}}, {"info": {}}, {}, None, 7, {"info": None}, {"info": {"required": "true"}}],
)
def test_W15_optional_or_odd_extensions_are_only_echoed(extension, dialect, ask, v2, in_header):
    (offer,) = dialect.read(in_header(v2(extensions={"operation-binding": extension})), ask).offers
    assert json.loads(offer.wire[4]) == {"operation-binding": extension}


def test_W15_payment_identifier_may_be_required(dialect, ask, v2, in_header):
    challenge = dialect.read(in_header(v2(extensions={"payment-identifier": {"info": {"required": True}}})), ask)
    assert len(challenge.offers) == 1


@pytest.mark.parametrize("odd", [None, [], "x", 7, {}])
def test_extensions_that_are_none_are_not_echoed(odd, dialect, ask, v2, in_header):
    (offer,) = dialect.read(in_header(v2(extensions=odd)), ask).offers
    assert offer.wire[4] == ""


@pytest.mark.parametrize("name", ["payment-required", "PAYMENT-REQUIRED", "pAyMeNt-ReQuIrEd"])
def test_W16_header_names_in_any_case(name, dialect, ask, v2, b64, with_headers):
    assert dialect.read(with_headers((name, b64(v2())), status=402), ask).offers


def test_W17_text_outside_ascii_is_welcome(dialect, ask, v2, in_header):
    text = json.dumps(v2(resource={"url": ask.url, "description": "Wetter für Zürich \N{SNOWMAN} 😀"}))
    assert "\\ud83d\\ude00" in text
    (offer,) = dialect.read(in_header(text), ask).offers
    assert offer.description == "Wetter für Zürich \N{SNOWMAN} 😀"


def test_W17_an_escaped_backslash_before_u0000_is_no_nul(dialect, ask, v2, in_header):
    (offer,) = dialect.read(in_header(v2(resource={"url": ask.url, "description": "C:\\u0000"})), ask).offers
    assert offer.description == "C:\\u0000"


def test_S2_a_body_past_the_cap_that_says_it_is_ours(dialect, ask, v1, in_body):
    raw = json.dumps(v1()).encode() + b" " * MAX_BODY
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_body(raw[:MAX_BODY], complete=False), ask)
    assert "S2" in caught.value.rule


def test_S2_a_long_page_of_html_is_left_alone(dialect, ask, in_body):
    assert dialect.read(in_body(b"<html>" + b"x" * MAX_BODY, complete=False), ask) is None


def test_S3_the_body_is_not_even_read_beside_a_header(dialect, ask, v2, b64, with_headers):
    reply = with_headers(("PAYMENT-REQUIRED", b64(v2())), ("Content-Encoding", "br"), status=402, raw=b"\0" * 50)
    assert dialect.read(reply, ask).offers


def test_S3_a_gzip_bomb_in_the_body_signs_nothing(dialect, ask, in_body):
    bomb = gzip.compress(b'{"x402Version":1,' + b" " * 50_000_000)
    other = gzip.compress(b" " * 50_000_000)
    started = time.process_time()
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_body(bomb, (("Content-Encoding", "gzip"),)), ask)
    assert "S3" in caught.value.rule
    assert dialect.read(in_body(other, (("Content-Encoding", "gzip"),)), ask) is None
    assert time.process_time() - started < 4


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_honest_compressed_bodies_are_read_and_broken_ones_named(coding, dialect, ask, v1, in_body):
    squeeze = gzip.compress if coding == "gzip" else zlib.compress
    headers = (("Content-Encoding", coding),)
    assert dialect.read(in_body(squeeze(json.dumps(v1()).encode()), headers), ask).offers
    with pytest.raises(ChallengeInvalid):
        dialect.read(in_body(squeeze(json.dumps(v1(x402Version=9)).encode()), headers), ask)
    with pytest.raises(ChallengeInvalid):
        dialect.read(in_body(squeeze(json.dumps(v1()).encode()[:-9]), headers), ask)


def test_S5_32_levels_are_fine_and_brackets_in_strings_do_not_count(dialect, ask, v2, in_header):
    tree: object = "leaf"
    for _ in range(31):
        tree = [tree]
    text = '[{"\\' * 500 + "\\"
    challenge = dialect.read(in_header(v2(extensions={"x": {"tree": "[" * 900}}, deep=tree, art=text)), ask)
    assert len(challenge.offers) == 1


def test_S6_entries_past_the_32nd_are_counted_not_read(dialect, ask, v2, entry2, in_header):
    document = v2(accepts=[entry2(amount=str(n + 1)) for n in range(100)])
    challenge = dialect.read(in_header(document), ask)
    assert len(challenge.offers) == 32
    assert challenge.passed_over == ("68 more entries were not read (S6)",)


def test_S6_thirty_thousand_entries_take_bounded_time(dialect, ask, in_body):
    started = time.process_time()
    with pytest.raises(ChallengeInvalid):
        dialect.read(in_body('{"x402Version":1,"accepts":[' + ",".join(["0"] * 32000) + "]}"), ask)
    assert time.process_time() - started < 4


def test_S6_a_giant_entry_is_passed_over(dialect, ask, v2, entry2, in_header):
    challenge = dialect.read(in_header(v2(accepts=[entry2(extra={"note": "x" * 17000}), entry2()])), ask)
    assert len(challenge.offers) == 1
    assert "(S6)" in challenge.passed_over[0]


def test_S7_large_extensions_are_not_echoed_and_not_needed(dialect, ask, v2, in_header):
    (offer,) = dialect.read(in_header(v2(extensions={"bazaar": {"info": {"x": "y" * 9000}}})), ask).offers
    assert offer.wire[4] == ""


def test_S7_a_required_identifier_inside_large_extensions_cannot_be_honoured(dialect, ask, v2, in_header):
    large = {"bazaar": {"info": {"x": "y" * 9000}}, "payment-identifier": {"info": {"required": True}}}
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(v2(extensions=large)), ask)
    assert "W15" in caught.value.rule


def test_S7_a_large_resource_is_not_echoed(dialect, ask, v2, in_header):
    (offer,) = dialect.read(in_header(v2(resource={"url": ask.url, "description": "z" * 9000})), ask).offers
    assert offer.wire[3] == ""
    assert len(offer.description) < 300


def test_S9_quotes_and_backslashes_cost_linear_time(dialect, ask, in_body):
    for piece in (b'\\"', b'"', b"\\", b'"[', b'\\\\"'):
        started = time.process_time()
        dialect.read(in_body(b"[" * 33 + piece * (60000 // len(piece))), ask)
        assert time.process_time() - started < 2


def test_S5_a_string_that_ends_in_a_backslash_hides_nothing(dialect, ask, v2, in_header):
    assert dialect.read(in_header(v2(a="\\", b="[" * 40)), ask).offers
    deep: object = "\\"
    for _ in range(40):
        deep = ["\\", deep, '\\"']
    with pytest.raises(ChallengeInvalid) as caught:
        dialect.read(in_header(v2(a="\\", b=deep)), ask)
    assert "S5" in caught.value.rule


@pytest.mark.parametrize("harmless", [None, {}, ...], ids=["null", "empty", "missing"])
def test_extra_may_be_absent(harmless, dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(extra=harmless)])), ask).offers
    assert offer.flow == "authorization"


@pytest.mark.parametrize("flow", ["authorization", "upfront", "escrow"])
def test_payment_flows_are_carried(flow, dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(extra={"paymentFlow": flow})])), ask).offers
    assert offer.flow == flow


@pytest.mark.parametrize("form", ["padded", "unpadded", "url-safe", "url-safe unpadded"])
def test_base64_in_every_common_form(form, dialect, ask, v2, with_headers):
    data = json.dumps(v2(error="???>>>~~~")).encode()
    encode = base64.urlsafe_b64encode if form.startswith("url") else base64.b64encode
    value = encode(data).decode()
    value = value.rstrip("=") if form.endswith("unpadded") else value
    assert dialect.read(with_headers(("PAYMENT-REQUIRED", value), status=402), ask).offers


@pytest.mark.parametrize("seconds", [1, 60, 3600, 315_360_000, (1 << 63) - 1])
def test_D5_any_positive_lifetime_is_read_and_left_to_the_chain(seconds, dialect, ask, v2, entry2, in_header):
    (offer,) = dialect.read(in_header(v2(accepts=[entry2(maxTimeoutSeconds=seconds)])), ask).offers
    assert offer.lifetime == seconds


@pytest.mark.parametrize(("text", "fine"), [("e30", True), ("e30=", True), ("e30==", True), ("e30===", False)])
def test_W1_at_most_two_signs_of_padding(text, fine):
    if fine:
        assert strict.decode64(text) == b"{}"
        return
    with pytest.raises(ChallengeInvalid, match="not base64"):
        strict.decode64(text)
