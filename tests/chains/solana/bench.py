"""Transfers of our own on the sandbox's Solana, and nodes that lie about them."""

from __future__ import annotations

import json
from dataclasses import replace

from solders.pubkey import Pubkey

from x402_agent import assets
from x402_agent.chains.solana import Solana
from x402_agent.model import ChainRules, Offer
from x402_agent.steps import Fetch, Fetched, Progress
from x402_agent.transport.fetch import drive

CHAIN = Solana()
SOL = 10**9
RENT = 2_039_280


class Bench:
    """A sandbox with a node on loopback, a payer with SOL, and what one payment is made of."""

    def __init__(self, payer):
        self.payer, self.box, self.ground = payer, payer.box, payer.box.ground
        self.node, self.signer = payer.box.rpc_url, payer.signer("solana")
        self.account = self.signer.address("solana")
        self.usdc = self.ground.asset
        self.sol = assets.asset(self.usdc.network, "SOL")
        self.ground.chain.endow(self.ground.payer.pubkey(), SOL)
        self.count = 0

    def offer(self, amount=10_000, asset=None, **change):
        return replace(Offer("first", "transfer", asset or self.usdc, amount, self.box.pay_to, 60, method="transfer"), **change)

    def prepared(self, offer, rules=None, **lies):
        return drive(bent(CHAIN.prepare(offer, self.account, self.node, rules or ChainRules()), **lies))

    def made(self, offer, anchor=None, **rules):
        anchor = anchor or self.prepared(offer, ChainRules(**rules))
        self.count += 1
        terms = CHAIN.terms(offer, self.account, now=int(self.payer.clock()), nonce=bytes([self.count]) * 32, max_lifetime=600, anchor=anchor)
        return terms, CHAIN.prove(offer, terms, self.signer)

    def send(self, offer, terms, proof, node="", **lies):
        """-> how far it was told to have come; what that cost is in `took`."""
        told = []
        drive(bent(CHAIN.broadcast(offer, terms, proof, node or self.node), told, **lies))
        told = [each for each in told if isinstance(each, Progress)]
        self.took = told[-1].fee
        return [each.state for each in told]

    def fate(self, offer, terms, node="", **lies):
        return drive(bent(CHAIN.fate(offer, terms, node or self.node), **lies))

    def lamports(self, address):
        account = self.ground.chain.account(Pubkey.from_string(address))
        return account.lamports if account else 0


def bent(steps, told=None, **lies):
    """Steps whose calls of these methods get another answer than the node's: `lie(ask)`, where `ask()` asks it all the same."""
    got = None
    while True:
        try:
            step = steps.send(got)
        except StopIteration as done:
            return done.value
        if told is not None:
            told.append(step)
        lie = lies.get(json.loads(step.content)["method"]) if isinstance(step, Fetch) else None
        got = (yield step) if lie is None else (yield from lie(step))


def says(result):
    """A node that answers this, whatever is asked."""

    def lie(step):
        return Fetched(200, {}, json.dumps({"jsonrpc": "2.0", "id": json.loads(step.content)["id"], "result": result}).encode())
        yield

    return lie


def bends(change):
    """An honest answer with a change."""

    def lie(step):
        honest = yield step
        answer = json.loads(honest.content)
        change(answer)
        return Fetched(200, {}, json.dumps(answer).encode())

    return lie


def unlooked(step):
    """The node executes without trying it first: so what fails gets into a block."""
    return (yield step._replace(content=step.content.replace(b'"preflightCommitment":"confirmed"', b'"skipPreflight":true')))
