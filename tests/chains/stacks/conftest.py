"""The double as node, offers for it, and a wallet's key that has money there."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from x402_agent import assets
from x402_agent.chains.stacks import Stacks, Transfer
from x402_agent.chains.stacks.signing import own
from x402_agent.model import ChainRules, Offer
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.stacks.accounts import Account
from x402_agent.sandbox.stacks.api import Api
from x402_agent.sandbox.stacks.chain import Chain
from x402_agent.sandbox.stacks.contracts import sip010
from x402_agent.sandbox.stacks.state import STX
from x402_agent.steps import Fetched, Progress, Sleep
from x402_agent.wallet import KeySigner

NET = assets.network("stacks-testnet")
SELLER = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
NODE = "https://node.example/key-needle"


class Ground:
    """One account, one or several nodes over the double; `told` changes what a node answers by path."""

    def __init__(self):
        self.chain, self.signer, self.door = Chain(), KeySigner("11" * 32, "stacks"), Stacks()
        self.api, self.asked, self.told = Api(self.chain), [], {}
        self.sent, self.told_us, self.slept, self.meanwhile = [], [], 0.0, lambda: None
        self.payer = self.signer.address("stacks")
        self.account = own(self.payer, NET)
        self.chain.endow(STX, self.account, 10_000_000)
        for symbol in ("sBTC", "USDCx"):
            token = assets.asset(NET, symbol)
            self.chain.deploy(sip010(token.address, token.detail, symbol, token.decimals))
            self.chain.endow(f"{token.address}::{token.detail}", self.account, 1_000_000)

    def drive(self, steps):
        value = None
        while True:
            try:
                step = steps.send(value)
            except StopIteration as done:
                return done.value
            if isinstance(step, Progress):
                self.told_us.append((step.state, step.fee))
                value = None
                continue
            if isinstance(step, Sleep):
                self.slept += step.seconds
                value = self.meanwhile()
                continue
            parts = urlsplit(step.url)
            path = parts.path.removeprefix("/key-needle")
            self.asked.append(f"{step.method} {parts.hostname} {path}")
            self.sent += [step.content] if path == "/v2/transactions" else []
            told = self.told.get((parts.hostname, path), self.told.get(path))
            if told is not None:
                value = Fetched(*told) if isinstance(told, tuple) else Fetched(200, {}, told)
                continue
            answer = self.api.handle(Request(step.method, "https://node.example", path, dict(step.headers), step.content, parts.query))
            value = Fetched(404, {}, b"") if answer is None else Fetched(answer.status, {}, b"".join(answer.chunks))

    def prepared(self, offer, node=NODE, rules=ChainRules()):  # noqa: B008 - frozen
        return self.drive(self.door.prepare(offer, self.payer, node, rules))

    def proved(self, offer, anchor=None, nonce=b"\7" * 32):
        anchor = anchor or self.prepared(offer)
        terms = self.door.terms(offer, self.payer, now=1_800_000_000, nonce=nonce, max_lifetime=600, anchor=anchor)
        proof = self.door.prove(offer, terms, self.signer)
        return terms, proof

    def grow(self, blocks):
        """So many blocks above what is mined."""
        other, elsewhere = Account(b"\x33" * 32), Account(b"\x34" * 32).address
        self.chain.endow(STX, other.address, 1_000_000_000)
        for _ in range(blocks):
            self.chain.submit(other.sign(Transfer(elsewhere, 1), self.chain.nonce(other.address), 200).wire())

    def fate(self, offer, terms, node=NODE):
        return self.drive(self.door.fate(offer, terms, node))


def make_offer(symbol="STX", amount=1000, **fields):
    asset = assets.asset(fields.pop("network", NET), symbol)
    return Offer("x402", "exact", asset, amount, fields.pop("pay_to", SELLER), 300, **fields)


@pytest.fixture(name="offer")
def offer_of():
    return make_offer


@pytest.fixture
def ground():
    return Ground()
