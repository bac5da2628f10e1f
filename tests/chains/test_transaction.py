"""Our own transactions: byte for byte what eth_account makes of the same fields, and nothing but two calls."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x402_agent.chains.evm.transaction import MAX_GAS, Unsigned, approve, rlp, sign, transfer
from x402_agent.errors import SigningFailed
from x402_agent.primitives import checksum, keccak

TOKEN = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
SPENDER = "0x000000000022D473030F116dDEE9F6B43aC78BA3"
ADDRESSES = st.binary(min_size=20, max_size=20).map(lambda raw: checksum("0x" + raw.hex()))
AMOUNTS = st.integers(0, (1 << 128) - 1)
FEES = st.integers(0, (1 << 96) - 1)


def call(**changes):
    return replace(Unsigned(84532, 7, TOKEN, approve(SPENDER, 20_000_000), 60_000, 2_000_000_000, 1_000_000), **changes)


@st.composite
def calls(draw):
    data = draw(st.sampled_from([approve, transfer]))(draw(ADDRESSES), draw(AMOUNTS))
    max_fee = draw(FEES)
    tip = draw(st.none() | st.integers(0, max_fee))
    number = draw(st.sampled_from([1, 137, 8453, 84532, 2**32]) | st.integers(1, 2**40))
    return Unsigned(number, draw(st.integers(0, 2**32)), draw(ADDRESSES), data, draw(st.integers(1, MAX_GAS)), max_fee, tip)


def by_the_oracle(oracle, key, made):
    fields = {"chainId": made.chain_id, "nonce": made.nonce, "to": made.to, "value": 0, "data": made.data, "gas": made.gas}
    if made.tip is None:
        fields["gasPrice"] = made.max_fee
    else:
        fields |= {"maxFeePerGas": made.max_fee, "maxPriorityFeePerGas": made.tip, "type": 2}
    return oracle.Account.from_key(key).sign_transaction(fields)


@pytest.fixture(scope="module")
def both(oracle):
    """A check that both make the same bytes and the same id."""

    def check(key, made, signer_of):
        theirs = by_the_oracle(oracle, key, made)
        ours = sign(made, signer_of(key))
        assert ours.raw == bytes(theirs.raw_transaction)
        assert ours.txid == "0x" + bytes(theirs.hash).hex()
        assert oracle.Account.recover_transaction(ours.raw) == signer_of(key).address("eip155")

    return check


@pytest.mark.proves("evm", "transfer", "judge", by="eth-account")
@settings(max_examples=150, deadline=None)
@given(made=calls(), key=st.binary(min_size=32, max_size=32).filter(lambda key: 0 < int.from_bytes(key) < 2**255))
def test_every_call_is_what_eth_account_makes(made, key, both, signer_of):
    both(key, made, signer_of)


@pytest.mark.parametrize("tip", [None, 0, 1_000_000])
def test_with_each_backend(tip, backend, both, signer_of):
    both(bytes.fromhex("22" * 32), call(tip=tip), signer_of)


def test_the_selectors():
    assert approve(SPENDER, 1)[:4] == keccak(b"approve(address,uint256)")[:4]
    assert transfer(SPENDER, 1)[:4] == keccak(b"transfer(address,uint256)")[:4]
    assert approve(SPENDER, 20)[4:] == bytes(12) + bytes.fromhex(SPENDER[2:]) + (20).to_bytes(32)


def test_D3_unlimited_is_no_amount():
    for amount in (2**256 - 1, 2**128, -1):
        with pytest.raises(SigningFailed, match="no amount"):
            approve(SPENDER, amount)
    with pytest.raises(SigningFailed, match="40 hex digits"):
        approve("vitalik.eth", 1)


@pytest.mark.parametrize("change", [{"data": b""}, {"data": bytes(68)}, {"data": approve(SPENDER, 1) + b"\0"}, {"gas": 0},
                                    {"data": bytes.fromhex("39509351") + bytes(64)}, {"gas": MAX_GAS + 1}, {"nonce": -1},
                                    {"tip": 3_000_000_000}, {"max_fee": 1 << 96}])  # fmt: skip
def test_nothing_else_is_signed(change, signer):
    with pytest.raises(SigningFailed):
        sign(call(**change), signer)


@pytest.mark.parametrize("answer", ["other key", "high s", "short", "zero", "v 0"])
def test_an_odd_signer_is_caught(answer, signer, signer_of):
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

    class Odd:
        address = signer.address

        def sign_digest(self, namespace, digest):
            made = signer.sign_digest(namespace, digest)
            s = order - int.from_bytes(made[32:64])
            return {
                "other key": signer_of(bytes.fromhex("33" * 32)).sign_digest(namespace, digest),
                "high s": made[:32] + s.to_bytes(32) + bytes((27 + 28 - made[64],)),
                "short": made[:64],
                "zero": bytes(65),
                "v 0": made[:64] + bytes((made[64] - 27,)),
            }[answer]

    with pytest.raises(SigningFailed, match="own r, s, v"):
        sign(call(), Odd())


def test_rlp_vectors():
    assert rlp(b"dog") == b"\x83dog" and rlp([b"cat", b"dog"]) == b"\xc8\x83cat\x83dog"
    assert (rlp(0), rlp(15), rlp(1024), rlp(b"\x00"), rlp([])) == (b"\x80", b"\x0f", b"\x82\x04\x00", b"\x00", b"\xc0")
    text = b"Lorem ipsum dolor sit amet, consectetur adipisicing elit"
    assert rlp(text) == b"\xb8\x38" + text
    assert rlp([[], [[]], [[], [[]]]]) == bytes.fromhex("c7c0c1c0c3c0c1c0")
