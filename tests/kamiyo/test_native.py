"""Calls bought on chain: one transfer, one token, as many calls as were paid for, at the whole origin."""

from __future__ import annotations

import anyio
import pytest


def states(payer):
    payer.ledger.flush()
    return [row.state for row in payer.ledger.payments()]


def moved(payer):
    return payer.box.balance(payer.box.pay_to)


def test_one_transfer_buys_calls_of_the_whole_origin(payer, shop):
    with payer.client() as http:
        first = http.get(shop.url())
        assert (first.status_code, first.content, first.extensions["payment"].outcome) == (200, b"goods", "spent")
        for path in ("/exploits", "/protocols/risk-score", "/exploits"):
            reply = http.get(shop.url(path))
            assert reply.content == b"goods" and "payment" not in reply.extensions
    assert moved(payer) == 100_000 and states(payer) == ["CLAIMED"] and shop.asked == ["verify", "token"]
    (token,) = payer.ledger.tokens()
    assert token.uses_left == shop.left[1] == 96


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_for_event_loops(payer, shop, backend):
    async def main():
        async with payer.async_client() as http:
            return [(await http.get(shop.url())).content for _ in range(3)]

    assert anyio.run(main, backend=backend) == [b"goods"] * 3
    assert moved(payer) == 100_000 and states(payer) == ["CLAIMED"]
