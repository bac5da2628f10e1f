"""Keystore v3: the vectors of its definition, and eth-account reading ours as we read its own."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from x402_agent.errors import WalletError
from x402_agent.secret import Secret
from x402_agent.wallet import intake, keystore

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "wallet" / "keys.json").read_text())["keystore"]
KEY = Secret(bytes.fromhex("22" * 32))
PASS = "correct horse battery"


def made(change=lambda facts: None):
    facts = json.loads(keystore.write(KEY, Secret(PASS), n=4096))
    change(facts)
    return json.dumps(facts).encode()


@pytest.mark.parametrize("file", VECTORS["files"], ids=lambda f: f["crypto"]["kdf"])
def test_vectors_of_the_definition(file):
    assert keystore.read(json.dumps(file).encode(), Secret(VECTORS["password"])).raw.hex() == VECTORS["secret"]


def test_eth_account_reads_ours_and_we_read_its_own():
    from eth_account import Account

    ours = keystore.write(KEY, Secret(PASS))
    assert json.loads(ours)["crypto"]["kdfparams"]["n"] == 262_144
    assert bytes(Account.decrypt(ours.decode(), PASS)) == KEY.raw
    for kdf, rounds in (("scrypt", 4096), ("pbkdf2", 1000)):
        theirs = json.dumps(Account.encrypt(KEY.raw, PASS, kdf=kdf, iterations=rounds)).encode()
        assert keystore.read(theirs, Secret(PASS)).raw == KEY.raw


def test_another_passphrase_and_an_older_spelling():
    facts = json.loads(made())
    facts["Crypto"] = facts.pop("crypto")
    assert keystore.read(json.dumps(facts).encode(), Secret(PASS)).raw == KEY.raw
    with pytest.raises(WalletError, match="does not open"):
        keystore.read(json.dumps(facts).encode(), Secret(PASS + "x"))


@pytest.mark.parametrize("change", [
    lambda f: f.update(version=1), lambda f: f.pop("crypto"), lambda f: f["crypto"].update(cipher="aes-128-cbc"),
    lambda f: f["crypto"].update(mac="00"), lambda f: f["crypto"].update(ciphertext="00"), lambda f: f["crypto"].update(ciphertext=7),
    lambda f: f["crypto"]["cipherparams"].update(iv="00"), lambda f: f["crypto"].update(kdf="argon2id"),
    lambda f: f["crypto"].update(kdf=["scrypt"]), lambda f: f["crypto"]["kdfparams"].update(dklen=16),
    lambda f: f["crypto"]["kdfparams"].update(n=1 << 40), lambda f: f["crypto"]["kdfparams"].update(r=1 << 40),
    lambda f: f["crypto"].update(kdf="pbkdf2", kdfparams={"c": 1 << 40, "dklen": 32, "prf": "hmac-sha256", "salt": "00"}),
    lambda f: f["crypto"].update(kdf="pbkdf2", kdfparams={"c": 1, "dklen": 32, "prf": "hmac-md5", "salt": "00"}),
    lambda f: f["crypto"].update(kdfparams=None), lambda f: f["crypto"].update(mac="00" * 32), lambda f: f.update(address="ab" * 20),
], ids=range(17))  # fmt: skip
def test_a_strange_or_hostile_file_is_refused_at_once(change):
    start = time.monotonic()
    with pytest.raises(WalletError) as found:
        keystore.read(made(change), Secret(PASS))
    assert found.value.rule and time.monotonic() - start < 5


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"{}", b"[" * 60_000, b"\xff"], ids=range(7))
def test_no_keystore_at_all(data):
    with pytest.raises(WalletError, match="no keystore"):
        keystore.read(data, Secret(PASS))


def test_a_short_passphrase_is_refused():
    with pytest.raises(WalletError, match="too short"):
        keystore.write(KEY, Secret("1234567"))


def never():
    raise AssertionError("nobody was to be asked")


def test_what_people_bring_is_told_apart():
    words = "legal winner thank year wave sausage worth useful legal winner thank yellow"
    assert intake.entry(Secret("0x" + "22" * 32 + "\n"), opens=never).secret.raw == KEY.raw
    brought = intake.entry(Secret(words.upper()), opens=never, passphrase=Secret("x"))
    assert (brought.kind, brought.secret.text, brought.passphrase.text) == ("mnemonic", words, "x")
    assert intake.entry(Secret(made()), opens=lambda: Secret(PASS)).secret.raw == KEY.raw


@pytest.mark.parametrize("text", ["", "hello", "0x12", "22" * 31, "22" * 33, "00" * 32, "ff" * 32, "zz" * 32, words := "kitten " * 12])
def test_what_is_nothing_is_refused_unquoted(text):
    with pytest.raises(WalletError) as found:
        intake.entry(Secret(text), opens=never)
    assert not text.strip() or text.split()[0] not in str(found.value)


def test_secrets_in_a_command_line_are_recognised():
    for text in ("0x" + "22" * 32, "22" * 32, "legal winner thank", '{"version": 3}', "--key=" + "22" * 32):
        assert intake.looks_secret(text)
    for text in ("-", "key.txt", "/dev/fd/63", "UTC--2026-11-21T07-00-00Z--008aeeda", "wallet.json"):
        assert not intake.looks_secret(text)
