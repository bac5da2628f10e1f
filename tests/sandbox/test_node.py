"""What a node is asked: calls, gas, fees, storage, logs. It answers as go-ethereum does, on both EVMs."""

from __future__ import annotations

import pytest
from eth_abi import encode

from x402_agent.primitives import keccak
from x402_agent.sandbox.node import answer_rpc
from x402_agent.sandbox.permit2 import PERMIT2
from x402_agent.sandbox.token import selector

USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
CHAIN_ID, BASE_FEE, TIP = 84532, 1_000_000, 1_000_000
ETHER = 10**18


def transfer(to, amount):
    return selector("transfer(address,uint256)") + encode(["address", "uint256"], [to, amount])


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


def test_an_estimate_leaves_room_for_what_a_call_holds_back(on_both):
    """A caller keeps a 64th of its gas (EIP-150): what was used would not be enough."""
    wallet = on_both
    outer, inner = b"\x08" * 20, b"\x09" * 20
    wallet.box.ground.chain.install(inner, b"".join(bytes((0x60, 1, 0x60, slot, 0x55)) for slot in range(5)))  # five SSTORE
    code = b"\x5f" * 5 + b"\x73" + inner + bytes.fromhex("5af115602157005b5f5ffd")  # call it, revert when it fails
    wallet.box.ground.chain.install(outer, code)
    to = "0x" + outer.hex()
    gas = wallet.number("eth_estimateGas", {"from": wallet.address, "to": to})
    receipt = wallet.rpc("eth_getTransactionReceipt", wallet.send(to=to, gas=gas))
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) < gas


@pytest.mark.parametrize(
    "method, params, code, words",
    [
        ("eth_getStorageAt", [USDC, 5, "latest"], -32602, "invalid argument: a quantity is 0x"),
        ("eth_getStorageAt", [USDC, "12", "latest"], -32602, "invalid argument: a quantity is 0x"),
        ("eth_getStorageAt", [USDC, "0x1_0", "latest"], -32602, "invalid argument: a quantity is 0x"),
        ("eth_getStorageAt", [USDC, "0x", "latest"], -32602, "invalid argument: a quantity is 0x"),
        ("eth_sendRawTransaction", [5], -32602, "invalid argument: data is 0x"),
        ("eth_sendRawTransaction", ["c0c0"], -32602, "invalid argument: data is 0x"),
        ("eth_sendRawTransaction", ["0xzz"], -32602, "invalid argument"),
        ("eth_getBlockByHash", [5, False], -32602, "invalid argument: a block hash is 32 bytes"),
        ("eth_getBlockByHash", ["0x11", False], -32602, "invalid argument: a block hash is 32 bytes"),
        ("eth_getBlockByNumber", [None, False], -32602, "invalid argument: a quantity is 0x"),
        ("eth_feeHistory", ["0x1", "0x7fffffff", []], -32000, "request beyond head block"),
        (
            "eth_call",
            [{"to": USDC, "gas": "0x5207"}, "latest"],
            -32000,
            "intrinsic gas too low: have 20999, want 21000",
        ),
        ("eth_foo", [], -32601, "the method eth_foo does not exist/is not available"),
    ],
)
def test_arguments_that_make_no_sense(wallet, method, params, code, words):
    answer = wallet.rpc(method, *params)
    assert answer["code"] == code
    assert answer["message"].startswith(words)


def test_blocks_are_named_in_several_ways(wallet):
    head = wallet.rpc("eth_getBlockByNumber", "latest", False)
    wei = wallet.rpc("eth_getBalance", wallet.address)
    for which in (
        None,
        "latest",
        "earliest",
        head["number"],
        {"blockNumber": head["number"]},
        {"blockHash": head["hash"]},
    ):
        assert wallet.rpc("eth_getBalance", wallet.address, which) == wei
    for which in ({"blockHash": "0x" + "11" * 32}, {"blockNumber": "0x7fffffff"}):
        assert wallet.rpc("eth_getBalance", wallet.address, which) == {"code": -32000, "message": "header not found"}
    assert wallet.rpc("eth_getBlockByHash", "0x" + "11" * 32, True) is None
    assert wallet.rpc("eth_getBlockReceipts", "0x7fffffff") is None


def test_fees_as_wallets_ask_for_them(wallet):
    assert wallet.number("eth_gasPrice") == BASE_FEE + TIP
    assert wallet.number("eth_maxPriorityFeePerGas") == TIP
    wallet.send()
    head = wallet.rpc("eth_getBlockByNumber", "latest", False)
    assert int(head["baseFeePerGas"], 16) == BASE_FEE
    history = wallet.rpc("eth_feeHistory", "0x3", head["number"], [10, 50])
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


def test_a_search_for_logs_is_bounded(wallet, monkeypatch):
    monkeypatch.setattr("x402_agent.sandbox.node.RANGE", 2)
    head = wallet.number("eth_blockNumber")
    assert isinstance(wallet.rpc("eth_getLogs", {"fromBlock": hex(head - 1), "toBlock": hex(head)}), list)
    answer = wallet.rpc("eth_getLogs", {"fromBlock": hex(head - 2), "toBlock": hex(head)})
    assert answer == {"code": -32005, "message": "query exceeds the range of 2 blocks"}


def test_batches(wallet):
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    assert answer_rpc(wallet.box.ground.chain, [call, 5, call | {"id": "x", "method": 7}]) == [
        {"jsonrpc": "2.0", "id": 1, "result": "0x14a34"},
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "invalid request"}},
        {"jsonrpc": "2.0", "id": "x", "error": {"code": -32600, "message": "invalid request"}},
    ]
    assert answer_rpc(wallet.box.ground.chain, [])["error"]["code"] == -32600
    assert answer_rpc(wallet.box.ground.chain, [call] * 1001)["error"]["message"] == "batch too large"
    assert answer_rpc(wallet.box.ground.chain, call | {"params": {}})["result"] == "0x14a34"
    assert answer_rpc(wallet.box.ground.chain, call | {"params": {"a": 1}})["error"]["code"] == -32602
