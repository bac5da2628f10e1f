"""Paid on Stacks from the 402 to the block: a seller in front of the double, in every library and world."""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import replace

import httpx
import pytest

from x402_agent import NoAcceptableOffer, PaymentInDoubt, Policy, Wallet, assets
from x402_agent.chains.stacks import read
from x402_agent.chains.stacks.signing import own
from x402_agent.errors import SigningFailed
from x402_agent.recovery import resume
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.stacks.api import Api
from x402_agent.sandbox.stacks.chain import Chain
from x402_agent.sandbox.stacks.contracts import sip010

NET = assets.network("stacks-testnet")
USDCX = assets.asset(NET, "USDCx")
PAY_TO = "ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG"
V1 = {"maxAmountRequired": "900", "payTo": PAY_TO, "network": "testnet", "nonce": "5f0e", "expiresAt": "2026-11-20T23:40:34.548Z",
      "resource": "/v1", "tokenType": "USDCx",
      "tokenContract": {"address": USDCX.address.partition(".")[0], "name": "usdcx"}}  # fmt: skip


class Shop:
    """A seller who broadcasts what he is shown, and the node of the same chain."""

    def __init__(self, seller, node, till):
        self.seller, self.chain = seller, Chain()
        self.api, self.shown, self.answer = Api(self.chain), [], None
        self.chain.deploy(sip010(USDCX.address, USDCX.detail, "USDCx", 6))
        wallet = Wallet.from_key("11" * 32, "stacks")
        self.account = own(wallet.address("stacks"), NET)
        self.chain.endow("STX", self.account, 10_000_000)
        self.chain.endow(f"{USDCX.address}::{USDCX.detail}", self.account, 1_000_000)
        till.settings = replace(till.settings, nodes={NET.id: node.origin})
        self.make, self.wallet = till.payer, wallet
        for path in ("/v2/info", "/v2/fees/transaction", f"/v2/accounts/{self.account}", f"/extended/v1/address/{self.account}/nonces",
                     f"/extended/v1/address/{self.account}/balances", f"/extended/v1/address/{self.account}/transactions"):  # fmt: skip
            node.serves(path, self._node)
        self.node = node
        self.two = seller.serves("/v2", self._sell)
        self.one = seller.serves("/v1", self._sell)

    def payer(self, **options):
        made = self.make(**options)
        made.wallet = self.wallet
        return made

    def _node(self, hit):
        path, _, query = hit.path.partition("?")
        answer = self.api.handle(Request(hit.method, "http://node", path, hit.headers, hit.body, query))
        return self.seller.answer(answer.status, b"".join(answer.chunks), content_type="application/json")

    def _sell(self, hit):
        if not hit.proof:
            return self._demand(hit.path)
        self.shown.append(hit.proof)
        raw = hit.proof if hit.path == "/v1" else json.loads(base64.b64decode(hit.proof))["payload"]["transaction"]
        if self.answer is not None:
            return self.answer(hit)
        txid = self.chain.submit(bytes.fromhex(raw))
        self.node.serves(f"/extended/v1/tx/{txid}", self._node)
        if hit.path == "/v1":
            return self.seller.answer(200, b"goods", x_payment_response=packed({"txId": txid, "status": "success"}))
        paid = {"success": True, "payer": self.account, "transaction": txid, "network": NET.id}
        return self.seller.answer(200, b"goods", payment_response=packed(paid))

    def _demand(self, path):
        if path == "/v1":
            return self.seller.answer(402, json.dumps(V1).encode())
        entry = {"scheme": "exact", "network": NET.id, "amount": "1000", "asset": USDCX.address, "payTo": PAY_TO, "maxTimeoutSeconds": 300}
        return self.seller.answer(402, b"{}", payment_required=packed({"x402Version": 2, "resource": {"url": self.two}, "accepts": [entry]}))

    def balance(self):
        return self.chain.balance(f"{USDCX.address}::{USDCX.detail}", PAY_TO)


def packed(document):
    return base64.b64encode(json.dumps(document).encode()).decode()


@pytest.fixture
def shop(seller, other, till):
    return Shop(seller, other, till)


def get(payer, url):
    with payer.client() as client:
        return client.get(url)


@pytest.mark.parametrize("path, price", [("two", 1000), ("one", 900)])
def test_paid_in_every_world(shop, drive, path, price):
    payer = shop.payer()
    reply = drive(payer, "GET", getattr(shop, path))
    assert reply.status_code == 200 and reply.content == b"goods"
    receipt = reply.extensions["payment"]
    assert (receipt.outcome, receipt.differs, shop.balance()) == ("spent", "", price)
    assert len(shop.shown) == 1
    assert [each.state for each in payer.ledger.payments()] == ["CLAIMED"]


