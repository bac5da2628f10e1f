"""The pretend Solana's node as clients ask it: what it says of blockhashes, accounts, transactions, and what it refuses."""

from __future__ import annotations

import base64
import secrets

import pytest
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams
from solders.system_program import transfer as lamports
from solders.transaction import VersionedTransaction

from x402_agent.encodings import base58
from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.refusals import Refused
from x402_agent.sandbox.solana.facilitator import _decoded
from x402_agent.sandbox.solana.node import answer_rpc
from x402_agent.sandbox.solana.token import MEMO, TOKEN, ata, transfer

FINAL = {"commitment": "finalized"}


class Node:
    """A wallet with some SOL, and a node that answers in words."""

    def __init__(self, box):
        self.box, self.ground = box, box.ground
        self.key = Keypair.from_seed(box.payer_key)
        self.rpc("requestAirdrop", box.payer_address, 10**9)

    def rpc(self, method, *params):
        answer = answer_rpc(self.ground.chain, {"jsonrpc": "2.0", "id": 7, "method": method, "params": list(params)})
        assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
        return answer["result"] if "result" in answer else answer["error"]

    def value(self, method, *params):
        found = self.rpc(method, *params)
        assert found["context"]["slot"] <= self.rpc("getSlot")
        return found["value"]

    def tx(self, *steps, kind=MessageV0):
        blockhash = Hash.from_string(self.value("getLatestBlockhash")["blockhash"])
        steps = steps or (self.move(1),)
        if kind is MessageV0:
            return VersionedTransaction(MessageV0.try_compile(self.key.pubkey(), list(steps), [], blockhash), [self.key])
        return VersionedTransaction(Message.new_with_blockhash(list(steps), self.key.pubkey(), blockhash), [self.key])

    def move(self, amount):
        return transfer(self.key.pubkey(), Pubkey.from_string(self.box.pay_to), amount, self.ground.mint, TOKEN)

    def send(self, tx, **options):
        return self.rpc("sendTransaction", base64.b64encode(bytes(tx)).decode(), {"encoding": "base64"} | options)


@pytest.fixture
def node():
    with Sandbox(chain="solana") as box:
        yield Node(box)


def memo(text):
    return Instruction(MEMO, text.encode(), [])


def test_what_the_chain_says_of_itself(node):
    assert node.rpc("getGenesisHash") == "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG"
    assert node.rpc("getHealth") == "ok"
    slot, height, epoch = node.rpc("getSlot", FINAL), node.rpc("getBlockHeight"), node.rpc("getEpochInfo", FINAL)
    assert height < slot == epoch["absoluteSlot"]
    assert epoch["blockHeight"] == height
    assert node.rpc("getFirstAvailableBlock") <= slot
    assert abs(node.rpc("getBlockTime", slot) - node.ground.now()) <= 1
    node.box.warp(40)
    assert node.rpc("getSlot") - slot in (100, 101)
    assert node.rpc("getMinimumBalanceForRentExemption", 165) == 2_039_280
    assert node.rpc("getRecentPrioritizationFees") == []


def test_a_blockhash_lives_for_a_hundred_and_fifty_blocks(node):
    first = node.value("getLatestBlockhash", FINAL)
    assert first["lastValidBlockHeight"] - node.rpc("getBlockHeight") in (149, 150)
    assert node.value("isBlockhashValid", first["blockhash"], FINAL) is True
    node.box.warp(30)
    second = node.value("getLatestBlockhash")["blockhash"]
    assert second != first["blockhash"]
    assert node.value("isBlockhashValid", first["blockhash"]) is True
    node.box.warp(31)
    assert node.rpc("getBlockHeight") > first["lastValidBlockHeight"]
    assert [node.value("isBlockhashValid", each) for each in (first["blockhash"], second, str(Hash.new_unique()))] == [False, True, False]


