"""What a node can make us believe: only `settled` and `dead` on evidence, all else is `unknown`."""

from __future__ import annotations

import json

import pytest

from x402_agent.model import Terms
from x402_agent.steps import Fetched, Walk

NO, YES = "0x" + "0" * 64, "0x" + "0" * 63 + "1"
TERMS = Terms("0x1563915e194D8CfBA1943570603F7606A3115508", "0x" + "6e" * 32, 1000, 2000)
CHAIN = "0x14a34"


def block(time, number="0x64", **more):
    return {
        "number": number,
        "timestamp": hex(time),
        "hash": "0x" + "1" * 64,
        "transactions": ["0x" + "2" * 64],
        **more,
    }


@pytest.fixture
def fate(evm, offer, node):
    """The fate by a node with these answers, and the node."""

    def run(**answers):
        asked = node(**{"eth_chainId": CHAIN, **answers})
        return asked.drive(evm.fate(offer(), TERMS, "https://node.example/")), asked

    return run


def test_used_at_latest_is_settled(fate):
    answer, node = fate(eth_call=YES)
    assert answer == "settled"
    method, (call, tag) = node.calls[-1]
    assert (method, tag) == ("eth_call", "latest")
    assert call["to"] == "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
    assert call["data"] == "0xe94a0102" + "0" * 24 + TERMS.payer[2:].lower() + "6e" * 32


NONCE = int(TERMS.nonce, 16)
BIT = 1 << (NONCE & 255)


def word(number):
    return f"0x{number:064x}"


@pytest.fixture
def permit2_fate(evm, offer, node):
    """The fate of a payment by Permit2, and the node."""

    def run(**answers):
        asked = node(**{"eth_chainId": CHAIN, **answers})
        return asked.drive(evm.fate(offer(method="permit2"), TERMS, "https://node.example/")), asked

    return run


@pytest.mark.proves("evm", "permit2", "fate")
@pytest.mark.parametrize("bits", [BIT, (1 << 256) - 1, BIT | 1])
def test_permit2_says_the_nonce_is_used_by_one_bit(bits, permit2_fate):
    answer, node = permit2_fate(eth_call=word(bits))
    assert answer == "settled"
    _, (call, _) = node.calls[-1]
    assert call["to"] == "0x000000000022D473030F116dDEE9F6B43aC78BA3"
    assert call["data"] == f"0x4fe02b44{'0' * 24}{TERMS.payer[2:].lower()}{NONCE >> 8:064x}"


@pytest.mark.parametrize("bits", [0, ((1 << 256) - 1) ^ BIT, BIT >> 1, BIT << 1])
def test_other_nonces_of_the_same_word_do_not_settle_ours(bits, permit2_fate):
    assert permit2_fate(eth_call=word(bits), eth_getBlockByNumber=block(2001))[0] == "dead"
    assert permit2_fate(eth_call=word(bits), eth_getBlockByNumber=block(2000))[0] == "unknown"


@pytest.mark.parametrize("odd", ["0x", "0x1", "0x" + "f" * 63, "0x" + "f" * 65, "0x" + "g" * 64, 7, None])
def test_odd_bitmaps_are_unknown(odd, permit2_fate):
    assert permit2_fate(eth_call=odd, eth_getBlockByNumber=block(2001))[0] == "unknown"


def test_the_bitmap_s_selector():
    from x402_agent.primitives import keccak

    assert keccak(b"nonceBitmap(address,uint256)")[:4].hex() == "4fe02b44"


def test_the_selector_is_that_of_authorization_state():
    from x402_agent.primitives import keccak

    assert keccak(b"authorizationState(address,bytes32)")[:4].hex() == "e94a0102"


@pytest.mark.proves("evm", "exact", "fate")
def test_unused_at_a_final_block_after_expiry_is_dead(fate):
    answer, node = fate(eth_call=NO, eth_getBlockByNumber=block(2001))
    assert answer == "dead"
    assert node.calls[-1][1][1] == "0x64"
    assert node.calls[-2] == ("eth_getBlockByNumber", ["finalized", False])
    assert len(node.calls) == 4