def test_each_payment_takes_its_own_account_nonce(shop):
    payer = shop.payer()
    for _ in range(3):
        assert get(payer, shop.two).status_code == 200
    nonces = [read(bytes.fromhex(json.loads(base64.b64decode(each))["payload"]["transaction"])).origin.nonce for each in shop.shown]
    assert nonces == [0, 1, 2] and shop.balance() == 3000


def test_a_lost_answer_is_asked_for_with_the_same_bytes_and_the_chain_tells(shop):
    payer = shop.payer()
    shop.answer = lambda hit: hit.reset()
    with pytest.raises(PaymentInDoubt):
        get(payer, shop.two)
    shop.answer = None
    first, (row,) = shop.shown[0], resume(payer, None)
    assert row.after == "CLAIMED" and set(shop.shown) == {first}
    assert payer.ledger.open_payments() == []


def test_what_settled_unseen_is_found_by_the_id_of_our_own_bytes(shop):
    payer = shop.payer()

    def takes_and_says_nothing(hit):
        raw = json.loads(base64.b64decode(hit.proof))["payload"]["transaction"]
        if shop.chain.nonce(shop.account) == 0:
            txid = shop.chain.submit(bytes.fromhex(raw))
            shop.node.serves(f"/extended/v1/tx/{txid}", shop._node)
        return hit.reset()

    shop.answer = takes_and_says_nothing
    with pytest.raises(PaymentInDoubt):
        get(payer, shop.two)
    (hold,) = payer.ledger.open_payments()
    made = read(bytes.fromhex(json.loads(base64.b64decode(shop.shown[0]))["payload"]["transaction"]))
    assert "0x" + hold.terms.proved == made.txid
    shop.node.serves(f"/extended/v1/address/{shop.account}/transactions", b"")  # no history: the id alone
    (row,) = resume(payer, None)
    assert row.after == "CONFIRMED" and shop.balance() == 1000 and len(set(shop.shown)) == 1


def test_a_held_transaction_is_in_doubt_and_shown_again_never_paid_anew(shop):
    payer = shop.payer()
    held = packed({"success": False, "errorReason": "transaction_held", "transaction": "", "network": NET.id})
    shop.answer = lambda hit: shop.seller.answer(402, b"{}", payment_response=held, payment_required="e30=")
    replies = [get(payer, shop.two) for _ in range(2)]
    assert [each.extensions["payment"].outcome for each in replies] == ["in_doubt", "in_doubt"]
    assert len(set(shop.shown)) == 1
    (row,) = resume(payer, None)
    assert "until the chain shows its end" in row.todo


def test_without_a_node_nothing_is_held(shop, till):
    till.settings = replace(till.settings, nodes={})
    payer = shop.payer()
    with pytest.raises(NoAcceptableOffer, match="no node of stacks-testnet"):
        get(payer, shop.two)
    assert shop.shown == [] and payer.ledger.payments() == []


def test_a_coin_without_a_price_is_no_dollars(shop):
    entry = {"scheme": "exact", "network": NET.id, "amount": "1", "asset": "STX", "payTo": PAY_TO, "maxTimeoutSeconds": 300}
    demand = packed({"x402Version": 2, "accepts": [entry]})
    url = shop.seller.serves("/stx", lambda hit: shop.seller.answer(402, b"{}", payment_required=demand))
    with pytest.raises(Exception, match="STX") as caught:
        get(shop.payer(), url)
    assert not isinstance(caught.value, (httpx.HTTPError, SigningFailed)) and shop.shown == []


def test_no_key_reaches_the_node_or_the_seller(shop, caplog):
    with caplog.at_level("DEBUG"):
        get(shop.payer(policy=Policy(networks=("testnet",))), shop.two)
    spoken = b"".join(repr((hit.path, hit.headers, hit.body)).encode() for hit in shop.seller.hits + shop.node.hits)
    assert b"11" * 32 not in spoken and "11" * 32 not in caplog.text
    assert all(proof not in caplog.text for proof in shop.shown)


def test_who_comes_after_25_that_wait_signs_nothing_and_waits_for_a_block(shop, monkeypatch):
    monkeypatch.setattr("x402_agent.flow.CROWD_PAUSE", 0.05)
    payer = shop.payer()
    shop.chain.automatic = False
    with payer.client(timeout=20) as http:
        assert {http.get(f"{shop.two}?{number}").status_code for number in range(25)} == {200}
        payer.deadline = 1.5
        with pytest.raises(NoAcceptableOffer, match="its next account nonce is 25, nodes take 24 at most"):
            http.get(f"{shop.two}?25", timeout=1.5)
        assert (len(shop.shown), len(payer.ledger.payments())) == (25, 25)
        payer.deadline = 30
        threading.Timer(0.3, shop.chain.mine).start()
        assert http.get(f"{shop.two}?25").status_code == 200
