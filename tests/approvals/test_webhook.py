"""A real web service on loopback decides; only its own signed, timely answer to this very request is a yes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anyio
import pytest

from needles import Needles, Records, leaks, looks
from x402_agent import Payer, PolicyDenied, SettingsError
from x402_agent.approvals import Webhook
from x402_agent.policy import Approval
from x402_agent.sandbox import Sandbox

once = pytest.mark.parametrize("world", ["sync", *(pytest.param(each, marks=pytest.mark.full) for each in ("asyncio", "trio"))], indirect=True)

SECRET = "correct-horse-battery-staple"
KEY = SECRET.encode()
BAD = "http://a.example/k3y-in-path"


def sign(name, at, body, secret=KEY):
    """Written by the published description, not by the code under test."""
    mac = hmac.new(secret, name.encode() + b"." + at.encode() + b"." + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()


class Desk:
    """The service: `decide(facts)` gives (status, answer or None, tampering); it keeps what it was sent."""

    def __init__(self, decide):
        self.seen, self.headers, self.answer = [], [], None
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                if desk.answer:
                    self.reply(*desk.answer(self.headers, body))
                    return
                facts = json.loads(body)
                name, at = self.headers["webhook-id"], self.headers["webhook-timestamp"]
                assert self.headers["webhook-signature"] == sign(name, at, body)
                assert abs(time.time() - int(at)) < 10
                desk.seen.append(facts)
                desk.headers.append(dict(self.headers))
                status, answer, options = decide(facts)
                text = json.dumps(answer).encode() if isinstance(answer, dict) else answer or b""
                name, at = options.pop("name", name), options.pop("at", str(int(time.time())))
                made = sign(name, at, text, **options.pop("sign", {}))
                self.reply(status, {"webhook-id": name, "webhook-timestamp": at, "webhook-signature": made, **options}, text)

            def reply(self, status, headers, text):
                self.send_response(status)
                for key, value in {"content-length": str(len(text)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.handle_error = lambda *_: None  # a client that was cancelled has gone
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/k3y-in-path"

    def close(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def desk():
    made = []

    def open_(decide):
        made.append(Desk(decide))
        return made[-1]

    yield open_
    for each in made:
        each.close()


def says(word, **options):
    return lambda facts: (200, {"digest": facts["digest"], "answer": word}, dict(options))


def test_a_signed_yes_is_paid(shop, get, desk, notes):
    there = desk(says("yes"))
    payer = shop(Webhook(there.url, SECRET))
    receipt = get(payer, "/joke?q=s3cret").extensions["payment"]
    assert receipt.outcome == "spent"
    (facts,) = there.seen
    assert facts["payment_id"] == receipt.payment_id and facts["offer"] == receipt.offer.digest
    assert facts["amount"] == "10000" and facts["pay_to"] == payer.sandbox.pay_to and "s3cret" not in str(facts)
    origin = there.url.rpartition("/")[0]
    assert notes(payer, receipt.payment_id)[1] == f"approved by webhook {origin}"


def test_it_may_take_its_time(shop, get, desk):
    there = desk(lambda facts: says("yes")(facts) if len(there.seen) > 1 else (202, None, {}))
    payer = shop(Webhook(there.url, SECRET))
    assert get(payer).status_code == 200
    first, second = there.seen
    assert first == second and there.headers[0]["webhook-id"] == there.headers[1]["webhook-id"]


def test_the_service_in_the_docs_is_understood(shop, desk):
    page = (Path(__file__).parent.parent.parent / "docs" / "approvals.md").read_text("utf-8")
    world = {}
    exec(next(code for code in re.findall(r"```python\n(.*?)```", page, re.S) if "def answer(" in code), world)  # noqa: S102
    there = desk(None)
    there.answer = lambda headers, body: world["answer"](headers, body, KEY, lambda facts: facts["amount"] == "10000")
    payer = shop(Webhook(there.url, SECRET))
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200
    there.answer = lambda headers, body: world["answer"](headers, body, KEY, lambda _facts: False)
    with payer.client() as http, pytest.raises(PolicyDenied, match="did not say yes"):
        http.get(payer.sandbox.url("/joke"))


def other(facts):
    return 200, {"digest": "0" * 64, "answer": "yes"}, {}


def test_a_503_is_asked_again_a_redirect_is_not_followed(shop, desk):
    elsewhere = desk(says("yes"))
    there = desk(lambda facts: says("yes")(facts) if len(there.seen) > 1 else (503, None, {}))
    payer = shop(Webhook(there.url, SECRET))
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200
        payer.approve = Webhook(desk(lambda _: (307, None, {"location": elsewhere.url})).url, SECRET)
        with pytest.raises(PolicyDenied, match="it answered 307"):
            http.get(payer.sandbox.url("/joke"))
    assert elsewhere.seen == []


REFUSED = {
    "no": (says("no"), "did not say yes"),
    "true is not yes": (says(True), "did not say yes"),
    "another digest": (other, "about another request"),
    "another secret": (says("yes", sign={"secret": b"x" * 24}), "not signed"),
    "another id": (says("yes", name="0" * 16), "not signed"),
    "an old answer": (says("yes", at=str(int(time.time()) - 400)), "not signed"),
    "no time": (says("yes", at="now"), "not signed"),
    "unsigned": (lambda f: (200, {"digest": f["digest"], "answer": "yes"}, {"webhook-signature": "v1,"}), "not signed"),
    "our own request sent back": (lambda f: (200, json.dumps(f).encode(), {}), "did not say yes"),
    "junk": (lambda _: (200, b"yes", {}), "about another request"),
    "deep": (lambda _: (200, b"[" * 4000, {}), "about another request"),
    "forbidden": (lambda _: (403, None, {}), "it answered 403"),
    "created": (lambda f: (201, {"digest": f["digest"], "answer": "yes"}, {}), "it answered 201"),
}


@pytest.mark.parametrize("decide, why", REFUSED.values(), ids=REFUSED)
def test_everything_else_is_a_no(shop, desk, rows, decide, why):
    payer = shop(Webhook(desk(decide).url, SECRET))
    with payer.client() as http, pytest.raises(PolicyDenied, match=why):
        http.get(payer.sandbox.url("/joke"))
    assert rows(payer)[0].state == "RELEASED" and payer.sandbox.settlements == []


def test_a_replayed_answer_is_a_no(shop, desk):
    """The whole signed answer to the first request, byte for byte, given to the second."""
    kept = []

    def decide(facts):
        kept.append((200, {"digest": facts["digest"], "answer": "yes"}, {}))
        return kept[0][0], kept[0][1], {}

    payer = shop(Webhook(desk(decide).url, SECRET))
    with payer.client() as http:
        assert http.get(payer.sandbox.url("/joke")).status_code == 200
        with pytest.raises(PolicyDenied, match="another request"):
            http.get(payer.sandbox.url("/joke"))
    assert len(payer.sandbox.settlements) == 1


@once
def test_nobody_there(shop, get):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        payer = shop(Webhook(f"http://127.0.0.1:{free.getsockname()[1]}/", SECRET), approval=Approval(seconds=1))
        with pytest.raises(PolicyDenied, match="did not answer"):
            get(payer)


@once
def test_a_silent_service_has_its_time_and_no_more(shop, get, desk):
    over = threading.Event()
    there = desk(lambda _: (over.wait(20), (200, None, {}))[1])
    payer = shop(Webhook(there.url, SECRET), approval=Approval(seconds=1))
    start = time.monotonic()
    with pytest.raises(PolicyDenied):
        get(payer)
    assert time.monotonic() - start < 15
    over.set()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_cancellation_while_it_thinks(shop, desk, rows, backend):
    over = threading.Event()
    there = desk(lambda _: (over.wait(20), (200, None, {}))[1])
    payer = shop(Webhook(there.url, SECRET))

    async def go():
        async with payer.async_client() as http, anyio.create_task_group() as group:
            group.start_soon(http.get, payer.sandbox.url("/joke"))
            while not there.seen:  # noqa: ASYNC110 - another thread's
                await anyio.sleep(0.02)
            group.cancel_scope.cancel()

    start = time.monotonic()
    anyio.run(go, backend=backend)
    assert time.monotonic() - start < 15
    over.set()
    assert rows(payer)[0].state == "RELEASED"


@pytest.mark.parametrize("url", ["http://a.example/x", "ftp://a.example", "https://", "javascript:x", "http://127.0.0.1.evil.example/", ""])
def test_it_speaks_https_or_to_this_machine(url):
    with pytest.raises(SettingsError):
        Webhook(url, SECRET)


def test_a_short_or_broken_secret_is_refused():
    for secret in ("short", "whsec_!!", "whsec_" + base64.b64encode(b"short").decode()):
        with pytest.raises(SettingsError):
            Webhook("https://a.example", secret)


def test_a_whsec_secret_is_base64(shop, desk):
    key = b"0123456789abcdef0123"
    there = desk(says("yes", sign={"secret": key}))
    webhook = Webhook(there.url, "whsec_" + base64.b64encode(key).decode())
    from x402_agent.approvals.webhook import signature

    assert signature(webhook._secret, "a", "1", b"x") == sign("a", "1", b"x", key)


def test_the_policy_file_names_it_and_the_environment_holds_its_secret(tmp_path, desk):
    home = tmp_path / "home"
    home.mkdir()
    there = desk(says("yes"))
    (home / "policy.toml").write_text(
        f'networks = ["testnet"]\napprove_above = "0"\n[approval]\nhow = "webhook"\nurl = "{there.url}"\nsecret_env = "MY_HOOK"\n'
    )
    with Sandbox() as box:
        box.serve()
        env = {"X402_AGENT_HOME": str(home), "X402_AGENT_EVM_KEY": box.payer_key.hex()}
        with Payer.from_env(env=env) as payer, payer.client() as http, pytest.raises(SettingsError) as denied:
            http.get(box.url("/joke"))
        assert "MY_HOOK" in str(denied.value)
        with Payer.from_env(env={**env, "MY_HOOK": SECRET}) as payer, payer.client() as http:
            assert http.get(box.url("/joke")).extensions["payment"].outcome == "spent"


def test_the_secret_and_the_path_of_the_url_are_shown_nowhere(shop, desk, folder_of_ledger):
    needles = Needles(secret=SECRET, path="k3y-in-path")
    with Records() as records:
        there = desk(lambda _: (403, None, {}))
        webhook = Webhook(there.url, SECRET)
        payer = shop(webhook)
        with payer.client() as http, pytest.raises(PolicyDenied) as denied:
            http.get(payer.sandbox.url("/joke"))
        with pytest.raises(SettingsError) as wrong:
            Webhook(BAD, SECRET)
    assert needles.within(looks(webhook)) == [] and needles.within(looks(payer)) == []
    assert leaks(denied.value, needles) == [] and leaks(wrong.value, needles) == []
    assert needles.within(records.text) == [] and needles.within(folder_of_ledger(payer)) == []
    assert needles.within(repr(Approval(how="webhook", url=there.url))) == []
