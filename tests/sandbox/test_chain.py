"""Blocks, transactions and the node: what a payer may ask of a chain."""

from __future__ import annotations

import subprocess
import sys
import threading
from itertools import pairwise

import pytest
from eth_account import Account

from x402_agent.errors import SettingsError
from x402_agent.primitives import EvmKey, checksum
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.envelopes import rlp, signed
from x402_agent.sandbox.evm import Chain
from x402_agent.sandbox.machines import Ran, intrinsic, machine


def test_rlp_of_the_published_examples():
    # the examples of the RLP page of ethereum.org
    assert rlp(b"dog") == b"\x83dog"
    assert rlp([b"cat", b"dog"]) == b"\xc8\x83cat\x83dog"
    assert (rlp(b""), rlp(0), rlp([])) == (b"\x80", b"\x80", b"\xc0")
    assert (rlp(15), rlp(1024)) == (b"\x0f", b"\x82\x04\x00")
    lorem = b"Lorem ipsum dolor sit amet, consectetur adipisicing elit"
    assert rlp(lorem) == b"\xb8\x38" + lorem


def test_a_transaction_is_signed_by_its_sender_and_named_by_its_hash(both, buyer_of):
    buyer = buyer_of(both)
    done = both.facilitator.settle_json(buyer.request())
    mined = both.transaction(done["transaction"])
    assert Account.recover_transaction(mined.raw) == both.facilitator_address == mined.sender


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 70_000])
@pytest.mark.parametrize("data", [b"", b"\x00", b"\x7f", bytes(56), bytes(range(256)) * 3])
def test_a_signed_transaction_is_byte_for_byte_eth_accounts(nonce, data):
    to = b"\x09" * 20
    fields = {"chainId": 84532, "nonce": nonce, "maxPriorityFeePerGas": 0, "maxFeePerGas": 0, "gas": 500_000,
              "to": checksum("0x" + to.hex()), "value": 0, "data": data, "type": 2}  # fmt: skip
    theirs = Account.sign_transaction(fields, b"\x11" * 32)
    ours = signed(EvmKey(b"\x11" * 32), 84532, nonce, to, data)
    assert (ours.hash, ours.raw) == ("0x" + bytes(theirs.hash).hex(), bytes(theirs.raw_transaction))


CLOCK, PURSE, CELL = bytes.fromhex("425f5260205ff3"), bytes.fromhex("475f5260205ff3"), bytes.fromhex("36156009575f355f555b5f545f5260205ff3")


@pytest.mark.parametrize("backend", ["pyrevm", "py-evm"])
def test_a_view_that_is_remembered_is_never_older_than_the_state(backend):
    made, here, who = machine(backend, 84532), b"\x07" * 20, b"\x08" * 20

    def seen(data=b"", *, keep=False):
        return int.from_bytes(made.run(who, here, data, keep=keep).output)

    made.install(here, CLOCK)
    made.block(1, 100)
    assert seen() == seen() == 100
    made.block(1, 101)
    assert seen() == 101
    made.install(here, PURSE)
    assert seen() == 0
    made.endow(here, 7)
    assert seen() == seen() == 7
    made.install(here, CELL)
    five, six = (each.to_bytes(32) for each in (5, 6))
    assert (seen(), seen(five), seen(six), seen()) == (0, 5, 6, 0)
    assert seen(five, keep=True) == 5
    assert (seen(), seen(six), seen(), seen(six, keep=True), seen()) == (5, 6, 5, 6, 6)


def test_a_transaction_is_read_back_with_what_it_moved(both, buyer_of):
    done = both.facilitator.settle_json(buyer_of(both).request())
    mined = both.transaction(done["transaction"])
    (moved,) = mined.transfers
    assert (moved.sender, moved.to, moved.value) == (both.payer_address, both.pay_to, 10000)
    assert (mined.status, mined.value, mined.to) == (1, 10000, moved.token)
    assert both.ground.chain.block(mined.block).transactions == (mined.hash,)
    assert both.transaction("0x" + "00" * 32) is None


def test_a_reverted_transaction_is_mined_with_its_reason(both):
    stranger = EvmKey(b"\x44" * 32)
    done = both.ground.token.transfer(stranger, b"\x05" * 20, 1)
    assert (done.status, done.reason, done.transfers) == (0, "ERC20: transfer amount exceeds balance", ())
    assert both.transaction(done.hash) == done


