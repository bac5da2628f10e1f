"""What an `upto` payment cost: only the very transaction that used our nonce is believed, and every doubt is None."""

from __future__ import annotations

import dataclasses
import json

import pytest

from x402_agent.chains.evm.charge import charged
from x402_agent.model import Terms
from x402_agent.steps import Fetched

NODE = "https://node.example/"
TX = "0x" + "7a" * 32
CHAIN = "0x14a34"
USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
PAYER = "0x1563915e194D8CfBA1943570603F7606A3115508"
PAYEE = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
FACILITATOR = "0x857b06519E91e3A54538791bDbb0E22373e36b66"
PROXY = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"
STRANGER = "0x" + "66" * 20
TERMS = Terms(PAYER, "0x" + "6e" * 32, 1000, 2000)
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
USED = f"{1 << 0x6E:064x}"


def word(value):
    return f"{value:064x}" if isinstance(value, int) else value[2:].lower().rjust(64, "0")


def call(selector="ff11e7b4", tail="", **change):
    """The proxy's call as a facilitator makes it."""
    fields = {"token": USDC, "permitted": 50_000, "nonce": TERMS.nonce, "deadline": 2000, "amount": 12_000, "owner": PAYER,
              "to": PAYEE, "facilitator": FACILITATOR, "after": 1000, "offset": 320} | change  # fmt: skip
    return "0x" + selector + "".join(map(word, fields.values())) + word(65) + "11" * 65 + tail


def log(address=USDC, sender=PAYER, to=PAYEE, value=12_000, topic=TRANSFER, size=64):
    topics = [topic, "0x" + word(sender), "0x" + word(to)]
    return {"address": address, "topics": topics, "data": "0x" + f"{value:0{size}x}"}


def mined(**change):
    return {"transactionHash": TX, "status": "0x1", "gasUsed": "0x1", "blockNumber": "0x64", "logs": [log()], **change}


def sent(**change):
    return {"hash": TX, "to": PROXY.lower(), "input": call(), "from": FACILITATOR.lower(), **change}


def final(number="0x64", time="0x1"):
    return {"number": number, "timestamp": time}


@pytest.fixture
def upto(offer):
    return offer(scheme="upto", method="permit2", facilitator=FACILITATOR, amount=50_000)


@pytest.fixture
def ask(upto, node):
    """The charge by a node with these answers."""

    def run(transaction=TX, made=None, **answers):
        honest = {
            "eth_chainId": CHAIN,
            "eth_getTransactionReceipt": mined(),
            "eth_getBlockByNumber": final(),
            "eth_getTransactionByHash": sent(),
            "eth_call": "0x" + USED,
        }
        asked = node(**{**honest, **answers})
        return asked.drive(charged(made or upto, TERMS, transaction, NODE))

    return run


def test_the_transaction_that_used_our_nonce_tells_the_charge(ask):
    assert ask() == 12_000
    assert ask(eth_getTransactionByHash=sent(input=call(tail="c0ffee"))) == 12_000  # a facilitator's own suffix
    other = log(sender=STRANGER), log(to=STRANGER), log(address=STRANGER), log(topic="0x" + "8c" * 32)
    assert ask(eth_getTransactionReceipt=mined(logs=[*other, log()])) == 12_000


def test_the_selector_is_the_proxy_s():
    from x402_agent.primitives import keccak

    signature = b"settle(((address,uint256),uint256,uint256),uint256,address,(address,address,uint256),bytes)"
    assert keccak(signature)[:4].hex() == "ff11e7b4"


@pytest.mark.parametrize("amount", [0, 1, 50_000])
def test_from_nothing_to_the_whole_ceiling(amount, ask):
    answers = {"eth_getTransactionReceipt": mined(logs=[log(value=amount)]),
               "eth_getTransactionByHash": sent(input=call(amount=amount))}  # fmt: skip
    assert ask(**answers) == amount


def test_V7_more_than_was_signed_is_no_charge(ask):
    answers = {"eth_getTransactionReceipt": mined(logs=[log(value=50_001)]),
               "eth_getTransactionByHash": sent(input=call(amount=50_001))}  # fmt: skip
    assert ask(**answers) is None