def test_accounts_in_three_encodings(node):
    ours = str(ata(node.key.pubkey(), node.ground.mint, TOKEN))
    mint = node.value("getAccountInfo", str(node.ground.mint), {"encoding": "base64"})
    data = base64.b64decode(mint["data"][0])
    assert (mint["owner"], mint["data"][1], mint["space"], data[44]) == (str(TOKEN), "base64", 82, 6)
    parsed = node.value("getAccountInfo", str(node.ground.mint), {"encoding": "jsonParsed"})["data"]
    assert (parsed["program"], parsed["parsed"]["type"], parsed["parsed"]["info"]["decimals"]) == ("spl-token", "mint", 6)
    info = node.value("getAccountInfo", ours, {"encoding": "jsonParsed"})["data"]["parsed"]["info"]
    assert (info["owner"], info["mint"]) == (node.box.payer_address, str(node.ground.mint))
    assert info["tokenAmount"] == {"amount": "100000000", "decimals": 6, "uiAmount": 100.0, "uiAmountString": "100"}
    assert node.value("getTokenAccountBalance", ours)["amount"] == "100000000"
    assert "could not find account" in node.rpc("getTokenAccountBalance", node.box.payer_address)["message"]
    rows = node.value("getMultipleAccounts", [ours, str(Keypair().pubkey())], {"encoding": "base64"})
    assert len(base64.b64decode(rows[0]["data"][0])) == 165
    assert rows[1] is None
    assert "use Base64" in node.rpc("getAccountInfo", ours)["message"]
    assert node.value("getAccountInfo", node.box.payer_address)["lamports"] == node.value("getBalance", node.box.payer_address) == 10**9
    assert node.value("getBalance", str(Keypair().pubkey())) == 0


@pytest.mark.parametrize("kind", [MessageV0, Message])
def test_a_transaction_and_what_is_said_of_it(node, kind):
    tx = node.tx(node.move(1_234_567), memo("order 5"), memo("ünïcode"), kind=kind)
    signature = node.send(tx)
    assert signature == str(tx.signatures[0])
    (status,) = node.value("getSignatureStatuses", [signature])
    assert (status["confirmationStatus"], status["err"], status["status"]) == ("finalized", None, {"Ok": None})
    version = {"maxSupportedTransactionVersion": 0}
    found = node.rpc("getTransaction", signature, {"encoding": "base64"} | version)
    assert base64.b64decode(found["transaction"][0]) == bytes(tx)
    assert found["version"] == (0 if kind is MessageV0 else "legacy")
    meta = found["meta"]
    assert (meta["err"], meta["fee"], meta["preBalances"][0] - meta["postBalances"][0]) == (None, 5000, 5000)
    before, after = ({row["owner"]: int(row["uiTokenAmount"]["amount"]) for row in meta[side]} for side in ("preTokenBalances", "postTokenBalances"))
    assert after[node.box.pay_to] - before[node.box.pay_to] == 1_234_567 == before[node.box.payer_address] - after[node.box.payer_address]
    shown = node.rpc("getTransaction", signature, {"encoding": "json"} | version)["transaction"]
    assert shown["signatures"] == [signature]
    assert shown["message"]["accountKeys"] == [str(each) for each in tx.message.account_keys]
    assert shown["message"]["instructions"][1]["data"] == base58(b"order 5")
    (row,) = node.rpc("getSignaturesForAddress", str(MEMO), {"limit": 1})
    assert (row["signature"], row["memo"], row["err"]) == (signature, "[7] order 5; [9] ünïcode", None)
    old = node.rpc("getTransaction", signature)
    assert old["code"] == -32015 if kind is MessageV0 else old["slot"]


def test_a_history_page_by_page(node):
    sent = [node.send(node.tx(node.move(1), memo(secrets.token_hex(4)))) for _ in range(7)][::-1]
    account = str(ata(node.key.pubkey(), node.ground.mint, TOKEN))

    def page(**options):
        return [row["signature"] for row in node.rpc("getSignaturesForAddress", account, options)]

    assert page()[:7] == sent
    assert page(limit=3) == sent[:3]
    assert page(limit=3, before=sent[2]) == sent[3:6]
    assert page(until=sent[2]) == sent[:2]
    assert node.rpc("getSignaturesForAddress", account, {"limit": 1001})["code"] == -32602
    assert node.rpc("getSignaturesForAddress", str(Keypair().pubkey())) == []


