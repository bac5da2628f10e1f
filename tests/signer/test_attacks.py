"""What a hostile agent may send: frames of any shape, other agents' payments, words that would free money."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import replace

import pytest

from raw import Raw, offer, pay, wait_for
from x402_agent import Budget, Settings
from x402_agent.signer import frames as frames_room
from x402_agent.signer import service as service_room
from x402_agent.signer.frames import MAX_FRAME
from x402_agent.signer.session import Session
from x402_agent.steps import Fetch
from x402_agent.transport.lines import Lines


def spent(box):
    return sum(one.micros for one in box.standing() if one.state not in ("RELEASED", "DEAD"))


JUNK = {
    "not JSON": b"hello",
    "not an object": b"[1]",
    "an empty object": b"{}",
    "no operation": b'{"op":"sign"}',
    "asks for the key": b'{"op":"key"}',
    "asks to export": b'{"op":"export"}',
    "a number as operation": b'{"op":7}',
    "deep": b'{"op":' + b"[" * 5000 + b"]" * 5000 + b"}",
    "a key twice": b'{"op":"state","op":"pay"}',
    "not UTF-8": b'{"op":"\xff"}',
    "half a character": b'{"op":"\\ud800"}',
    "NaN": b'{"op":"pay","x":NaN}',
    "a null byte": b'{"op":"state","payment_id":"\\u0000\\u0000\\u0000\\u0000"}',
}


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_cut_off_and_others_go_on(running, name):
    box = running()
    with Raw(box.path) as raw:
        said = raw.call(JUNK[name])
        assert said is None or said["error"] in ("PolicyDenied", "LedgerError")
        assert "0x" + box.payer.sandbox.payer_key.hex() not in str(said)
    with box.agent() as payer, payer.client() as http:
        assert http.get(box.payer.sandbox.url("/joke")).status_code == 200


FORGED = {
    "amount below zero": {"amount": "-1"},
    "amount zero": {"amount": "0"},
    "amount past uint256": {"amount": str(1 << 256)},
    "amount as float": {"amount": 0.01},
    "amount as true": {"amount": True},
    "a token of its own": {"asset": "eip155:84532/erc20:0x" + "12" * 20},
    "a token of another chain's": {"asset": "eip155:8453/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e"},
    "no lifetime": {"lifetime": "0"},
    "a recipient that is none": {"pay_to": "vitalik.eth"},
    "a scheme that is none": {"scheme": "permit"},
    "a spender of its own": {"method": "0x" + "66" * 20},
    "a negative fee": {"fee_cap": "-5"},
    "the wire as text": {"wire": "x"},
    "the wire too long": {"wire": ["x"] * 9},
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_offer_is_not_signed(running, name):
    box = running()
    with Raw(box.path) as raw:
        said = raw.call(pay(box, offers=[offer(box, **FORGED[name])]))
        assert said is None or "error" in said
    assert not box.payments()


URLS = ["file:///etc/passwd", "http://good.example@evil.example/", "https://EVIL.example/", "https://evil.example", "http://a b/",
        "https://x.example:99999999/", "https://é.example/", "", "https://x.example/\u202e", "javascript:alert(1)"]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_a_url_that_no_request_has_is_cut_off(running, url):
    box = running()
    with Raw(box.path) as raw:
        assert raw.call(pay(box, url=url)) is None
    assert not box.payments()


WIDER = [
    {"limits": [{"scope": "all", "window": "total", "most": str(10**15), "unit": "micros", "rule": "mine", "hint": ""}]},
    {"caps": [{"micros": str(10**15), "rule": "mine", "hint": ""}]},
    {"agent": "boss", "group": "board", "under": {"agent": "boss"}},
    {"approved": True, "policy": {"day": "1000"}, "networks": ["mainnet"]},
    {"task": "boss", "tool": "boss", "category": "free"},
]


@pytest.mark.parametrize("claims", WIDER, ids=lambda c: ",".join(c))
def test_no_word_of_an_agent_widens_a_limit(running, claims):
    box = running(budget=Budget("0.025/total", per_call="0.02"))
    with Raw(box.path) as raw:
        assert raw.call(pay(box, offers=[offer(box, amount="20001")], **claims))["error"] == "BudgetExceeded"
        said = [raw.call(pay(box, key=key, **claims)) for key in "abc"]
    assert sum("proof" in (one or {}) for one in said) <= 2 and spent(box) <= 25_000
    assert {one.agent for one in box.standing()} <= {"research"}


def test_the_services_own_name_is_nobody_elses(running):
    box = running(settings=replace(Settings.load(), agent="boss", group="board"))
    with Raw(box.path) as raw:
        assert "proof" in raw.call(pay(box))
    assert [one.agent for one in box.standing()] == ["research"]


@pytest.mark.parametrize("state", ["RELEASED", "DEAD", "CONFIRMED", "REVERTED", "RESERVED", "QUARANTINE", "", "claimed"])
def test_nothing_is_freed_by_an_agents_word(running, state):
    box = running()
    with Raw(box.path) as raw:
        said = raw.call(pay(box))
        payment_id = said["hold"]["payment_id"]
        said = raw.call({"op": "close", "payment_id": payment_id, "state": state, "status": 200, "milliseconds": 1})
        assert said == {"state": "UNKNOWN"} if state == "RELEASED" else said["error"] == "PolicyDenied"
        assert spent(box) == 10_000
    wait_for(lambda: [one.state for one in box.standing()] == ["UNKNOWN"])
    assert spent(box) == 10_000


def test_an_agent_that_vanishes_leaves_its_payment_in_doubt_and_gets_the_same_proof_again(running):
    box = running()
    with Raw(box.path) as raw:
        first = raw.call(pay(box))
    wait_for(lambda: [one.state for one in box.standing()] == ["UNKNOWN"])
    with Raw(box.path) as raw:
        again = raw.call(pay(box))
    assert again["proof"] == first["proof"] and again["hold"]["resumed"] and len(box.payments()) == 1


def test_who_comes_back_at_once_gets_the_same_proof_too(running):
    """An agent that is killed and started anew may be quicker than the thread that served it."""
    box = running()
    box.payer.policy = replace(box.payer.policy, stop_after=0)  # so many in doubt would end it
    with ExitStack() as others:
        for _ in range(8):
            others.enter_context(Raw(box.path))
        for number in range(40):
            with Raw(box.path) as raw:
                first = raw.call(pay(box, key=f"{number:064x}"))
            with Raw(box.path) as raw:
                again = raw.call(pay(box, key=f"{number:064x}"))
            assert again["proof"] == first["proof"] and again["hold"]["resumed"], number


def test_who_comes_back_while_it_is_written_down_waits_for_that(running, monkeypatch):
    """Its connection is closed already, and nobody who looks at the socket can tell."""
    real = Session._abandon

    def slowly(self):
        time.sleep(0.3)
        real(self)

    monkeypatch.setattr(Session, "_abandon", slowly)
    box = running()
    with Raw(box.path) as raw:
        first = raw.call(pay(box, key="5" * 64))
    time.sleep(0.1)
    with Raw(box.path) as raw:
        again = raw.call(pay(box, key="5" * 64))
    assert again["proof"] == first["proof"] and again["hold"]["resumed"]


def test_a_payment_id_is_no_key_to_another_agents_payment(running, monkeypatch):
    """The kernel's word is replaced here, to be two users in one process; test_two_users.py has two real ones."""
    real, users = service_room.peer, []
    monkeypatch.setattr(service_room, "peer", lambda sock: real(sock)._replace(uid=users.pop(0)))
    box = running(agents={1001: "research", 1002: "thief"})
    users[:] = [1001, 1002, 1002, 1003]
    with Raw(box.path) as honest, Raw(box.path) as thief:
        mine = honest.call(pay(box, caller_key="k"))
        payment_id = mine["hold"]["payment_id"]
        for message in (
            {"op": "again", "payment_id": payment_id},
            {"op": "state", "payment_id": payment_id},
            {"op": "open", "payment_id": payment_id},
            {"op": "close", "payment_id": payment_id, "state": "CLAIMED", "status": 200, "milliseconds": 1},
        ):
            said = thief.call(message)
            assert said["error"] == "LedgerError" and "yours" in said["what"], message
        assert thief.call({"op": "open", "payment_id": ""}) == {"payments": []}
        assert box.standing()[0].state == "INFLIGHT"
        other = thief.call(pay(box, caller_key="k"))  # the same purchase under the same key is another agent's other one
        assert other["hold"]["payment_id"] != payment_id and other["proof"]["nonce"] != mine["proof"]["nonce"]
        honest.sock.close()
        wait_for(lambda: box.standing()[-1].state == "UNKNOWN")
        plain = thief.call(pay(box, key="a"))  # nor is what the other left open his to show
        assert not plain["hold"]["resumed"] and plain["hold"]["payment_id"] not in (payment_id, other["hold"]["payment_id"])
        with Raw(box.path) as also:
            said = also.call({"op": "close", "payment_id": payment_id, "state": "UNKNOWN", "status": 0, "milliseconds": 0})
            assert said["error"] == "LedgerError"
    with Raw(box.path, hello=False) as stranger:
        assert stranger.read()["error"] == "PolicyDenied"


