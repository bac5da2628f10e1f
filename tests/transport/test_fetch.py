"""The client that never pays: bounded in time, size and patience, sync, asyncio and trio; it logs no URL (C19, C20)."""

from __future__ import annotations

import logging
import socket
import threading
import time
from functools import cache

import anyio
import pytest

import tls
from loopback import request_of
from x402_agent.steps import MAX_BODY, Fetch, Sleep
from x402_agent.transport.fetch import drive, drive_async
from x402_agent.transport.lines import authorities

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi"
BUSY = b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"


class Server:
    """One scripted answer per connection; an answer is bytes or a function of the connected socket."""

    def __init__(self, *script):
        self.script = list(script)
        self.seen, self.context = [], None
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.port}{path}"

    def _serve(self):
        while True:
            try:
                one, _ = self.sock.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(one,), daemon=True).start()

    def _answer(self, one):
        try:
            one = one if self.context is None else self.context.wrap_socket(one, server_side=True)
        except OSError:
            one.close()
            return
        with one:
            self.seen.append(request_of(one))
            answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            try:
                answer(one) if callable(answer) else one.sendall(answer)
            except OSError:
                return

    def close(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


@pytest.fixture
def serve(closed):
    return lambda *script: closed(Server(*script))


@pytest.fixture(params=["sync", "asyncio", "trio"])
def get(request):
    """One question, or one after the other, of one conversation."""

    def asked(*steps):
        made = []
        for step in steps:
            made.append((yield step))
        return made if len(made) > 1 else made[0]

    if request.param == "sync":
        return lambda *steps: drive(asked(*steps))
    return lambda *steps: anyio.run(drive_async, asked(*steps), backend=request.param)


def test_an_answer(get, serve):
    server = serve(OK)
    got = get(Fetch("POST", server.url("/a?b"), b"{}", {"content-type": "application/json"}))
    assert (got.status, got.content) == (200, b"hi")
    assert server.seen[0].startswith(b"POST /a?b HTTP/1.1\r\n") and server.seen[0].endswith(b"\r\n\r\n{}")
    assert b"accept-encoding: identity\r\n" in server.seen[0].lower()


def test_userinfo_is_basic_authentication(get, serve):
    server = serve(OK)
    assert get(Fetch("GET", f"http://me:secret@127.0.0.1:{server.port}/")).status == 200
    assert b"authorization: basic bwu6c2vjcmv0\r\n" in server.seen[0].lower()


def test_C20_a_redirect_is_not_followed(get, serve):
    other = serve(OK)
    server = serve(f"HTTP/1.1 307 No\r\nlocation: {other.url()}\r\ncontent-length: 0\r\n\r\n".encode())
    assert get(Fetch("POST", server.url(), b"{}", retries=1)).status == 307
    assert other.seen == [] and len(server.seen) == 1


def endless(one):
    one.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
    for _ in range(20_000):
        one.sendall(b"x" * 50_000)


def test_an_endless_answer_is_cut(get, serve):
    assert len(get(Fetch("GET", serve(endless).url())).content) == MAX_BODY
    assert len(get(Fetch("GET", serve(endless).url(), limit=100)).content) == 100


def drip_body(one):
    one.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    drip(one)


def drip(one):
    for _ in range(100):
        one.sendall(b"x")
        time.sleep(0.1)


def silence(one):
    one.recv(1)


@pytest.mark.parametrize("answer", [drip_body, drip, silence, b"", b"nonsense\r\n\r\n"], ids=["drip_body", "drip", "silence", "empty", "nonsense"])
def test_no_answer_is_status_0_in_time(answer, get, serve):
    start = time.monotonic()
    assert get(Fetch("GET", serve(answer).url(), timeout=0.5)).status == 0
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "ftp://127.0.0.1/", "", "http://a\x00b/", "file:///etc"])
def test_no_url_is_status_0(url, get):
    assert get(Fetch("GET", url, timeout=2)).status == 0


def test_a_harmless_call_is_repeated(get, serve):
    server = serve(BUSY, b"", OK)
    assert get(Fetch("GET", server.url(), retries=2)).status == 200
    assert len(server.seen) == 3


def test_the_last_answer_stands(get, serve):
    server = serve(BUSY)
    assert get(Fetch("GET", server.url(), retries=2)).status == 503
    assert len(server.seen) == 3


def test_nothing_is_repeated_unasked(get, serve):
    server = serve(BUSY)
    assert get(Fetch("GET", server.url())).status == 503
    assert len(server.seen) == 1


def test_what_the_server_decided_is_not_asked_again(get, serve):
    server = serve(b"HTTP/1.1 400 No\r\ncontent-length: 0\r\n\r\n")
    assert get(Fetch("GET", server.url(), retries=3)).status == 400
    assert len(server.seen) == 1


def test_C19_no_log_line_names_the_url(get, serve, caplog):
    server = serve(BUSY, OK)
    with caplog.at_level(logging.DEBUG):
        get(Fetch("POST", f"http://u:needle1@127.0.0.1:{server.port}/v2/needle2?key=needle3", b"{}", retries=1))
    assert "needle" not in server.seen[0].decode().partition("?")[0].replace("/v2/needle2", "")
    assert len(server.seen) == 2 and "needle" not in caplog.text
    assert "needle" not in repr(Fetch("POST", server.url("/needle")))


def test_drive_performs_fetches_and_pauses(serve):
    def steps():
        got = yield Fetch("GET", serve(OK).url())
        yield Sleep(0.01)
        return got.content

    assert drive(steps()) == b"hi"


def test_a_server_that_nobody_vouches_for_is_no_server_and_who_vouches_is_read_once(get, serve, monkeypatch, tmp_path):
    server, trusting = tls.pair(tmp_path)
    read, honest = [], authorities.__wrapped__
    monkeypatch.setattr("x402_agent.transport.lines.authorities", cache(lambda: read.append(0) or honest()))
    plain, hidden = serve(OK), serve(OK)
    hidden.context = server
    assert [get(Fetch("GET", plain.url())).status for _ in range(2)] == [200, 200] and read == []
    secure = Fetch("GET", f"https://localhost:{hidden.port}/")
    assert [get(secure).status for _ in range(2)] == [0, 0] and read == [0] and hidden.seen == []
    monkeypatch.setattr("x402_agent.transport.lines.authorities", lambda: trusting)
    assert get(secure).status == 200
