"""The pretend Solana's facilitator and shop: hand-made transactions settle once, everything else is refused by its code."""

from __future__ import annotations

import base64
import json
import secrets
import sqlite3
import threading
from contextlib import closing

import httpx2
import pytest
from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from x402_agent.sandbox import Sandbox
from x402_agent.sandbox.solana.token import BUDGET, MEMO, TOKEN, TOKEN_2022, ata, mint_to, opened, transfer

P = "invalid_exact_svm_payload_"
T = f"{P}transaction_"
I = f"{T}instructions_"  # noqa: E741
SYSTEM = Pubkey.default()


def limit(units=20_000):
    return Instruction(BUDGET, b"\x02" + units.to_bytes(4, "little"), [])


def price(micro=1):
    return Instruction(BUDGET, b"\x03" + micro.to_bytes(8, "little"), [])


def memo(text=None):
    return Instruction(MEMO, (text or secrets.token_hex(16)).encode(), [])


class Payer:
    """Signs by hand what the scheme wants, unless told otherwise."""

    def __init__(self, box):
        self.box, self.ground = box, box.ground
        self.key = Keypair.from_seed(box.payer_key)
        self.fees, self.shop = (Pubkey.from_string(each) for each in (box.facilitator_address, box.pay_to))

    def move(self, amount=10_000, to=None, mint=None, program=TOKEN, decimals=6, owner=None):
        return transfer(owner or self.key.pubkey(), to or self.shop, amount, mint or self.ground.mint, program, decimals)

    def steps(self, *more, amount=10_000):
        return [limit(), price(), self.move(amount), memo(), *more]

    def tx(self, steps=None, blockhash=None, signers=None, fees=None, kind=MessageV0):
        blockhash = blockhash or self.ground.chain.blockhash()[0]
        steps, fees = steps or self.steps(), fees or self.fees
        message = kind.try_compile(fees, steps, [], blockhash) if kind is MessageV0 else kind.new_with_blockhash(steps, fees, blockhash)
        known = {each.pubkey(): each for each in signers or [self.key]}
        count = message.header.num_required_signatures
        data = to_bytes_versioned(message)
        made = [known[k].sign_message(data) if k in known else Signature.default() for k in message.account_keys[:count]]
        return VersionedTransaction.populate(message, made)

    def asked(self, **change):
        extra = {"feePayer": self.box.facilitator_address} | change.pop("extra", {})
        common = {"scheme": "exact", "network": self.box.network, "asset": self.ground.asset.address, "amount": "10000",
                  "payTo": self.box.pay_to, "maxTimeoutSeconds": 60, "extra": extra}  # fmt: skip
        return common | change

    def body(self, tx=None, asked=None, version=2):
        asked = asked or self.asked()
        raw = tx if isinstance(tx, str) else base64.b64encode(bytes(tx or self.tx())).decode()
        sent = {"x402Version": version, "payload": {"transaction": raw}}
        if version == 1:
            asked = {k: v for k, v in asked.items() if k != "amount"} | {"network": "solana-devnet", "maxAmountRequired": asked["amount"]}
            sent |= {"scheme": "exact", "network": "solana-devnet"}
        else:
            sent |= {"accepted": asked}
        return {"x402Version": version, "paymentPayload": sent, "paymentRequirements": asked}

    def settle(self, *args, **kwargs):
        return self.box.facilitator.settle_json(self.body(*args, **kwargs))


@pytest.fixture
def box():
    with Sandbox(chain="solana") as made:
        yield made


@pytest.fixture
def payer(box):
    return Payer(box)


@pytest.fixture
def refused(box):
    """The code that /verify and /settle agree on; nothing moved, no fee was paid."""

    def run(body):
        fees = Pubkey.from_string(box.facilitator_address)
        before = box.balance(box.pay_to), box.ground.chain.account(fees).lamports
        verdict, settled = box.facilitator.verify_json(body), box.facilitator.settle_json(body)
        assert (verdict["isValid"], settled["success"], settled["transaction"]) == (False, False, "")
        assert verdict["invalidReason"] == settled["errorReason"]
        assert (box.balance(box.pay_to), box.ground.chain.account(fees).lamports) == before
        assert box.settlements == []
        return verdict["invalidReason"]

    return run


