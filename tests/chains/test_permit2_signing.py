"""Our Permit2 signatures equal eth_account's, byte for byte: exact and upto, each backend, every token of the table."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from x402_agent import assets
from x402_agent.chains.evm import permit2
from x402_agent.errors import SigningFailed
from x402_agent.model import Terms
from x402_agent.primitives import checksum

NOW = 1_800_000_000
FACILITATOR = "0x857b06519E91e3A54538791bDbb0E22373e36b66"
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
TOKENS = [asset for asset in assets.assets() if asset.network.namespace == "eip155" and not asset.native]
ADDRESSES = st.binary(min_size=20, max_size=20).filter(lambda raw: raw >= (0xA00).to_bytes(20, "big"))
PERMIT = (("permitted", "TokenPermissions"), ("spender", "address"), ("nonce", "uint256"), ("deadline", "uint256"),
          ("witness", "Witness"))  # fmt: skip
WITNESS = {
    "exact": (("to", "address"), ("validAfter", "uint256")),
    "upto": (("to", "address"), ("facilitator", "address"), ("validAfter", "uint256")),
}


def fields(*named):
    return [{"name": name, "type": kind} for name, kind in named]


def types(scheme):
    return {
        "PermitWitnessTransferFrom": fields(*PERMIT),
        "TokenPermissions": fields(("token", "address"), ("amount", "uint256")),
        "Witness": fields(*WITNESS[scheme]),
    }


def domain(asset):
    chain = int(asset.network.id.removeprefix("eip155:"))
    return {"name": "Permit2", "chainId": chain, "verifyingContract": "0x000000000022D473030F116dDEE9F6B43aC78BA3"}


def message(offer, terms):
    spender = "0x402085c248EeA27D92E8b30b2C58ed07f9E20001"
    witness = {"to": offer.pay_to, "validAfter": terms.valid_after}
    if offer.scheme == "upto":
        spender = "0x4020A4f3b7b90ccA423B9fabCc0CE57C6C240002"
        witness["facilitator"] = offer.facilitator
    return {
        "permitted": {"token": offer.asset.address, "amount": offer.amount},
        "spender": spender,
        "nonce": int(terms.nonce, 16),
        "deadline": terms.valid_before,
        "witness": witness,
    }


@pytest.fixture
def by_permit2(offer):
    """An honest offer by Permit2, `exact` or `upto`."""

    def make(scheme="exact", token="eip155:84532/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e", **changes):
        bound = {"facilitator": FACILITATOR} if scheme == "upto" else {}
        return offer(token, **{"scheme": scheme, "method": "permit2", **bound, **changes})

    return make


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    key=st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big")),
    asset=st.sampled_from(TOKENS),
    scheme=st.sampled_from(["exact", "upto"]),
    pay_to=ADDRESSES,
    facilitator=ADDRESSES,
    amount=st.integers(1, 2**256 - 1) | st.integers(1, 10**9),
    after=st.integers(0, 2**40),
    span=st.integers(1, 4200),
    nonce=st.binary(min_size=32, max_size=32),
)
def test_signatures_equal_eth_account(
    key, asset, scheme, pay_to, facilitator, amount, after, span, nonce, backend, oracle, evm, by_permit2, signer_of
):
    signer = signer_of(key)
    to = "0x" + pay_to.hex()
    if to in (signer.address("eip155").lower(), asset.address.lower()):
        return
    bound = {"facilitator": "0x" + facilitator.hex()} if scheme == "upto" else {}
    made = by_permit2(scheme, asset.id, pay_to=to, amount=amount, **bound)
    terms = Terms(signer.address("eip155"), "0x" + nonce.hex(), after, after + span)
    theirs = oracle.Account.sign_typed_data(key, domain(asset), types(scheme), message(made, terms))
    assert evm.prove(made, terms, signer).payload["signature"] == "0x" + bytes(theirs.signature).hex()


@pytest.mark.parametrize("asset", TOKENS, ids=lambda asset: asset.id)
def test_D2_the_domain_is_permit2_s_on_the_token_s_chain(asset, oracle, by_permit2):
    from eth_account.messages import encode_typed_data

    made = by_permit2(token=asset.id)
    terms = Terms("0x" + "11" * 20, "0x" + "22" * 32, 0, 1)
    encoded = encode_typed_data(domain(asset), types("exact"), message(made, terms))
    assert permit2.domain_separator(permit2.chain_id(made)) == bytes(encoded.header)


GOLDEN = {  # digest and signature by eth_account 0.13, key 0x22…22
    "exact": (
        "73a7921ab05d8723170a5dd1ce1d96decf7a962f32204cf6b46f6941efa707ee",
        ("0x67e622db6cbc47026b8f2ce07dca1047d95f6a21503fac64c5c923629892b205"
        "097ad871a5aabe6f4ceda75c6b58b4398fd155c2b5788655815c1ab2620f461d1b"),
    ),
    "upto": (
        "df11a0aa572a15b0d02ef76afe6cc6bab94df23e11695878ee40567babcff506",
        ("0x1a1299d982e4af8c3ee39c6bd5a939afa7da63f80e636d3392a7ccc8a34a01b3"
        "3221ec183dd1b0db08044dda720e466e9557994cf3a4b691597e085f1f436b841c"),
    ),
}


@pytest.mark.parametrize("scheme", ["exact", "upto"])
def test_golden_vectors(scheme, evm, by_permit2, signer):
    made = by_permit2(scheme)
    terms = evm.terms(made, signer.address("eip155"), now=NOW, nonce=bytes(range(32)), max_lifetime=600)
    digest, signature = GOLDEN[scheme]
    assert permit2.digest(made, terms).hex() == digest
    assert evm.prove(made, terms, signer).payload["signature"] == signature


@pytest.mark.parametrize("scheme", ["exact", "upto"])
def test_the_payload_is_x402_s(scheme, evm, by_permit2, signer):
    made = by_permit2(scheme, pay_to="0x209693bc6afc0c5328ba36faf03c514ef312287c", amount=123456789)
    terms = evm.terms(made, signer.address("eip155"), now=NOW, nonce=b"n" * 32, max_lifetime=600)
    proof = evm.prove(made, terms, signer)
    witness = {"to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "validAfter": str(NOW - 600)}
    if scheme == "upto":
        witness["facilitator"] = FACILITATOR
    assert proof.payload == {
        "signature": proof.payload["signature"],
        "permit2Authorization": {
            "from": signer.address("eip155"),
            "permitted": {"token": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "amount": "123456789"},
            "spender": message(made, terms)["spender"],
            "nonce": str(int.from_bytes(b"n" * 32, "big")),
            "deadline": str(NOW + 60),
            "witness": witness,
        },
    }
    assert (proof.payer, proof.nonce, proof.expires) == (signer.address("eip155"), "0x" + "6e" * 32, NOW + 60)
    assert proof.payload["signature"] not in repr(proof)


def test_D4_pinned_addresses_are_checksummed_and_permit2_needs_no_domain_of_the_token(evm, by_permit2, signer):
    for address in (permit2.PERMIT2, *permit2.SPENDERS.values()):
        assert checksum(address) == address
    without = next(asset for asset in TOKENS if not asset.eip712)
    assert evm.refuses(by_permit2(token=without.id), signer.address("eip155")) == ""
    assert evm.spender(by_permit2()) == permit2.PERMIT2
    assert evm.spender(dataclasses.replace(by_permit2(), method="")) == ""


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        pytest.param({"scheme": "upto", "method": "", "facilitator": FACILITATOR}, "A7", id="upto-by-eip3009"),
        pytest.param({"scheme": "batch-settlement"}, "A7", id="another-scheme"),
        pytest.param({"method": "erc7710"}, "A7", id="another-method"),
        pytest.param({"facilitator": FACILITATOR}, "D4", id="exact-bound-to-a-facilitator"),
        pytest.param({"method": "", "facilitator": FACILITATOR}, "D4", id="eip3009-bound-to-a-facilitator"),
        pytest.param({"scheme": "upto", "facilitator": ""}, "R2", id="no-facilitator"),
        pytest.param({"scheme": "upto", "facilitator": "0x" + "0" * 40}, "R1", id="nobody-as-facilitator"),
        pytest.param({"scheme": "upto", "facilitator": "0x857b06519e91e3A54538791bDbb0E22373e36b66"}, "R2", id="case"),
        pytest.param({"scheme": "upto", "facilitator": "fac.eth"}, "R2", id="name-as-facilitator"),
        pytest.param({"pay_to": "0x" + "0" * 40}, "R1", id="nobody-as-payee"),
        pytest.param({"amount": 1 << 256}, "P2", id="too-much"),
    ],
)
def test_what_does_not_go_together_is_refused_and_never_signed(changes, row, evm, offer, signer):
    made = offer(**{"method": "permit2", **changes})
    own = signer.address("eip155")
    assert f"({row})" in evm.refuses(made, own)
    with pytest.raises(SigningFailed):
        evm.prove(made, Terms(own, "0x" + "6e" * 32, NOW - 600, NOW + 60), signer)
