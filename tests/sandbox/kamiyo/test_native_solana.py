"""The native way on Solana: strict about destination, mint, amount, age, whose it is, and how often."""

from __future__ import annotations

import pytest
from solders.account import Account
from solders.keypair import Keypair
from solders.token.state import Mint

from x402_agent.sandbox.solana.token import TOKEN, address, ata, mint_to, opened, transfer


@pytest.fixture
def till(till_on):
    return till_on(chain="solana")


def test_destination_mint_amount_and_age_hold(till):
    ground, payer = till.box.ground, till.box.ground.payer
    own, seller, stranger, clone = payer.pubkey(), address(till.box.pay_to), Keypair().pubkey(), Keypair().pubkey()
    low = till.pay(50_000, blocks=0)
    ground.fund(str(stranger), 1)
    elsewhere = ground.send([transfer(own, stranger, 200_000, ground.mint, TOKEN)], payer).signature
    ground.chain.install(clone, Account(ground.chain.rent(82), bytes(Mint(own, 0, 6, True, None)), TOKEN, False, 0))
    ground.send([opened(own, each, clone, TOKEN) for each in (own, seller)], payer)
    ground.send([mint_to(own, ata(own, clone, TOKEN), 10**6, clone, TOKEN)], payer)
    other = ground.send([transfer(own, seller, 10**6, clone, TOKEN)], payer).signature
    till.box.mine(32)
    assert [till.verify(str(tx))["error_message"] for tx in (low, elsewhere, other, "1" * 64)] == [
        "Payment amount too low: 0.05 < 0.1", *["No USDC transfer to payment address found in transaction"] * 2, "Transaction not found on chain"]  # fmt: skip
    till.new_minute()
    old = till.pay()
    till.box.warp(8 * 86_400)
    assert till.verify(old)["error_message"] == "Transaction too old: 8 days (max 7 days)"


def test_a_payment_is_its_first_callers_alone_and_used_once(till):
    tx = till.pay(blocks=32)
    found = till.verify(tx)
    assert (found["is_valid"], found["to_address"]) == (True, till.box.ground.account(till.box.pay_to))
    assert till.http.get("/x402/supported-chains").json()["payment_addresses"] == {till.chain: found["to_address"]}
    assert till.verify(tx)["payment_id"] == found["payment_id"]
    assert till.stranger("GET", "/exploits", x_payment_tx=tx, x_payment_chain=till.chain) == 402
    assert till.stranger("POST", f"/x402/generate-token/{found['payment_id']}") == 400
    said = [till.get(x_payment_tx=tx, x_payment_chain=till.chain).status_code for _ in range(101)]
    assert said == [200] * 100 + [402] and till.verify(tx)["is_valid"] is False


def test_a_tenant_who_names_his_wallet_is_paid_at_its_token_account(till):
    sight, tx = till.box.seller._sight, till.pay(blocks=32)
    quirks = till.box.scenario
    for payee in (till.box.pay_to, till.box.ground.account(till.box.pay_to)):
        assert (sight.look(tx, quirks, payee).amount, sight.look(tx, quirks, payee).to) == (100_000, payee)
