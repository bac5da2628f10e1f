"""Signed offers and receipts: read strictly, the signer found, the terms compared. eth_account and pycryptodome sign."""

import base64
import copy
import hashlib
import json

import pytest
from Crypto.Hash import SHA256
from Crypto.PublicKey import ECC
from Crypto.Signature import DSS, eddsa
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from x402_agent.assets import asset_by_id
from x402_agent.encodings import base58, unbase58
from x402_agent.errors import ChallengeInvalid
from x402_agent.evidence import judge, read, says
from x402_agent.evidence.signed import FIELDS
from x402_agent.model import Ask, Offer
from x402_agent.primitives import EvmKey, public_key
from x402_agent.secret import Secret

KEY = bytes(range(1, 33))
PAYEE = EvmKey(KEY).address
USDC = asset_by_id("eip155:84532/erc20:0x036CbD53842c5426634e7929541eC2318f3dCF7e")
OFFER = Offer("x402", "exact", USDC, 10_000, PAYEE, 60)
ASK = Ask("GET", "https://a.example/x", "https://a.example", "a.example", "/x")
TERMS = {
    "version": 1, "resourceUrl": "https://a.example/x", "scheme": "exact", "network": "eip155:84532",
    "asset": USDC.address, "payTo": PAYEE, "amount": "10000", "validUntil": 2_000_000_000,
}  # fmt: skip
PAID = {
    "version": 1, "network": "eip155:84532", "resourceUrl": "https://a.example/x", "payer": "0x" + "11" * 20,
    "issuedAt": 1_700_000_000, "transaction": "",
}  # fmt: skip
NOW = 1_900_000_000


def eip712(terms, kind="offer", key=KEY):
    """As an unrelated library signs it."""
    fields = [{"name": name, "type": type_} for name, (type_, _) in FIELDS[kind].items()]
    message = {"validUntil": 0, **terms} if kind == "offer" else {"transaction": "", **terms}
    data = {
        "primaryType": kind.capitalize(),
        "types": {
            "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "version", "type": "string"},
                             {"name": "chainId", "type": "uint256"}],
            kind.capitalize(): fields,
        },
        "domain": {"name": f"x402 {kind}", "version": "1", "chainId": 1},
        "message": message,
    }  # fmt: skip
    signed = Account.sign_message(encode_typed_data(full_message=data), key)
    return {"format": "eip712", "payload": terms, "signature": "0x" + bytes(signed.signature).hex()}


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def jws(header, terms, sign):
    text = f"{b64(header)}.{b64(terms)}"
    return {"format": "jws", "signature": f"{text}.{b64(sign(text.encode()))}"}


def secp(message):
    return EvmKey(KEY).sign(hashlib.sha256(message).digest())[:64]


ED = ECC.construct(curve="Ed25519", seed=KEY)
P256 = ECC.construct(curve="P-256", d=int.from_bytes(KEY, "big"))
ED_PUBLIC = ED.public_key().export_key(format="raw")
POINT = EvmKey(KEY)


def ed(message):
    return eddsa.new(ED, "rfc8032").sign(message)


def p256(message):
    return DSS.new(P256, "fips-186-3").sign(SHA256.new(message))


def jwk_of(kind):
    if kind == "ed":
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(ED_PUBLIC)}
    if kind == "p256":
        point = P256.public_key().pointQ
        return {"kty": "EC", "crv": "P-256", "x": b64(int(point.x).to_bytes(32)), "y": b64(int(point.y).to_bytes(32))}
    from coincurve import PrivateKey

    point = PrivateKey(KEY).public_key.format(compressed=False)
    return {"kty": "EC", "crv": "secp256k1", "x": b64(point[1:33]), "y": b64(point[33:])}


def test_an_offer_signed_by_another_library_is_read():
    signed = read(eip712(TERMS), "offer")
    assert (signed.signer, signed.problem, dict(signed.payload)) == (PAYEE, "", TERMS)
    assert says(signed, PAYEE) == f"signed by the payee {PAYEE}"
    assert "not the payee" in says(signed, "0x" + "22" * 20)


@pytest.mark.parametrize("kind", ["offer", "receipt"])
def test_what_may_be_absent_counts_as_zero(kind):
    terms = dict(TERMS if kind == "offer" else PAID)
    terms.pop("validUntil", None), terms.pop("transaction", None)
    assert read(eip712(terms, kind), kind).signer == PAYEE


