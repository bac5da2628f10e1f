"""A transfer of our own as a payment: which bytes, and what became of it by the chain's word, honest or not."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import pytest

from x402_agent import NoAcceptableOffer, Payer, SigningFailed, assets
from x402_agent.chains.evm import Evm, reads, transfer
from x402_agent.chains.evm.rpc import Node
from x402_agent.errors import NodeError
from x402_agent.model import FOREVER, ChainRules, Offer
from x402_agent.sandbox.token import raw_address
from x402_agent.steps import Fetched, Progress, Walk
from x402_agent.transport.fetch import _perform, drive
from x402_agent.transport.lines import Lines

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


@pytest.mark.proves("evm", "transfer", "fate")
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
    for step in walk:
        walk.got = Fetched(200, {}, b'{"jsonrpc":"2.0","id":%d,"result":"0x1"}' % json.loads(step.content)["id"])
    assert walk.result == "unknown"
    assert repr(Node(offer.network, "https://node.example/key")) == "Node(base-sepolia, https://node.example)"

# -- the network's own coin -------------------------------------------------------------------------------------------

ETH = assets.asset(assets.network(NETWORK), "ETH")
FRIEND = "0x00000000000000000000000000000000000A11cE"


def wei(bench, address=FRIEND):
    return bench.box.ground.chain.wei(raw_address(address))


def coin(bench, amount=12_345, **change):
    return replace(Offer("first", "transfer", ETH, amount, FRIEND, 60, method="transfer"), **change)


def proved(terms, proof):
    return replace(terms, proved=proof.txid)


def watched(steps, seen):
    """Perform them, and keep what is told of them."""
    walk = Walk(steps)
    with closing(Lines()) as lines:
        for step in walk:
            seen += [step] if isinstance(step, Progress) else []
            walk.got = _perform(step, lines)


def test_a_coin_moves_exactly_its_amount_and_is_known_by_its_id(bench):
    offer, before = coin(bench), wei(bench)
    terms, proof = bench.made(offer)
    terms = proved(terms, proof)
    assert proof.txid == proof.payload["transaction"][2:] and bench.fate(offer, terms) == "unknown"
    seen = []
    watched(EVM.broadcast(offer, terms, proof, bench.node), seen)
    assert wei(bench) - before == 12_345 and bench.fate(offer, terms) == "settled"
    assert [each.state for each in seen] == ["SEEN", "MINED"] and seen[1].fee > 0 and proof.txid in seen[1].words
    assert drive(EVM.lookup(offer, terms, "", bench.node)) == "paid"
    assert drive(EVM.balance(ETH, bench.account, bench.node)) == wei(bench, bench.account)


@pytest.mark.parametrize("change", [{"amount": 12_346}, {"pay_to": "0x00000000000000000000000000000000000B0b0b"}, {"amount": 0}])
def test_an_id_that_shows_another_transfer_of_a_coin_settles_and_frees_nothing(bench, change, monkeypatch):
    monkeypatch.setattr(transfer, "_BEHIND", -10)
    offer = coin(bench)
    terms, proof = bench.made(offer)
    drive(EVM.broadcast(offer, terms, proof, bench.node))
    assert bench.fate(replace(offer, **change), proved(terms, proof)) == "unknown"
    assert bench.fate(offer, replace(terms, proved="damaged")) == "unknown"  # without its id a coin is never found, nor given up


def test_a_coin_is_dead_once_a_final_other_has_its_account_nonce_by_the_word_of_all(bench, monkeypatch):
    monkeypatch.setattr(transfer, "_BEHIND", -10)
    offer, other = coin(bench), coin(bench, 7)
    terms, proof = bench.made(offer)
    theirs, second = bench.made(other, terms.anchor)
    drive(EVM.broadcast(other, theirs, second, bench.node))
    assert bench.fate(offer, proved(terms, proof)) == "dead" and bench.fate(other, proved(theirs, second)) == "settled"
    assert bench.fate(offer, proved(terms, proof), f"{bench.node}|http://127.0.0.1:9") == "unknown"


@pytest.mark.parametrize("made", ["coin", "token"])
def test_one_that_a_final_block_holds_and_that_moved_nothing_has_failed(bench, made, monkeypatch):
    """b8: its price is free again, its fee is not."""
    offer = coin(bench) if made == "coin" else bench.offer()
    terms, proof = bench.made(offer)
    drive(EVM.broadcast(offer, terms, proof, bench.node))
    honest = reads.receipt

    def failed(node, txid):
        mined = yield from honest(node, txid)
        return mined and replace(mined, ok=False, logs=())

    def no_logs(node, token, **_):
        return []
        yield

    monkeypatch.setattr(reads, "receipt", failed)
    monkeypatch.setattr(reads, "transfer_logs", no_logs)
    terms = proved(terms, proof)
    assert bench.fate(offer, terms) == "failed"
    assert bench.fate(offer, terms, f"{bench.node}|http://127.0.0.1:9") == "unknown"
    seen = []
    with pytest.raises(NodeError, match="failed"):
        watched(EVM.broadcast(offer, terms, proof, bench.node), seen)
    assert [(each.state, each.fee > 0) for each in seen] == [("MINED", True)]  # what it cost is told before it is given up


def test_no_coin_goes_to_a_contract_and_a_delegated_account_is_none(bench):
    code = {"0x" + "c1" * 20: b"\x60\x00", "0x" + "c2" * 20: b"\xef\x01\x00" + b"\x11" * 20, "0x" + "c3" * 20: b"\xef\x01\x00" + b"\x11" * 19}
    for address, held in code.items():
        asked = Walk(reads.is_account(Node(ETH.network, "https://node.example"), address))
        for step in asked:
            said = "0x14a34" if b"eth_chainId" in step.content else "0x" + held.hex()
            asked.got = Fetched(200, {}, json.dumps({"jsonrpc": "2.0", "id": json.loads(step.content)["id"], "result": said}).encode())
        assert asked.result == (address == "0x" + "c2" * 20)
    with pytest.raises(NoAcceptableOffer, match="is a contract"):
        bench.made(coin(bench, pay_to=bench.offer().asset.address))


def test_a_coin_and_its_gas_must_both_be_there(bench):
    had = wei(bench, bench.account)
    with pytest.raises(NoAcceptableOffer, match="too little of the coin"):
        bench.made(coin(bench, had - 5))
    with pytest.raises(NoAcceptableOffer, match="the account has only"):
        bench.made(coin(bench, had + 1))


@pytest.mark.parametrize("change", [{"scheme": "exact", "method": ""}, {"scheme": "exact", "method": "permit2"}, {"scheme": "upto", "method": "permit2", "facilitator": FRIEND}])
def test_A6_no_authorisation_moves_a_coin(bench, change):
    assert EVM.refuses(coin(bench), bench.account) == ""
    assert "coin" in EVM.refuses(coin(bench, **change), bench.account)
