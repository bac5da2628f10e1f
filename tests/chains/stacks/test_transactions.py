"""Transactions against stacks.js, byte for byte and both ways, and against whoever writes bytes that are none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from x402_agent import primitives
from x402_agent.chains.stacks import (
    ALLOW,
    DENY,
    EMPTY_SPONSOR,
    Call,
    PostCondition,
    Reader,
    Spending,
    Transaction,
    Transfer,
    Value,
    hash160,
    read,
    sip010_transfer,
)
from x402_agent.chains.stacks.payloads import read_payload, read_post_condition
from x402_agent.encodings import c32_address
from x402_agent.primitives import EvmKey

CASES = json.loads((Path(__file__).parents[2] / "vectors" / "stacks" / "transactions.json").read_text())["cases"]
CODES = {"gte": "ge", "lte": "le"}


class Key:
    """A private key as stacks.js reads it: 33 bytes end in 01 and mean a compressed public key, 32 the long one."""

    def __init__(self, text):
        raw = bytes.fromhex(text)
        self.encoding = 0 if len(raw) == 33 else 1
        self.sign = EvmKey(raw[:32]).sign
        point = primitives._curve().public(raw[:32])
        self.hash = hash160(point if self.encoding else bytes((2 + (point[64] & 1),)) + point[1:33])

    def spending(self, nonce, fee):
        return Spending(self.hash, int(nonce), int(fee), self.encoding)


def payload_of(case):
    if case["kind"] == "stx":
        return Transfer(case["recipient"], int(case["amount"]), case["memo"].encode())
    arguments = tuple(Reader(bytes.fromhex(each)).value() for each in case["args_hex"])
    return Call(case["contract"], case["function"], arguments)


def conditions_of(case):
    for each in case.get("pcs", ()):
        who = "" if each["who"] == "origin" else each["who"]
        code = CODES.get(each["code"], each["code"])
        yield PostCondition(who, code, int(each["amount"]), each.get("asset", ""))


def build(case):
    key = Key(case["key"])
    made = Transaction(
        case["network"] == "testnet", key.spending(case["nonce"], case["fee"]), payload_of(case).wire(),
        tuple(each.wire() for each in conditions_of(case)), EMPTY_SPONSOR if case["sponsored"] else None,
        ALLOW if case.get("mode") == "allow" else DENY,
    )  # fmt: skip
    return made.signed(key.sign)


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["i"]))
def test_every_vector_is_built_and_read_byte_for_byte(case):
    made = build(case)
    assert made.wire().hex() == case["tx"] and made.txid == "0x" + case["txid"] and made.sender == case["address"]
    again = read(bytes.fromhex(case["tx"]))
    assert again == made and again.does == payload_of(case) and again.post_conditions == tuple(conditions_of(case))
    again.verify()
    if case["sponsored"]:
        sponsor = Key(case["sponsor_key"])
        paid = made.sponsored(sponsor.spending(case["sponsor_nonce"], case["sponsor_fee"]), sponsor.sign)
        assert paid.wire().hex() == case["sponsored_tx"] and paid.txid == "0x" + case["sponsored_txid"]
        whole = read(paid.wire())
        whole.verify()
        assert whole == paid
        with pytest.raises(ValueError, match="sponsor"):
            replace(paid, sponsor=replace(paid.sponsor, fee=paid.sponsor.fee ^ 1)).verify()
    else:
        with pytest.raises(ValueError, match="nobody"):
            made.sponsor_digest()


@pytest.mark.parametrize("case", [case for case in CASES if not case["sponsored"]][:6], ids=lambda case: str(case["i"]))
def test_no_byte_of_it_may_change(case):
    whole = bytes.fromhex(case["tx"])
    for place in range(len(whole)):
        other = whole[:place] + bytes((whole[place] ^ 1,)) + whole[place + 1 :]
        with pytest.raises(ValueError):  # noqa: PT011 - which of many is not the point
            read(other).verify()
        with pytest.raises(ValueError):  # noqa: PT011
            read(whole[:place])
    with pytest.raises(ValueError, match="behind"):
        read(whole + b"\0")


def test_the_slot_of_a_sponsor_is_the_hash_of_a_key_of_zeros():
    assert EMPTY_SPONSOR.signer == hash160(bytes(33))


def test_sha512_256_without_openssl(monkeypatch):
    """FIPS 180-4's own example; OpenSSL 3.0's providers may lack it."""
    monkeypatch.setattr(hashlib, "algorithms_available", set())
    primitives._truncated.cache_clear()
    expected = "53048e2681941ef99b2e29b76b4c7dabe4c2d0c634fc6d46e0e2f13107e7af23"
    assert primitives.sha512_256(b"abc").hex() == expected
    monkeypatch.undo()
    primitives._truncated.cache_clear()
    assert primitives.sha512_256(b"abc").hex() == expected


NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_!?+<>=/*-]{0,30}", fullmatch=True)
CONTRACTS = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_-]{0,39}", fullmatch=True)
ACCOUNTS = st.builds(c32_address, st.sampled_from([20, 21, 22, 26]), st.binary(min_size=20, max_size=20))
PRINCIPALS = st.one_of(ACCOUNTS, st.builds("{}.{}".format, ACCOUNTS, CONTRACTS))
U64, U128 = st.integers(0, 2**64 - 1), st.integers(0, 2**128 - 1)
FLAT = st.one_of(
    st.builds(Value, st.just("int"), st.integers(-(2**127), 2**127 - 1)),
    st.builds(Value, st.just("uint"), U128),
    st.builds(Value, st.just("buffer"), st.binary(max_size=40)),
    st.builds(Value, st.just("bool"), st.booleans()),
    st.builds(Value, st.just("principal"), PRINCIPALS),
    st.just(Value("none")),
    st.builds(Value, st.just("ascii"), st.text(st.characters(max_codepoint=127), max_size=20)),
    st.builds(Value, st.just("utf8"), st.text(st.characters(exclude_categories=["Cs"]), max_size=20)),
)
VALUES = st.recursive(
    FLAT,
    lambda inner: st.one_of(
        st.builds(Value, st.sampled_from(["ok", "err", "some"]), inner),
        st.builds(Value, st.just("list"), st.lists(inner, max_size=4).map(tuple)),
        st.builds(Value, st.just("tuple"), st.dictionaries(NAMES, inner, max_size=4)),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_every_value_is_read_as_it_was_written(value):
    found = Reader(value.wire())
    assert found.value() == value
    found.end()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
@example(b"\x0b\xff\xff\xff\xff" * 40)
@example(b"\x0a" * 4000)
@example(b"\x0c\xff\xff\xff\xff\x01a\x09\x01a\x09")
@example(b"\x0d\0\0\0\1\x80")
@example(b"\x0e\0\0\0\1\xff")
@example(b"\x05\x01" + bytes(20))
def test_any_bytes_are_a_value_or_a_ValueError(raw):
    for read_one in (
        lambda: Reader(raw).value(),
        lambda: read(raw),
        lambda: read_payload(raw),
        lambda: read_post_condition(Reader(raw)),
    ):
        try:
            read_one()
        except ValueError:
            continue


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_transaction_is_read_as_it_was_made(data):
    asset = st.builds("{}.{}::{}".format, ACCOUNTS, CONTRACTS, NAMES)
    ft = st.builds(PostCondition, st.one_of(st.just(""), PRINCIPALS), st.sampled_from(["eq", "gt", "ge", "lt", "le"]), U64,
                   st.one_of(st.just(""), asset), st.none())  # fmt: skip
    nft = st.builds(PostCondition, PRINCIPALS, st.sampled_from(["sends", "keeps"]), st.just(0), asset, VALUES)
    memo = st.binary(max_size=34).map(lambda raw: raw.rstrip(b"\0"))
    does = data.draw(st.one_of(
        st.builds(Transfer, PRINCIPALS, U64, memo),
        st.builds(Call, st.builds("{}.{}".format, ACCOUNTS, CONTRACTS), NAMES, st.lists(VALUES, max_size=4).map(tuple)),
    ))  # fmt: skip
    conditions = data.draw(st.lists(st.one_of(ft, nft), max_size=3))
    key, sponsor = (EvmKey(data.draw(st.binary(min_size=31, max_size=31)) + b"\1") for _ in range(2))
    spending = st.builds(Spending, st.just(bytes(20)), U64, U64)
    own = data.draw(spending)
    made = Transaction(data.draw(st.booleans()), own, does.wire(), tuple(each.wire() for each in conditions),
                       data.draw(st.sampled_from([None, EMPTY_SPONSOR])), data.draw(st.sampled_from([ALLOW, DENY]))).signed(key.sign)  # fmt: skip
    if made.sponsor:
        made = made.sponsored(data.draw(spending), sponsor.sign)
    again = read(made.wire())
    assert again == made and again.does == does and again.post_conditions == tuple(conditions)
    with pytest.raises(ValueError, match="signature"):
        again.verify()  # signed by a key, named after none


BAD = {
    "a memo of 35 bytes": lambda: Transfer(SP, 1, b"m" * 35).wire(),
    "an amount of 2**64": lambda: Transfer(SP, 2**64).wire(),
    "a negative amount": lambda: Transfer(SP, -1).wire(),
    "an uint of 2**128": lambda: sip010_transfer(f"{SP}.t", 2**128, SP, SP).wire(),
    "a sip-010 memo of 35 bytes": lambda: sip010_transfer(f"{SP}.t", 1, SP, SP, b"m" * 35),
    "a post-condition of 2**64": lambda: PostCondition("", "eq", 2**64).wire(),
    "a code of another kind": lambda: PostCondition("", "sends", 1).wire(),
    "an asset without a token": lambda: PostCondition("", "eq", 1, f"{SP}.t").wire(),
    "a contract of 41 letters": lambda: Call(f"{SP}.{'c' * 41}", "f").wire(),
    "a contract with a dot": lambda: Call(f"{SP}.a.b", "f").wire(),
    "a function without a name": lambda: Call(f"{SP}.a", "").wire(),
    "an address of Bitcoin's": lambda: Value("principal", c32_address(0, bytes(20))).wire(),
    "a wrong checksum": lambda: Value("principal", SP[:-1] + "0").wire(),
    "text that is not ASCII": lambda: Value("ascii", "é").wire(),
    "a nonce of 2**64": lambda: Spending(bytes(20), 2**64).wire(),
}
SP = "SPC5KHM41H6WHAST7MWWDD807YSPRQKJ69FSH54J"


@pytest.mark.parametrize("what", BAD)
def test_what_does_not_fit_is_not_written(what):
    with pytest.raises(ValueError):  # noqa: PT011 - its words differ
        BAD[what]()


HOSTILE = {
    "several signers": (6, b"\1"),
    "another network": (0, b"\1"),
    "another chain id": (4, b"\2"),
    "an auth type there is not": (5, b"\6"),
    "a smart contract payload": (115, b"\1"),
    "post-conditions without end": (111, b"\xff\xff\xff\xff"),
    "a mode there is not": (110, b"\3"),
    "a recovery id of 4": (44, b"\4"),
    "a key encoding of 2": (43, b"\2"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_transaction_is_refused(what):
    whole = bytearray(build(next(case for case in CASES if case["kind"] == "stx" and not case["sponsored"])).wire())
    place, other = HOSTILE[what]
    assert read(bytes(whole))
    whole[place : place + len(other)] = other
    with pytest.raises(ValueError):  # noqa: PT011 - its words differ
        read(bytes(whole))
