"""Keys as each chain's tools write them: taken where the form or a person says whose they are, refused without a word of them."""

from __future__ import annotations

import json

import pytest

from x402_agent.encodings import base58, unc32_address
from x402_agent.errors import SettingsError, WalletError
from x402_agent.primitives import SolanaKey, ed25519_public
from x402_agent.secret import Secret
from x402_agent.wallet import KEYS, KeySigner, Wallet, intake
from x402_agent.wallet.file import Entry, WalletFile

RAW = bytes.fromhex("edf9aee84d9b7abc145504dde6726c64f369d37ee34ded868fabd876c26570bc")
PAIR = RAW + ed25519_public(Secret(RAW))
PASS = Secret("correct horse battery")


def entry(text, **options):
    return intake.entry(Secret(text), opens=lambda: pytest.fail("asked"), **options)


@pytest.mark.parametrize("text, namespace", [
    (RAW.hex(), "eip155"), ("0x" + RAW.hex().upper(), "eip155"), (RAW.hex() + "01", "stacks"), ("0x" + RAW.hex() + "01\n", "stacks"),
    (base58(PAIR), "solana"), (json.dumps(list(PAIR)), "solana"), (" " + json.dumps(list(PAIR), indent=1) + "\n", "solana"), (PAIR.hex(), "solana"),
], ids=["hex", "0x", "stacks", "stacks 0x", "base58", "array", "spread array", "128 hex"])  # fmt: skip
def test_a_form_that_tells_its_family(text, namespace):
    found = entry(text)
    assert (found.kind, found.namespace, found.secret.raw) == ("key", namespace, RAW)


@pytest.mark.parametrize("text, chain", [
    (RAW.hex(), "tron"), (RAW.hex(), "stacks"), (RAW.hex() + "01", "stacks"), (RAW.hex(), "solana"), (base58(RAW), "solana"),
    (json.dumps(list(RAW)), "solana"), (RAW.hex(), "evm"),
], ids=str)  # fmt: skip
def test_a_family_that_a_person_names(text, chain):
    found = entry(text, chain=chain)
    assert (found.namespace, found.secret.raw) == (intake.CHAINS[chain], RAW)


def test_the_accounts_are_those_of_each_chains_own_tools():
    """Stacks' two addresses by stacks.js 7.6, which takes 33 bytes as compressed and 32 as not."""
    found = entry("89220e6fb3808efc798b2adff4c4de3115e97ed30d5cb8dffcde0636d2982a0701")
    assert found.addresses() == {"stacks": "SP3PYP5REPBNQTTHWV4WMY1R5M346P18KE2RY0RDE"}
    bare = entry("195ba210c20d95646998e1639eddb0ffe77ab6de0f48d496f9fe8e132e72575c", chain="stacks")
    other = intake.others(bare)["Stacks, uncompressed"]
    assert unc32_address(other) == (22, unc32_address("ST2VVF0XE4PZ14GHAFGZMGXHBJAVJAZH1WGQXGV97")[1])
    assert bare.addresses() != {"stacks": other} and intake.others(entry(base58(PAIR))) == {}
    assert set(intake.others(entry(RAW.hex()))) == {"Stacks", "TRON"}
    assert SolanaKey(RAW).address == KeySigner(RAW, "solana").address("solana") == entry(base58(PAIR)).addresses()["solana"]


@pytest.mark.parametrize("text, chain, said", [
    (base58(RAW), "", "an address as well as a key"), (base58(PAIR[:63] + b"x"), "", "halves"), (json.dumps([*PAIR[:63], PAIR[63] ^ 1]), "solana", "halves"),
    (json.dumps([300] * 64), "", "no key"), (json.dumps([*PAIR[:63], True, 1]), "solana", "no key"), ("[" * 5000, "solana", "no key"),
    (json.dumps(list(PAIR[:63])), "", "no key"), (RAW.hex() + "02", "stacks", "no key of Stacks"), (RAW.hex() + "01", "tron", "no key of TRON"),
    (RAW.hex() + "01", "evm", "no key of EVM"), ("ff" * 32, "tron", "no key of secp256k1"), ("00" * 32 + "01", "", "no key of secp256k1"),
    (RAW.hex(), "bitcoin", "no family"), ("abandon " * 11 + "about", "tron", "every family"), ("{}", "solana", "keystore"),
    (base58(PAIR) + "0", "solana", "no key of Solana"), ("l" * 88, "", "no key"), ("1" * 129, "solana", "no key"),
], ids=range(18))  # fmt: skip
def test_what_is_no_key_is_refused_and_not_quoted(text, chain, said):
    with pytest.raises(WalletError) as found:
        entry(text, chain=chain)
    assert said in str(found.value) and found.value.rule
    assert RAW.hex()[:12] not in str(found.value) and base58(RAW)[:8] not in str(found.value)


