"""Any bytes: a typed error, nothing, or a Challenge; in bounded time; under any recursion limit."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import textwrap
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from x402_agent.dialects import strict
from x402_agent.dialects.x402 import X402
from x402_agent.errors import ChallengeInvalid
from x402_agent.model import Ask, Challenge
from x402_agent.secret import plain
from x402_agent.steps import Reply

ASK = Ask("GET", "https://api.example.com/", "https://api.example.com", "api.example.com", "/")
HONEST = (
    b'{"x402Version":2,"error":"pay","resource":{"url":"https://api.example.com/"},"accepts":[{'
    b'"scheme":"exact","network":'
    b'"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":'
    b'"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}],'
    b'"extensions":{"payment-identifier":{"info":{"required":false},"schema":{}}}}'
)
CHEAP = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Headers:
    def __init__(self, **lines: str) -> None:
        self.lines = lines

    def get_list(self, key: str, /) -> list[str]:
        value = self.lines.get(key.replace("-", "_"))
        return [] if value is None else [value]


def read_everywhere(data: bytes) -> list[Challenge]:
    """The document as a header and as a body; nothing but ChallengeInvalid may come out."""
    made = []
    header = base64.b64encode(data).decode()
    for reply in (Reply(402, Headers(payment_required=header)), Reply(402, Headers(), data)):
        started = time.process_time()
        try:
            challenge = X402().read(reply, ASK)
        except ChallengeInvalid as refused:
            assert refused.rule
            assert str(refused.what).isprintable()
            assert refused.rule.isprintable()
        else:
            assert challenge is None or challenge.dialect == "x402"
            made += [challenge] if challenge else []
        assert time.process_time() - started < 4
    X402().receipt(Reply(200, Headers(payment_response=header)), None)  # type: ignore[arg-type]
    return made


def sane(challenge: Challenge) -> None:
    for offer in challenge.offers:
        assert type(offer.amount) is int
        assert 0 < offer.amount < 1 << 256
        assert offer.resource == ASK.url
        assert offer.description.isprintable()
        assert len(offer.pay_to) <= 128
        assert json.loads(offer.wire[2])["payTo"] == offer.pay_to
    assert all(line.isprintable() for line in challenge.passed_over)


@CHEAP
@given(st.binary(max_size=400))
@example(b"")
@example(b"\xef\xbb\xbf{}")
def test_any_bytes(data):
    for challenge in read_everywhere(data):
        sane(challenge)


@CHEAP
@given(st.text(max_size=200))
def test_any_header_text(text):
    try:
        X402().read(Reply(402, Headers(payment_required=text)), ASK)
    except ChallengeInvalid:
        return


@CHEAP
@given(
    st.lists(
        st.tuples(st.integers(0, len(HONEST)), st.integers(0, 6), st.binary(max_size=6) | st.sampled_from([
            b"\\u0000", b"\\ud800", b"[", b"]", b"{", b'"', b"\\", b",", b"null", b"NaN", b"1e999", b"-",
            b"\xe2\x80\xae",
        ])),
        min_size=1,
        max_size=4,
    )
)  # fmt: skip
def test_mutated_documents(cuts):
    data = HONEST
    for at, length, put in cuts:
        data = data[:at] + put + data[at + length :]
    for challenge in read_everywhere(data):
        sane(challenge)


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["10000", "exact"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@CHEAP
@given(
    st.dictionaries(st.sampled_from(["x402Version", "resource", "accepts", "extensions", "error"]), _json, max_size=3),
    st.dictionaries(
        st.sampled_from(["scheme", "network", "amount", "asset", "payTo", "maxTimeoutSeconds", "extra"]),
        _json,
        max_size=3,
    ),
)
def test_any_value_in_any_field(top, entry):
    document = json.loads(HONEST)
    document["accepts"][0].update(entry)
    document.update(top)
    for challenge in read_everywhere(json.dumps(document).encode()):
        sane(challenge)


@CHEAP
@given(_json, st.sampled_from(["", " ", "\n\t "]))
def test_what_is_kept_raw_is_what_was_parsed(value, gap):
    text = gap + '{"a":' + gap + json.dumps(value) + gap + ',"rows":[' + gap + json.dumps(value) + gap + ",1]}" + gap
    try:
        found = strict.parse(text.encode(), "rows")
    except ChallengeInvalid:
        return
    assert found.fields == json.loads(text)
    assert json.loads(found.raw["a"]) == value
    assert [json.loads(row) for row in found.rows] == found.fields["rows"]
    assert found.raw["a"] == found.rows[0] == json.dumps(value)


@CHEAP
@given(st.text(max_size=300), st.integers(1, 80))
def test_plain_is_printable_and_short(text, limit):
    made = plain(text, limit)
    assert made.isprintable()
    assert len(made) <= limit * 10 + 1
    made.encode()


@CHEAP
@given(st.binary(max_size=200), st.booleans(), st.booleans())
def test_base64_round_trip(data, safe, padded):
    text = (base64.urlsafe_b64encode if safe else base64.b64encode)(data).decode()
    assert strict.decode64(text if padded else text.rstrip("=")) == data


def test_base64_is_capped():
    with pytest.raises(ChallengeInvalid) as caught:
        strict.decode64("A" * 100_000)
    assert "S6" in caught.value.rule


def test_documents_are_capped():
    assert strict.parse(b'{"a":1}' + b" " * (strict.MAX_BYTES - 7)).fields == {"a": 1}
    with pytest.raises(ChallengeInvalid) as caught:
        strict.parse(b'{"a":1}' + b" " * (strict.MAX_BYTES - 6))
    assert "S6" in caught.value.rule


@pytest.mark.parametrize("junk", ["e30 ", "e3\n0=", "e%30", "=e30", "e30=e30=", "e30\0", "ｅ30="])
def test_base64_holds_nothing_but_base64(junk):
    assert strict.decode64("e30=") == strict.decode64("e30") == b"{}"
    with pytest.raises(ChallengeInvalid) as caught:
        strict.decode64(junk)
    assert "W1" in caught.value.rule


DEEP = """
    import base64, sys
    sys.setrecursionlimit({limit})
    from x402_agent.dialects.x402 import X402
    from x402_agent.errors import ChallengeInvalid
    from x402_agent.model import Ask
    from x402_agent.steps import Reply

    class Headers:
        def __init__(self, **lines): self.lines = lines
        def get_list(self, key): return [self.lines[key]] if key in self.lines else []

    ask = Ask("GET", "https://a.example/", "https://a.example", "a.example", "/")
    outcomes = []
    for opening in (b"[", b'{{"a":', b'[{{"x402Version":', b'{{"x402Version":1,"accepts":['):
        for size in (1000, 60_000, 200_000):
            data = (opening * size)[:size]
            header = base64.b64encode(data).decode()
            replies = [
                Reply(402, Headers(**{{"payment-required": header}})),
                Reply(402, Headers(), data[:65536], complete=size <= 65536),
            ]
            for reply in replies:
                try:
                    outcomes.append(X402().read(reply, ask))
                except ChallengeInvalid as refused:
                    outcomes.append(refused)
            assert X402().receipt(Reply(200, Headers(**{{"payment-response": header}})), None).success is None
    assert len(outcomes) == 24
    assert all(found is None or isinstance(found, ChallengeInvalid) for found in outcomes)
    assert sys.getrecursionlimit() == {limit}
    print("survived")
"""


@pytest.mark.parametrize("limit", [120, 1000, 100_000])
def test_S5_deep_nesting_under_any_recursion_limit(limit):
    code = textwrap.dedent(DEEP.format(limit=limit))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=180)
    assert done.stdout == "survived\n", done.stderr
