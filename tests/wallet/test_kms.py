"""KmsSigner against a key service as AWS KMS is one: DER, either s, no recovery id, another nonce for each signature."""

from __future__ import annotations

import hashlib
import secrets

import coincurve
import pytest

from needles import Needles, leaks
from x402_agent import KmsSigner, Payer, SigningFailed, Wallet
from x402_agent.primitives import recover

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SPKI = bytes.fromhex("3056301006072a8648ce3d020106052b8104000a034200")


def integer(number):
    body = number.to_bytes((number.bit_length() + 8) // 8, "big")
    return b"\x02" + bytes((len(body),)) + body


def der(r, s):
    body = integer(r) + integer(s)
    return b"\x30" + bytes((len(body),)) + body


class Service:
    """A key that never leaves: random nonces, high s every other time."""

    def __init__(self, key=None):
        self.key = coincurve.PrivateKey(key)
        self.calls = 0
        self.high = True

    def sign(self, digest):
        assert len(digest) == 32
        self.calls += 1
        entropy = secrets.token_bytes(32)
        nonce = coincurve.PrivateKey(entropy)  # k, drawn anew: ECDSA by its definition
        r = int.from_bytes(nonce.public_key.format(compressed=False)[1:33], "big") % ORDER
        k, d, z = (int.from_bytes(each, "big") for each in (entropy, self.key.secret, digest))
        s = pow(k, -1, ORDER) * (z + r * d) % ORDER
        self.high = not self.high
        return der(r, max(s, ORDER - s) if self.high else min(s, ORDER - s))

    @property
    def point(self):
        return self.key.public_key.format(compressed=False)


@pytest.mark.parametrize("form", ["spki", "point", "compressed"])
def test_der_high_s_and_the_missing_recovery_id_are_set_right(form):
    service = Service()
    given = {"spki": SPKI + service.point, "point": service.point, "compressed": service.key.public_key.format()}[form]
    signer = KmsSigner(service.sign, given)
    address = Wallet.from_key(service.key.secret).address("eip155")
    assert signer.address("eip155") == address and signer.address("solana") == ""
    for number in range(20):
        digest = hashlib.sha256(bytes((number,))).digest()
        made = signer.sign_digest("eip155", digest)
        assert len(made) == 65 and made[64] in (27, 28) and int.from_bytes(made[32:64], "big") <= ORDER // 2
        assert recover(digest, made) == address
        assert signer.sign_digest("eip155", digest) == made
    assert service.calls == 20


def test_raw_signatures_are_taken_too():
    key = coincurve.PrivateKey()
    signer = KmsSigner(lambda digest: key.sign_recoverable(digest, hasher=None)[:64], key.public_key.format())
    digest = hashlib.sha256(b"x").digest()
    assert recover(digest, signer.sign_digest("eip155", digest)) == signer.address("eip155")


BAD = {
    "empty": b"",
    "junk": b"junk" * 20,
    "zero r": der(0, 1),
    "zero s": der(1, 0),
    "r past the order": der(ORDER, 1),
    "another key's": Service().sign(hashlib.sha256(b"x").digest()),
    "a byte behind": None,
    "a long form": None,
    "a needless zero": None,
    "negative": b"\x30\x06\x02\x01\x80\x02\x01\x01",
    "cut off": None,
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_signature_of_this_key_is_refused(name):
    service, digest = Service(), hashlib.sha256(b"x").digest()
    good = service.sign(digest)
    size = good[3]
    bad = {
        "a byte behind": good + b"\0",
        "a long form": b"\x30\x81" + good[1:],
        "a needless zero": b"\x30" + bytes((good[1] + 1,)) + b"\x02" + bytes((size + 1,)) + b"\0" + good[4:],
        "cut off": good[:-1],
    }.get(name, BAD[name])
    with pytest.raises(SigningFailed, match="no signature of its key"):
        KmsSigner(lambda _: bad, service.point).sign_digest("eip155", digest)


@pytest.mark.parametrize("key", [b"", b"\4" + b"\1" * 64, b"\5" + b"\1" * 32, SPKI, b"x" * 88])
def test_what_is_no_public_key_is_refused(key):
    with pytest.raises(SigningFailed, match="not one of secp256k1"):
        KmsSigner(lambda _: b"", key)


def test_a_service_that_fails_shows_none_of_its_words():
    def sign(digest):
        token = "AKIA-very-secret-session-token"
        raise RuntimeError(f"denied for {token}")

    signer = KmsSigner(sign, Service().point)
    with pytest.raises(SigningFailed, match="RuntimeError") as why:
        signer.sign_digest("eip155", b"\1" * 32)
    words = Needles(token="AKIA-very-secret-session-token")
    found = leaks(why.value, words)
    assert [each for each in found if "test_kms.py" not in each] == []
    assert "Signer" in repr(signer)


@pytest.mark.parametrize("scenario, times", [("honest", 2), ("settles_then_500", 3)])
def test_it_pays_and_shows_the_same_proof_again(scenario, times):
    with Payer.sandbox(scenario) as box:
        service = Service(box.sandbox.payer_key)
        box.wallet = Wallet(KmsSigner(service.sign, service.point))
        with box.client() as http:
            got = [http.get(box.sandbox.url("/joke")) for _ in range(times)]
        assert len({one.extensions["payment"].payment_id for one in got}) == (2 if scenario == "honest" else 1)
        assert service.calls == (2 if scenario == "honest" else 1)
