"""A monitor on the pretend TRON, and somebody who pays it by hand."""

from __future__ import annotations

import time

import httpx2
import pytest

from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.tron.contracts import raw_address

MICRO = 1_000_000


class Clock:
    """Stands still but for what a test adds to `ahead`."""

    def __init__(self) -> None:
        self.base, self.ahead = time.time(), 0.0

    def __call__(self) -> float:
        return self.base + self.ahead


class Till:
    """A client of the monitor at the socket-free door; `pay` really moves USDT."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.http = httpx2.Client(base_url=box.origin, transport=box.transport(), timeout=20)
        self.orders = 0

    def pay(self, amount: int, wallet: str = "") -> str:
        ground = self.box.ground
        return ground.contracts.transfer(ground.payer, raw_address(wallet or self.box.pay_to), amount).envelope.txid

    def ask(self, **change: object) -> httpx2.Response:
        """POST /create_payment, well formed but for `change`; a field whose value is ... is left out."""
        self.orders += 1
        body = {"wallet_address": self.box.pay_to, "expected_amount_usdt": 12.34, "callback_url": "http://127.0.0.1:9/none", "order_id": f"o{self.orders}"}
        return self.http.post("/create_payment", json={k: v for k, v in {**body, **change}.items() if v is not ...})

    def create(self, **change: object) -> str:
        reply = self.ask(**change)
        assert reply.status_code == 201, reply.text
        return reply.json()["payment_id"]

    def status(self, identity: str) -> dict:
        reply = self.http.get(f"/payment_status/{identity}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def asked(self, path: str = "/report") -> dict:
        reply = self.http.get(path)
        assert reply.status_code == 402, reply.text
        return reply.json()

    def show(self, identity: str, tx: str, path: str = "/report") -> httpx2.Response:
        return self.http.get(path, headers={"X-Payment-Id": identity, "X-Payment-Transaction": tx})

    def solid(self, seconds: int = 63) -> None:
        """Let what was paid become final, and a poll come due."""
        self.box.warp(seconds)

    def log(self, identity: str) -> list[str]:
        with self.box.seller.store.pool.lent() as link:
            return [row["event_type"] for row in link.rows("select event_type from payment_logs where payment_id = ? order by id", identity)]

    def raw(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        answer = self.box.app.handle(Request(method, self.box.origin, path, {}, body))
        return answer.status, b"".join(answer.chunks)


@pytest.fixture
def till_on():
    """A till with a scenario, a database or a clock of its own."""
    opened = []

    def make(scenario: str = "honest", **options: object) -> Till:
        opened.append(Sandbox(scenario, chain="tron", seller="monitor", **{"clock": Clock(), **options}))
        return Till(opened[-1])

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def till(till_on, database):
    return till_on(database=database)