@pytest.mark.proves("solana", "exact", "facilitator")
@pytest.mark.parametrize("version", [1, 2])
def test_a_hand_made_transaction_settles_once(box, payer, version):
    body = payer.body(version=version)
    assert box.facilitator.verify_json(body) == {"isValid": True, "payer": box.payer_address}
    assert box.balance(box.pay_to) == 0
    done = box.facilitator.settle_json(body)
    assert done == {"success": True, "transaction": done["transaction"], "network": box.ground.networks[version], "payer": box.payer_address}
    assert (box.balance(box.pay_to), box.balance(box.payer_address)) == (10_000, 99_990_000)
    row = box.transaction(done["transaction"])
    assert all(row.tx.verify_with_results())
    assert row.tried.err is None
    for _ in range(2):
        assert box.facilitator.settle_json(body)["errorReason"] == "duplicate_settlement"
    assert box.facilitator.verify_json(body)["invalidReason"] == "duplicate_settlement"
    (kept,) = box.settlements
    assert (kept.tx, kept.payer, kept.pay_to, kept.amount) == (done["transaction"], box.payer_address, box.pay_to, 10_000)
    assert box.balance(box.pay_to) == 10_000


def test_what_was_settled_stays_settled_however_many_come_after(box, payer):
    """LiteSVM's own memory is 32 transactions long."""
    blockhash, first = box.ground.chain.blockhash()[0], payer.body()
    assert box.facilitator.settle_json(first)["success"]
    assert all(payer.settle(payer.tx(blockhash=blockhash))["success"] for _ in range(60))
    assert box.facilitator.settle_json(first)["errorReason"] == "duplicate_settlement"
    assert box.balance(box.pay_to) == 610_000