@pytest.mark.parametrize("name", list(FIELDS["offer"]))
def test_a_changed_field_has_another_signer(name):
    artifact = copy.deepcopy(eip712(TERMS))
    value = artifact["payload"][name]
    artifact["payload"][name] = value + 1 if isinstance(value, int) else value + "0"
    signed = read(artifact, "offer")
    assert signed.signer != PAYEE, name


def test_an_offer_is_no_receipt():
    assert read(eip712(PAID, "receipt"), "receipt").signer == PAYEE
    assert read(eip712(TERMS), "receipt").problem


@pytest.mark.parametrize(
    ("alg", "kid", "sign", "signer"),
    [
        ("ES256K", f"did:pkh:eip155:1:{PAYEE}", secp, PAYEE),
        ("ES256K", f"did:pkh:eip155:8453:{PAYEE.lower()}#k", secp, PAYEE),
        ("ES256K", "did:key:z" + base58(b"\xe7\x01" + public_key(Secret(KEY))), secp, PAYEE),
        ("EdDSA", "did:key:z" + base58(b"\xed\x01" + ED_PUBLIC) + "#z1", ed, base58(ED_PUBLIC)),
        ("EdDSA", "did:jwk:" + b64(jwk_of("ed")) + "#0", ed, base58(ED_PUBLIC)),
        ("ES256", "did:jwk:" + b64(jwk_of("p256")), p256, None),
        ("ES256K", "did:jwk:" + b64(jwk_of("secp")), secp, PAYEE),
    ],
)
def test_a_jws_whose_key_is_in_its_kid(alg, kid, sign, signer):
    signed = read(jws({"alg": alg, "kid": kid}, TERMS, sign), "offer")
    assert not signed.problem and not signed.unproved
    assert signed.signer == signer or (signer is None and signed.signer.startswith("p256:"))
    forged = jws({"alg": alg, "kid": kid}, TERMS, lambda m: sign(m + b"."))
    assert "does not hold" in read(forged, "offer").problem


@pytest.mark.parametrize(("kind", "alg", "sign"), [("secp", "ES256K", secp), ("ed", "EdDSA", ed), ("p256", "ES256", p256)])
def test_a_jws_that_carries_its_key(kind, alg, sign):
    header = {"alg": alg, "kid": "did:web:a.example#k", "jwk": jwk_of(kind)}
    assert read(jws(header, TERMS, sign), "offer").signer


def test_a_key_that_must_be_fetched_is_not_believed_and_not_refused():
    signed = read(jws({"alg": "ES256K", "kid": "did:web:a.example#k"}, TERMS, secp), "offer")
    assert (signed.signer, signed.problem, signed.unproved) == ("", "", "did:web:a.example#k")
    assert "did:web:a.example#k is one that its host can exchange, and is never fetched" in says(signed, PAYEE)


def test_two_keys_must_be_one():
    other = {**jwk_of("ed"), "x": b64(bytes(32))}
    header = {"alg": "EdDSA", "kid": "did:key:z" + base58(b"\xed\x01" + ED_PUBLIC), "jwk": other}
    assert "two different keys" in read(jws(header, TERMS, ed), "offer").problem


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ({"alg": "none", "kid": "k"}, "algorithm"),
        ({"alg": ["ES256K"], "kid": "k"}, "algorithm"),
        ({"alg": "HS256", "kid": "k"}, "algorithm"),
        ({"alg": "ES256K"}, "kid"),
        ({"alg": "ES256K", "kid": 7}, "kid"),
        ({"alg": "EdDSA", "kid": f"did:pkh:eip155:1:{PAYEE}"}, "curve"),
        ({"alg": "ES256K", "kid": "did:key:z0OIl"}, "base58"),
        ({"alg": "ES256K", "kid": "did:key:z" + "1" * 50}, "not known"),
        ({"alg": "ES256K", "kid": "did:jwk:e30"}, "public JWK"),
        ({"alg": "ES256K", "kid": "did:web:x", "jwk": {**jwk_of("secp"), "d": "AA"}}, "public JWK"),
        ({"alg": "ES256K", "kid": "did:web:x", "jwk": 7}, "public JWK"),
        ({"alg": "ES256K", "kid": "did:key:z" + base58(b"\xe7\x01\x02" + b"\x05" * 32)}, "point"),
        ({"alg": "ES256K", "kid": "k", "crit": ["b64"], "b64": False}, "extension of JWS"),
    ],
)
def test_a_header_that_names_no_good_key(header, word):
    assert word in read(jws(header, TERMS, secp), "offer").problem


