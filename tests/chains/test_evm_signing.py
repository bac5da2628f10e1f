"""Our EIP-3009 signatures equal eth_account's, byte for byte, on each backend and for every token of the table."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from x402_agent import assets
from x402_agent.chains.evm.eip3009 import digest, domain_separator
from x402_agent.model import Terms
from x402_agent.primitives import recover

SIGNABLE = [asset for asset in assets.assets() if asset.eip712]
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEYS = st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big"))
FIELDS = (("from", "address"), ("to", "address"), ("value", "uint256"), ("validAfter", "uint256"),
          ("validBefore", "uint256"), ("nonce", "bytes32"))  # fmt: skip
TYPES = {"TransferWithAuthorization": [{"name": name, "type": kind} for name, kind in FIELDS]}


def domain(asset):
    name, version = asset.eip712
    chain_id = int(asset.network.id.removeprefix("eip155:"))
    return {"name": name, "version": version, "chainId": chain_id, "verifyingContract": asset.address}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    key=KEYS,
    asset=st.sampled_from(SIGNABLE),
    pay_to=st.binary(min_size=20, max_size=20).filter(lambda raw: raw >= (0xA00).to_bytes(20, "big")),
    amount=st.integers(1, 2**256 - 1) | st.integers(1, 10**9),
    after=st.integers(0, 2**40),
    span=st.integers(1, 4200),
    nonce=st.binary(min_size=32, max_size=32),
)
def test_signatures_equal_eth_account(
    key, asset, pay_to, amount, after, span, nonce, backend, oracle, evm, offer, signer_of
):
    signer = signer_of(key)
    to = "0x" + pay_to.hex()
    if to in (signer.address("eip155").lower(), asset.address.lower()):
        return
    terms = Terms(signer.address("eip155"), "0x" + nonce.hex(), after, after + span)
    proof = evm.prove(offer(asset.id, pay_to=to, amount=amount), terms, signer)
    message = {
        "from": terms.payer,
        "to": to,
        "value": amount,
        "validAfter": after,
        "validBefore": after + span,
        "nonce": nonce,
    }
    theirs = oracle.Account.sign_typed_data(key, domain(asset), TYPES, message)
    assert proof.payload["signature"] == "0x" + bytes(theirs.signature).hex()
    assert oracle.Account.from_key(key).address == terms.payer


@pytest.mark.parametrize("asset", SIGNABLE, ids=lambda asset: asset.id)
def test_D2_domain_separator_equals_eth_account_s(asset, oracle):
    from eth_account.messages import encode_typed_data

    message = {
        "from": "0x" + "11" * 20,
        "to": "0x" + "22" * 20,
        "value": 1,
        "validAfter": 0,
        "validBefore": 1,
        "nonce": bytes(32),
    }
    assert domain_separator(asset.id) == bytes(encode_typed_data(domain(asset), TYPES, message).header)


def test_an_independent_recovery_finds_the_payer(evm, offer, signer, backend):
    made = offer()
    terms = evm.terms(made, signer.address("eip155"), now=1_800_000_000, nonce=bytes(range(32)), max_lifetime=600)
    proof = evm.prove(made, terms, signer)
    window = (terms.valid_after, terms.valid_before)
    message = digest(made.asset.id, terms.payer, made.pay_to, made.amount, window, bytes(range(32)))
    assert recover(message, bytes.fromhex(proof.payload["signature"][2:])) == terms.payer


def test_the_same_offer_and_terms_give_the_same_bytes(evm, offer, signer):
    terms = evm.terms(offer(), signer.address("eip155"), now=1_800_000_000, nonce=b"n" * 32, max_lifetime=600)
    assert evm.prove(offer(), terms, signer).payload == evm.prove(offer(), terms, signer).payload
