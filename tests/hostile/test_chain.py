"""Rows D9, D10, V4, V5, V8, V9, V12: what a seller says of a settlement, and what a node on loopback shows of it."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace

import pytest

from hostile.arena import CENT
from x402_agent import Policy

NAMED = "the transaction that the seller named"
UNUSED, USED = "0x" + "0" * 64, "0x" + "0" * 63 + "1"


class Node:
    """A JSON-RPC node of Base Sepolia that says what the test wants of every nonce."""

    def __init__(self, seller):
        self.latest, self.final, self.time = UNUSED, UNUSED, 0
        self.url = seller.serves("/node", self.answer)
        self.seller = seller
        self.known = True

    def mined(self, txid):
        found = {"status": "0x1", "blockNumber": "0x1", "logs": [], "gasUsed": "0x1", "transactionHash": txid}
        return found if self.known else None

    def answer(self, hit):
        call = json.loads(hit.body)
        result = {
            "eth_chainId": lambda: "0x14a34",
            "eth_call": lambda: self.latest if call["params"][1] == "latest" else self.final,
            "eth_getBlockByNumber": lambda: {"number": "0x64", "timestamp": hex(self.time), "hash": "0x" + "1" * 64},
            "eth_getTransactionReceipt": lambda: self.mined(call["params"][0]),
        }[call["method"]]()
        return self.seller.answer(200, json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode())


class World:
    """A payer with a node and a clock, and a seller that takes the proof and answers as it likes."""

    def __init__(self, arena):
        self.arena = arena
        self.node = Node(arena.other)
        self.now = time.time()
        arena.till.settings = replace(arena.till.settings, nodes={"eip155:84532": self.node.url})
        poor = Policy(networks=("testnet",), know_balance=False)  # this node has answers about proofs alone
        self.payer = arena.payer = arena.till.payer(clock=lambda: self.now, policy=poor)

    def get(self, answer):
        url = self.arena.seller.sells("/paid", answer)
        with self.payer.client() as client:
            return client.get(url)

    def resume(self):
        self.payer.ledger.flush()
        return [(each.before, each.after) for each in self.payer.resume()]

    def notes(self):
        (payment,) = self.payer.ledger.payments()
        return [event.data.get("note", "") for event in self.payer.ledger.events(payment.payment_id)]

    @property
    def state(self):
        self.payer.ledger.flush()
        return [payment.state for payment in self.payer.ledger.payments()]


@pytest.fixture
def world(arena):
    return World(arena)


def failed(world):
    return world.arena.seller.ask("/paid", body=b'{"error": "settlement failed, sign again"}')


def test_D9_settled_by_somebody_else_while_the_seller_says_that_it_failed(world):
    assert world.get(failed(world)).extensions["payment"].outcome == "refused"
    world.node.latest = USED
    assert world.resume() == [("UNKNOWN", "CONFIRMED")]
    assert world.get(world.arena.seller.ok()).text == "paid content"
    assert len(world.arena.proofs) == 1 and world.arena.counted() == CENT


def test_D10_a_transaction_that_did_not_revert_confirms_nothing(world):
    answer = world.arena.seller.answer(500, b"", payment_response=world.arena.seller.receipt(success=False))
    world.get(answer)
    assert world.resume() == [("UNKNOWN", "UNKNOWN")]
    assert world.arena.counted() == CENT and len(world.arena.proofs) == 1


def test_V4_never_settled_is_given_back_only_by_a_final_block_past_its_end(world):
    world.get(failed(world))
    world.now += 7200
    assert world.resume() == [("UNKNOWN", "UNKNOWN")]  # our own clock, and a node that is behind, free nothing
    assert world.arena.counted() == CENT
    world.node.time = int(world.now)
    assert world.resume() == [("UNKNOWN", "DEAD")]
    assert world.arena.counted() == 0
    assert world.get(world.arena.seller.ok()).text == "paid content"
    assert len(world.arena.proofs) == 2


@pytest.mark.parametrize("past", [-1, 0])
def test_V5_until_its_last_second_it_counts(world, past):
    world.get(failed(world))
    ends = int(world.arena.proofs[0]["validBefore"])
    world.now += 7200
    world.node.time = ends + past
    assert world.resume() == [("UNKNOWN", "UNKNOWN")]
    assert world.arena.counted() == CENT


def test_V8_somebody_elses_transaction_is_a_claim_and_no_more(world):
    reply = world.get(world.arena.seller.ok(payment_response=world.arena.seller.receipt(transaction="0x" + "77" * 32)))
    assert reply.extensions["payment"].transaction == "0x" + "77" * 32
    assert world.state == ["CLAIMED"]
    assert world.resume() == [("CLAIMED", "CLAIMED")] and world.notes()[-1] == f"{NAMED} is not this payment"
    assert world.resume() == [], "told once"
    assert world.arena.counted() == CENT


def test_V1_a_transaction_that_was_made_up(world):
    world.get(world.arena.seller.ok(payment_response=world.arena.seller.receipt(transaction="0x" + "78" * 32)))
    world.node.known = False
    assert world.resume() == [("CLAIMED", "CLAIMED")] and world.notes()[-1] == f"{NAMED} is not on the chain"
    world.node.latest = USED  # settled all the same, by a transaction that nobody named
    assert world.resume() == [("CLAIMED", "CONFIRMED")] and "settled on chain" in world.notes()[-1]
    assert world.arena.counted() == CENT


def test_V4_content_for_a_proof_that_is_never_settled_costs_nothing_once_it_is_dead(world):
    world.get(world.arena.seller.ok(payment_response=world.arena.seller.receipt(transaction="0x" + "78" * 32)))
    world.now += 7200
    assert world.resume() == [("CLAIMED", "CLAIMED")] and world.arena.counted() == CENT
    world.node.time = int(world.now)
    assert world.resume() == [("CLAIMED", "DEAD")]
    assert world.arena.counted() == 0


LIES = {
    "payer": {"payer": "0x" + "66" * 20}, "network": {"network": "eip155:1"}, "payTo": {"payTo": "0x" + "66" * 20},
    "amount": {"amount": "9999999"}, "success": {"success": False}, "payer, amount": {"payer": 7, "amount": [1]},
}  # fmt: skip


@pytest.mark.parametrize("wrong", LIES)
def test_V1_a_receipt_that_says_otherwise_than_was_signed_is_noted_and_changes_nothing(world, wrong):
    reply = world.get(world.arena.seller.ok(payment_response=world.arena.seller.receipt(**LIES[wrong])))
    receipt = reply.extensions["payment"]
    assert reply.text == "paid content" and receipt.outcome == "spent"
    assert receipt.differs == f"the seller's receipt says otherwise than was signed: {wrong}"
    assert world.state == ["CLAIMED"] and world.arena.counted() == CENT
    assert world.notes()[-1] == receipt.differs


def test_V1_a_receipt_that_says_what_was_signed_is_not_noted(world):
    proof = {"payer": world.payer.wallet.address("eip155").lower(), "network": "base-sepolia", "amount": "10000"}
    reply = world.get(world.arena.seller.ok(payment_response=world.arena.seller.receipt(**proof)))
    assert reply.extensions["payment"].differs == world.notes()[-1] == ""


def test_V9_a_settlement_that_is_reorganised_away_stays_counted(world):
    world.get(failed(world))
    world.node.latest = USED
    assert world.resume() == [("UNKNOWN", "CONFIRMED")]
    world.now += 7200
    world.node.latest, world.node.time = UNUSED, int(world.now)
    assert world.resume() in ([("CONFIRMED", "CONFIRMED")], [])
    assert world.arena.counted() == CENT and len(world.arena.proofs) == 1


def test_V12_what_a_payment_was_for_can_be_told_by_us_and_linked_by_nobody(world):
    seller = world.arena.seller
    wants = {"payment-identifier": {"info": {"required": True}}}
    packed = seller.packed({**seller.terms("/paid"), "extensions": wants})

    def route(hit):
        return seller.answer(500) if hit.proof else seller.answer(402, b"", payment_required=packed)

    for path in ("/paid", "/other"):
        url = seller.serves(path, route)
        with world.payer.client() as client:
            client.get(url)
            client.get(url)
    said = [json.loads(base64.b64decode(proof))["extensions"]["payment-identifier"]["info"]["id"] for proof in seller.proofs]
    assert len(said) >= 4 and len(set(said)) == 2  # the same at each showing, another for each payment
    assert not any(proof["nonce"][2:20] in " ".join(said) for proof in world.arena.proofs)
