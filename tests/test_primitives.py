"""keccak and secp256k1: published vectors on every backend, and both backends alike."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from x402_agent import primitives
from x402_agent.errors import SigningFailed
from x402_agent.primitives import EvmKey, checksum, evm_address, keccak, recover
from x402_agent.secret import Secret

CURVES = {"coincurve": primitives._Coincurve, "wallycore": primitives._Wally}
HALF = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0


@pytest.fixture(params=sorted(CURVES))
def curve(request, monkeypatch):
    made = CURVES[request.param]()
    monkeypatch.setattr(primitives, "_curve", lambda: made)
    return made


@pytest.fixture(params=["safe-pysha3", "pycryptodome"])
def hasher(request, monkeypatch):
    """Each Keccak library in turn: an entry of None in sys.modules makes its import fail."""
    hidden = {"safe-pysha3": "Crypto.Hash", "pycryptodome": "sha3"}[request.param]
    monkeypatch.setitem(__import__("sys").modules, hidden, None)
    primitives._hasher.cache_clear()
    yield request.param
    primitives._hasher.cache_clear()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"),
        (b"abc", "4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45"),
        (b"Transfer(address,address,uint256)", "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"),
    ],
)
def test_keccak_vectors(data, expected, hasher):
    assert keccak(data).hex() == expected
    assert keccak(data) != hashlib.sha3_256(data).digest()


@pytest.mark.parametrize(
    "address",
    [  # EIP-55, "Test Cases"
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_eip_55_vectors(address):
    assert checksum(address.lower()) == address
    assert checksum("0x" + address[2:].upper()) == address


@pytest.mark.parametrize(
    ("key", "address"),
    [
        (
            "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
            "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        ),
        ("00" * 31 + "01", "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"),
    ],
)
def test_addresses_of_known_keys(key, address, curve):
    made = evm_address(bytes.fromhex(key))
    assert made == EvmKey(bytes.fromhex(key)).address
    assert made == address


ORDER = primitives.ORDER


@settings(max_examples=100, deadline=None)
@given(st.integers(1, ORDER - 1).map(lambda n: n.to_bytes(32, "big")), st.binary(min_size=32, max_size=32))
def test_both_backends_sign_the_same_bytes_and_recover_each_other(key, digest):
    made = []
    for kind in CURVES.values():
        curve = kind()
        signature = curve.signer(key)(digest)
        made.append(signature)
        assert all(other().recover(digest, signature) == curve.public(key) for other in CURVES.values())
        assert int.from_bytes(signature[32:64], "big") <= HALF
    assert made[0] == made[1]


def test_recover_takes_both_styles_of_v(curve):
    key = EvmKey(b"k" * 32)
    signature = key.sign(b"d" * 32)
    assert signature[64] in (27, 28)
    assert recover(b"d" * 32, signature) == key.address
    assert recover(b"d" * 32, signature[:64] + bytes((signature[64] - 27,))) == key.address
    assert recover(b"e" * 32, signature) != key.address


@pytest.mark.parametrize(
    "junk", [b"", b"\0" * 65, b"\xff" * 64 + b"\x1b", b"\1" * 64, b"\1" * 64 + b"\x1d", b"\1" * 66]
)
def test_recover_refuses_junk(junk, curve):
    with pytest.raises(ValueError, match="signature"):
        recover(b"d" * 32, junk)


@pytest.mark.parametrize("key", [b"", b"k" * 31, b"k" * 33, b"\0" * 32, b"\xff" * 32, ORDER.to_bytes(32, "big")])
def test_what_is_no_key_is_refused_and_not_repeated(key):
    with pytest.raises(SigningFailed) as caught:
        EvmKey(key)
    assert not key or key.hex() not in str(caught.value)


def test_a_key_shows_its_address_alone():
    key = EvmKey(b"k" * 32)
    assert repr(key) == str(key) == f"EvmKey({key.address})"
    assert not hasattr(key, "__dict__")


def test_without_libraries_the_error_says_what_to_install(monkeypatch):
    modules = __import__("sys").modules
    for name in ("coincurve", "wallycore", "sha3", "Crypto.Hash"):
        monkeypatch.setitem(modules, name, None)
    for function in (primitives._curve, primitives._hasher):
        function.cache_clear()
        with pytest.raises(SigningFailed) as caught:
            function()
        assert "[evm]" in caught.value.hint
        function.cache_clear()


def test_wallycore_survives_warnings_as_errors():
    code = "from x402_agent import primitives; print(len(primitives._Wally().public(bytes(31) + bytes([1]))))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "65\n", "")


def test_hkdf_is_that_of_rfc_5869():
    from x402_agent.primitives import hkdf

    key, salt, info = b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA))
    assert hkdf(Secret(key), salt, info).raw.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


@pytest.mark.parametrize("without", [False, True], ids=["solders", "pycryptodome"])
def test_who_signed_by_ed25519(monkeypatch, without):
    """RFC 8032, 7.1, test 2; and what is no key and no signature."""
    if without:
        monkeypatch.setitem(sys.modules, "solders.signature", None)
    key = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    made = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert primitives.verify_ed25519(key, b"\x72", made)
    beyond = made[:32] + (int.from_bytes(made[32:], "little") + 2**252 + 27742317777372353535851937790883648493).to_bytes(32, "little")
    for wrong in ((key, b"\x73", made), (key, b"\x72", beyond), (key[:31], b"\x72", made), (key, b"\x72", made[:63]), (b"\xff" * 32, b"\x72", made), (key, b"\x72", bytes(64))):
        assert not primitives.verify_ed25519(*wrong)