@pytest.mark.parametrize("text", [base58(PAIR), base58(RAW), json.dumps(list(PAIR)), RAW.hex() + "01", "--chain=" + base58(RAW)])
def test_each_form_is_known_for_a_secret_on_a_command_line(text):
    assert intake.looks_secret(text)


def test_a_path_is_no_secret():
    assert not any(map(intake.looks_secret, ["key.json", "/mnt/keys/solana-mainnet-account-number-one.json", "-", "~/id.json"]))


@pytest.mark.parametrize("namespace, text", [("eip155", RAW.hex()), ("solana", base58(PAIR)), ("stacks", RAW.hex() + "01"), ("tron", RAW.hex())])
def test_each_family_has_its_variable(namespace, text, tmp_path):
    wallet = Wallet.from_env({KEYS[namespace]: text}, tmp_path / "none.json")
    assert wallet.address(namespace) == KeySigner(RAW, namespace).address(namespace)
    assert [each for each in KEYS if wallet.address(each)] == [namespace]
    with pytest.raises(SettingsError) as found:
        Wallet.from_env({KEYS[namespace]: text[:-3] + "!!!"})
    assert KEYS[namespace] in str(found.value) and text[:8] not in str(found.value)


def test_all_four_at_once_pay_each_on_its_own():
    wallet = Wallet.from_env(dict.fromkeys(KEYS.values(), RAW.hex()))
    assert len({wallet.address(each) for each in KEYS}) == 4
    assert wallet.signer("tron").sign_digest("tron", bytes(32)) == wallet.signer("stacks").sign_digest("stacks", bytes(32))
    assert len(wallet.signer("solana").sign_message("solana", b"x")) == 64


def test_a_file_of_single_keys_of_each_family(tmp_path):
    path = tmp_path / "w" / "wallet.json"
    keys = [Entry("key", Secret(RAW), namespace=each, name=f"my-{each}") for each in KEYS]
    file = WalletFile.create(path, keys, PASS, n=4096)
    assert [set(known) - {"kind", "name"} for known in file.accounts] == [{each} for each in KEYS]
    wallet = Wallet.from_file(path, PASS.text)
    assert all(wallet.named(f"my-{each}").address(each) == wallet.address(each) != "" for each in KEYS)
    assert wallet.named("my-tron").address("eip155") == "" and wallet.named("nobody").signers == ()
    assert wallet.signer("tron", wallet.address("tron")) and wallet.signer("tron", "T" * 34) is None


def test_a_file_of_version_1_is_read_and_becomes_one_of_version_2(tmp_path):
    """Written by release 0.1's first format: passphrase `correct horse battery`, scrypt n 4096."""
    from pathlib import Path
    from shutil import copy

    path = tmp_path / "w" / "wallet.json"
    path.parent.mkdir(mode=0o700)
    copy(Path(__file__).parent.parent / "vectors" / "wallet_v1.json", path)
    path.chmod(0o600)
    before = WalletFile.read(path).accounts
    assert [known["kind"] for known in before] == ["mnemonic", "key"] and json.loads(path.read_text())["version"] == 1
    assert Wallet.from_file(path, PASS.text).address("eip155") == "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
    after = WalletFile.add(path, Entry("key", Secret(RAW), namespace="tron", name="shop"), PASS)
    assert after.accounts[:2] == before and json.loads(path.read_text())["version"] == 2
    assert len(after.unlock(PASS)) == 3


@pytest.mark.parametrize("name", ["Research", "a b", "-a", "a-", "x" * 33, "a/b", "é", "\x1b[1m"])
def test_names_that_could_be_mistaken(name, tmp_path):
    with pytest.raises(WalletError, match="no account is called"):
        WalletFile.create(tmp_path / "w" / "wallet.json", [Entry("key", Secret(RAW), name=name)], PASS, n=4096)
    assert not (tmp_path / "w" / "wallet.json").exists()
