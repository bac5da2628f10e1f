"""Webhooks: signed, repeated, disabled, recorded as they went; and nobody who buys waits for them."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import threading
import time

import pytest

from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.posting import loopback, post


def hooked(till, url, **more):
    reply = till.http.post("/v1/webhooks", json={"url": url, **more}, headers={"x-api-key": till.box.seller.admin_key})
    assert reply.status_code == 201, reply.text
    return reply.json()


def told(till, hook):
    return till.http.get(f"/v1/webhooks/{hook['id']}/deliveries", headers={"x-api-key": till.box.seller.admin_key}).json()["deliveries"]


def test_a_payment_is_told_signed_and_once(till):
    with till.receiver() as receiver:
        hook = hooked(till, receiver.url, events=["payment.verified"])
        tx = till.transfer()
        assert till.show(tx).status_code == till.show(tx).status_code == 200
        till.until(lambda: told(till, hook) and told(till, hook)[0]["status"] == "delivered")
        (headers, body), *more = receiver.got
    document = json.loads(body)
    assert not more and set(document) == {"id", "type", "data", "timestamp"}
    assert headers["x-x402pay-signature"] == hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
    assert (headers["x-x402pay-event"], headers["x-x402pay-delivery"], document["type"]) == ("payment.verified", document["id"], "payment.verified")
    assert set(document["data"]) == {"txId", "contentId", "amount", "asset", "payer", "createdAt"}
    assert (document["data"]["txId"], document["data"]["amount"], document["timestamp"]) == (tx, "100000", till.box.ground.now())
    assert hook["secret"] not in till.http.get("/v1/webhooks", headers={"x-api-key": till.box.seller.admin_key}).text


def test_content_is_told_when_it_is_made(till):
    with till.receiver() as receiver:
        session = till.session()
        assert till.http.post("/v1/webhooks", json={"url": receiver.url, "events": ["content.created"]}, headers=session).status_code == 201
        assert till.http.post("/v1/content", json={"contentId": "c", "title": "t"}, headers=session).status_code == 201
        till.until(lambda: len(receiver.got) == 1)
    assert json.loads(receiver.got[0][1])["data"] == {"contentId": "c", "title": "t", "status": "published"}


def test_what_is_not_taken_comes_again_after_1_2_4_8_and_16_seconds_and_then_no_more(till):
    with till.receiver(500, 302, 404, 500, 500, 500, 500) as receiver:
        hook = hooked(till, receiver.url)
        till.show(till.transfer())
        for number, wait in enumerate((0, 1, 2, 4, 8, 16), 1):
            if wait:
                till.box.warp(wait - 1)
                time.sleep(0.3)
                assert len(receiver.got) == number - 1  # not before its time
                till.box.warp(1)
            till.until(lambda number=number: told(till, hook)[0]["attempts"] == number and told(till, hook)[0]["responseStatus"])
        till.until(lambda: told(till, hook)[0]["status"] == "failed")
        assert len({body for _, body in receiver.got}) == 1  # the same bytes
        admin = {"x-api-key": till.box.seller.admin_key}
        assert till.http.get("/v1/webhooks", headers=admin).json()["webhooks"][0]["enabled"] is False
        till.show(till.transfer(), "/api/premium-data")
        assert len(told(till, hook)) == 1 and len(receiver.got) == 6
        assert till.http.post(f"/v1/webhooks/{hook['id']}/enable", headers=admin).status_code == 200
        till.show(till.call("paying-by-contract"), "/articles/paying-by-contract")
        till.until(lambda: len(told(till, hook)) == 2)
        assert till.http.delete(f"/v1/webhooks/{hook['id']}", headers=till.session()).status_code == 404
        assert till.http.delete(f"/v1/webhooks/{hook['id']}", headers=admin).status_code == 200


def test_a_receiver_that_hangs_holds_nobody_up(till):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        hooked(till, f"http://127.0.0.1:{deaf.getsockname()[1]}/")
        taken = deaf.accept
        assert till.show(till.transfer()).status_code == 200
        link, _ = taken()
        assert till.show(till.call("paying-by-contract"), "/articles/paying-by-contract").status_code == 200  # while it is being told
        link.close()


def test_what_was_not_told_is_told_by_the_next_process(tmp_path, till):
    path = str(tmp_path / "x.db")
    clock = lambda: 1_800_000_000.0  # noqa: E731
    with till.receiver() as receiver:
        with Sandbox("hooks_down", seller="x402pay", chain="stacks", database=path, clock=clock) as box:
            made = box.seller.hooks.subscribe(box.seller.catalogue.find("about").owner, {"url": receiver.url})
            box.seller.hooks.tell(box.seller.catalogue.find("about").owner, "content.created", {"contentId": "x"})
            till.until(lambda: box.seller.hooks.deliveries(box.seller.catalogue.find("about").owner, made["id"])[0]["words"])
        assert receiver.got == []
        with Sandbox(seller="x402pay", chain="stacks", database=path, clock=clock) as box:
            box.warp(1)
            till.until(lambda: len(receiver.got) == 1)


@pytest.mark.parametrize("url", [
    "https://127.0.0.1/", "http://example.com/", "http://10.0.0.1/", "http://169.254.169.254/latest", "http://0.0.0.0/", "http://[::]/", "http://[::ffff:127.0.0.1]/",
    "http://127.0.0.1@evil.test/", "http://user:pass@127.0.0.1/", "http://127.0.0.1.evil.test/", "http://2130706433/", "http://127.1/", "file:///etc/passwd", "ftp://127.0.0.1/",
    "http://127.0.0.1:99999/", "http://127.0.0.1/\r\nX: y", "http://127.0.0.1/ a", "http://127.0.0.1/é", "", 5, None, "http://127.0.0.1/" + "a" * 500,
])  # fmt: skip
def test_only_this_machine_is_called(till, url):
    reply = till.http.post("/v1/webhooks", json={"url": url}, headers={"x-api-key": till.box.seller.admin_key})
    assert (reply.status_code, reply.json()["code"]) == (400, "INVALID_URL")
    assert not isinstance(url, str) or len(url) > 500 or (loopback(url) is None and post(url, b"{}", {}, 1).status == 0)


def test_events_that_are_none_and_too_many_hooks(till):
    admin = {"x-api-key": till.box.seller.admin_key}
    for events in ([], ["payment.lost"], "payment.verified", [1]):
        assert till.http.post("/v1/webhooks", json={"url": "http://localhost:1/", "events": events}, headers=admin).status_code == 400
    for _ in range(20):
        hooked(till, "http://localhost:1/")
    assert till.http.post("/v1/webhooks", json={"url": "http://localhost:1/"}, headers=admin).json()["code"] == "TOO_MANY"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 20\r\n\r\n", b"SPDY 200\r\n", b"HTTP/1.1 2\xb20 OK\r\n", b"x" * 5000])
def test_what_is_no_answer_is_none(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            link, _ = server.accept()
            with link:
                link.recv(65_536)
                link.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        said = post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, 30)
        thread.join()
    assert said.status == 0 and not said.good


def test_a_drip_ends_with_the_patience():
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        said = post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, 0.2)
        assert said.status == 0 and time.monotonic() - began < 30
