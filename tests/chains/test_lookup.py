"""What the transaction that a seller names shows of a payment: only our transfer by our nonce, in a final block, is `paid`."""

from __future__ import annotations

import dataclasses

import pytest

from x402_agent.chains.evm.lookup import lookup
from x402_agent.model import Terms

NODE = "https://node.example/"
TX = "0x" + "7a" * 32
USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
PAYER = "0x1563915e194D8CfBA1943570603F7606A3115508"
PAYEE = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
STRANGER = "0x" + "66" * 20
TERMS = Terms(PAYER, "0x" + "6e" * 32, 1000, 2000)
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
USED = "0x98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"


def word(value):
    return f"{value:064x}" if isinstance(value, int) else value[2:].lower().rjust(64, "0")


def transfer(address=USDC, sender=PAYER, to=PAYEE, value=10_000):
    return {"address": address, "topics": [TRANSFER, "0x" + word(sender), "0x" + word(to)], "data": "0x" + word(value)}


def used(address=USDC, sender=PAYER, nonce=TERMS.nonce):
    return {"address": address, "topics": [USED, "0x" + word(sender), nonce], "data": "0x"}


def mined(*logs, **change):
    return {"transactionHash": TX, "status": "0x1", "gasUsed": "0x1", "blockNumber": "0x64", "logs": list(logs), **change}


@pytest.fixture
def ask(offer, node):
    def run(receipt, transaction=TX, final="0x64", call="0x" + "0" * 64, **change):
        answers = {"eth_chainId": "0x14a34", "eth_getTransactionReceipt": receipt, "eth_call": call,
                   "eth_getBlockByNumber": {"number": final, "timestamp": "0x1"}}  # fmt: skip
        return node(**answers).drive(lookup(dataclasses.replace(offer(), **change), TERMS, transaction, NODE))

    return run


def test_our_transfer_by_our_nonce_in_a_final_block(ask):
    assert ask(mined(transfer(), used())) == "paid"
    assert ask(mined(transfer(to=STRANGER), used(nonce="0x" + "01" * 32), used(), transfer())) == "paid", "among others"
    assert ask(mined(transfer(), used()), final="0x63") == "pending"


@pytest.mark.parametrize(
    "logs",
    [
        [],
        [transfer()],  # somebody else's authorisation of the same amount
        [used()],
        [transfer(value=9_999), used()],
        [transfer(value=10_001), used()],
        [transfer(sender=STRANGER), used()],
        [transfer(to=STRANGER), used()],
        [transfer(address=STRANGER), used()],
        [transfer(), used(address=STRANGER)],  # a contract of his says what he likes
        [transfer(), used(sender=STRANGER)],
        [transfer(), used(nonce="0x" + "6f" * 32)],
    ],
)
def test_V8_any_other_transaction_is_another(ask, logs):
    assert ask(mined(*logs)) == "another"


def test_a_transaction_that_reverted_paid_nothing(ask):
    assert ask(mined(transfer(), used(), status="0x0")) == "another"


def test_V1_what_is_not_there(ask):
    assert ask(None) == "missing"
    for name in ("", "0x12", "0x" + "zz" * 32, "7a" * 32, TX + "0"):
        assert ask(mined(), transaction=name) == "unnamed"


def test_an_answer_that_does_not_fit_is_none(ask):
    for receipt in ({}, [], "0x1", mined(transactionHash="0x" + "01" * 32), mined(logs=[{}]), mined(blockNumber=None)):
        assert ask(receipt) == "unknown"
    assert ask(mined(transfer(), used()), final=None) == "pending"


def test_permit2_shows_no_nonce_in_its_logs_so_it_is_asked(ask):
    bit = f"0x{1 << 0x6E:064x}"
    assert ask(mined(transfer()), method="permit2", call=bit) == "paid"
    assert ask(mined(transfer()), method="permit2") == "another"