@pytest.mark.parametrize(
    "artifact",
    [
        None, [], "x", {}, {"format": "eip712"}, {"format": "eip712", "payload": TERMS, "signature": "0x00"},
        {"format": "eip712", "payload": TERMS, "signature": "0x" + "ff" * 65},
        {"format": "eip712", "payload": {**TERMS, "version": True}, "signature": "0x" + "00" * 65},
        {"format": "eip712", "payload": {**TERMS, "version": 2}, "signature": "0x" + "00" * 65},
        {"format": "eip712", "payload": {**TERMS, "validUntil": -1}, "signature": "0x" + "00" * 65},
        {"format": "eip712", "payload": {**TERMS, "amount": 10000}, "signature": "0x" + "00" * 65},
        {"format": "jws", "signature": "a.b"}, {"format": "jws", "signature": "ä.b.c"}, {"format": "jws", "signature": 7},
        {"format": "jws", "signature": "e30.e30.e30"}, {"format": "jws", "payload": TERMS, "signature": "!.!.!"},
        {"format": "pgp", "payload": TERMS}, {"format": "eip712", "payload": TERMS, "signature": "0x" + "0" * 9000},
    ],
)  # fmt: skip
def test_nothing_that_is_broken_proves_anything(artifact):
    signed = read(artifact, "offer")
    assert signed.problem and not signed.signer
    assert says(signed, PAYEE).startswith("proves nothing")


LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=20)
JSON = LEAF | st.lists(LEAF, max_size=3) | st.dictionaries(st.sampled_from([*TERMS, "alg", "kid"]), LEAF, max_size=4)


@given(st.dictionaries(st.sampled_from(["format", "payload", "signature"]), JSON | st.sampled_from(["eip712", "jws"])))
def test_I16_no_artifact_makes_it_raise(artifact):
    assert read(artifact, "offer").problem


@given(st.binary(max_size=80))
def test_base58_both_ways(data):
    assert unbase58(base58(data)) == data


# -- before a payment ------------------------------------------------------------------------------------------------


def offered(**changes):
    return read(eip712({**TERMS, **changes}), "offer")


def test_terms_as_signed_are_found_whatever_their_place():
    other = offered(asset="0x" + "99" * 20)
    assert judge([other, offered()], ASK, OFFER, NOW).payload["amount"] == "10000"


def test_a_dedicated_key_may_sign():
    signed = read(eip712(TERMS, key=bytes(range(2, 34))), "offer")
    assert judge([signed], ASK, OFFER, NOW) is signed


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"amount": "1"}, "1 atomic units signed, 10000 asked"),
        ({"payTo": "0x" + "33" * 20}, "signed as the payee"),
        ({"validUntil": NOW - 1}, "ran out"),
        ({"resourceUrl": "https://b.example/x"}, "signed for https://b.example"),
        ({"resourceUrl": "https://a.example:8443/x"}, "not for https://a.example"),
    ],
)
def test_other_terms_than_signed_are_refused(changes, word):
    with pytest.raises(ChallengeInvalid) as caught:
        judge([offered(**changes)], ASK, OFFER, NOW)
    assert word in str(caught.value)


def test_a_wrong_signature_under_the_right_terms_is_refused():
    broken = {**eip712(TERMS), "signature": "0x" + "00" * 65}
    with pytest.raises(ChallengeInvalid, match="is wrong"):
        judge([read(broken, "offer")], ASK, OFFER, NOW)


def test_what_says_nothing_about_the_offer_is_as_if_unsigned():
    assert judge([], ASK, OFFER, NOW) is None
    assert judge([offered(network="eip155:8453", amount="1"), read({}, "offer")], ASK, OFFER, NOW) is None


def test_an_offer_without_an_end_does_not_run_out():
    assert judge([offered(validUntil=0)], ASK, OFFER, NOW)