def test_threads_settle_one_proof_once(box, payer):
    body, answers = payer.body(), []
    others = [payer.body() for _ in range(40)]
    work = [body] * 8 + others

    def run(part):
        answers.extend(box.facilitator.settle_json(each) for each in part)

    threads = [threading.Thread(target=run, args=(work[at::6],)) for at in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sum(each["success"] for each in answers) == 41
    assert {each.get("errorReason") for each in answers} == {None, "duplicate_settlement"}
    assert box.balance(box.pay_to) == 410_000


LAYOUTS = {
    "two instructions": (lambda p: [limit(), p.move()], f"{I}length"),
    "seven": (lambda p: p.steps(memo(), memo(), memo()), f"{I}length"),
    "no limit": (lambda p: [price(), price(), p.move()], f"{I}compute_limit_instruction"),
    "a limit of nothing": (lambda p: [limit(0), price(), p.move()], f"{I}compute_limit_instruction"),
    "a limit above the chain's": (lambda p: [limit(1_400_001), price(), p.move()], f"{I}compute_limit_instruction"),
    "no price": (lambda p: [limit(), memo(), p.move()], f"{I}compute_price_instruction"),
    "a price above the cap": (lambda p: [limit(), price(5_000_001), p.move()], f"{I}compute_price_instruction_too_high"),
    "the transfer in another place": (lambda p: [limit(), price(), memo(), p.move()], f"{P}no_transfer_instruction"),
    "a memo for the transfer": (lambda p: [limit(), price(), memo()], f"{P}no_transfer_instruction"),
    "an unchecked transfer": (
        lambda p: [limit(), price(), Instruction(TOKEN, b"\x03" + bytes(8), p.move().accounts)], f"{P}no_transfer_instruction"),
    "a foreign fourth": (lambda p: [limit(), price(), p.move(), Instruction(SYSTEM, b"", [])], f"{P}unknown_fourth_instruction"),
    "a foreign fifth": (lambda p: p.steps(Instruction(SYSTEM, b"", [])), f"{P}unknown_fifth_instruction"),
    "a durable nonce": (lambda p: p.steps(memo(), Instruction(SYSTEM, (4).to_bytes(4, "little"), [])), f"{P}unknown_sixth_instruction"),
    "a second transfer": (lambda p: p.steps(p.move()), f"{P}unknown_fifth_instruction"),
    "the fee payer in a memo": (
        lambda p: [limit(), price(), p.move(), Instruction(MEMO, b"x", [AccountMeta(p.fees, is_signer=True, is_writable=False)])],
        f"{T}fee_payer_transferring_funds"),
    "the fee payer's own money": (lambda p: [limit(), price(), p.move(owner=p.fees)], f"{T}fee_payer_transferring_funds"),
    "too little": (lambda p: p.steps(amount=9_999), f"{P}amount_insufficient"),
    "too much": (lambda p: p.steps(amount=10_001), f"{P}amount_mismatch"),
    "another payee": (lambda p: [limit(), price(), p.move(to=Keypair().pubkey())], f"{P}recipient_mismatch"),
    "more than there is": (lambda p: p.steps(amount=10**12), "transaction_simulation_failed"),
    "wrong decimals": (lambda p: [limit(), price(), p.move(decimals=9)], "transaction_simulation_failed"),
    "too few units": (lambda p: [limit(100), price(), p.move()], "transaction_simulation_failed"),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_transaction_that_is_not_the_schemes(payer, refused, name):
    steps, code = LAYOUTS[name]
    asked = payer.asked(amount=str(10**12)) if name == "more than there is" else None
    assert refused(payer.body(payer.tx(steps(payer)), asked)) == code


def test_another_mint_is_not_the_one_asked_for(box, payer, refused):
    theirs, maker = Keypair(), box.ground._authority
    mint = box.ground.chain.account(box.ground.mint)
    for program in (TOKEN, TOKEN_2022):
        box.ground.chain.install(theirs.pubkey(), Account(mint.lamports, mint.data, program, False, 0))
        rows = [opened(maker.pubkey(), each, theirs.pubkey(), program) for each in (payer.key.pubkey(), payer.shop)]
        target = ata(payer.key.pubkey(), theirs.pubkey(), program)
        box.ground.send([*rows, mint_to(maker.pubkey(), target, 10**6, theirs.pubkey(), program)], maker)
        steps = [limit(), price(), payer.move(mint=theirs.pubkey(), program=program)]
        assert refused(payer.body(payer.tx(steps))) == f"{P}mint_mismatch"
        assert box.facilitator.verify_json(payer.body(payer.tx(steps), payer.asked(asset=str(theirs.pubkey()))))["isValid"]


def test_a_blockhash_ends_after_a_hundred_and_fifty_blocks(box, payer, refused):
    last = box.ground.chain.blockhash()[1]
    tx = payer.tx()
    box.warp(59)
    assert box.ground.chain.height() < last
    assert box.facilitator.verify_json(payer.body(tx))["isValid"]
    box.warp(2)
    assert box.ground.chain.height() > last
    assert refused(payer.body(tx)) == "transaction_simulation_failed"
    assert refused(payer.body(payer.tx(blockhash=Hash.new_unique()))) == "transaction_simulation_failed"
    assert payer.settle()["success"]


def test_signatures(payer, refused):
    other, good = Keypair(), payer.tx()
    failed = "transaction_simulation_failed"
    assert refused(payer.body(payer.tx(signers=[other]))) == failed  # none of the payer's
    wrong = VersionedTransaction.populate(good.message, [good.signatures[0], other.sign_message(to_bytes_versioned(good.message))])
    assert refused(payer.body(wrong)) == failed
    for at in range(66, len(bytes(good)), 7):  # behind the two signatures: the message
        raw = bytearray(bytes(good))
        raw[at] ^= 1
        refused(payer.body(base64.b64encode(bytes(raw)).decode()))
    assert payer.settle(good)["success"]


def test_bytes_that_are_no_transaction_of_the_scheme(payer, refused):
    could_not = f"{T}could_not_be_decoded"
    good = payer.tx()
    table = AddressLookupTableAccount(Keypair().pubkey(), [ata(payer.shop, payer.ground.mint, TOKEN)])
    message = MessageV0.try_compile(payer.fees, payer.steps(), [table], payer.ground.chain.blockhash()[0])
    looked_up = VersionedTransaction.populate(message, [Signature.default(), payer.key.sign_message(to_bytes_versioned(message))])
    for raw in (b"", b"\0", bytes(good)[:-1], bytes(good) + b"\0", bytes(payer.tx(kind=Message)), bytes(looked_up),
                bytes(payer.tx(payer.steps(memo("x" * 900)))), b"\xff" * 300):  # fmt: skip
        assert refused(payer.body(base64.b64encode(raw).decode())) == could_not
    assert refused(payer.body("not base64 !")) == could_not
    for inner in ({}, {"transaction": 5}, None, []):
        body = payer.body()
        body["paymentPayload"]["payload"] = inner
        assert refused(body) == "invalid_payload"


def test_what_the_seller_wants_is_checked(box, payer, refused):
    for change, code in [
        ({"scheme": "upto"}, "unsupported_scheme"),
        ({"network": "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"}, "invalid_network"),
        ({"extra": {"feePayer": ""}}, f"{P}missing_fee_payer"),
        ({"extra": {"feePayer": box.pay_to}}, "fee_payer_not_managed_by_facilitator"),
        ({"amount": "1e4"}, "invalid_payment_requirements"),
        ({"payTo": "nobody"}, "invalid_payment_requirements"),
        ({"extra": {"memo": "order 5"}}, f"{P}memo_mismatch"),
    ]:
        assert refused(payer.body(asked=payer.asked(**change))) == code, change
    body = payer.body()
    body["paymentPayload"]["accepted"] = payer.asked(network="solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp")
    assert refused(body) == "network_mismatch"
    fees = Keypair()
    assert refused(payer.body(payer.tx(fees=fees.pubkey(), signers=[payer.key, fees]))) == "fee_payer_not_managed_by_facilitator"


def test_the_sellers_memo(payer, refused):
    asked = payer.asked(extra={"memo": "order 5"})
    two = [limit(), price(), payer.move(), memo("order 5"), memo("order 5")]
    assert refused(payer.body(payer.tx([limit(), price(), payer.move()]), asked)) == f"{P}memo_count"
    assert refused(payer.body(payer.tx(two), asked)) == f"{P}memo_count"
    one = payer.body(payer.tx(two[:4]), asked)
    assert payer.box.facilitator.settle_json(one)["success"]
    again = payer.body(payer.tx(two[:4], blockhash=Hash.from_string(str(payer.box.transaction(payer.box.settlements[0].tx).tx.message.recent_blockhash))), asked)
    assert payer.box.facilitator.settle_json(again)["errorReason"] == "duplicate_settlement"  # the same transaction


def test_a_purse_that_empties_between_verify_and_settle(box, payer):
    first = payer.body(payer.tx(payer.steps(amount=60_000_000)), payer.asked(amount="60000000"))
    second = payer.body(payer.tx(payer.steps(amount=50_000_000)), payer.asked(amount="50000000"))
    assert box.facilitator.verify_json(first)["isValid"]
    assert box.facilitator.verify_json(second)["isValid"]
    assert box.facilitator.settle_json(first)["success"]
    assert box.facilitator.settle_json(second)["errorReason"] == "transaction_simulation_failed"
    box.fund(box.payer_address, 50_000_000)
    assert box.facilitator.settle_json(second)["success"]  # what was refused was never executed


@pytest.mark.proves("solana", "exact", "seller")
@pytest.mark.parametrize("served", [False, True])
def test_the_shop_sells_for_solana(box, payer, served):
    if served:
        box.serve()
    options = {} if served else {"transport": box.transport()}
    with httpx2.Client(base_url=box.origin, trust_env=False, timeout=10, **options) as client:
        for path in ("/joke", "/memo", "/upfront", "/escrow", "/escrow-500"):
            asked = json.loads(base64.b64decode(client.get(path).headers["payment-required"]))["accepts"][0]
            steps = [limit(), price(), payer.move(int(asked["amount"])), memo(asked["extra"].get("memo"))]
            raw = base64.b64encode(bytes(payer.tx(steps))).decode()
            sent = {"x402Version": 2, "accepted": asked, "payload": {"transaction": raw}}
            answer = client.get(path, headers={"PAYMENT-SIGNATURE": base64.b64encode(json.dumps(sent).encode()).decode()})
            receipt = json.loads(base64.b64decode(answer.headers["payment-response"]))
            assert (answer.status_code, receipt["success"]) == ((500, False) if path == "/escrow-500" else (200, True)), path
        assert client.get("/permit2").status_code == 404
    assert (len(box.settlements), box.balance(box.pay_to)) == (5, 40_000)


def test_numbers_stay_numbers_in_the_thread_that_ran_a_program():
    """The VM's programs leave floating-point registers in use: SQLite then read 0.1 as none, in the same thread."""
    with Sandbox(chain="solana") as box, closing(sqlite3.connect(":memory:")) as database:
        for _ in range(3):
            box.fund(box.payer_address, 5)
            assert database.execute("select 0.1, printf('%.2f', 0.1)").fetchone() == (0.1, "0.10")
            database.execute("create table if not exists t (n real not null default 0.1)")
            database.execute("insert into t default values")
        assert database.execute("select n from t").fetchall() == [(0.1,)] * 3
