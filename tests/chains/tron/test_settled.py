"""Our proofs on the pretend TRON: settled by the contracts' own verdict, found by the node's, dead when their time is over."""

from __future__ import annotations

import dataclasses

import pytest

from trontools import World
from x402_agent.chains.tron import permit, permit2
from x402_agent.chains.tron.addresses import address_bytes, any_form
from x402_agent.chains.tron.fate import LAG
from x402_agent.primitives import EvmKey
from x402_agent.sandbox.tron import contracts
from x402_agent.sandbox.tron.node import answer_node
from x402_agent.wallet import KeySigner

KEY = bytes.fromhex("22" * 32)
WAYS = [permit.METHOD, permit2.METHOD]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def ask(world, node):
    """Drive steps against the pretend chain's HTTP API."""

    def run(steps):
        asked = node()
        paths = ("wallet_getblockbynum", "wallet_triggerconstantcontract", "walletsolidity_triggerconstantcontract", "wallet_getaccount",
                 "walletsolidity_getnowblock", "wallet_gettransactioninfobyid", "walletsolidity_gettransactioninfobyid")  # fmt: skip
        asked.answers = {path: lambda body, path=path: answer_node(world.chain, "/" + path.replace("_", "/"), body) for path in paths}
        return asked.drive(steps)

    return run


@pytest.fixture
def signer():
    return KeySigner(KEY, "tron")


@pytest.fixture
def ready(world, signer):
    """The payer has USDT, and both contracts are allowed to move them."""
    key = EvmKey(KEY)
    own = address_bytes(signer.address("tron"))
    world.chain.endow(own, 1_000_000_000)
    world.contracts.mint(own, 10_000)
    for spender in (contracts.PAYMENT_PERMIT, contracts.PERMIT2):
        world.contracts.approve(key, spender, 5_000)
    return own


def settlement(payload):
    """The facilitator's call, from nothing but what travelled."""
    signature = bytes.fromhex(payload["signature"][2:])
    if found := payload.get("permit2Authorization"):
        made = contracts.Permit2(
            int(found["nonce"]), int(found["witness"]["validAfter"]), int(found["deadline"]), any_form(found["from"]),
            any_form(found["spender"]), any_form(found["permitted"]["token"]), int(found["permitted"]["amount"]),
            any_form(found["witness"]["to"]),
        )  # fmt: skip
        return made.settlement(signature)
    found = payload["paymentPermit"]
    meta, money, fee = found["meta"], found["payment"], found["fee"]
    made = contracts.Permit(
        bytes.fromhex(meta["paymentId"][2:]), int(meta["nonce"]), meta["validAfter"], meta["validBefore"],
        address_bytes(found["buyer"]), address_bytes(found["caller"]), address_bytes(money["payToken"]), int(money["payAmount"]),
        address_bytes(money["payTo"]), address_bytes(fee["feeTo"]), int(fee["feeAmount"]),
    )  # fmt: skip
    return made.settlement(signature)


@pytest.mark.parametrize("way", WAYS)
def test_a_proof_settles_once_and_is_found(way, world, ask, ready, tron, offer, signer):
    facilitator = EvmKey(bytes.fromhex("33" * 32))
    caller = KeySigner(bytes.fromhex("33" * 32), "tron").address("tron")
    world.chain.endow(address_bytes(caller), 1_000_000_000)
    made = offer(method=way) if way == permit2.METHOD else offer(facilitator=caller)
    now = world.chain.now()
    terms = tron.terms(made, signer.address("tron"), now=now, nonce=b"n" * 32, max_lifetime=600)
    proof = tron.prove(made, terms, signer)
    url = "https://node.example"
    assert ask(tron.fate(made, terms, url)) == "unknown"
    mined = world.chain.send(facilitator, *settlement(proof.payload))
    info = answer_node(world.chain, "/wallet/gettransactioninfobyid", {"value": mined.envelope.txid})
    assert info["receipt"]["result"] == "SUCCESS", info
    assert world.contracts.balance(address_bytes(made.pay_to)) == 1000
    assert world.contracts.balance(ready) == 10_000 - made.money.amount
    assert ask(tron.fate(made, terms, url)) == "settled"
    assert ask(tron.lookup(made, terms, mined.envelope.txid, url)) == "pending"
    world.chain.warp(120)
    assert ask(tron.lookup(made, terms, mined.envelope.txid, url)) == "paid"
    assert ask(tron.balance(made.asset, signer.address("tron"), url)) == 10_000 - made.money.amount
    again = world.chain.send(facilitator, *settlement(proof.payload))
    info = answer_node(world.chain, "/wallet/gettransactioninfobyid", {"value": again.envelope.txid})
    assert info["receipt"]["result"] != "SUCCESS"
    assert ask(tron.lookup(made, terms, again.envelope.txid, url)) == "another"
    other = dataclasses.replace(terms, nonce="0x" + "66" * 32)
    assert ask(tron.lookup(made, other, mined.envelope.txid, url)) == "another"


@pytest.mark.parametrize("way", WAYS)
def test_what_never_came_is_dead_after_its_end(way, world, ask, ready, tron, offer, signer):
    made = offer(method=way)
    now = world.chain.now()
    terms = tron.terms(made, signer.address("tron"), now=now, nonce=b"n" * 32, max_lifetime=60)
    tron.prove(made, terms, signer)
    url = "https://node.example"
    world.chain.warp(60 + LAG)  # the solid block is some behind
    assert ask(tron.fate(made, terms, url)) == "unknown"
    world.chain.warp(120)
    assert ask(tron.fate(made, terms, url)) == "dead"
