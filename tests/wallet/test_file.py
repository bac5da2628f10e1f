"""The encrypted file: what opens it, what is refused, what is written, and who may read it."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time

import pytest

from x402_agent.errors import SettingsError, WalletError
from x402_agent.primitives import keccak, recover
from x402_agent.secret import Secret
from x402_agent.wallet import Wallet, hd, keystore, private, unlock
from x402_agent.wallet.file import COST, Entry, WalletFile, scrypt

WORDS = Secret("abandon " * 11 + "about")
EVM = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"
PASS = "correct horse battery"
QUICK = 1 << 12
KEY = Entry("key", Secret(bytes.fromhex("22" * 32)))


@pytest.fixture
def path(tmp_path):
    (tmp_path / "own").mkdir(mode=0o700)
    return tmp_path / "own" / "wallet.json"


@pytest.fixture
def wallet(path):
    return WalletFile.create(path, [Entry("mnemonic", hd.checked(WORDS))], Secret(PASS), n=QUICK)


def seal_again(path, change):
    """Change the file as somebody who can write it would: with a checksum that is right."""
    facts = json.loads(path.read_text())
    change(facts)
    sealed, _ = bytes.fromhex(facts.pop("sealed")), facts.pop("sha256")
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
    facts |= {"sealed": sealed.hex(), "sha256": hashlib.sha256(canonical + sealed).hexdigest()}
    path.write_text(json.dumps(facts))


def refused(path, passphrase=PASS):
    with pytest.raises(WalletError) as found:
        WalletFile.read(path).unlock(Secret(passphrase))
    assert (found.value.rule and str(path) in str(found.value)) or "scrypt" in str(found.value)
    return str(found.value)


def test_a_wallet_signs_after_unlocking_and_shows_its_accounts_before(wallet, path):
    assert WalletFile.read(path).accounts == ({
        "kind": "mnemonic", "eip155": EVM, "solana": "HAgk14JpMQLgt6rVgv7cBQFJWFto5Dqxi472uT3DKpqk",
        "stacks": "SPC5KHM41H6WHAST7MWWDD807YSPRQKJ69FSH54J", "tron": "TUEZSdKsoDHQMeZwihtdoBiN46zxhGWYdH"},)  # fmt: skip
    opened, digest = Wallet.from_file(path, PASS), keccak(b"x")
    assert opened.address("eip155") == EVM == recover(digest, opened.signer("eip155").sign_digest("eip155", digest))


def test_the_file_holds_no_secret_and_is_ours_alone(wallet, path):
    data = path.read_bytes()
    assert b"abandon" not in data and PASS.encode() not in data and os.stat(path).st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["wallet.json"]
    facts = json.loads(data)
    assert facts["kdf"]["name"] == "scrypt" and facts["cipher"] == "aes-256-gcm" and COST == 131_072


def test_equal_content_never_gives_equal_bytes(path):
    made = [WalletFile.create(path.with_name(f"{i}.json"), [KEY], Secret(PASS), n=QUICK) for i in range(2)]
    first, second = (json.loads(one.path.read_text()) for one in made)
    assert first["nonce"] != second["nonce"] and first["kdf"]["salt"] != second["kdf"]["salt"]


def test_another_passphrase_is_named_as_such(wallet, path):
    assert "the passphrase does not open" in refused(path, "correct horse bat")


def test_one_passphrase_typed_on_two_systems(path):
    WalletFile.create(path, [KEY], Secret("cafe\u0301 au lait"), n=QUICK)
    assert WalletFile.read(path).unlock(Secret("caf\u00e9 au lait"))


@pytest.mark.parametrize("coding", ["cp1251", "koi8-r", "utf-16"])
def test_a_passphrase_that_is_not_utf8_protects_nothing(path, coding):
    """Its letters would all be read as U+FFFD, and so would anybody's guess."""
    typed = Secret("пароль от кошелька".encode(coding))
    with pytest.raises(WalletError, match="not UTF-8"):
        WalletFile.create(path, [KEY], typed, n=QUICK)
    with pytest.raises(WalletError, match="not UTF-8"):
        keystore.write(KEY.secret, typed, n=QUICK)
    with pytest.raises(WalletError, match="not UTF-8"):
        hd.seed(WORDS, typed)
    assert not path.exists()


