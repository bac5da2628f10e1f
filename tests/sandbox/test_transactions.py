"""The node takes what eth_account signs, on both EVMs, and refuses as go-ethereum does."""

from __future__ import annotations

import secrets

import pytest
from eth_abi import encode
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from x402_agent.primitives import keccak
from x402_agent.sandbox.envelopes import Malformed, decode, rlp, unrlp
from x402_agent.sandbox.token import selector

USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
CHAIN_ID, PRICE = 84532, 3_000_000  # wei per gas, in each of the three
ETHER = 10**18
kinds = pytest.mark.parametrize("kind", ["legacy", "2930", "1559"])


def transfer(to, amount):
    return selector("transfer(address,uint256)") + encode(["address", "uint256"], [to, amount])


@kinds
def test_ether_moves_exactly_and_the_gas_is_paid(on_both, kind):
    wallet, box = on_both, on_both.box
    made = wallet.sign(kind, value=12345, gas=50_000)
    before = [wallet.number("eth_getBalance", each, "latest") for each in (wallet.address, box.pay_to)]
    assert wallet.raw(made) == "0x" + bytes(made.hash).hex()
    receipt = wallet.rpc("eth_getTransactionReceipt", "0x" + bytes(made.hash).hex())
    gas, price = int(receipt["gasUsed"], 16), int(receipt["effectiveGasPrice"], 16)
    assert gas == {"legacy": 21_000, "2930": 21_000 + 2_400 + 2 * 1_900, "1559": 21_000}[kind]
    assert (price, receipt["status"], receipt["type"]) == (
        PRICE,
        "0x1",
        {"legacy": "0x0", "2930": "0x1"}.get(kind, "0x2"),
    )
    after = [wallet.number("eth_getBalance", each, "latest") for each in (wallet.address, box.pay_to)]
    assert after == [before[0] - 12345 - gas * price, before[1] + 12345]


@kinds
def test_tokens_move_exactly(on_both, kind):
    wallet, box = on_both, on_both.box
    tx = wallet.send(kind, to=USDC, data=transfer(box.pay_to, 777))
    receipt = wallet.rpc("eth_getTransactionReceipt", tx)
    assert receipt["status"] == "0x1"
    assert (box.balance(box.payer_address), box.balance(box.pay_to)) == (100_000_000 - 777, 777)
    (log,) = receipt["logs"]
    assert log["topics"][0] == "0x" + keccak(b"Transfer(address,address,uint256)").hex()
    assert int(log["data"], 16) == 777
    assert box.transaction(tx).value == 777


@kinds
def test_a_reverted_transaction_is_mined_and_costs_its_gas(on_both, kind):
    wallet, box = on_both, on_both.box
    before = wallet.number("eth_getBalance", wallet.address, "latest")
    tx = wallet.send(kind, to=USDC, data=transfer(box.pay_to, 10**12))
    receipt = wallet.rpc("eth_getTransactionReceipt", tx)
    assert (receipt["status"], receipt["logs"], box.transaction(tx).reason) == (
        "0x0", [], "ERC20: transfer amount exceeds balance")  # fmt: skip
    cost = int(receipt["gasUsed"], 16) * PRICE
    assert wallet.number("eth_getBalance", wallet.address, "latest") == before - cost
    assert wallet.nonce() == 2
    assert box.balance(box.payer_address) == 100_000_000


def test_a_transaction_out_of_gas_uses_all_of_it(on_both):
    wallet = on_both
    tx = wallet.send(to=USDC, data=transfer(wallet.box.pay_to, 1), gas=23_000)
    receipt = wallet.rpc("eth_getTransactionReceipt", tx)
    assert (receipt["status"], receipt["gasUsed"]) == ("0x0", hex(23_000))
    assert wallet.box.transaction(tx).reason == "OutOfGas"