def test_the_operator_looks_and_pays_nothing(running, monkeypatch):
    box = running(agents={4242: "research"})
    with Raw(box.path) as operator:
        assert operator.call(pay(box))["error"] == "PolicyDenied"
    assert not box.payments()


def test_huge_and_empty_frames_and_talk_before_hello_are_cut_off(running):
    box = running()
    for data, size in ((b"x", MAX_FRAME + 1), (b"", 0), (b"x", 0xFFFFFFFF)):
        with Raw(box.path) as raw:
            start = time.monotonic()
            raw.send(data, size)
            assert raw.read() is None and time.monotonic() - start < 15  # not read at all
    for first in (pay(box), {"op": "hello", "protocol": 2}, {"op": "hello"}):
        with Raw(box.path, hello=False) as raw:
            said = raw.call(first)
            assert said is None or said["error"] == "SettingsError"
    assert not box.payments()


def test_the_silent_and_the_many_do_not_hold_up_others(running, monkeypatch):
    monkeypatch.setattr(service_room, "MAX_PER_USER", 12)
    monkeypatch.setattr(frames_room, "_FRAME_SECONDS", 600.0)  # nobody is cut off, however slow this machine
    box = running()
    with ExitStack() as stack:
        held = [stack.enter_context(Raw(box.path)) for _ in range(10)]
        for one in held[6:]:
            one.send(b'{"op":', 5000)  # begins a message and says no more
        start = time.monotonic()
        with box.agent() as payer, payer.client() as http:
            assert http.get(box.payer.sandbox.url("/joke")).status_code == 200
        assert time.monotonic() - start < 60
        wait_for(lambda: len(box.service._open) == 10)  # it is told that the agent has gone when it looks
        for _ in range(2):
            stack.enter_context(Raw(box.path))
        for _ in range(2):
            assert stack.enter_context(Raw(box.path, hello=False)).read()["error"] == "SigningFailed"
    wait_for(lambda: not box.service._open)
    with box.agent() as payer, payer.client() as http:
        assert http.get(box.payer.sandbox.url("/joke")).status_code == 200


@pytest.mark.parametrize("origin", ["http://169.254.169.254", "http://10.0.0.1:8080", "http://192.168.1.1", "http://[fd00:ec2::254]"])
def test_an_agent_sends_the_service_to_no_private_address(origin):
    """What a dialect asks at a seller's own address, the service asks under a guard: a socket there would fail this test."""
    step = Fetch("GET", f"{origin}/x402/supported-chains", theirs=True)
    assert Session._step(object.__new__(Session), None, step, 0.0, Lines()).status == 0
