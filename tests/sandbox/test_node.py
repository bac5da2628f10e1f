"""The node takes what eth_account signs, on both EVMs, and answers as go-ethereum does."""

from __future__ import annotations

import secrets

import pytest
from eth_abi import encode
from eth_account import Account
from hypothesis import given, settings
from hypothesis import strategies as st

from x402_agent.primitives import keccak
from x402_agent.sandbox.envelopes import Malformed, decode, rlp, unrlp
from x402_agent.sandbox.node import answer_rpc
from x402_agent.sandbox.permit2 import PERMIT2
from x402_agent.sandbox.token import selector

USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
CHAIN_ID, BASE_FEE, TIP = 84532, 1_000_000, 1_000_000
ETHER = 10**18
FEES = {
    "legacy": {"gasPrice": 3_000_000},
    "2930": {"gasPrice": 3_000_000, "accessList": [{"address": USDC, "storageKeys": [3, 4]}], "type": 1},
    "1559": {"maxFeePerGas": 5_000_000, "maxPriorityFeePerGas": 2_000_000, "type": 2},
}
PRICES = {"legacy": 3_000_000, "2930": 3_000_000, "1559": 3_000_000}
kinds = pytest.mark.parametrize("kind", list(FEES))


class Wallet:
    """The payer's account, signing with eth_account, and a node that answers in words."""

    def __init__(self, box):
        self.box = box
        self.account = Account.from_key(box.payer_key)
        self.address = self.account.address

    def rpc(self, method, *params):
        answer = answer_rpc(self.box.chain, {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)})
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 1)
        return answer["result"] if "result" in answer else answer["error"]

    def number(self, method, *params):
        return int(self.rpc(method, *params), 16)

    def nonce(self, tag="latest"):
        return self.number("eth_getTransactionCount", self.address, tag)

    def sign(self, kind="1559", **change):
        fields = {"chainId": CHAIN_ID, "nonce": self.nonce(), "gas": 200_000, "to": self.box.pay_to, "value": 0,
                  "data": b""} | FEES[kind] | change  # fmt: skip
        return self.account.sign_transaction({name: value for name, value in fields.items() if value is not None})

    def send(self, kind="1559", **change):
        return self.raw(self.sign(kind, **change))

    def raw(self, made):
        return self.rpc("eth_sendRawTransaction", "0x" + bytes(made.raw_transaction).hex())

    def refused(self, kind="1559", **change):
        before = self.rpc("eth_blockNumber"), self.nonce()
        answer = self.send(kind, **change)
        assert answer["code"] == -32000
        assert (self.rpc("eth_blockNumber"), self.nonce()) == before
        return answer["message"]


@pytest.fixture
def wallet(box):
    return Wallet(box)


@pytest.fixture
def on_both(both):
    return Wallet(both)


def transfer(to, amount):
    return selector("transfer(address,uint256)") + encode(["address", "uint256"], [to, amount])


# -- transactions ------------------------------------------------------------------------------------------------------


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
        PRICES[kind],
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
    cost = int(receipt["gasUsed"], 16) * PRICES[kind]
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
    wallet.box.chain.install(bytes.fromhex(wallet.address[2:]), b"\x00")
    wallet.box.chain.endow(bytes.fromhex(wallet.address[2:]), ETHER)
    assert wallet.refused().startswith("sender not an eoa")


def test_a_stranger_without_ether_sends_nothing(wallet):
    poor = Account.create(secrets.token_hex(8))
    made = poor.sign_transaction({"chainId": CHAIN_ID, "nonce": 0, "gas": 21_000, "to": USDC, "value": 0,
                                  **FEES["1559"]})  # fmt: skip
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


# -- calls, gas and fees -----------------------------------------------------------------------------------------------


def test_an_estimate_is_enough_and_hardly_more(on_both):
    wallet, box = on_both, on_both.box
    call = {"from": wallet.address, "to": USDC, "data": "0x" + transfer(box.pay_to, 5).hex()}
    gas = wallet.number("eth_estimateGas", call)
    receipt = wallet.rpc("eth_getTransactionReceipt", wallet.send(to=USDC, data=transfer(box.pay_to, 5), gas=gas))
    assert receipt["status"] == "0x1"
    assert gas * 0.7 <= int(receipt["gasUsed"], 16) <= gas
    assert (
        wallet.number("eth_estimateGas", {"from": wallet.address, "to": box.pay_to, "value": "0x1"}, "latest") == 21_000
    )


