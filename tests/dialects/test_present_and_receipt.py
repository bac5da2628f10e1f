"""What goes back to the seller, byte for byte, and what we take from a receipt."""

from __future__ import annotations

import base64
import json

import pytest

from x402_agent.model import Claim, Hold, Proof, Terms

PAYLOAD = {"signature": "0x" + "ab" * 65, "authorization": {"from": "0x" + "1" * 40, "value": "10000"}}


@pytest.fixture
def present(dialect, ask):
    """The headers for the first offer of a reply, through the generator."""

    def run(reply, identifier=""):
        (offer, *_) = dialect.read(reply, ask).offers
        terms = Terms("0x" + "1" * 40, "0x" + "2" * 64, 1, 2)
        steps = dialect.present(Hold("p1", ask, offer, terms, identifier=identifier), Proof(PAYLOAD, "0x", "0x", 2))
        with pytest.raises(StopIteration) as done:
            next(steps)
        return done.value.value

    return run


def _text(presented, name):
    (only,) = presented.headers
    assert only == name
    return base64.b64decode(presented.headers[name], validate=True).decode()


ODD_ENTRY = (
    '{ "scheme" : "exact","network":"eip155:84532", "amount":\t10000 ,'
    '"asset":"0x036cbd53842c5426634e7929541ec2318f3dcf7e",'
    '"payTo":"0x209693bc6afc0c5328ba36faf03c514ef312287c","maxTimeoutSeconds":60,\n"extra":{"name":"USD\\u20ae0",'
    '"ratio":1.50,"big":1E2,"\\u00e9":"é","none":null}}'
)


def test_v2_echoes_accepted_and_resource_byte_for_byte(present, in_header):
    resource = '{"url" : "https:\\/\\/api.example.com\\/weather", "tags":[ "a" ] }'
    text = _text(
        present(in_header(f'{{"x402Version":2,"resource": {resource} ,"accepts":[ {ODD_ENTRY} , 7]}}')),
        "PAYMENT-SIGNATURE",
    )
    assert f'"accepted":{ODD_ENTRY},' in text
    assert f'"resource":{resource},' in text
    assert json.loads(text)["payload"] == PAYLOAD
    assert list(json.loads(text)) == ["x402Version", "resource", "accepted", "payload"]


def test_the_entry_echoed_is_the_one_chosen(dialect, ask, v2, entry2, in_header):
    document = v2(accepts=[entry2(amount="30000"), entry2(amount="1e4"), entry2(amount="20000")])
    offers = dialect.read(in_header(document), ask).offers
    assert [json.loads(offer.wire[2])["amount"] for offer in offers] == ["30000", "20000"]
    assert [offer.amount for offer in offers] == [30000, 20000]


@pytest.mark.parametrize("resource", [None, ..., [], "https://api.example.com/"])
def test_a_resource_that_is_no_object_is_not_echoed(resource, present, v2, in_header):
    assert "resource" not in json.loads(_text(present(in_header(v2(resource=resource))), "PAYMENT-SIGNATURE"))


@pytest.mark.parametrize("name", ["eip155:84532", "base-sepolia"])
def test_v1_names_the_network_as_advertised(name, present, v1, entry1, in_body):
    text = _text(present(in_body(v1(accepts=[entry1(network=name)]))), "X-PAYMENT")
    assert text == json.dumps(
        {"x402Version": 1, "scheme": "exact", "network": name, "payload": PAYLOAD}, separators=(",", ":")
    )


def test_v2_in_the_body_is_answered_in_v2(present, v2, in_body):
    assert json.loads(_text(present(in_body(v2())), "PAYMENT-SIGNATURE"))["x402Version"] == 2


def test_the_same_hold_and_proof_give_the_same_bytes(present, v2, in_header):
    document = v2(extensions={"payment-identifier": {"info": {"required": False}}})
    once, again = (present(in_header(document), identifier="i" * 32).headers for _ in range(2))
    assert once == again


def test_extensions_are_echoed_word_for_word(present, in_header, v2):
    raw = '{ "bazaar": {"info":{"n":1.50}}, "sign-in-with-x":{"info":{"nonce":"q"}}}'
    document = json.dumps(v2()).replace('"accepts"', f'"extensions": {raw}, "accepts"')
    assert f'"extensions":{raw}}}' in _text(present(in_header(document), identifier="i" * 32), "PAYMENT-SIGNATURE")


