"""money-safety 1.3 and 1.4 as far as signing can meet them: a test per row, its id first."""

from __future__ import annotations

import dataclasses
import json

import pytest

from x402_agent import assets
from x402_agent.dialects.x402 import X402
from x402_agent.errors import SigningFailed
from x402_agent.model import Ask, Terms
from x402_agent.primitives import recover
from x402_agent.steps import Reply

NOW = 1_800_000_000
MAINNET = "eip155:8453/erc20:0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913"


@pytest.fixture
def prove(evm, signer):
    """The proof of an offer at NOW."""

    def run(made, max_lifetime=600, now=NOW):
        terms = evm.terms(made, signer.address("eip155"), now=now, nonce=b"n" * 32, max_lifetime=max_lifetime)
        return evm.prove(made, terms, signer)

    return run


class Body:
    def get_list(self, key: str, /) -> list[str]:
        return []


def from_wire(**changes):
    """An offer as the x402 dialect reads it from a v2 body."""
    entry = {
        "scheme": "exact",
        "network": "eip155:84532",
        "amount": "10000",
        "asset": "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "maxTimeoutSeconds": 60,
        **changes,
    }
    raw = json.dumps({"x402Version": 2, "accepts": [entry]}).encode()
    (offer,) = (
        X402()
        .read(Reply(402, Body(), raw), Ask("GET", "https://a.example/", "https://a.example", "a.example", "/"))
        .offers
    )
    return offer


HOSTILE_EXTRA = [
    pytest.param({"name": "Evil", "version": "2"}, id="D1-another-name"),
    pytest.param({"name": "USDC", "version": "9"}, id="D1-another-version"),
    pytest.param({"name": None, "version": None}, id="D1-nulls"),
    pytest.param({"verifyingContract": "0x" + "66" * 20}, id="D2-verifyingContract"),
    pytest.param({"chainId": 1}, id="D2-chainId"),
    pytest.param({"primaryType": "Permit", "types": {"Permit": []}, "domain": {}}, id="D2-types"),
    pytest.param({"eip2612": {"spender": "0x" + "66" * 20}, "approve": True}, id="D3-permit"),
    pytest.param({"spender": "0x" + "66" * 20}, id="D4-spender"),
    pytest.param({"validBefore": "99999999999", "now": 99}, id="D7-server-clock"),
    pytest.param({"validAfter": "99999999999"}, id="D8-post-dated"),
    pytest.param({"nonce": "0x" + "00" * 32}, id="D13-server-nonce"),
    pytest.param({"decimals": 18}, id="P10-decimals"),
    pytest.param({"fee": {"feeAmount": "50000000"}}, id="P17-fee"),
]


@pytest.mark.parametrize("extra", HOSTILE_EXTRA)
def test_what_the_seller_says_in_extra_changes_no_signed_byte(extra, prove):
    assert prove(from_wire(extra=extra)).payload == prove(from_wire()).payload


@pytest.mark.parametrize("extensions", ["eip2612GasSponsoring", "erc20ApprovalGasSponsoring"])
def test_D3_gas_sponsoring_is_never_filled_in(extensions, signer, evm):
    offer = from_wire(extra={"extensions": [extensions]})
    terms = evm.terms(offer, signer.address("eip155"), now=NOW, nonce=b"n" * 32, max_lifetime=60)
    assert set(evm.prove(offer, terms, signer).payload) == {"signature", "authorization"}


@pytest.mark.parametrize(
    ("asked", "ours", "expected"),
    [
        pytest.param(60, 600, 60, id="D5-shorter-than-ours"),
        pytest.param(315_360_000, 600, 600, id="D5-ten-years"),
        pytest.param((1 << 63) - 1, 600, 600, id="D5-for-ever"),
        pytest.param(315_360_000, 10**9, 3600, id="D5-hard-limit"),
    ],
)
def test_D5_the_lifetime_is_clamped(asked, ours, expected, prove, offer):
    authorization = prove(offer(lifetime=asked), max_lifetime=ours).payload["authorization"]
    assert int(authorization["validBefore"]) - NOW == expected