def test_what_a_node_does_not_take(node):
    good = node.tx()
    assert node.send(good)
    again = node.send(good)
    assert (again["code"], again["data"]["err"]) == (-32002, "AlreadyProcessed")
    poor = node.tx(node.move(10**12))
    said = node.send(poor)
    assert (said["code"], said["data"]["err"]) == (-32002, {"InstructionError": [0, {"Custom": 1}]})
    assert said["message"] == "Transaction simulation failed: Error processing Instruction 0: custom program error: 0x1"
    stolen = VersionedTransaction.populate(poor.message, [Signature.default()])
    assert node.send(stolen)["code"] == -32003
    old = node.tx(node.move(2))
    node.box.warp(100)
    assert node.send(old)["data"]["err"] == "BlockhashNotFound"
    assert node.send(old, skipPreflight=True) == str(old.signatures[0])  # taken, and never heard of again
    assert node.value("getSignatureStatuses", [str(old.signatures[0])]) == [None]
    assert node.rpc("getTransaction", str(old.signatures[0])) is None
    for raw in ("", "AAAA", base64.b64encode(bytes(2000)).decode()):
        assert node.rpc("sendTransaction", raw, {"encoding": "base64"})["code"] == -32602
    assert node.send(node.tx(), minContextSlot=10**12)["code"] == -32016


def test_what_fails_on_the_chain_pays_its_fee_and_is_kept(node):
    before = node.value("getBalance", node.box.payer_address)
    signature = node.send(node.tx(node.move(10**12)), skipPreflight=True)
    (status,) = node.value("getSignatureStatuses", [signature])
    assert status["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert node.value("getBalance", node.box.payer_address) == before - 5000
    assert node.rpc("getTransaction", signature, {"maxSupportedTransactionVersion": 0})["meta"]["status"]["Err"]
    assert node.box.balance(node.box.pay_to) == 0


def test_simulation_keeps_nothing(node):
    tx = node.tx(node.move(5))
    raw = base64.b64encode(bytes(tx)).decode()
    found = node.value("simulateTransaction", raw, {"encoding": "base64", "sigVerify": True})
    assert found["err"] is None
    assert found["unitsConsumed"] > 0
    assert node.box.balance(node.box.pay_to) == 0
    unsigned = base64.b64encode(bytes(VersionedTransaction.populate(tx.message, [Signature.default()]))).decode()
    assert node.value("simulateTransaction", unsigned, {"encoding": "base64"})["err"] is None
    assert node.value("simulateTransaction", unsigned, {"encoding": "base64", "sigVerify": True})["err"] == "SignatureFailure"
    node.box.warp(100)
    assert node.value("simulateTransaction", raw, {"encoding": "base64"})["err"] == "BlockhashNotFound"
    fresh = node.value("simulateTransaction", raw, {"encoding": "base64", "replaceRecentBlockhash": True})
    assert fresh["err"] is None
    assert node.value("isBlockhashValid", fresh["replacementBlockhash"]["blockhash"]) is True


def test_lamports_move_and_fees_are_told_before(node):
    to = Keypair().pubkey()
    tx = node.tx(lamports(TransferParams(from_pubkey=node.key.pubkey(), to_pubkey=to, lamports=5_000_000)))
    message = base64.b64encode(b"\x80" + bytes(tx.message)).decode()
    assert node.value("getFeeForMessage", message) == 5000
    node.rpc("sendTransaction", base58(bytes(tx)))  # base58 is what a node expects when nothing is said
    assert node.value("getBalance", str(to)) == 5_000_000
    node.box.warp(100)
    assert node.value("getFeeForMessage", message) is None


@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("getFoo", [], -32601),
        ("getBalance", ["nobody"], -32602),
        ("getBalance", [], -32602),
        ("getBalance", ["0x036CbD53842c5426634e7929541eC2318f3dCF7e"], -32602),
        ("getTransaction", ["abc"], -32602),
        ("getSlot", [{"commitment": "sure"}], -32602),
        ("getSlot", [5], -32602),
        ("requestAirdrop", [str(Pubkey.default()), 10**18], -32602),
        ("getMultipleAccounts", [[str(Pubkey.default())] * 101], -32602),
        ("getBlockTime", [5], -32004),
    ],
)
def test_bad_questions(node, method, params, code):
    assert node.rpc(method, *params)["code"] == code


def test_bytes_that_point_outside_of_themselves_are_no_transaction(node):
    raw = bytes(node.tx())
    codes, refusals = set(), set()
    for place in {*range(60, 80), *range(len(raw) - 20, len(raw))}:  # lengths and indexes
        broken = raw[:place] + b"\x7f" + raw[place + 1 :]
        text = base64.b64encode(broken).decode()
        found = node.rpc("simulateTransaction", text, {"encoding": "base64", "sigVerify": True})
        codes.add(found.get("code", 0))
        try:
            _decoded({"payload": {"transaction": text}})
        except Refused as why:
            refusals.add(why.code)
    assert -32602 in codes and refusals == {"invalid_exact_svm_payload_transaction_could_not_be_decoded"}