@pytest.mark.parametrize("passphrase", ["", "1234567"])
def test_a_passphrase_that_protects_nothing_is_refused(path, passphrase):
    with pytest.raises(WalletError, match="too short"):
        WalletFile.create(path, [KEY], Secret(passphrase), n=QUICK)
    assert not path.exists()


def test_every_flipped_byte_is_found_without_the_passphrase_or_by_it(wallet, path):
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
        try:
            accounts = WalletFile.read(path).accounts
        except WalletError as why:
            assert "damaged" in str(why) or "version" in str(why)
        else:  # white space of the JSON
            assert accounts[0]["eip155"] == EVM


@pytest.mark.parametrize("size", [0, 1, 100, -2])
def test_a_torn_file_is_damaged(wallet, path, size):
    path.write_bytes(path.read_bytes()[:size])
    assert "damaged" in refused(path)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "null", "1", '"x"', "[" * 60_000, '{"format": "x402-agent wallet", "version": 1}', "\xff"]
)
def test_no_wallet_file_at_all(path, text):
    path.write_text(text, "latin-1")
    path.chmod(0o600)
    assert "damaged, or no wallet file" in refused(path)


def test_a_newer_version_says_so(wallet, path):
    seal_again(path, lambda facts: facts.update(version=3))
    assert "version 3" in refused(path)


@pytest.mark.parametrize("change", [
    lambda f: f["accounts"][0].update(eip155="0x" + "ab" * 20), lambda f: f["accounts"][0].update(tron="T"),
    lambda f: f.update(accounts=[]), lambda f: f.update(note="mine"), lambda f: f["kdf"].update(n=QUICK * 2),
    lambda f: f.update(nonce="00" * 12), lambda f: f["kdf"].update(salt="00" * 32),
], ids=["evm", "tron", "none", "field", "n", "nonce", "salt"])  # fmt: skip
def test_a_header_that_was_changed_does_not_open(wallet, path, change):
    seal_again(path, change)
    assert "does not open" in refused(path)


@pytest.mark.parametrize("bad", [
    {"n": 1 << 40}, {"n": 1 << 22}, {"r": 1 << 30}, {"p": 1 << 30}, {"n": 3 << 12}, {"n": 2}, {"n": -1}, {"n": 0}, {"n": 4096.0},
    {"n": True}, {"n": "4096"}, {"r": 0}, {"p": None}, {"n": 10**4000},
], ids=str)  # fmt: skip
def test_a_hostile_file_cannot_ask_for_memory_or_time(wallet, path, bad):
    seal_again(path, lambda facts: facts["kdf"].update(bad))
    start = time.monotonic()
    assert "scrypt parameters" in refused(path) or "damaged" in refused(path)
    assert time.monotonic() - start < 5


def test_scrypt_is_the_one_of_the_rfc():
    made = hashlib.scrypt(b"password", salt=b"NaCl", n=1024, r=8, p=16, dklen=64).hex()
    assert made.startswith("fdbabe1c9d347200")
    assert scrypt(Secret("x"), b"salt", 4096, 8, 1).raw == hashlib.scrypt(
        b"x", salt=b"salt", n=4096, r=8, p=1, dklen=32
    )


def test_Z10_a_file_that_others_can_read_is_refused(wallet, path):
    for mode in (0o640, 0o604, 0o620, 0o644, 0o666):
        path.chmod(mode)
        assert f"chmod 600 {path}" in refused(path)
    path.chmod(0o400)
    assert WalletFile.read(path).unlock(Secret(PASS))


def test_Z13_links_pipes_folders_and_files_of_others_are_refused(wallet, path, monkeypatch):
    link = path.with_name("link.json")
    link.symlink_to(path)
    assert "symbolic link" in refused(link)
    pipe = path.with_name("pipe.json")
    os.mkfifo(pipe, 0o600)
    assert "not a plain file" in refused(pipe)
    assert "not a plain file" in refused(path.parent)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "another user" in refused(path)