def test_the_payment_identifier_is_added_only_where_advertised(present, v2, in_header):
    advertised = {
        "payment-identifier": {"info": {"required": True}, "schema": {"type": "object"}},
        "bazaar": {"info": {"a": 1}},
    }
    text = _text(present(in_header(v2(extensions=advertised)), identifier="pay_0123456789abcdef"), "PAYMENT-SIGNATURE")
    sent = json.loads(text)["extensions"]
    assert sent["payment-identifier"]["info"] == {"required": True, "id": "pay_0123456789abcdef"}
    sent["payment-identifier"]["info"].pop("id")
    assert sent == advertised
    assert "extensions" not in json.loads(
        _text(present(in_header(v2()), identifier="pay_0123456789abcdef"), "PAYMENT-SIGNATURE")
    )


@pytest.mark.parametrize("odd", [None, [], {}, {"info": None}, {"info": []}])
def test_an_odd_payment_identifier_is_left_as_it_is(odd, present, v2, in_header):
    text = _text(
        present(in_header(v2(extensions={"payment-identifier": odd})), identifier="i" * 32), "PAYMENT-SIGNATURE"
    )
    assert json.loads(text)["extensions"] == {"payment-identifier": odd}


def test_no_repr_shows_the_payment(present, v2, in_header):
    presented = present(in_header(v2()))
    assert repr(presented) == "Presented(PAYMENT-SIGNATURE)"


SETTLED = {"success": True, "transaction": "0x" + "89" * 32, "network": "eip155:84532", "payer": "0x" + "1" * 40}


@pytest.fixture
def claim(dialect, ask, v2, in_header, with_headers):
    """The claim in an answer with these headers."""
    (offer,) = dialect.read(in_header(v2()), ask).offers
    return lambda *lines: dialect.receipt(with_headers(*lines), offer)


@pytest.mark.parametrize("name", ["PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE", "payment-response"])
def test_a_receipt_is_read(name, claim, b64):
    assert claim((name, b64(SETTLED))) == Claim(True, SETTLED["transaction"], SETTLED)


def test_a_refusal_is_read(claim, b64):
    fields = {"success": False, "errorReason": "insufficient_funds", "transaction": "", "network": "base-sepolia"}
    assert claim(("X-PAYMENT-RESPONSE", b64(fields))) == Claim(False, "", fields)


@pytest.mark.parametrize("odd", ["true", 1, None, [], ...])
def test_success_is_a_boolean_or_unknown(odd, claim, b64):
    fields = {**SETTLED, "success": odd}
    if odd is ...:
        del fields["success"]
    assert claim(("PAYMENT-RESPONSE", b64(fields))).success is None


@pytest.mark.parametrize("odd", [None, 7, ["0x"], "0x\x1b[2J", "0x 12", "é", "x" * 129, "tx\u202e"])
def test_a_transaction_that_is_no_short_token_is_dropped(odd, claim, b64):
    read = claim(("PAYMENT-RESPONSE", b64({**SETTLED, "transaction": odd})))
    assert read.transaction == ""
    assert read.success is True


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="empty"),
        pytest.param("junk!", id="junk"),
        pytest.param("é", id="not-ascii"),
        pytest.param(base64.b64encode(b"[1]").decode(), id="array"),
        pytest.param(base64.b64encode(b'{"a":' + b"[" * 3000).decode(), id="S5-deep"),
        pytest.param(base64.b64encode(b'{"success":true,"success":false}').decode(), id="duplicate"),
        pytest.param(base64.b64encode(json.dumps({**SETTLED, "extra": "x" * 45000}).encode()).decode(), id="S7-60-kB"),
        pytest.param("A" * 5_000_000, id="S6-5-MB"),
    ],
)
def test_a_receipt_that_cannot_be_read_is_an_empty_claim(value, claim):
    assert claim(("PAYMENT-RESPONSE", value)) == Claim()


def test_no_receipt_or_two_is_an_empty_claim(claim, b64):
    line = ("PAYMENT-RESPONSE", b64(SETTLED))
    assert claim() == Claim()
    assert claim(line, line) == Claim()
