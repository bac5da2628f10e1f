"""Paying first on Solana, from the call to the goods: what drops, fails or ends on the way, and never twice."""

from __future__ import annotations

import dataclasses
import time

import anyio
import pytest

from first import First, moved, shop, states
from x402_agent import NoAcceptableOffer, Payer, PaymentInDoubt, PolicyDenied
from x402_agent.chains.solana import transfer
from x402_agent.model import ChainRules
from x402_agent.payer import following
from x402_agent.sandbox.solana.token import TOKEN
from x402_agent.sandbox.solana.token import transfer as moving
from x402_agent.steps import Sleep

PRICE = 10_000
KEY = {"extensions": {"payment": {"key": "one"}}}
HONEST = transfer.reads.send


@pytest.fixture
def payer():
    with Payer.sandbox(chain="solana", serve=True) as made:
        made.dialects = (First(),)
        yield made


def ends(payer):
    """A node that takes every transaction and forwards none, until the blockhash has ended."""

    def swallow(_node, _raw):
        payer.box.warp(120)
        return
        yield

    return swallow


def get(payer, url, world, **options):
    async def go():
        async with payer.async_client() as http:
            return await http.get(url, **options)

    if world == "sync":
        with payer.client() as http:
            return http.get(url, **options)
    return anyio.run(go, backend=world)


@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_a_dropped_transaction_is_in_doubt_until_the_chain_shows_that_its_blockhash_has_ended(payer, seller, monkeypatch, world):
    monkeypatch.setattr(transfer, "_AGAIN", 0.3)
    url, shown = shop(seller, payer.box)
    monkeypatch.setattr(transfer.reads, "send", ends(payer))
    with pytest.raises(PaymentInDoubt, match="its blockhash has ended") as caught:
        get(payer, url, world, **KEY)
    assert "x402-agent resume" in caught.value.hint and shown == [] and states(payer) == ["SEEN"]
    monkeypatch.setattr(transfer.reads, "send", HONEST)
    nodes, payer.settings = payer.settings.nodes, dataclasses.replace(payer.settings, nodes={})
    with pytest.raises(PaymentInDoubt):  # without a node nothing is free, and nothing else is signed
        get(payer, url, world, **KEY)
    assert len(states(payer)) == 1 and moved(payer) == 0
    payer.settings = dataclasses.replace(payer.settings, nodes=nodes)
    (done,) = payer.resume()
    assert done.after == "DEAD" and moved(payer) == 0
    assert get(payer, url, world, **KEY).status_code == 200
    assert moved(payer) == PRICE and len(shown) == 1 and states(payer) == ["CLAIMED", "DEAD"]


def test_what_arrived_although_no_answer_said_so_is_shown_and_not_paid_again(payer, seller, monkeypatch):
    """The node took it, put it into a block, and every word of it was lost until the blockhash had ended."""
    url, shown = shop(seller, payer.box)
    monkeypatch.setattr(transfer, "PATIENCE", 0.5)

    def lost(_node, _signature):
        return None
        yield

    honest = transfer.reads.status
    monkeypatch.setattr(transfer.reads, "status", lost)
    with pytest.raises(PaymentInDoubt):
        get(payer, url, "sync", **KEY)
    assert moved(payer) == PRICE and shown == []
    payer.box.warp(600)
    monkeypatch.setattr(transfer.reads, "status", honest)
    assert get(payer, url, "sync", **KEY).status_code == 200
    assert moved(payer) == PRICE and len(shown) == 1 and len(states(payer)) == 1


def test_a_node_that_is_slow_to_answer_stretches_no_wait(payer, seller, monkeypatch):
    """What a chain waits for blocks is counted in pauses; a node that keeps each question for as long as it may would make hours of that."""
    url, shown = shop(seller, payer.box)

    def slow(_node, _signature):
        time.sleep(0.2)
        return None
        yield

    monkeypatch.setattr(following, "ON_CHAIN", 0.3)
    monkeypatch.setattr(transfer.reads, "status", slow)
    began = time.monotonic()
    with pytest.raises(PaymentInDoubt, match="nodes are slow to answer") as caught:
        get(payer, url, "sync", **KEY)
    assert time.monotonic() - began < 30 and "x402-agent resume" in caught.value.hint and shown == [] and len(states(payer)) == 1


def test_one_that_failed_gives_its_price_back_and_only_then_is_another_made(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    ground, account = payer.box.ground, payer.box.payer_address

    def drained(node, raw):
        """Just before it lands the money is gone, and the node does not look before it leaps."""
        ground.send([moving(ground.payer.pubkey(), ground.operator.pubkey(), payer.box.balance(account), ground.mint, TOKEN)], ground.payer)
        yield from node.ask("sendTransaction", raw, {"encoding": "base64", "skipPreflight": True})

    ground.fund(str(ground.operator.pubkey()), 1)  # who gets it has an account of the token
    monkeypatch.setattr(transfer.reads, "send", drained)
    with pytest.raises(PaymentInDoubt, match="and failed"):
        get(payer, url, "sync", **KEY)
    assert states(payer) == ["MINED"] and shown == []
    (done,) = payer.resume()
    assert done.after == "REVERTED" and payer.ledger.verify() == [] and moved(payer) == 0
    monkeypatch.setattr(transfer.reads, "send", HONEST)
    payer.box.fund(account, PRICE)
    payer.balances._seen.clear()
    assert get(payer, url, "sync", **KEY).status_code == 200
    assert states(payer) == ["CLAIMED", "REVERTED"] and moved(payer) == PRICE


def test_cancelled_on_its_way_it_is_found_again(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)

    scopes = []

    def held(_node, _signature):
        scopes[0].cancel()
        yield Sleep(60)

    honest = transfer.reads.status
    monkeypatch.setattr(transfer.reads, "status", held)

    async def go():
        async with payer.async_client() as http:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await http.get(url, **KEY)

    anyio.run(go)
    assert shown == [] and len(states(payer)) == 1 and states(payer)[0] not in ("DEAD", "RELEASED")
    monkeypatch.setattr(transfer.reads, "status", honest)
    assert get(payer, url, "sync", **KEY).status_code == 200 and moved(payer) == PRICE and len(states(payer)) == 1


def test_beyond_the_fee_that_policy_lets_the_network_take_nothing_is_signed(payer, seller):
    url, shown = shop(seller, payer.box)
    payer.policy = dataclasses.replace(payer.policy, chains=ChainRules(fees={"solana": 5_000}))
    with pytest.raises(PolicyDenied, match="C8"):
        get(payer, url, "sync")
    payer.policy = dataclasses.replace(payer.policy, chains=ChainRules())
    payer.settings = dataclasses.replace(payer.settings, nodes={})
    with pytest.raises(NoAcceptableOffer, match="needs a node"):
        get(payer, url, "sync")
    assert shown == [] and states(payer) == []
