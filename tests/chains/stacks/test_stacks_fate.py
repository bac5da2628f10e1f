"""What became of a payment on Stacks, by nodes that are right, behind, silent or lying."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from x402_agent.chains.stacks import read
from x402_agent.chains.stacks.fate import BURIED, FINAL
from x402_agent.model import Anchor
from x402_agent.sandbox.stacks.accounts import Account

NODE = "https://node.example/key-needle"
TWO = f"{NODE}|https://other.example"


def raw(proof):
    return bytes.fromhex(proof.payload["transaction"])


@pytest.fixture(params=["by its id", "by its nonce"])
def known(request):
    """Whether the ledger knows the transaction's id."""
    return lambda terms, proof: replace(terms, proved=proof.txid) if request.param == "by its id" else terms


def test_a_payment_that_nobody_sent_is_never_dead(ground, offer, known):
    terms, proof = ground.proved(offer())
    assert ground.fate(offer(), known(terms, proof)) == "unknown"
    ground.chain.automatic = False
    ground.chain.submit(raw(proof))
    assert ground.fate(offer(), known(terms, proof)) == "unknown"  # waiting
    ground.chain.drop("0x" + proof.txid)
    assert ground.fate(offer(), known(terms, proof)) == "unknown"  # b11: dropped is not dead


def test_aborted_is_dead_once_it_is_buried(ground, offer, known):
    wanted = offer("sBTC", 500)
    terms, proof = ground.proved(wanted)
    token = f"{wanted.asset.address}::sbtc-token"
    ground.chain.endow(token, ground.account, -ground.chain.balance(token, ground.account))
    ground.chain.submit(raw(proof))
    assert ground.chain.entry("0x" + proof.txid).status == "abort_by_response"
    terms = known(terms, proof)
    assert ground.fate(wanted, terms) == "unknown"
    ground.grow(BURIED)
    assert ground.fate(wanted, terms) == "dead"
    assert ground.fate(wanted, terms, TWO) == "dead"
    ground.told["other.example", f"/v2/accounts/{ground.account}"] = (500, {}, b"")
    assert ground.fate(wanted, terms, TWO) == "unknown"  # C2: all must say it


def test_a_nonce_that_another_transaction_spent_ends_it(ground, offer, known):
    terms, proof = ground.proved(offer())
    other = ground.proved(offer(amount=7), terms.anchor, b"\1" * 32)[1]
    ground.chain.submit(raw(other))
    assert ground.fate(offer(), known(terms, proof)) == "unknown"
    ground.grow(BURIED)
    assert ground.fate(offer(), known(terms, proof)) == "dead"


def test_a_flipped_id_in_the_ledger_frees_nothing(ground, offer):
    terms, proof = ground.proved(offer())
    ground.chain.submit(raw(proof))
    ground.grow(BURIED)
    for proved in ("0" * 64, "-", "x", proof.txid[:-1]):
        assert ground.fate(offer(), replace(terms, proved=proved)) == "settled"


def test_one_word_is_enough_to_keep_money_counted(ground, offer):
    terms, proof = ground.proved(offer())
    ground.chain.submit(raw(proof))
    ground.told["other.example", f"/v2/accounts/{ground.account}"] = b'{"nonce":0}'
    assert ground.fate(offer(), terms, TWO) == "settled"


LIES = {
    "a nonce that is spent, and no such transaction": {"history": {"results": []}, "tx": (404, {}, b"")},
    "a list that is no list": {"history": {"results": {}}, "tx": (404, {}, b"")},
    "a transaction without its arguments": {"history": "short", "tx": "short"},
    "a block that is not canonical": {"history": "fork", "tx": "fork"},
    "another chain": {"info": b'{"network_id":1}'},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_node_frees_nothing(ground, offer, lie):
    wanted = offer("sBTC")
    terms, proof = ground.proved(wanted)
    ground.chain.submit(raw(proof))
    ground.grow(BURIED)
    assert ground.fate(wanted, terms) == "settled"
    view = ground.api.handle(__import__("x402_agent.sandbox.messages", fromlist=["Request"]).Request(
        "GET", "https://node.example", f"/extended/v1/tx/0x{proof.txid}"))  # fmt: skip
    whole = json.loads(b"".join(view.chunks))
    whole = {
        "short": whole | {"contract_call": {key: value for key, value in whole["contract_call"].items() if key != "function_args"}},
        "fork": whole | {"canonical": False},
    }
    told = LIES[lie]
    for name, path in (("history", f"/extended/v1/address/{ground.account}/transactions"), ("tx", f"/extended/v1/tx/0x{proof.txid}"),
                       ("info", "/v2/info")):  # fmt: skip
        if name in told:
            said = told[name]
            said = ({"results": [whole[said]]} if name == "history" else whole[said]) if isinstance(said, str) else said
            ground.told[path] = json.dumps(said).encode() if isinstance(said, dict) else said
    assert ground.fate(wanted, terms) == "unknown"


def test_terms_without_an_account_nonce_are_unknown(ground, offer):
    terms, _ = ground.proved(offer())
    assert ground.fate(offer(), replace(terms, anchor=Anchor())) == "unknown"
    assert ground.fate(offer(), terms, "") == "unknown"
    assert ground.fate(offer(), terms, "http://node.example") == "unknown"


def test_what_a_seller_names_is_looked_up(ground, offer):
    terms, proof = ground.proved(offer())
    look = lambda named, node=NODE: ground.drive(ground.door.lookup(offer(), terms, named, node))  # noqa: E731
    assert look("settled!") == "unnamed"
    assert look(proof.txid) == "missing"
    ground.chain.submit(raw(proof))
    assert look(proof.txid) == look("0x" + proof.txid.upper()) == "pending"
    ground.grow(FINAL)
    assert look(proof.txid) == "paid"
    again = ground.proved(offer(), nonce=b"\1" * 32)[1]
    ground.chain.submit(raw(again))
    assert look(again.txid) == "another"
    assert look(proof.txid, "") == "unknown"


def test_a_refund_is_read_from_the_chain(ground, offer):
    seller = Account(b"\x44" * 32)
    ground.chain.endow("STX", seller.address, 1_000_000)
    wanted = offer(pay_to=seller.address)
    terms, _ = ground.proved(wanted)
    from x402_agent.chains.stacks import Transfer

    back = seller.sign(Transfer(ground.account, 300), 0, 200)
    txid = ground.chain.submit(back.wire())
    returned = lambda named: ground.drive(ground.door.returned(wanted, terms, named, NODE))  # noqa: E731
    assert returned(txid) is None  # young
    ground.grow(FINAL)
    assert returned(txid) == 300
    assert returned("x") is None and returned("0x" + "1" * 64) is None
    elsewhere = ground.chain.submit(seller.sign(Transfer(Account(b"\x55" * 32).address, 300), 1, 200).wire())
    ground.grow(FINAL)
    assert returned(elsewhere) is None
    assert ground.drive(ground.door.charged(wanted, terms, txid, NODE)) is None
    assert read(back.wire()).does.amount == 300