@pytest.mark.parametrize("time", [0, 1999, 2000])
def test_T10_a_final_block_not_past_expiry_is_unknown(time, fate):
    assert fate(eth_call=NO, eth_getBlockByNumber=block(time))[0] == "unknown"


def test_used_at_the_final_block_though_not_at_latest_is_settled(fate):
    states = iter([NO, YES])
    assert fate(eth_call=lambda *_: next(states), eth_getBlockByNumber=block(2001))[0] == "settled"


def test_a_node_of_another_chain_is_not_believed(fate):
    assert fate(eth_chainId="0x1", eth_call=YES)[0] == "unknown"


def test_a_busy_block_cut_off_in_its_transactions_still_tells_the_time(fate):
    text = json.dumps({"jsonrpc": "2.0", "result": block(2001, transactions=["0x" + "2" * 64] * 2000), "id": 1})
    cut = Fetched(200, {}, text.encode()[:65536])
    assert len(text) > 65536
    assert fate(eth_call=NO, eth_getBlockByNumber=cut)[0] == "dead"


ODD = [
    pytest.param(None, id="null"),
    pytest.param("0x", id="empty"),
    pytest.param("0x1", id="short"),
    pytest.param("0x" + "f" * 64, id="neither"),
    pytest.param(7, id="number"),
    pytest.param({"a": 1}, id="object"),
    pytest.param(Fetched(0, {}, b""), id="no-answer"),
    pytest.param(Fetched(500, {}, b"oops"), id="500"),
    pytest.param(Fetched(200, {}, b"<html>"), id="html"),
    pytest.param(Fetched(200, {}, b"[" * 60000), id="S5-deep"),
    pytest.param(Fetched(200, {}, b'{"result":"' + b"0" * 60000 + b'"}'), id="long"),
    pytest.param(Fetched(200, {}, b"\xff\xfe"), id="not-text"),
    pytest.param(
        Fetched(200, {}, json.dumps({"error": {"code": -32000}, "result": YES}).encode()), id="error-and-result"
    ),
    pytest.param(Fetched(200, {}, b"[]"), id="array"),
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("method", ["eth_chainId", "eth_call", "eth_getBlockByNumber"])
def test_odd_answers_are_unknown(method, odd, fate):
    answers = {"eth_call": NO, "eth_getBlockByNumber": block(2001), method: odd}
    assert fate(**answers)[0] == "unknown"


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_answer_at_the_final_block_is_unknown(odd, fate):
    states = iter([NO, odd])
    assert fate(eth_call=lambda *_: next(states), eth_getBlockByNumber=block(2001))[0] == "unknown"


@pytest.mark.parametrize(
    "change",
    [
        {"timestamp": None},
        {"timestamp": 2001},
        {"number": None},
        {"number": "latest"},
        {"parent": {"timestamp": "0x7d2"}},
    ],
    ids=["no-time", "time-is-a-number", "pending", "number-is-text", "two-times"],
)
def test_odd_blocks_are_unknown(change, fate):
    assert fate(eth_call=NO, eth_getBlockByNumber={**block(2001), **change})[0] == "unknown"


@pytest.mark.parametrize("doubts", [{"eth_chainId": "0x1"}, {"eth_getBlockByNumber": block(1500)}, {"eth_getBlockByNumber": None}, {"eth_call": None}, {}])
@pytest.mark.parametrize("first", [True, False])
def test_C2_a_second_node_that_does_not_say_dead_keeps_it_counted(doubts, first, evm, offer, node):
    """Money is freed by the word of every node, whichever is asked first; with nobody in doubt it is."""
    sure = {"eth_chainId": CHAIN, "eth_call": NO, "eth_getBlockByNumber": block(5000)}
    answers = {"https://sure.example": node(**sure), "https://doubts.example": node(**{**sure, **doubts})}
    walk = Walk(evm.fate(offer(), TERMS, "|".join(sorted(answers, reverse=first))))
    for step in walk:
        walk.got = answers[step.url]._answer(json.loads(step.content))
    assert walk.result == ("unknown" if doubts else "dead")