LIES = [
    pytest.param({"input": call(nonce="0x" + "6f" * 32)}, id="V8-another-nonce"),
    pytest.param({"input": call(token=STRANGER)}, id="another-token"),
    pytest.param({"input": call(permitted=12_000)}, id="another-ceiling"),
    pytest.param({"input": call(deadline=2001)}, id="another-deadline"),
    pytest.param({"input": call(owner=STRANGER)}, id="V8-another-payer"),
    pytest.param({"input": call(to=STRANGER)}, id="another-payee"),
    pytest.param({"input": call(facilitator=STRANGER)}, id="another-facilitator"),
    pytest.param({"input": call(after=1001)}, id="another-start"),
    pytest.param({"input": call(amount=11_999)}, id="less-than-the-log"),
    pytest.param({"input": call(amount=12_001)}, id="more-than-the-log"),
    pytest.param({"input": call("ff11e7b5")}, id="another-function"),
    pytest.param({"input": call()[: 2 + 8 + 9 * 64 - 2]}, id="cut-off"),
    pytest.param({"input": "0x"}, id="no-call"),
    pytest.param({"to": STRANGER}, id="a-contract-of-the-seller's"),
    pytest.param({"to": "0x402085c248EeA27D92E8b30b2C58ed07f9E20001"}, id="the-exact-proxy"),
    pytest.param({"to": None}, id="a-creation"),
    pytest.param({"hash": "0x" + "7b" * 32}, id="another-transaction"),
    pytest.param({"input": 7}, id="odd-input"),
]


@pytest.mark.parametrize("change", LIES)
def test_V8_a_transaction_that_is_not_ours_gives_nothing_back(change, ask):
    assert ask(eth_getTransactionByHash=sent(**change)) is None


RECEIPTS = [
    pytest.param(None, id="not-mined"),
    pytest.param(mined(status="0x0"), id="reverted"),
    pytest.param(mined(blockNumber="0x65"), id="V9-not-final"),
    pytest.param(mined(logs=[]), id="no-transfer"),
    pytest.param(mined(logs=[log(), log()]), id="two-transfers"),
    pytest.param(mined(logs=[log(value=11_999)]), id="another-amount"),
    pytest.param(mined(logs=[log(address=STRANGER)]), id="another-token"),
    pytest.param(mined(logs=[log(sender=STRANGER)]), id="another-payer"),
    pytest.param(mined(logs=[log(to=STRANGER)]), id="another-payee"),
    pytest.param(mined(logs=[log(topic="0x" + "8c" * 32)]), id="an-approval"),
    pytest.param(mined(logs=[log(size=62)]), id="short-data"),
    pytest.param(mined(logs=[log(size=128)]), id="long-data"),
    pytest.param(mined(logs="x"), id="odd-logs"),
    pytest.param(mined(transactionHash="0x" + "7b" * 32), id="another-receipt"),
    pytest.param(Fetched(0, {}, b""), id="no-answer"),
    pytest.param(Fetched(200, {}, b"[" * 60000), id="deep"),
]


@pytest.mark.parametrize("receipt", RECEIPTS)
def test_a_receipt_that_does_not_show_it_gives_nothing_back(receipt, ask):
    assert ask(eth_getTransactionReceipt=receipt) is None


@pytest.mark.parametrize(
    "answers",
    [
        pytest.param({"eth_chainId": "0x1"}, id="C3-another-chain"),
        pytest.param({"eth_getBlockByNumber": None}, id="no-final-block"),
        pytest.param({"eth_call": "0x" + "0" * 64}, id="our-nonce-is-unused"),
        pytest.param({"eth_call": "0x"}, id="no-bitmap"),
        pytest.param({"eth_getTransactionByHash": None}, id="unknown-transaction"),
    ],
)
def test_a_node_that_contradicts_itself_gives_nothing_back(answers, ask):
    assert ask(**answers) is None


@pytest.mark.parametrize("claim", ["", "0x", "7a" * 32, "0x" + "7a" * 31, "0x" + "7a" * 33, "0x" + "zz" * 32, TX + "\n"])
def test_a_claim_that_is_no_transaction_asks_nobody(claim, ask):
    assert ask(claim, eth_chainId=lambda: pytest.fail("asked")) is None


def test_an_exact_price_is_never_asked_for(ask, upto):
    assert ask(made=dataclasses.replace(upto, scheme="exact", facilitator="")) is None


def test_C2_all_nodes_must_say_the_same(upto, node):
    class Two(node):
        def drive(self, steps):
            answer = None
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration as done:
                    return done.value
                answer = (self if "one" in step.url else self.other)._answer(json.loads(step.content))

    honest = {"eth_chainId": CHAIN, "eth_getTransactionReceipt": mined(), "eth_getBlockByNumber": final(),
              "eth_getTransactionByHash": sent(), "eth_call": "0x" + USED}  # fmt: skip
    both = "https://one.example/|https://two.example/"
    for change, expected in (({}, 12_000), ({"eth_getTransactionReceipt": None}, None)):
        two = Two(**honest)
        two.other = node(**{**honest, **change})
        assert two.drive(charged(upto, TERMS, TX, both)) == expected
