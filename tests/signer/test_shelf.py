"""What a hostile agent may send about things it bought: bytes behind a message, another agent's things, credentials of its own."""

from __future__ import annotations

import json
import time

import pytest

from raw import Raw, pay

GOODS = b'[["status", "200"], ["content-type", "x"]]\nbody'


def with_tail(raw, message, tail, size=None):
    raw.send(json.dumps({**message, "tail": len(tail) if size is None else size}).encode())
    try:
        raw.sock.sendall(tail)
    except OSError:
        return None
    return raw.read()


TAILS = {
    "no headers": b"body", "no list": b'{"a": 1}\n', "no pairs": b"[[1, 2, 3]]\n", "numbers": b"[[1, 2]]\n", "no status": b"[]\n",
    "a line in a header": b'[["status", "200"], ["x", "a\\r\\nset-cookie: b"]]\n', "a status that is none": b'[["status", "999"]]\n',
    "deep": b"[" * 50000 + b"\n", "not UTF-8": b'[["status", "\xff"]]\n',
}  # fmt: skip


@pytest.mark.parametrize("name", TAILS)
def test_goods_that_no_seller_sent_are_cut_off(running, name):
    box = running()
    with Raw(box.path) as raw:
        payment_id = raw.call(pay(box))["hold"]["payment_id"]
        assert with_tail(raw, {"op": "stored", "payment_id": payment_id}, TAILS[name]) is None
    assert box.payer.ledger.goods(payment_id) is None and box.payer.ledger.verify() == []


def test_bytes_behind_a_message_are_bounded_and_belong_to_few(running):
    box = running()
    for message, size in (({"op": "state"}, 5), (pay(box, has_body=True), 1 << 21), ({"op": "stored"}, 1 << 24), ({"op": "stored"}, -1)):
        with Raw(box.path) as raw:
            start = time.monotonic()
            assert with_tail(raw, message, b"x", size) is None and time.monotonic() - start < 15  # not read at all
    assert not box.payments()


def test_only_what_its_own_payment_bought_is_kept(running):
    box = running()
    credential = {"origin": box.payer.sandbox.origin, "path": "/", "headers": {"x-token": "t"}, "payment_id": "", "dialect": "x402", "name": ""}
    with Raw(box.path) as raw:
        payment_id = raw.call(pay(box))["hold"]["payment_id"]
        about = {"op": "keep", "payment_id": payment_id}
        assert raw.call({**about, "credential": credential})["error"] == "PolicyDenied"
        own = {**credential, "payment_id": payment_id}
        assert raw.call({**about, "credential": {**own, "origin": "https://else.example"}}) == {"kept": False}
        assert raw.call({**about, "credential": {**own, "headers": {"host": "x"}}}) == {"kept": False}
        assert raw.call({"op": "keep", "payment_id": "0" * 16, "credential": own})["error"] == "LedgerError"
        assert raw.call({**about, "credential": own}) == {"kept": True}
        raw.call({"op": "close", "payment_id": payment_id, "state": "CLAIMED", "status": 200, "milliseconds": 1})
        assert raw.call({**about, "credential": own})["error"] == "PolicyDenied", "its payment is over"
        assert with_tail(raw, {"op": "stored", "payment_id": payment_id}, GOODS)["error"] == "PolicyDenied"
    assert [one.agent for one in box.payer.ledger.tokens()] == ["research"]
