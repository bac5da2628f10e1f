"""An x402Pay on a pretend Stacks, somebody who pays it by hand, and what is common to its tests."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from x402_agent.chains.stacks import ALLOW, Call, Transfer, Value, messages, uint
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.messages import Request

PRICE = 100_000
FREE, BY_TRANSFER, BY_TWO, BY_FOUR = "/articles/welcome", "/articles/paying-by-transfer", "/articles/paying-by-contract", "/articles/four-arguments"


class Till:
    """A client of a seller at the socket-free door; what it pays really moves on the chain."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.chain, self.payer = box.ground.chain, box.ground.payer
        self.http = httpx2.Client(base_url=box.origin, transport=box.transport(), timeout=20, headers={"user-agent": "Mozilla/5.0"})
        self.key = box.seller.dialect_settings(box.origin)["x402pay"]["key"]

    def sign(self, payload, who=None):
        who = who or self.payer
        return self.chain.submit(who.sign(payload, self.chain.nonce(who.address), 2_000, mode=ALLOW).wire())

    def transfer(self, amount=PRICE, to="", memo=b"", who=None):
        return self.sign(Transfer(to or self.box.pay_to, amount, memo), who)

    def call(self, content, amount=PRICE, *more, name="revenue-split-two", function="pay-for-content"):
        words = tuple(Value("ascii", each) for each in more)
        return self.sign(Call(f"{self.box.pay_to}.{name}", function, (Value("ascii", content), uint(amount), *words)))

    def asked(self, path=BY_TRANSFER, **headers):
        reply = self.get(path, **headers)
        assert reply.status_code == 402, reply.text
        return reply.json()["payment"]

    def get(self, path=BY_TRANSFER, **headers):
        return self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def show(self, tx, path=BY_TRANSFER, nonce=None):
        return self.get(path, x_payment_proof=tx, x_payment_nonce=nonce or self.asked(path)["nonce"])

    def verify(self, tx, content="paying-by-transfer", nonce=None):
        nonce = nonce or self.asked(f"/articles/{content}")["nonce"]
        return self.http.post("/v1/payments/verify", json={"txId": tx, "contentId": content, "nonce": nonce})

    def buy(self, content="paying-by-transfer"):
        """A token."""
        reply = self.verify(self.transfer(), content)
        assert reply.status_code == 200, reply.text
        return reply.json()["accessToken"]

    def login(self, who=None, moment=None):
        who = who or self.payer
        moment = moment or self.box.ground.now()
        message = f"x402Pay Login\nTimestamp: {moment}"
        made = who._key.sign(messages.plain_digest(message))
        signature = (made[:64] + bytes((made[64] - 27,))).hex()
        return self.http.post("/v1/auth/login", json={"address": who.address, "signature": signature, "message": message, "timestamp": moment})

    def session(self, who=None):
        return {"authorization": f"Bearer {self.login(who).json()['token']}"}

    def stranger(self, method, path, headers=None, body=b"", query="", client="10.1.2.3"):
        """What somebody at another address gets."""
        answer = self.box.app.handle(Request(method, self.box.origin, path, headers or {}, body, query, client))
        return answer.status, b"".join(answer.chunks)

    def new_window(self):
        """Limits are counted in windows of the clock: from here on one is whole."""
        self.box.warp(900 - self.box.ground.now() % 900)

    def receiver(self, *answers):
        """Somebody who takes webhooks: `got` is what came, answered by each status in turn, then by 200."""
        return Receiver(answers)

    def until(self, true, seconds=60.0):
        """Wait for what a thread does."""
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, "it did not happen"
            time.sleep(0.01)

    def balance(self):
        return self.chain.balance("STX", self.box.pay_to)


class Receiver:
    """An HTTP server in a thread, on loopback."""

    def __init__(self, answers):
        self.got, self._answers = [], list(answers)
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                mine.got.append(({name.lower(): value for name, value in self.headers.items()}, self.rfile.read(int(self.headers["content-length"]))))
                status = mine._answers.pop(0) if mine._answers else 200
                self.send_response(status)
                if status == 302:
                    self.send_header("location", "http://127.0.0.1:1/")
                self.end_headers()

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook?a=1"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


def standing():
    """A clock on which no time passes but what a test lets pass."""
    now = time.time()
    return lambda: now


@pytest.fixture
def till(database):
    with Sandbox(seller="x402pay", chain="stacks", database=database, clock=standing()) as box:
        yield Till(box)


@pytest.fixture
def till_on():
    """A till with another scenario."""
    opened = []

    def make(**options):
        opened.append(Sandbox(seller="x402pay", chain="stacks", clock=standing(), **options))
        return Till(opened[-1])

    yield make
    for each in opened:
        each.close()