@kinds
def test_a_transaction_is_read_back_as_it_was_signed(wallet, kind):
    made = wallet.sign(kind, to=USDC, data=transfer(wallet.box.pay_to, 5), value=0)
    assert wallet.rpc("eth_getTransactionByHash", "0x" + bytes(made.hash).hex()) is None
    view = wallet.rpc("eth_getTransactionByHash", wallet.raw(made))
    assert (view["from"], view["to"]) == (wallet.address.lower(), USDC.lower())
    assert [int(view[name], 16) for name in ("nonce", "gas", "value", "v", "r", "s", "chainId")] == [
        1, 200_000, 0, made.v, made.r, made.s, CHAIN_ID]  # fmt: skip
    block = wallet.rpc("eth_getBlockByHash", view["blockHash"], True)
    assert block["transactions"] == [view]
    assert block == wallet.rpc("eth_getBlockByNumber", view["blockNumber"], True)
    assert wallet.rpc("eth_getBlockByNumber", view["blockNumber"], False)["transactions"] == [view["hash"]]
    receipt = wallet.rpc("eth_getTransactionReceipt", view["hash"])
    assert wallet.rpc("eth_getBlockReceipts", view["blockNumber"]) == [receipt]
    assert (block["gasUsed"], block["logsBloom"]) == (receipt["gasUsed"], receipt["logsBloom"])
    for each in (receipt["logs"][0]["address"], *receipt["logs"][0]["topics"]):
        digest = keccak(bytes.fromhex(each[2:]))
        bits = [int.from_bytes(digest[i : i + 2]) % 2048 for i in (0, 2, 4)]
        assert all(int(receipt["logsBloom"], 16) >> bit & 1 for bit in bits)


def test_what_a_node_refuses(wallet):
    wallet.send()
    assert wallet.refused(nonce=1) == "nonce too low: next nonce 2, tx nonce 1"
    assert wallet.refused(chainId=8453) == "invalid chain id for signer: have 8453 want 84532"
    assert wallet.refused("legacy", chainId=None).startswith("only replay-protected (EIP-155)")
    assert wallet.refused(gas=20_999) == "intrinsic gas too low: gas 20999, minimum needed 21000"
    assert wallet.refused(gas=60_000_001) == "exceeds block gas limit"
    assert wallet.refused(value=ETHER).startswith("insufficient funds for gas * price + value: balance ")
    assert wallet.refused(maxFeePerGas=1, maxPriorityFeePerGas=2).startswith("max priority fee per gas higher than")
    assert wallet.refused(to=None, data=b"\x00").startswith("contract creation is not supported")
    wallet.box.ground.chain.install(bytes.fromhex(wallet.address[2:]), b"\x00")
    wallet.box.ground.chain.endow(bytes.fromhex(wallet.address[2:]), ETHER)
    assert wallet.refused().startswith("sender not an eoa")


def test_a_stranger_without_ether_sends_nothing(wallet):
    poor = Account.create(secrets.token_hex(8))
    made = poor.sign_transaction({"chainId": CHAIN_ID, "nonce": 0, "gas": 21_000, "to": USDC, "value": 0,
                                  "maxFeePerGas": 5_000_000, "maxPriorityFeePerGas": 2_000_000})  # fmt: skip
    answer = wallet.raw(made)
    assert answer == {"code": -32000, "message": "insufficient funds for gas * price + value: balance 0, tx cost "
                      "105000000000, overshot 105000000000"}  # fmt: skip


def test_a_later_nonce_waits_for_the_earlier_one(wallet):
    late = wallet.send(nonce=2, value=2)
    assert wallet.rpc("eth_getTransactionReceipt", late) is None
    view = wallet.rpc("eth_getTransactionByHash", late)
    assert (view["blockNumber"], view["blockHash"], view["transactionIndex"]) == (None, None, None)
    assert (wallet.nonce(), wallet.nonce("pending")) == (1, 1)
    assert wallet.send(nonce=2, value=2)["message"] == "already known"
    assert wallet.send(nonce=2, value=3)["message"] == "replacement transaction underpriced"
    for fees in ((6_000_000, 2_100_000), (5_400_000, 2_200_000)):
        half = wallet.send(nonce=2, value=3, maxFeePerGas=fees[0], maxPriorityFeePerGas=fees[1])
        assert half["message"] == "replacement transaction underpriced"
    better = wallet.send(nonce=2, value=4, maxFeePerGas=6_000_000, maxPriorityFeePerGas=2_200_000)
    assert wallet.rpc("eth_getTransactionByHash", late) is None
    early = wallet.send(nonce=1, value=1)
    receipts = [wallet.rpc("eth_getTransactionReceipt", each) for each in (early, better)]
    assert int(receipts[1]["blockNumber"], 16) == int(receipts[0]["blockNumber"], 16) + 1
    assert wallet.number("eth_getBalance", wallet.box.pay_to, "latest") == ETHER + 5
    assert (wallet.nonce(), wallet.nonce("pending")) == (3, 3)


def test_a_transaction_below_the_base_fee_waits_until_it_is_replaced(wallet):
    stuck = wallet.send(maxFeePerGas=10, maxPriorityFeePerGas=1)
    assert wallet.rpc("eth_getTransactionReceipt", stuck) is None
    assert (wallet.nonce(), wallet.nonce("pending")) == (1, 2)
    after = wallet.send(nonce=2)
    assert wallet.nonce("pending") == 3
    wallet.send(value=1)
    assert wallet.rpc("eth_getTransactionByHash", stuck) is None
    assert wallet.rpc("eth_getTransactionReceipt", after)["status"] == "0x1"
    assert wallet.nonce() == wallet.nonce("pending") == 3


