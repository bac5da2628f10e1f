"""A KAMIYO on a pretend chain, somebody who pays it by hand, and what is common to its tests."""

from __future__ import annotations

import base64
import json
import secrets
import time

import httpx2
import pytest

from x402_agent.primitives import keccak
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.token import raw_address


class Till:
    """A client of a seller at the socket-free door; `pay` really moves USDC on the chain."""

    def __init__(self, box: Sandbox) -> None:
        self.box = box
        self.http = httpx2.Client(base_url=box.origin, transport=box.transport(), timeout=20)

    def pay(self, amount: int = 100_000, blocks: int = 6) -> str:
        ground = self.box.ground
        if ground.name == "evm":
            tx = ground.token.transfer(ground.payer, raw_address(self.box.pay_to), amount).hash
        else:
            from x402_agent.sandbox.solana.token import TOKEN, address, transfer

            ground.chain.endow(ground.payer.pubkey(), 10**9)
            step = transfer(ground.payer.pubkey(), address(self.box.pay_to), amount, ground.mint, TOKEN)
            tx = str(ground.send([step], ground.payer).signature)
        if blocks:
            self.box.mine(blocks)
        return tx

    def new_minute(self) -> None:
        """Limits are counted in minutes of the clock: from here on one is a minute long."""
        self.box.warp(60 - self.box.ground.now() % 60)

    @property
    def chain(self) -> str:
        return self.box.ground.networks[1]

    def verify(self, tx: str, **more: object) -> dict:
        reply = self.http.post("/x402/verify-payment", json={"tx_hash": tx, "chain": self.chain, **more})
        assert reply.status_code == 200, reply.text
        return reply.json()

    def token(self, identity: int) -> dict:
        reply = self.http.post(f"/x402/generate-token/{identity}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    def buy(self, amount: int = 100_000) -> str:
        return self.token(self.verify(self.pay(amount))["payment_id"])["payment_token"]

    def balance(self) -> int:
        """What the seller has."""
        return self.box.balance(self.box.pay_to)

    def get(self, path: str = "/exploits", **headers: str) -> httpx2.Response:
        return self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def stranger(self, method: str, path: str, body: bytes = b"", **headers: str) -> int:
        """The status that somebody at another address gets."""
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.box.app.handle(Request(method, self.box.origin, path, lines, body, client="10.1.2.3")).status


@pytest.fixture
def till(database):
    with Sandbox(seller="kamiyo", database=database, clock=standing()) as box:
        yield Till(box)


def standing():
    """A clock on which no time passes but what a test lets pass: no block comes by itself."""
    now = time.time()
    return lambda: now


@pytest.fixture
def till_on():
    """A till on another chain, or with another scenario."""
    opened = []

    def make(**options: object) -> Till:
        opened.append(Sandbox(seller="kamiyo", clock=standing(), **options))
        return Till(opened[-1])

    yield make
    for each in opened:
        each.close()


@pytest.fixture
def authorization():
    """X-PAYMENT by hand."""
    return signed


def signed(till, amount=10_000):
    """X-PAYMENT for the first entry, signed with the payer's key."""
    box = till.box
    entry = till.get().json()["payment_options"][0]["x402_standard"]["accepts"][0]
    nonce, now = secrets.token_bytes(32), box.ground.now()
    payer = box.ground.payer
    words = b"".join(
        each.rjust(32, b"\0") for each in (
            keccak(b"TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"),
            bytes.fromhex(payer.address[2:]), bytes.fromhex(entry["payTo"][2:]), amount.to_bytes(32), b"", (now + 60).to_bytes(32), nonce,
        )
    )  # fmt: skip
    signature = payer.sign(keccak(b"\x19\x01" + box.ground.token.domain_separator() + keccak(words)))
    fields = {"from": payer.address, "to": entry["payTo"], "value": str(amount), "validAfter": "0", "validBefore": str(now + 60), "nonce": "0x" + nonce.hex()}
    document = {"x402Version": 1, "scheme": "exact", "network": entry["network"], "payload": {"signature": "0x" + signature.hex(), "authorization": fields}}
    return base64.b64encode(json.dumps(document).encode()).decode()
