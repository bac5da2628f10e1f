"""A transfer of our own as a payment: which bytes, and what became of it by the chain's word, honest or not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from x402_agent import Payer, SigningFailed
from x402_agent.chains.evm import Evm, reads, transfer
from x402_agent.chains.evm.rpc import Node
from x402_agent.errors import NodeError
from x402_agent.model import FOREVER, ChainRules, Offer
from x402_agent.steps import Fetched, Walk
from x402_agent.transport.fetch import drive

NETWORK = "eip155:84532"
EVM = Evm()


class Bench:
    """A sandbox with a node on loopback, and what one payment is made of."""

    def __init__(self, payer):
        self.payer, self.box = payer, payer.box
        self.node, self.signer = payer.box.rpc_url, payer.signer("eip155")
        self.account = self.signer.address("eip155")

    def offer(self, amount=10_000, **change):
        asset = self.payer.quote(self.box.url("/joke")).chosen.asset
        return replace(Offer("first", "transfer", asset, amount, self.box.pay_to, 60, method="transfer"), **change)

    def made(self, offer, anchor=None):
        anchor = anchor or drive(EVM.prepare(offer, self.account, self.node, ChainRules()))
        terms = EVM.terms(offer, self.account, now=int(self.payer.clock()), nonce=bytes(32), max_lifetime=600, anchor=anchor)
        return terms, EVM.prove(offer, terms, self.signer)

    def fate(self, offer, terms, node=None):
        return drive(EVM.fate(offer, terms, node or self.node))


@pytest.fixture
def bench():
    with Payer.sandbox(serve=True) as payer:
        yield Bench(payer)


def test_the_same_terms_give_the_same_bytes_and_no_clock_ends_them(bench):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    assert EVM.prove(offer, terms, bench.signer).payload == proof.payload and proof.expires == FOREVER
    assert bench.fate(offer, terms) == "unknown"
    assert proof.payload["raw"][:4] == "0x02" and proof.payload["raw"] not in repr(proof)
    drive(EVM.broadcast(offer, terms, proof, bench.node))
    assert bench.box.balance(bench.box.pay_to) == 10_000 and bench.fate(offer, terms) == "settled"
    drive(EVM.broadcast(offer, terms, proof, bench.node))  # again it only looks
    assert bench.box.balance(bench.box.pay_to) == 10_000


def test_another_transaction_under_its_account_nonce_is_its_end_and_only_once_that_is_final(bench, monkeypatch):
    offer, other = bench.offer(), bench.offer(20_000)
    terms, _ = bench.made(offer)
    theirs, proof = bench.made(other, terms.anchor)
    drive(EVM.broadcast(other, theirs, proof, bench.node))
    assert bench.fate(other, theirs) == "settled"
    assert bench.fate(offer, terms) == "unknown"  # a node may lag behind itself for a quarter of an hour
    monkeypatch.setattr(transfer, "_BEHIND", -10)
    assert bench.fate(offer, terms) == "dead"
    assert bench.fate(offer, terms, f"{bench.node}|http://127.0.0.1:9") == "unknown"  # all must say so


def test_the_same_amount_to_the_same_payee_under_another_nonce_is_another_payment(bench, monkeypatch):
    monkeypatch.setattr(transfer, "_BEHIND", -10)
    offer = bench.offer()
    first, proof = bench.made(offer)
    drive(EVM.broadcast(offer, first, proof, bench.node))
    second, _ = bench.made(offer)
    assert second.anchor.number == first.anchor.number + 1 and bench.fate(offer, second) == "unknown" and bench.fate(offer, first) == "settled"


def test_a_success_without_the_tokens_own_log_is_no_payment(bench, monkeypatch):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    honest = reads.receipt

    def bare(node, txid):
        mined = yield from honest(node, txid)
        return mined and replace(mined, logs=())

    monkeypatch.setattr(reads, "receipt", bare)
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)
    with pytest.raises(Exception, match="without a final block"):
        drive(EVM.broadcast(offer, terms, proof, bench.node))


def test_one_that_failed_in_a_block_is_told_and_frees_nothing_by_itself(bench, monkeypatch):
    offer = bench.offer()
    terms, proof = bench.made(offer)
    honest = reads.receipt

    def failed(node, txid):
        mined = yield from honest(node, txid)
        return mined and replace(mined, ok=False, logs=())

    monkeypatch.setattr(reads, "receipt", failed)
    with pytest.raises(NodeError, match="failed"):
        drive(EVM.broadcast(offer, terms, proof, bench.node))


def test_as_many_confirmations_as_the_networks_row_wants(bench, monkeypatch):
    deep = bench.offer()
    network = replace(deep.network, confirmations=3)
    offer = replace(deep, asset=replace(deep.asset, network=network))
    terms, proof = bench.made(deep)
    heads = []

    def height(node):
        mined = yield from reads.receipt(node, proof.payload["transaction"])
        heads.append(mined.block + len(heads))  # a block more each time it is asked
        return heads[-1]

    monkeypatch.setattr(reads, "height", height)
    drive(transfer.broadcast(offer, terms, proof, bench.node))
    assert len(heads) == 3


@pytest.mark.parametrize("change", [{"scheme": "exact"}, {"facilitator": "0x" + "cd" * 20}, {"fee_cap": 1}, {"pay_to": "0x" + "00" * 20}, {"amount": 0}])
def test_nothing_else_is_signed_by_this_way(bench, change):
    offer = bench.offer()
    terms, _ = bench.made(offer)
    with pytest.raises(SigningFailed):
        EVM.prove(replace(offer, **change), terms, bench.signer)


def test_another_chain_is_not_believed(bench):
    offer = bench.offer()
    terms, _ = bench.made(offer)
    walk = Walk(EVM.fate(offer, terms, "https://node.example"))
    for _ in walk:
        walk.got = Fetched(200, {}, b'{"jsonrpc":"2.0","id":1,"result":"0x1"}')
    assert walk.result == "unknown"
    assert repr(Node(offer.network, "https://node.example/key")) == "Node(base-sepolia, https://node.example)"