def test_an_estimate_says_why_not(wallet):
    call = {"from": wallet.address, "to": USDC, "data": "0x" + transfer(wallet.box.pay_to, 10**12).hex()}
    answer = wallet.rpc("eth_estimateGas", call)
    assert (answer["code"], answer["message"]) == (3, "execution reverted: ERC20: transfer amount exceeds balance")
    assert answer["data"][:10] == "0x08c379a0"
    good = call | {"data": "0x" + transfer(wallet.box.pay_to, 1).hex()}
    assert (
        wallet.rpc("eth_estimateGas", good | {"gas": hex(23_000)})["message"]
        == "gas required exceeds allowance (23000)"
    )
    dear = wallet.rpc("eth_estimateGas", good | {"maxFeePerGas": hex(ETHER // 30_000)})
    assert dear["message"] == "gas required exceeds allowance (30000)"
    rich = wallet.rpc("eth_estimateGas", {"from": wallet.address, "to": USDC, "value": hex(2 * ETHER)})
    assert rich["message"].startswith("insufficient funds for transfer")
    assert wallet.rpc("eth_estimateGas", {"from": wallet.address, "data": "0x00"})["message"].startswith(
        "contract creation"
    )


def test_a_call_says_who_calls_and_gives_the_revert_data(on_both):
    wallet = on_both
    word = "00" * 31 + "01"
    call = {"from": wallet.address, "to": USDC, "input": "0x" + transfer(wallet.box.pay_to, 1).hex()}
    assert wallet.rpc("eth_call", call, "latest") == "0x" + word
    poor = wallet.rpc("eth_call", call | {"from": wallet.box.pay_to}, "latest")
    assert (poor["code"], poor["message"]) == (3, "execution reverted: ERC20: transfer amount exceeds balance")
    named = wallet.rpc("eth_call", {"to": "0x" + PERMIT2.hex(), "data": "0x12345678"}, "latest")
    assert named == {"code": 3, "message": "execution reverted", "data": "0x"}
    assert wallet.rpc("eth_call", call | {"gas": hex(22_000)}, "latest")["message"] == "out of gas"
    assert wallet.rpc("eth_call", call, "0x7fffffff")["message"] == "header not found"
    assert wallet.rpc("eth_call", call, "latest", {USDC: {}})["code"] == -32602
    assert wallet.box.balance(wallet.box.pay_to) == 0


def test_fees_as_wallets_ask_for_them(wallet):
    assert wallet.number("eth_gasPrice") == BASE_FEE + TIP
    assert wallet.number("eth_maxPriorityFeePerGas") == TIP
    wallet.send()
    head = wallet.rpc("eth_getBlockByNumber", "latest", False)
    assert int(head["baseFeePerGas"], 16) == BASE_FEE
    history = wallet.rpc("eth_feeHistory", "0x3", "latest", [10, 50])
    assert history["baseFeePerGas"] == [hex(BASE_FEE)] * 4
    assert len(history["gasUsedRatio"]) == len(history["reward"]) == 3
    assert int(history["oldestBlock"], 16) == int(head["number"], 16) - 2
    assert [hex(2_000_000)] * 2 in history["reward"]
    assert "reward" not in wallet.rpc("eth_feeHistory", 1, "latest", [])


def test_storage_code_and_who_answers(on_both):
    wallet = on_both
    holder = wallet.address[2:].lower().rjust(64, "0")
    places = [keccak(bytes.fromhex(holder) + slot.to_bytes(32, "big")) for slot in range(12)]
    words = [wallet.rpc("eth_getStorageAt", USDC, "0x" + each.hex(), "latest") for each in places]
    assert f"0x{100_000_000:064x}" in words
    assert wallet.rpc("net_version") == str(CHAIN_ID)
    assert wallet.rpc("web3_clientVersion") == f"x402_agent-sandbox/{wallet.box.backend}"
    assert (wallet.rpc("eth_syncing"), wallet.rpc("eth_accounts")) == (False, [])
    assert wallet.rpc("eth_getCode", "0x" + PERMIT2.hex(), "latest") != "0x"


# -- logs --------------------------------------------------------------------------------------------------------------

MOVED = "0x" + keccak(b"Transfer(address,address,uint256)").hex()
USED = "0x" + keccak(b"AuthorizationUsed(address,bytes32)").hex()


def topic(address):
    return "0x" + address[2:].lower().rjust(64, "0")


def test_logs_by_address_topics_and_blocks(wallet, buyer):
    box = wallet.box
    done = [box.facilitator.settle_json(buyer.request())["transaction"] for _ in range(2)]
    blocks = [hex(box.transaction(each).block) for each in done]

    def logs(**wanted):
        found = wallet.rpc("eth_getLogs", {"fromBlock": "earliest"} | wanted)
        assert isinstance(found, list), found
        return [(each["transactionHash"], each["topics"][0]) for each in found]

    both = [(tx, each) for tx in done for each in (USED, MOVED)]
    mine = [None, topic(box.payer_address)]
    paid = [MOVED, topic(box.payer_address), topic(box.pay_to)]
    assert [each for each in logs() if each[0] in done] == both
    assert logs(topics=[[USED, MOVED], *mine[1:]]) == both
    assert logs(address=USDC, topics=paid) == [(tx, MOVED) for tx in done]
    assert logs(address=["0x" + "11" * 20, USDC], topics=[MOVED, None, topic(box.pay_to)]) == [
        (tx, MOVED) for tx in done
    ]
    assert logs(topics=paid, fromBlock=blocks[1], toBlock="latest") == [(done[1], MOVED)]
    assert logs(topics=paid, toBlock=blocks[0]) == [(done[0], MOVED)]
    assert logs(address="0x" + "11" * 20) == []
    assert logs(topics=[*paid, None]) == []  # no log has four topics here
    name = wallet.rpc("eth_getBlockByNumber", blocks[1], False)["hash"]
    assert [each["transactionHash"] for each in wallet.rpc("eth_getLogs", {"blockHash": name})] == [done[1]] * 2
    (receipt,) = [wallet.rpc("eth_getTransactionReceipt", done[0])]
    assert receipt["logs"] == [each for each in wallet.rpc("eth_getLogs", {"fromBlock": "earliest"})
                               if each["transactionHash"] == done[0]]  # fmt: skip


@pytest.mark.parametrize(
    "wanted, code, words",
    [
        ({"fromBlock": "latest", "toBlock": "earliest"}, -32000, "invalid block range params"),
        ({"fromBlock": "0x7fffffff"}, -32000, "invalid block range params"),
        ({"blockHash": "0x" + "11" * 32}, -32000, "unknown block"),
        ({"blockHash": "0x" + "11" * 32, "fromBlock": "latest"}, -32602, "cannot specify both BlockHash"),
        ({"blockHash": "0x11"}, -32602, "invalid argument"),
        ({"topics": [None] * 5}, -32602, "exceed max topics"),
        ({"address": "nobody"}, -32602, "invalid argument"),
        ({"topics": [5]}, -32602, "invalid argument"),
    ],
)
def test_questions_for_logs_that_make_no_sense(wallet, wanted, code, words):
    wallet.box.warp(60)
    answer = wallet.rpc("eth_getLogs", wanted)
    assert answer["code"] == code
    assert answer["message"].startswith(words)


def test_batches(wallet):
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    assert answer_rpc(wallet.box.chain, [call, 5, call | {"id": "x", "method": 7}]) == [
        {"jsonrpc": "2.0", "id": 1, "result": "0x14a34"},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "invalid request"}},
        {"jsonrpc": "2.0", "id": "x", "error": {"code": -32600, "message": "invalid request"}},
    ]
    assert answer_rpc(wallet.box.chain, [])["error"]["code"] == -32600
    assert answer_rpc(wallet.box.chain, [call] * 1001)["error"]["message"] == "batch too large"
    assert answer_rpc(wallet.box.chain, call | {"params": {}})["result"] == "0x14a34"
    assert answer_rpc(wallet.box.chain, call | {"params": {"a": 1}})["error"]["code"] == -32602