def test_Z13_nothing_is_written_where_everybody_may_write(path):
    path.parent.chmod(0o702)
    with pytest.raises(WalletError, match="everybody may write in"):
        WalletFile.create(path, [KEY], Secret(PASS), n=QUICK)
    assert list(path.parent.iterdir()) == []


def test_a_large_file_is_not_read(path):
    path.write_bytes(b" " * 70_000)
    path.chmod(0o600)
    assert "larger than" in refused(path)


def test_a_missing_file_says_how_to_make_one(path):
    assert "x402-agent wallet new" in refused(path)


def test_a_wallet_is_never_overwritten(wallet, path):
    before = path.read_bytes()
    with pytest.raises(WalletError, match="never overwritten"):
        WalletFile.create(path, [KEY], Secret(PASS), n=QUICK)
    assert path.read_bytes() == before and len(list(path.parent.iterdir())) == 1


def test_a_full_disk_leaves_no_half_wallet(path, monkeypatch):
    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WalletError, match="No space left"):
        WalletFile.create(path, [KEY], Secret(PASS), n=QUICK)
    assert list(path.parent.iterdir()) == []


def test_keys_are_added_once_and_pay_in_their_order(wallet, path):
    WalletFile.add(path, KEY, Secret(PASS))
    first = Entry("key", Secret(bytes.fromhex("33" * 32)))
    file = WalletFile.add(path, first, Secret(PASS), first=True)
    assert [account["kind"] for account in file.accounts] == ["key", "mnemonic", "key"]
    assert Wallet.from_file(path, PASS).address("eip155") == first.addresses()["eip155"]
    assert [one.secret.raw for one in file.unlock(Secret(PASS))] == [first.secret.raw, WORDS.raw, KEY.secret.raw]
    assert os.stat(path).st_mode & 0o777 == 0o600
    for entry, said in ((KEY, "already"), (Entry("mnemonic", hd.generate()), "holds a mnemonic already")):
        with pytest.raises(WalletError, match=said):
            WalletFile.add(path, entry, Secret(PASS))
    with pytest.raises(WalletError, match="does not open"):
        WalletFile.add(path, Entry("key", Secret(bytes.fromhex("44" * 32))), Secret("another one"))


def add_one(path, number):
    WalletFile.add(path, Entry("key", Secret(bytes((number,)) * 32)), Secret(PASS))


def test_two_processes_that_add_lose_nothing(wallet, path):
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=add_one, args=(path, 0x40 + i)) for i in range(4)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
        assert process.exitcode == 0
    assert len(WalletFile.read(path).accounts) == 5


@pytest.fixture
def counted(monkeypatch):
    calls = []
    real = hashlib.scrypt
    monkeypatch.setattr(hashlib, "scrypt", lambda *args, **options: calls.append(1) or real(*args, **options))
    monkeypatch.setattr(unlock, "_UNLOCKED", {})
    return calls


def test_scrypt_runs_once_per_process_and_again_for_another_passphrase(wallet, path, counted):
    counted.clear()
    for _ in range(3):
        assert Wallet.from_file(str(path), PASS).address("eip155") == EVM
    assert len(counted) == 1
    with pytest.raises(WalletError, match="does not open"):
        Wallet.from_file(path, PASS + "x")
    assert len(counted) == 2


def test_what_is_remembered_is_no_passphrase_and_no_mnemonic(wallet, path, counted):
    Wallet.from_file(path, PASS)
    shown = repr(unlock._UNLOCKED)
    assert PASS not in shown and "abandon" not in shown and EVM in shown


def test_the_environments_passphrase_is_taken_away_once_it_opened(wallet, path, counted, monkeypatch):
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", "not this one")
    with pytest.raises(WalletError):
        Wallet.from_env(path=path)
    assert "X402_AGENT_PASSPHRASE" in os.environ
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS)
    assert Wallet.from_env(path=path).address("eip155") == EVM
    assert "X402_AGENT_PASSPHRASE" not in os.environ
    counted.clear()
    again = Wallet.from_env(path=path)
    assert again.signer("eip155").sign_digest("eip155", bytes(32)) and not counted


