"""A node on a real socket that lies in HTTP: bounded seconds and memory, exit code 1, and not a byte signed (C3, C20, S1, S5)."""

from __future__ import annotations

import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

import nursery
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.node import answer_rpc

BOUNDED = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (400_000_000, 400_000_000)); from x402_agent.cli import main; main()"


@pytest.fixture(scope="module")
def box():
    with Sandbox() as one:
        yield one


class Node(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer, self.seen = answer, []
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/v2/needle"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.seen.append(call["method"])
        try:
            self.server.answer(self, call)
        except OSError:
            return

    def reply(self, body, status=200, length=None, **headers):
        self.send_response(status)
        for name, value in {"content-length": str(len(body) if length is None else length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        return


def huge(handler, call):
    handler.reply(b'{"result":"0x', length=10**9)
    for _ in range(10**9 // 65536):
        handler.wfile.write(b"0" * 65536)


def bomb(handler, call):
    import gzip

    handler.reply(gzip.compress(b"0" * 50_000_000), **{"content-encoding": "gzip"})


def elsewhere(handler, call):
    handler.reply(b"", 307, location=handler.server.other.url)


LIES = {
    "1 GB": huge,
    "gzip bomb": bomb,
    "redirect": elsewhere,
    "html": lambda handler, call: handler.reply(b"<html>needle</html>"),
    "deep": lambda handler, call: handler.reply(b'{"result":' + b"[" * 30000),
    "401": lambda handler, call: handler.reply(b"", 401, **{"www-authenticate": "Basic"}),
    "header": lambda handler, call: handler.reply(b"{}", **{"x-long": "y" * 500_000}),
    "error with terminal codes": lambda handler, call: handler.reply(
        json.dumps({"error": {"message": "\x1b]0;owned\x07 /v2/needle"}}).encode()),
}  # fmt: skip


def approve(box, url, tmp_path):
    env = {**os.environ, "X402_AGENT_EVM_KEY": box.payer_key.hex(), "X402_AGENT_NODES": f"base-sepolia={url}",
           "X402_AGENT_HOME": str(tmp_path)}  # fmt: skip
    start = time.monotonic()
    done = nursery.run(BOUNDED, "wallet", "approve", "USDC", "--amount", "2000", "--yes", "--wait", "1", env=env)
    assert "needle" not in done.stdout + done.stderr and "\x1b" not in done.stderr and box.payer_key.hex() not in done.stderr
    return done, time.monotonic() - start


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_node_costs_seconds_and_nothing_else(lie, box, tmp_path):
    with Node(LIES[lie]) as node, Node(LIES["html"]) as node.other:
        done, seconds = approve(box, node.url, tmp_path)
        assert done.returncode == 1 and "http://127.0.0.1" in done.stderr, done.stderr
        assert seconds < 20 and node.other.seen == [] and set(node.seen) == {"eth_chainId"}
        node.shutdown()
        node.other.shutdown()


@pytest.mark.parametrize("lie", [each if each in ("1 GB", "redirect") else pytest.param(each, marks=pytest.mark.full) for each in LIES])
def test_a_broadcast_that_is_answered_with_a_lie_has_arrived_all_the_same(lie, box, tmp_path):
    before = box.ground.chain.nonce(box.payer_address)
    box.ground.token.approve(box.ground.payer, bytes.fromhex("000000000022d473030f116ddee9f6b43ac78ba3"), 1)

    def honest_but_once(handler, call):
        answer = json.dumps(answer_rpc(box.ground.chain, call)).encode()
        if call["method"] == "eth_sendRawTransaction":
            LIES[lie](handler, call)
        else:
            handler.reply(answer)

    with Node(honest_but_once) as node, Node(LIES["html"]) as node.other:
        done, seconds = approve(box, node.url, tmp_path)
        assert done.returncode == 0, done.stderr
        assert seconds < 20 and node.seen.count("eth_sendRawTransaction") == 1 and node.other.seen == []
        node.shutdown()
        node.other.shutdown()
    assert box.ground.allowance == 2_000_000_000 and box.ground.chain.nonce(box.payer_address) == before + 2