def test_D8_valid_after_is_our_own_ten_minutes_ago(prove, offer):
    assert prove(offer()).payload["authorization"]["validAfter"] == str(NOW - 600)


def test_D5_terms_longer_than_an_hour_are_not_signed(evm, offer, signer):
    terms = Terms(signer.address("eip155"), "0x" + "6e" * 32, NOW - 600, NOW + 3601)
    with pytest.raises(SigningFailed) as caught:
        evm.prove(offer(), terms, signer)
    assert "D5" in caught.value.rule


@pytest.mark.parametrize(
    "changes",
    [{"valid_before": NOW - 600}, {"valid_before": NOW - 700}, {"valid_after": -1},
     {"nonce": "0x12"}, {"nonce": "ab" * 33},
     {"nonce": "0x" + "6E" * 32}, {"payer": "0x12"}],
    ids=["empty", "backwards", "negative", "D13-short", "D13-no-0x", "D13-case", "payer"],
)  # fmt: skip
def test_terms_that_make_no_sense_are_not_signed(changes, evm, offer, signer):
    honest = Terms(signer.address("eip155"), "0x" + "6e" * 32, NOW - 600, NOW + 60)
    with pytest.raises(SigningFailed):
        evm.prove(offer(), dataclasses.replace(honest, **changes), signer)


@pytest.mark.parametrize(
    "changes",
    [{"nonce": b"short"}, {"max_lifetime": 0}, {"max_lifetime": -5}, {"now": 0}],
    ids=["D13-nonce", "D6-zero", "D6-negative", "clock-at-zero"],
)
def test_terms_are_refused(changes, evm, offer, signer):
    honest = {"now": NOW, "nonce": b"n" * 32, "max_lifetime": 600}
    with pytest.raises(SigningFailed):
        evm.terms(offer(), signer.address("eip155"), **{**honest, **changes})


def test_I13_what_is_signed_is_what_the_offer_says(prove, offer, signer):
    proof = prove(offer(amount=123456789))
    assert proof.payload["authorization"] == {
        "from": signer.address("eip155"),
        "to": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
        "value": "123456789",
        "validAfter": str(NOW - 600),
        "validBefore": str(NOW + 60),
        "nonce": "0x" + "6e" * 32,
    }
    assert (proof.payer, proof.nonce, proof.expires) == (signer.address("eip155"), "0x" + "6e" * 32, NOW + 60)


def test_I14_a_proof_shows_neither_signature_nor_nonce(prove, offer):
    proof = prove(offer())
    assert proof.payload["signature"] not in repr(proof)
    assert "6e" * 32 not in repr(proof)


BAD_RECIPIENTS = [
    pytest.param("0x" + "0" * 40, "R1", id="R1-zero"),
    pytest.param("0x" + "0" * 39 + "1", "R1", id="R1-precompile-1"),
    pytest.param("0x" + "0" * 37 + "9ff", "R1", id="R1-precompile-9ff"),
    pytest.param("0x036CbD53842c5426634e7929541eC2318f3dCF7e", "R1", id="R1-token-contract"),
    pytest.param("0x036cbd53842c5426634e7929541ec2318f3dcf7e", "R1", id="R1-token-contract-lower"),
    pytest.param("0x209693Bc6afc0C5328bA36FaF03C514EF31228", "R2", id="R2-short"),
    pytest.param("0x209693Bc6afc0C5328bA36FaF03C514EF312287C00", "R2", id="R2-long"),
    pytest.param("0x" + "ab" * 21, "R2", id="R2-21-bytes"),
    pytest.param("0x" + "ab" * 20 + "\n", "R2", id="R2-newline-after"),
    pytest.param("209693Bc6afc0C5328bA36FaF03C514EF312287C", "R2", id="R2-no-0x"),
    pytest.param("0X209693bc6afc0c5328ba36faf03c514ef312287c", "R2", id="R2-big-x"),
    pytest.param("0x209693bc6afc0C5328bA36FaF03C514EF312287C", "R2", id="R2-checksum"),
    pytest.param("0x209693Bc6afc0C5328bA36FaF03C514EF312287G", "R2", id="R2-not-hex"),
    pytest.param("0x209693Bc6afc0C5328bA36FaF03C514EF312287\n", "R2", id="R2-newline"),
    pytest.param("0x２09693bc6afc0c5328ba36faf03c514ef312287c", "R2", id="R2-full-width"),
    pytest.param("seller.eth", "R2", id="R2-ens"),
    pytest.param("", "R2", id="R2-empty"),
]