def test_nonces_of_a_sender_count_up(box):
    hashes = [box.fund(box.pay_to, 1) for _ in range(3)]
    nonces = [box.transaction(each).nonce for each in hashes]
    assert nonces == [nonces[0], nonces[0] + 1, nonces[0] + 2]
    assert len(set(hashes)) == 3


def test_time_is_the_clock_plus_what_was_warped_and_never_runs_back():
    time = [1_800_000_000.5]
    chain = Chain(lambda: time[0])
    first = chain.head()
    chain.warp(3600)
    assert chain.head().timestamp == first.timestamp + 3600
    time[0] -= 10_000
    assert chain.now() == first.timestamp + 3600
    time[0] += 20_000
    assert chain.head().timestamp == 1_800_000_000 + 10_000 + 3600
    numbers = [chain.block(first.number + i) for i in range(3)]
    assert [each.number for each in numbers] == [first.number, first.number + 1, first.number + 2]
    assert all(later.parent == earlier.hash for earlier, later in pairwise(numbers))
    assert chain.head().number == first.number + 1 + 64  # one warped, and as many as are made up at once
    assert chain.block(first.number + 66) is None
    time[0] += 12
    assert chain.head().number == first.number + 65 + 6  # a block every two seconds


def test_many_threads_settle_without_losing_a_payment(both, buyer_of):
    buyer = buyer_of(both)
    bodies = [buyer.request() for _ in range(12)]
    answers: list[dict] = []

    def work(part):
        for body in part:
            answers.append(both.facilitator.settle_json(body))
            both.balance(both.pay_to)

    threads = [threading.Thread(target=work, args=(bodies[i::4],)) for i in range(4)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert all(each["success"] for each in answers)
    assert both.balance(both.pay_to) == 12 * 10000
    assert len({each.tx for each in both.settlements}) == 12


def test_one_proof_from_many_threads_settles_once(both, buyer_of):
    body = buyer_of(both).request()
    answers: list[dict] = []
    threads = [threading.Thread(target=lambda: answers.append(both.facilitator.settle_json(body))) for _ in range(6)]
    [each.start() for each in threads]
    [each.join() for each in threads]
    assert [each["success"] for each in answers].count(True) == 1
    assert {each.get("errorReason") for each in answers} == {None, "invalid_exact_evm_nonce_already_used"}
    assert both.balance(both.pay_to) == 10000


def test_an_unknown_evm_is_a_typed_error():
    with pytest.raises(SettingsError, match="no EVM is called 'geth'"):
        Sandbox(backend="geth")


@pytest.mark.parametrize("backend", ["pyrevm", "py-evm"])
def test_an_evm_leaves_the_recursion_limit_alone(backend):
    """In a process of its own: an import happens once."""
    script = (
        "import sys; before = sys.getrecursionlimit()\n"
        "from x402_agent.sandbox import Sandbox\n"
        f"with Sandbox(backend={backend!r}) as box: box.fund(box.pay_to, 1)\n"
        "sys.exit(sys.getrecursionlimit() != before)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_native_balances_and_code(both):
    assert both.ground.chain.wei(b"\x09" * 20) == 0
    both.ground.chain.endow(b"\x09" * 20, 10**18)
    assert both.ground.chain.wei(b"\x09" * 20) == 10**18
    assert both.ground.chain.code(b"\x09" * 20) == b""


@pytest.mark.parametrize("backend", ["pyrevm", "py-evm"])
def test_a_rehearsal_changes_nothing_and_a_reverted_call_neither(backend):
    made = machine(backend, 84532)
    made.block(1, 1_800_000_000)
    counter = bytes.fromhex("5f5460010180" + "5f55" + "5f5260205ff3")  # slot 0 += 1, return it
    made.install(b"\x08" * 20, counter)
    seen = [
        int.from_bytes(made.run(bytes(20), b"\x08" * 20, b"", keep=keep).output) for keep in (False, True, False, True)
    ]
    assert seen == [1, 1, 2, 2]


@pytest.mark.parametrize("backend", ["pyrevm", "py-evm"])
def test_a_machine_meters_gas_moves_value_and_says_what_stopped_it(backend):
    made = machine(backend, 84532)
    made.block(1, 1_800_000_000)
    rich, poor, code = b"\xaa" * 20, b"\xbb" * 20, b"\x08" * 20
    made.endow(rich, 10**18)
    assert made.run(rich, poor, b"", keep=True, value=5, gas=21_000) == Ran(True, b"", gas=21_000)
    assert made.run(rich, poor, b"\0\1", keep=False, value=5).gas == 21_020 == intrinsic(b"\0\1")
    assert (made.balance(rich), made.balance(poor)) == (10**18 - 5, 5)
    made.install(code, bytes.fromhex("5f5460010180" + "5f55" + "5f5260205ff3"))  # slot 0 += 1, return it
    starved = made.run(rich, code, b"", keep=True, gas=30_000)
    assert (starved.ok, starved.gas, starved.halt) == (False, 30_000, "OutOfGas")
    assert (made.run(rich, code, b"", keep=True).gas, made.storage(code, 0)) == (43_126, 1)
    made.install(code, bytes.fromhex("60015f5ffd"))  # REVERT
    assert made.run(rich, code, b"", keep=True)[:5] == (False, b"", (), 21_007, 0)
    made.install(code, b"\xfe")  # INVALID
    assert made.run(rich, code, b"", keep=True).halt.startswith("Invalid")


# -- the node ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def rpc(shop):
    def call(method, *params):
        answer = shop.post("/rpc", json={"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)})
        assert answer.status_code == 200
        assert answer.json()["jsonrpc"] == "2.0"
        assert answer.json()["id"] == 7
        return answer.json().get("result", answer.json().get("error"))

    return call


def test_the_node_names_its_chain_and_blocks(rpc, shop):
    assert rpc("eth_chainId") == "0x14a34"
    head = rpc("eth_getBlockByNumber", "latest", False)
    assert head == rpc("eth_getBlockByNumber", head["number"], False)
    assert int(head["timestamp"], 16) <= shop.box.ground.chain.now()
    shop.box.warp(1000)
    final = rpc("eth_getBlockByNumber", "finalized", False)
    assert int(final["timestamp"], 16) >= int(head["timestamp"], 16) + 1000
    assert int(rpc("eth_blockNumber"), 16) >= int(final["number"], 16)
    assert rpc("eth_getBlockByNumber", "0x7fffffff", False) is None


def test_the_node_tells_whether_an_authorization_was_used(rpc, shop, buyer, tools):
    body = buyer.request()
    nonce = body["paymentPayload"]["payload"]["authorization"]["nonce"]
    call = {"to": tools.usdc, "data": "0xe94a0102" + "00" * 12 + shop.box.payer_address[2:].lower() + nonce[2:]}
    assert rpc("eth_call", call, "latest") == "0x" + "00" * 32
    assert shop.post("/facilitator/settle", json=body).json()["success"]
    assert rpc("eth_call", call, "latest") == "0x" + "00" * 31 + "01"


def test_the_node_gives_receipts_code_and_balances(rpc, shop, buyer, tools):
    done = shop.box.facilitator.settle_json(buyer.request())
    receipt = rpc("eth_getTransactionReceipt", done["transaction"])
    assert (receipt["status"], receipt["type"]) == ("0x1", "0x2")
    assert [log["topics"][0][:10] for log in receipt["logs"]] == ["0x98de5035", "0xddf252ad"]
    assert receipt["blockHash"] == rpc("eth_getBlockByNumber", receipt["blockNumber"], False)["hash"]
    assert rpc("eth_getTransactionReceipt", "0x" + "11" * 32) is None
    assert rpc("eth_getCode", tools.usdc, "latest").startswith("0x60")
    assert rpc("eth_getBalance", shop.box.payer_address, "latest") == hex(10**18)


def test_the_node_refuses_in_json_rpc(rpc, shop, tools):
    assert rpc("debug_traceTransaction", "0x")["code"] == -32601
    assert rpc("eth_getCode", "nobody", "latest")["code"] == -32602
    assert rpc("eth_getBlockByNumber")["code"] == -32602
    reverted = rpc("eth_call", {"to": tools.usdc, "data": "0xa9059cbb" + "00" * 31 + "01" + "00" * 31 + "01"}, "latest")
    assert (reverted["code"], reverted["data"][:10]) == (3, "0x08c379a0")
    assert shop.post("/rpc", json=5).json()["error"]["code"] == -32600
    batch = shop.post("/rpc", json=[{"id": 1, "method": "eth_chainId"}, {"id": 2, "method": "eth_blockNumber"}]).json()
    assert [each["id"] for each in batch] == [1, 2]
    assert shop.post("/rpc", content=b"{").status_code == 400
