"""Paying first on Stacks, from the 402 to the block: the transaction stands there before its id is shown."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import anyio
import httpx
import pytest

from first import First, moved, shop, states
from x402_agent import Payer, PaymentInDoubt
from x402_agent.chains.stacks import transfer
from x402_agent.policy import Price

PRICE = 10_000


@pytest.fixture
def payer():
    with Payer.sandbox(chain="stacks", serve=True) as made:
        made.dialects = (First(),)
        yield made


def play(payer, **told):
    return httpx.post(f"{payer.box.origin}/sandbox/stacks", json=told, trust_env=False).json()


@pytest.mark.proves("stacks", "transfer", "pays")
@pytest.mark.parametrize("world", ["sync", "asyncio", "trio"])
def test_it_stands_in_a_block_before_its_id_is_shown(payer, seller, world):
    url, shown = shop(seller, payer.box)

    async def main():
        async with payer.async_client() as http:
            return [await http.get(url) for _ in range(2)]

    if world == "sync":
        with payer.client() as http:
            replies = [http.get(url) for _ in range(2)]
    else:
        replies = anyio.run(main, backend=world)
    assert [each.content for each in replies] == [b"goods"] * 2 and moved(payer) == 2 * PRICE
    assert len(set(shown)) == 2 and states(payer) == ["CLAIMED", "CLAIMED"]


def test_one_that_waits_and_is_dropped_is_in_doubt_and_resume_hands_over_the_same_bytes(payer, seller, monkeypatch):
    url, shown = shop(seller, payer.box)
    monkeypatch.setattr(transfer, "PATIENCE", 1.0)
    play(payer, automatic=False)
    with payer.client() as http, pytest.raises(PaymentInDoubt) as caught:
        http.get(url)
    assert "x402-agent resume" in caught.value.hint and shown == [] and moved(payer) == 0
    (waiting,) = [each for each in payer.box.ground.chain.history(payer.box.payer_address) if each.status == "pending"]
    play(payer, drop=waiting.tx.txid)
    (row,) = payer.resume()
    assert row.after in ("UNKNOWN", "INFLIGHT", "SEEN") and moved(payer) == 0
    play(payer, automatic=True, mine=True)
    monkeypatch.setattr(transfer, "PATIENCE", 60.0)
    payer.resume()
    assert moved(payer) == PRICE and set(shown) == {waiting.tx.txid} and set(states(payer)) <= {"CLAIMED", "CONFIRMED"}


def test_a_call_of_the_sellers_contract_is_paid_by_the_same_flow(payer, seller):
    box, details = payer.box, {"function": "pay-for-content", "arguments": [["ascii", "a"], ["uint", "1000"]]}
    contract, shown = f"{box.pay_to}.revenue-split-two", []

    class Calls(First):
        def read(self, reply, ask):
            found = super().read(reply, ask)
            offers = tuple(replace(each, pay_to=contract, details=json.dumps(details)) for each in found.offers)
            return replace(found, offers=offers)

    entry = {"scheme": "exact", "network": box.network, "amount": "1000", "asset": "STX", "payTo": box.pay_to, "maxTimeoutSeconds": 60}
    asked = seller.packed({"x402Version": 2, "accepts": [entry]})

    def route(hit):
        shown.append(hit.headers.get("x-transaction", ""))
        return seller.answer(200, b"goods") if shown[-1] else seller.answer(402, b"{}", payment_required=asked)

    seller.serves("/call", route)
    payer.dialects = (Calls(),)
    payer.prices = Dollar()
    with payer.client() as http:
        assert http.get(seller.url("/call")).content == b"goods"
    done = box.ground.chain.entry(shown[-1])
    assert done.status == "success" and sum(move.amount for move in done.moves) == 1000 and states(payer) == ["CLAIMED"]


class Dollar:
    """A coin is worth half a dollar."""

    def price(self, asset):
        return Price(500_000, 0, int(time.time()))
