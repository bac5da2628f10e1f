"""Calls bought on Solana: the advertised address must be an account of USDC itself, and the money goes nowhere else."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import anyio
import pytest
from solders.account import Account
from solders.pubkey import Pubkey

from kamiyo.shop import Shop
from kamiyo.test_elsewhere import agent_of
from loopback import Seller
from x402_agent import NoAcceptableOffer, Payer, PaymentError, PaymentInDoubt
from x402_agent.chains.solana import transfer
from x402_agent.dialects.kamiyo import native
from x402_agent.model import Limit
from x402_agent.sandbox.seller import scenarios
from x402_agent.steps import Fetch, Progress

CALLS = 200_000
SIZES = {  # payments, and the price of each, where 200 calls are not bought at once for 0.20
    "minimum_above_price": (1, 500_000), "quota_below_what_is_said": (2, CALLS), "quota_small": (3, 100_000),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("PAUSE", "LONGEST"):
        monkeypatch.setattr(native, name, 0.01)


@pytest.fixture
def opened():
    """A payer at the sandbox's KAMIYO on Solana, in a scenario; blocks go by when its seller is asked."""
    made = []

    def open_(scenario="honest", told=None):
        def look(ask, step, value):
            if isinstance(step, Progress) and told is not None:
                told.append(step.state)
            if isinstance(step, Fetch) and step.method == "POST":
                payer.box.mine(8)

        payer = Payer.sandbox(scenario, chain="solana", seller="kamiyo", trace=look)
        payer.policy = replace(payer.policy, per_call=1_000_000)
        made.append(payer)
        return payer

    yield open_
    for each in made:
        each.close()


def test_one_transfer_buys_calls_and_the_seller_finds_it_at_his_address(opened):
    told = []
    payer = opened(told=told)
    box = payer.box
    before = box.balance(box.pay_to)
    with payer.task("watch", expect_calls=200), payer.client(timeout=20) as http:
        said = [http.get(box.url(path)) for path in ("/exploits", "/exploits", "/protocols/risk-score")]
    assert [each.status_code for each in said] == [200] * 3 and said[0].extensions["payment"].outcome == "spent"
    payer.ledger.flush()
    (row,) = payer.ledger.payments()
    assert (row.state, row.amount, row.pay_to) == ("CLAIMED", CALLS, box.ground.account(box.pay_to))
    assert box.balance(box.pay_to) - before == CALLS and told == ["SEEN", "MINED", "PROVING"]
    assert [each.uses_left for each in payer.ledger.tokens()] == [197] and payer.ledger.verify() == []


def test_a_wallet_that_is_advertised_is_not_paid_since_nobody_would_see_it(opened):
    payer = opened("token_account_only")
    with payer.client(timeout=20) as http, pytest.raises(NoAcceptableOffer, match="is no account there"):
        http.get(payer.box.url("/exploits"))
    payer.ledger.flush()
    assert payer.ledger.payments() == []


@pytest.mark.parametrize("scenario", ["valid_payment_402", *(pytest.param(name, marks=pytest.mark.full) for name in scenarios("kamiyo") if name != "valid_payment_402")])
def test_no_scenario_takes_more_than_was_bought(opened, scenario):
    payer = opened(scenario)
    before, said = payer.box.balance(payer.box.pay_to), []
    with payer.task("watch", expect_calls=200), payer.client(timeout=20) as http:
        for path in ("/exploits", "/exploits", "/protocols/risk-score"):
            try:
                said.append(http.get(payer.box.url(path)).status_code)
            except PaymentError as why:
                said.append(type(why).__name__)
    payer.ledger.flush()
    rows = payer.ledger.payments()
    moved = payer.box.balance(payer.box.pay_to) - before
    assert moved == sum(row.amount for row in rows if row.state not in ("RELEASED", "DEAD")), (said, rows)
    many, price = SIZES.get(scenario, (1, CALLS))
    assert len(rows) <= many and moved <= many * price, said
    assert payer.ledger.verify() == []


