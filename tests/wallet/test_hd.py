"""Words, seeds, keys and addresses against the vectors of BIP-39, BIP-32, SLIP-0010, and wallets that people have."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from x402_agent.encodings import base58, base58check, c32_address
from x402_agent.errors import SigningFailed, WalletError
from x402_agent.primitives import ed25519_public, evm_address
from x402_agent.secret import Secret
from x402_agent.wallet import hd

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wallet" / "keys.json").read_text())
ABOUT = Secret("abandon " * 11 + "about")


@pytest.mark.parametrize("entropy, words, seed", VECTORS["bip39"], ids=lambda v: v[:8])
def test_bip39(entropy, words, seed):
    assert hd.generate(len(words.split()), Secret(bytes.fromhex(entropy))).text == words
    assert hd.checked(Secret(f"  {words.upper()}\n")).text == words
    assert hd.seed(Secret(words), Secret("TREZOR")).raw.hex() == seed


def test_the_word_list_is_the_one_of_the_standard():
    data = (Path(hd.__file__).parent / "english.txt").read_bytes()
    assert hashlib.sha256(data).hexdigest() == "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"


@pytest.mark.parametrize("seed, path, xprv", VECTORS["bip32"], ids=lambda v: v[:8])
def test_bip32(seed, path, xprv):
    number = 0
    for letter in xprv:
        number = number * 58 + "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz".index(letter)
    data = number.to_bytes(82, "big")
    assert base58check(data[:-4]) == xprv
    key, chain = hd.secp256k1(Secret(bytes.fromhex(seed)), path)
    assert (key.raw, chain.raw) == (data[46:78], data[13:45])


@pytest.mark.parametrize("path, key, chain, public", VECTORS["slip10"]["steps"], ids=lambda v: v[:8])
def test_slip10_ed25519(path, key, chain, public):
    made, code = hd.ed25519(Secret(bytes.fromhex(VECTORS["slip10"]["seed"])), path)
    assert (made.raw.hex(), code.raw.hex(), ed25519_public(made).hex()) == (key, chain, public)


def test_one_mnemonic_has_an_account_on_every_family():
    assert hd.addresses(hd.seed(ABOUT)) == {
        "eip155": "0x9858EfFD232B4033E47d90003D41EC34EcaEda94",
        "solana": "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk",
        "stacks": "SPC5KHM41H6WHAST7MWWDD807YSPRQKJ69FSH54J",
        "tron": "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH",
    }


def test_other_secp256k1_backend_gives_the_same_accounts(monkeypatch):
    from x402_agent import primitives

    expected = hd.addresses(hd.seed(ABOUT))
    monkeypatch.setitem(sys.modules, "coincurve", None)
    primitives._curve.cache_clear()
    try:
        assert hd.addresses(hd.seed(ABOUT)) == expected
        assert type(primitives._curve()).__name__ == "_Wally"
    finally:
        monkeypatch.undo()
        primitives._curve.cache_clear()


def test_the_passphrase_is_normalised_and_makes_another_wallet():
    assert hd.seed(ABOUT, Secret("caf\u00e9")).raw == hd.seed(ABOUT, Secret("cafe\u0301")).raw
    assert hd.seed(ABOUT, Secret("x")).raw != hd.seed(ABOUT).raw


def test_eth_account_derives_the_same_key():
    from eth_account import Account

    Account.enable_unaudited_hdwallet_features()
    for count in (12, 15, 18, 21, 24) * 5:
        words = hd.generate(count)
        theirs = Account.from_mnemonic(words.text, passphrase="p")
        mine = hd.key(hd.seed(hd.checked(words), Secret("p")), "eip155")
        assert mine.raw == bytes(theirs.key) and evm_address(mine) == theirs.address


def test_fresh_words_are_fresh_and_hold():
    made = {hd.generate(count).text for count in (12, 24) for _ in range(20)}
    assert len(made) == 40
    assert all(hd.checked(Secret(words)) for words in made)


@pytest.mark.parametrize("words, said", [
    ("abandon " * 12, "checksum"), ("abandon " * 11, "11"), ("", "0"), ("abandon " * 11 + "abuot", "number 12"),
    ("abandon " * 10 + "puppies about", "number 11"), ("zoo " * 12, "checksum"),
], ids=["checksum", "count", "empty", "typing", "strange", "zoo"])  # fmt: skip
def test_a_mistaken_mnemonic_is_named_by_place_never_quoted(words, said):
    with pytest.raises(WalletError) as found:
        hd.checked(Secret(words))
    shown = str(found.value)
    assert said in shown and "abuot" not in shown and "puppies" not in shown and "abandon" not in shown


def test_only_lengths_of_the_standard():
    for count in (0, 11, 13, 48):
        with pytest.raises(WalletError):
            hd.generate(count)


def test_encodings_keep_leading_zeros():
    assert base58(b"\0\0a") == "112g" and base58(b"") == ""
    assert (
        c32_address(22, bytes.fromhex("a46ff88886c2ef9762d970b4d2c63678835bd39d"))
        == "SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7"
    )


def test_without_pycryptodome_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "Crypto.PublicKey.ECC", None)
    with pytest.raises(SigningFailed, match="pycryptodome") as found:
        ed25519_public(Secret(bytes(32)))
    assert "x402-agent-sdk[evm]" in found.value.hint
