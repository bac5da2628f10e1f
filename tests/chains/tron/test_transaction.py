"""Raw transactions, byte for byte as tronweb makes them, and back; nothing of a stranger's shape is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from x402_agent.chains.tron import addresses, protobuf, transaction
from x402_agent.chains.tron.transaction import Call, Raw, Send
from x402_agent.errors import SigningFailed
from x402_agent.wallet import KeySigner

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "tron" / "vectors.json").read_text())
CASES = VECTORS["transactions"]
KEY = bytes.fromhex("22" * 32)
NOW = 1_800_000_000_000
TO = "TJRabPrwbZy45sbavfcjinPJC18kjpRTv8"
USDT = "TXYZopYRdj2D9XRtbG411XZZ3kM5VkAeBf"


def raw_of(case):
    calls = {"transfer": transaction.transfer, "approve": transaction.approve}
    amount = int(case["amount"])
    what = (
        Send(case["owner"], case["to"], amount)
        if case["kind"] == "trx"
        else Call(case["owner"], case["contract"], calls[case["kind"]](case["to"], amount))
    )
    ref = bytes.fromhex(case["ref_block_bytes"]), bytes.fromhex(case["ref_block_hash"])
    return Raw(what, ref, case["timestamp"], case["expiration"], case["fee"], bytes.fromhex(case["memo"]), case["perm"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['i']}-{case['kind']}")
def test_tronweb_made_the_same_bytes_id_and_signature(case):
    made = raw_of(case)
    assert made.data.hex() == case["raw_data_hex"]
    assert made.txid == case["txID"]
    signer = KeySigner(case["key"], "tron")
    assert signer.address("tron") == case["owner"]
    assert signer.sign_digest("tron", bytes.fromhex(made.txid)).hex() == case["signature"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["i"]))
def test_and_reads_them_back(case):
    data, signature = bytes.fromhex(case["raw_data_hex"]), bytes.fromhex(case["signature"])
    assert Raw.read(data) == raw_of(case)
    signed = transaction.Signed(case["txID"], data, signature)
    assert transaction.read_signed(signed.wire) == (raw_of(case), signed)


def test_there_are_forty_of_every_kind():
    assert len(CASES) == 40
    assert {case["kind"] for case in CASES} == {"trx", "transfer", "approve"}


@pytest.fixture
def signer():
    return KeySigner(KEY, "tron")


def ours(signer, **changes):
    call = Call(signer.address("tron"), USDT, transaction.transfer(TO, 5))
    return replace(Raw(call, (b"\1\2", bytes(range(8))), NOW, NOW + 60_000, 30_000_000), **changes)


def test_a_transaction_of_ours(signer):
    made = ours(signer, memo="invoice 7 £".encode())
    signed = transaction.sign(made, signer)
    assert signed.txid == made.txid
    assert transaction.read_signed(bytes.fromhex(signed.body["transaction"])) == (made, signed)
    assert signed.raw.hex() not in repr(signed)


STRANGE = {
    "D16-value": {"what": lambda call: replace(call, value=1)},
    "D16-calldata": {"what": lambda call: replace(call, data=b"\x23\xb8\x72\xdd" + bytes(64))},
    "D16-longer": {"what": lambda call: replace(call, data=call.data + bytes(32))},
    "C9-fee": {"fee_limit": transaction.MAX_FEE_LIMIT + 1},
    "fee-negative": {"fee_limit": -1},
    "C10-a-day": {"expiration": NOW + 86_400_000},
    "C10-past": {"expiration": NOW},
    "permission": {"permission": 10},
    "memo": {"memo": bytes(513)},
    "another-owner": {"what": lambda call: replace(call, owner=TO)},
    "no-address": {"what": lambda call: replace(call, contract=USDT[:-1] + "g")},
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_none_of_ours_is_not_signed(name, signer):
    made = ours(signer)
    changes = {key: value(made.what) if callable(value) else value for key, value in STRANGE[name].items()}
    with pytest.raises(SigningFailed):
        transaction.sign(replace(made, **changes), signer)


@pytest.mark.parametrize("amount", [-1, 1 << 256])
def test_P2_amounts_outside_of_uint256(amount):
    with pytest.raises(SigningFailed, match="uint256"):
        transaction.approve(TO, amount)


@pytest.mark.parametrize("amount", [1 << 128, (1 << 160) - 1, (1 << 256) - 1])
def test_D3_nothing_unlimited_is_signed(amount, signer):
    with pytest.raises(SigningFailed, match="no amount of a token"):
        transaction.sign(ours(signer, what=Call(signer.address("tron"), USDT, transaction.approve(TO, amount))), signer)


@pytest.mark.parametrize("answer", [b"", bytes(65), b"\1" * 64 + b"\x1b", bytes(64) + b"\0"])
def test_a_signer_that_answers_oddly(answer, signer):
    class Odd:
        def address(self, namespace):
            return signer.address(namespace)

        def sign_digest(self, namespace, digest):
            return answer

    with pytest.raises(SigningFailed, match="its own r, s, v"):
        transaction.sign(ours(signer), Odd())


accounts = st.binary(min_size=20, max_size=20).map(addresses.address)
int64 = st.integers(0, (1 << 63) - 1)
whats = st.builds(Send, accounts, accounts, int64) | st.builds(Call, accounts, accounts, st.binary(max_size=200), int64)
raws = st.builds(
    Raw, whats, st.tuples(st.binary(min_size=2, max_size=2), st.binary(min_size=8, max_size=8)), int64, int64, int64,
    st.binary(max_size=200), st.integers(0, 9),
)  # fmt: skip


@given(raws)
def test_what_is_written_is_read(made):
    assert Raw.read(made.data) == made


@given(raws, st.data())
def test_what_is_read_writes_the_same_bytes(made, data):
    """Whatever a stranger changes is refused, or is another transaction in its one spelling: two readers never differ."""
    raw = bytearray(made.data)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        found = Raw.read(bytes(raw))
    except ValueError:
        return
    assert found.data == bytes(raw)


@pytest.mark.parametrize(
    "data",
    ["", "0a", "0a02", "0800", "0880", "088000", "08ffffffffffffffffff01", "0a0161" * 2, "120161", "0d00000000", "08010a0161"],
)
def test_protobuf_in_other_forms(data):
    with pytest.raises(ValueError, match=r"^(not|a|it|an) "):
        Raw.read(bytes.fromhex(data))
    if data:
        with pytest.raises(ValueError, match=r"^(not|a|it|an) "):
            protobuf.read(bytes.fromhex(data), (), (1,))


@pytest.mark.parametrize("data", ["088100", "08ffffffffffffffffff01", "0881808080808080808080"])
def test_a_number_has_one_form(data):
    assert protobuf.read(bytes.fromhex("0801"), (1,), ()) == {1: 1}
    with pytest.raises(ValueError, match="shortest form"):
        protobuf.read(bytes.fromhex(data), (1,), ())


def test_several_contracts_in_one_are_refused(signer):
    head = protobuf.read(ours(signer).data, (8, 14, 18), (1, 4, 10, 11))
    twice = protobuf.text(1, head[1]) + protobuf.text(4, head[4]) + protobuf.number(8, head[8])
    twice += protobuf.text(11, head[11]) * 2 + protobuf.number(14, head[14])
    with pytest.raises(ValueError, match="does not belong"):
        Raw.read(twice)


def test_what_a_transaction_takes_of_a_block():
    block = (0x0123ABCD).to_bytes(8, "big") + bytes(range(24))
    assert transaction.reference(block) == (b"\xab\xcd", bytes(range(8)))
    with pytest.raises(ValueError, match="32 bytes"):
        transaction.reference(block[1:])


@pytest.mark.parametrize(
    "text", ["", "T", TO[:-1], TO + "1", TO[:-1] + "9", TO.lower(), "0x" + "11" * 20, "41" + "11" * 20, TO.replace("T", "Т"),
             TO + " ", addresses.address(bytes(20))[:-1] + "c", "TJRabPrwbZy45sbavfcjinPJC18kjpRTv0"],
)  # fmt: skip
def test_R2_what_is_no_address(text):
    with pytest.raises(ValueError, match="R2"):
        addresses.address_bytes(text)


def test_the_zero_address():
    assert addresses.address(bytes(20)) == addresses.ZERO
    assert addresses.evm_form(TO) == "0x" + addresses.address_bytes(TO).hex()
    with pytest.raises(ValueError, match="20 bytes"):
        addresses.address(bytes(21))