@pytest.fixture
def payer():
    with Payer.sandbox(chain="solana", serve=True) as made:
        made.box.ground.fuel()
        yield made


@pytest.fixture
def shop(payer):
    """One who may be spoiled, on the same chain."""
    with closing(Seller()) as seller:
        yield Shop(seller, payer.box, gateway=False)


def got(payer, url):
    with payer.client(timeout=20) as http:
        return http.get(url)


def rows(payer):
    payer.ledger.flush()
    return payer.ledger.payments()


def test_what_was_bought_is_shown_again_and_never_bought_twice(payer, shop):
    before = payer.box.balance(payer.box.pay_to)
    assert got(payer, shop.url()).content == b"goods"
    shop.tokens.clear()  # the seller forgets what it sold
    assert got(payer, shop.url("/protocols/risk-score")).content == b"goods"
    shop.payments.clear()
    shop.tokens.clear()
    shop.seller.serves("/x402/verify-payment", lambda hit: shop.json({"is_valid": False, "error_message": "No USDC transfer to payment address found in transaction"}))
    for _ in range(3):
        assert got(payer, shop.url()).status_code == 402
    assert payer.box.balance(payer.box.pay_to) - before == 100_000 and len(rows(payer)) == 1


def test_R3_a_page_that_names_the_same_letters_in_another_case_names_another(payer, shop):
    shop.seller.serves("/x402/supported-chains", lambda hit: shop.json({"payment_addresses": {shop.chain: shop.pay_to.swapcase()}}))
    with pytest.raises(NoAcceptableOffer, match="one recipient in its 402 and another"):
        got(payer, shop.url())
    assert rows(payer) == []


def test_R1_our_own_account_as_its_address_is_not_paid(payer, shop):
    shop.pay_to = payer.box.ground.account(payer.box.payer_address)
    with pytest.raises(NoAcceptableOffer, match="own account"):
        got(payer, shop.url())
    assert rows(payer) == []


def test_an_account_that_is_closed_after_we_looked_takes_nothing_and_is_not_waited_for_for_ever(payer, shop, monkeypatch):
    ground, had = payer.box.ground, payer.box.balance(payer.box.payer_address)

    monkeypatch.setattr(transfer, "_AGAIN", 0.1)
    tried = ground.chain.simulate

    def closes(tx):
        """When the node looks at it first: the account goes, and then so much time that the blockhash does."""
        ground.chain.install(Pubkey.from_string(shop.pay_to), Account(0, b"", Pubkey.default(), False, 0))
        ground.warp(120)
        return tried(tx)

    monkeypatch.setattr(ground.chain, "simulate", closes)
    with pytest.raises(PaymentInDoubt, match="its blockhash has ended"):
        got(payer, shop.url())
    clock = payer.clock
    monkeypatch.setattr(payer, "clock", lambda: clock() + 600)  # a node is asked once its blockhash must have ended
    with pytest.raises(NoAcceptableOffer, match="is no account there"):
        got(payer, shop.url())
    assert [row.state for row in rows(payer)] == ["DEAD"] and payer.box.balance(payer.box.payer_address) == had
    assert payer.ledger.spent([Limit("all", "total", 10**9)], realm="sandbox")[0].spent == 0


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_same_for_event_loops(payer, shop, backend):
    async def main():
        async with payer.async_client(timeout=20) as http:
            return [(await http.get(shop.url())).content for _ in range(3)]

    assert anyio.run(main, backend=backend) == [b"goods"] * 3
    assert len(rows(payer)) == 1 and shop.left[1] == 97


def test_an_agent_of_a_signer_buys_them_too(payer, shop):
    with agent_of(payer) as agent, agent.client() as http:
        assert [http.get(shop.url(each)).content for each in ("/exploits", "/exploits", "/protocols/risk-score")] == [b"goods"] * 3
    assert len(rows(payer)) == 1 and shop.left[1] == 97