def test_waiting_lines_are_bounded(wallet):
    answers = [wallet.send(nonce=100 + i) for i in range(65)]
    assert all(isinstance(each, str) for each in answers[:64])
    assert answers[64]["message"] == "txpool is full"


@pytest.mark.parametrize(
    "raw, words",
    [
        ("0x", "typed transaction too short"),
        ("0x05c0", "transaction type not supported"),
        ("0x03c0", "transaction type not supported"),
        ("0x00", "transaction type not supported"),
        ("0x02", "rlp: value size exceeds available input length"),
        ("0x02c0", "rlp: wrong number of elements for a transaction"),
        ("0x02c0c0", "rlp: input contains more than one value"),
        ("0x02f8", "rlp: non-canonical size information"),
        ("0xc0", "rlp: wrong number of elements for a transaction"),
        ("0x028c" + "11" * 12, "rlp: wrong number of elements for a transaction"),
        ("0xc28105", "rlp: non-canonical size information"),
        ("0xf80105", "rlp: non-canonical size information"),
        ("0xf9003811" + "11" * 55, "rlp: non-canonical size information"),
        ("0x02" + "c1" * 64, "rlp: value size exceeds available input length"),
    ],
)
def test_bytes_that_are_no_transaction(wallet, raw, words):
    assert wallet.rpc("eth_sendRawTransaction", raw) == {"code": -32000, "message": words}


def nested(depth):
    item = []
    for _ in range(depth):
        item = [item]
    return item


@pytest.mark.parametrize(
    "place, item, words",
    [
        (1, b"\0\1", "rlp: non-canonical integer"),
        (1, b"\1" * 33, "rlp: non-canonical integer"),
        (1, [], "rlp: non-canonical integer"),
        (4, b"\0", "rlp: non-canonical integer"),
        (10, b"\0" + b"\1" * 31, "rlp: non-canonical integer"),
        (5, b"\1" * 19, "rlp: input string is not an address"),
        (5, [], "rlp: input string is not an address"),
        (7, [b"\1"], "rlp: expected input string or byte"),
        (8, b"", "rlp: not an access list"),
        (8, [b"\1" * 20], "rlp: not an access list"),
        (8, [[b"\1" * 20]], "rlp: not an access list"),
        (8, [[b"", []]], "rlp: not an access list"),
        (8, [[b"\1" * 20, b""]], "rlp: not an access list"),
        (8, [[b"\1" * 20, [b"\1" * 31]]], "rlp: not an access list"),
        (8, nested(20), "rlp: value size exceeds available input length"),
        (7, bytes(128 * 1024), "oversized data"),
    ],
)
def test_a_transaction_out_of_shape(wallet, place, item, words):
    items = unrlp(bytes(wallet.sign().raw_transaction)[1:])
    items[place] = item
    raw = b"\x02" + rlp(items)
    assert wallet.rpc("eth_sendRawTransaction", "0x" + raw.hex()) == {"code": -32000, "message": words}


@kinds
@pytest.mark.parametrize("which", ["r", "s", "high s", "v"])
def test_a_spoilt_signature_is_nobodys(wallet, kind, which):
    raw = bytes(wallet.sign(kind).raw_transaction)
    items = unrlp(raw if kind == "legacy" else raw[1:])
    v, r, s = (int.from_bytes(each) for each in items[-3:])
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    flipped = v + 1 if v % 2 else v - 1 if kind == "legacy" else 1 - v
    change = {"r": (v, 0, s), "s": (v, r, 0), "high s": (flipped, r, order - s), "v": (9, r, s)}[which]
    spoilt = (b"" if kind == "legacy" else raw[:1]) + rlp([*items[:-3], *change])
    answer = wallet.rpc("eth_sendRawTransaction", "0x" + spoilt.hex())
    assert answer["message"] == "invalid transaction v, r, s values"


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.binary(max_size=200).map(lambda each: b"\x02" + each))
def test_any_bytes_are_a_transaction_or_malformed(raw):
    try:
        assert decode(raw).raw == raw
    except Malformed:
        pass


ITEMS = st.recursive(st.binary(max_size=80), lambda each: st.lists(each, max_size=5), max_leaves=12)


@settings(max_examples=200, deadline=None)
@given(ITEMS)
def test_rlp_there_and_back(item):
    assert unrlp(rlp(item)) == item