@pytest.mark.parametrize(("pay_to", "row"), BAD_RECIPIENTS)
def test_bad_recipients_are_refused_and_never_signed(pay_to, row, evm, offer, signer, prove):
    made = offer(pay_to=pay_to)
    assert f"({row})" in evm.refuses(made, signer.address("eip155"))
    with pytest.raises(SigningFailed):
        prove(made)


@pytest.mark.parametrize(
    "form", [str, str.lower, lambda text: "0x" + text[2:].upper()], ids=["checksum", "lower", "upper"]
)
def test_R1_own_address_in_any_case(form, evm, offer, signer):
    assert "(R1)" in evm.refuses(offer(pay_to=form(signer.address("eip155"))), signer.address("eip155"))


@pytest.mark.parametrize(
    "form", [str, str.lower, lambda text: "0x" + text[2:].upper()], ids=["checksum", "lower", "upper"]
)
def test_R2_honest_recipients_in_any_honest_case_are_the_same_bytes(form, evm, offer, signer, prove):
    honest = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
    assert evm.refuses(offer(pay_to=form(honest)), signer.address("eip155")) == ""
    assert prove(offer(pay_to=form(honest))).payload == prove(offer(pay_to=honest)).payload


def test_refuses_what_it_cannot_sign(evm, offer, signer):
    own = signer.address("eip155")
    assert "(A7)" in evm.refuses(offer(scheme="upto"), own)
    assert "(P2)" in evm.refuses(offer(amount=1 << 256), own)
    assert "(P2)" in evm.refuses(offer(amount=0), own)
    assert "account" in evm.refuses(offer(), "")


def test_D1_tokens_without_a_domain_in_the_table_are_refused(evm, offer, signer):
    without = [each for each in assets.assets() if not each.eip712 and not each.native and each.network.namespace == "eip155"]
    assert without
    for asset in without:
        assert "(D1)" in evm.refuses(offer(asset.id), signer.address("eip155"))


def test_A1_a_token_made_up_by_a_plugin_is_refused(evm, offer, signer):
    honest = assets.asset_by_id(MAINNET)
    for changes in ({"decimals": 2}, {"eip712": ("Evil", "1")}, {"address": "0x" + "66" * 20}, {"id": MAINNET + "0"}):
        assert "(A1)" in evm.refuses(offer(asset=dataclasses.replace(honest, **changes)), signer.address("eip155"))


class Liar:
    """A signer that answers with what it was given."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer

    def address(self, namespace: str) -> str:
        return "0x1563915e194D8CfBA1943570603F7606A3115508"

    def sign_digest(self, namespace: str, digest: bytes) -> bytes:
        return self.answer


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x01" * 64, b"\x01" * 66, b"\x01" * 64 + b"\x00", b"\x01" * 32 + b"\xff" * 32 + b"\x1b"],
    ids=["empty", "short", "long", "v-0", "high-s"],
)
def test_a_signer_that_answers_nonsense_is_an_error(answer, evm, offer):
    liar = Liar(answer)
    terms = evm.terms(offer(), liar.address("eip155"), now=NOW, nonce=b"n" * 32, max_lifetime=60)
    with pytest.raises(SigningFailed) as caught:
        evm.prove(offer(), terms, liar)
    assert answer.hex() not in str(caught.value) or not answer


def test_recover_refuses_what_is_no_signature():
    for junk in (b"", b"\0" * 65, b"\xff" * 64 + b"\x1b", b"\x01" * 64 + b"\x05"):
        with pytest.raises(ValueError, match="signature"):
            recover(b"d" * 32, junk)