def test_a_mapping_of_the_callers_is_left_alone(wallet, path, counted):
    env = {"X402_AGENT_PASSPHRASE": PASS, "X402_AGENT_WALLET": str(path)}
    assert Wallet.from_env(env).signer("eip155").sign_digest("eip155", bytes(32)) and len(env) == 2


def test_the_passphrase_from_a_file_through_a_link(wallet, path, counted):
    secret = path.with_name("passphrase")
    secret.write_text(PASS + "\n")
    link = path.with_name("mounted")
    link.symlink_to(secret)
    env = {"X402_AGENT_PASSPHRASE_FILE": str(link)}
    secret.chmod(0o644)
    with pytest.raises(WalletError, match="others on this machine"):
        Wallet.from_env(env, path)
    secret.chmod(0o600)
    assert Wallet.from_env(env, path).signer("eip155").sign_digest("eip155", bytes(32))


@pytest.mark.parametrize("mode, uid, links, fine", [
    (0o600, 1000, False, True), (0o440, 0, True, True), (0o444, 0, True, False), (0o460, 0, True, False), (0o440, 0, False, False),
    (0o440, 1000, True, False), (0o400, 1001, True, False), (0o400, 0, False, False),
], ids=str)  # fmt: skip
def test_a_mounted_secret_may_be_roots_and_our_groups(mode, uid, links, fine, path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    made = os.stat_result((0o100000 | mode, 1, 1, 1, uid, 1000, 9, 0, 0, 0))
    if fine:
        private._refuse(path, made, links=links, public=False)
    else:
        with pytest.raises(WalletError):
            private._refuse(path, made, links=links, public=False)


def test_a_locked_wallet_knows_its_account_and_signs_nothing(wallet, path, counted):
    counted.clear()
    locked = Wallet.from_env({}, path)
    assert locked.address("eip155") == EVM and not counted
    with pytest.raises(WalletError, match="locked") as found:
        locked.signer("eip155").sign_digest("eip155", bytes(32))
    assert "X402_AGENT_PASSPHRASE_FILE" in found.value.hint


def test_somebody_may_be_asked(wallet, path, counted):
    asked = []
    made = Wallet.from_env({}, path, ask=lambda where: asked.append(where) or PASS)
    assert asked == [path] and made.signer("eip155").sign_digest("eip155", bytes(32))
    Wallet.from_env({}, path, ask=lambda where: asked.append(where) or PASS)
    assert len(asked) == 1


def test_the_key_in_the_environment_wins(wallet, path, counted):
    counted.clear()
    env = {"X402_AGENT_EVM_KEY": "0x" + "22" * 32, "X402_AGENT_PASSPHRASE": PASS}
    assert Wallet.from_env(env, path).address("eip155") != EVM and not counted


def test_a_named_file_must_be_there_and_the_default_one_need_not(tmp_path):
    assert Wallet.from_env({}, tmp_path / "none.json").signers == ()
    with pytest.raises(SettingsError, match="X402_AGENT_WALLET"):
        Wallet.from_env({"X402_AGENT_WALLET": str(tmp_path / "none.json")})


def test_a_real_wallet_costs_half_a_second_and_a_locked_payer_pays_nothing(path, monkeypatch):
    from x402_agent import Payer, SigningFailed

    monkeypatch.setenv("X402_AGENT_WALLET", str(path))
    monkeypatch.setenv("X402_AGENT_NETWORKS", "testnet")
    WalletFile.create(path, [KEY], Secret(PASS))
    with Payer.from_env() as payer, pytest.raises(SigningFailed):
        payer.signer("eip155").sign_digest("eip155", bytes(32))
    start = time.process_time()
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS)
    with Payer.from_env() as payer:
        assert payer.signer("eip155").sign_digest("eip155", bytes(32))
    assert 0.05 < time.process_time() - start < 20
