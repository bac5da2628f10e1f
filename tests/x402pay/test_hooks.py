"""Webhooks: genuine, fresh and once, or not at all."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading

import pytest

from x402_agent import ChallengeInvalid, SettingsError
from x402_agent.dialects.x402pay import Hooks

KEY, NOW = "a-secret-of-both-sides", 1_795_303_552


def body(**changes):
    return json.dumps({"id": "d-1", "type": "payment.verified", "data": {"txId": "0x", "amount": "100000"}, "timestamp": NOW, **changes}).encode()


def headers(raw, key=KEY, **more):
    return {"X-x402Pay-Signature": hmac.new(key.encode(), raw, hashlib.sha256).hexdigest(), "X-x402Pay-Event": "payment.verified", **more}


@pytest.fixture
def hooks():
    return Hooks(KEY, clock=lambda: NOW + 5)


def test_a_genuine_one_comes_once(hooks):
    raw = body()
    found = hooks.judge(headers(raw), raw)
    assert (found.id, found.event, found.data["amount"], found.timestamp) == ("d-1", "payment.verified", "100000", NOW)
    with pytest.raises(ChallengeInvalid, match="came before"):
        hooks.judge(headers(raw), raw)
    other = body(id="d-2")
    assert hooks.judge({name.upper(): value for name, value in headers(other).items()}, other).id == "d-2"


@pytest.mark.parametrize("spoil", [
    lambda raw: (headers(raw, "another-secret-of-somebody"), raw), lambda raw: (headers(raw), raw + b" "), lambda raw: ({}, raw),
    lambda raw: ({**headers(raw), "X-x402Pay-Signature": "é" * 64}, raw), lambda raw: ({**headers(raw), "X-x402Pay-Signature": headers(raw)["X-x402Pay-Signature"].upper()}, raw),
    lambda raw: (headers(raw, **{"X-x402Pay-Event": "content.created"}), raw),
])  # fmt: skip
def test_a_forged_one_is_none(hooks, spoil):
    with pytest.raises(ChallengeInvalid) as caught:
        hooks.judge(*spoil(body()))
    assert KEY not in str(caught.value) + repr(vars(hooks))
    assert hooks.judge(headers(body()), body()).id == "d-1"  # what was refused used nothing up


@pytest.mark.parametrize("change", [
    {"timestamp": NOW - 400}, {"timestamp": NOW + 400}, {"timestamp": str(NOW)}, {"timestamp": True}, {"id": ""}, {"id": "a b"}, {"id": 5}, {"data": []}, {"type": None},
])  # fmt: skip
def test_another_time_or_shape_is_refused_though_signed(hooks, change):
    raw = body(**change)
    with pytest.raises(ChallengeInvalid):
        hooks.judge(headers(raw), raw)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff", b'{"id":1,"id":2}', b"{" * 100_000, b'{"a":' + b"[" * 60 + b"]" * 60 + b"}"])
def test_signed_nonsense_upsets_nobody(hooks, raw):
    with pytest.raises(ChallengeInvalid):
        hooks.judge(headers(raw), raw)


def test_of_many_at_once_one_is_taken(hooks):
    raw, taken, refused = body(), [], []

    def one():
        try:
            taken.append(hooks.judge(headers(raw), raw))
        except ChallengeInvalid:
            refused.append(1)

    threads = [threading.Thread(target=one) for _ in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(taken), len(refused)) == (1, 15)


def test_what_is_remembered_is_forgotten_once_its_time_refuses_it():
    now = [NOW]
    hooks = Hooks(KEY, clock=lambda: now[0])
    raw = body()
    hooks.judge(headers(raw), raw)
    now[0] += 601
    late = body(id="d-3", timestamp=now[0])
    hooks.judge(headers(late), late)
    assert list(hooks._taken) == ["d-3"]


def test_a_short_secret_is_refused():
    with pytest.raises(SettingsError):
        Hooks("short")
