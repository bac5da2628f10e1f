"""Named accounts of one wallet: whose money pays for whom, and payments that outlive the turn of an account."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from x402_agent import Payer, PaymentInDoubt, Policy, PolicyDenied, Settings, SettingsError, Wallet
from x402_agent.cli.app import app
from x402_agent.ledger import SqliteLedger
from x402_agent.model import Under
from x402_agent.policy.file import parse
from x402_agent.sandbox import Sandbox
from x402_agent.secret import Secret
from x402_agent.wallet import Entry, KeySigner, WalletFile, hd
from x402_agent.wallet import file as wallet_file

WORDS = "legal winner thank year wave sausage worth useful legal winner thank yellow"
PASS = "correct horse battery"
KEYS = [bytes([number]) * 32 for number in (0x31, 0x32)]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(wallet_file.WalletFile.create.__func__, "__kwdefaults__", {"n": 4096})
    monkeypatch.setenv("X402_AGENT_PASSPHRASE", PASS)


@pytest.fixture
def path(tmp_path, monkeypatch):
    where = tmp_path / "own" / "wallet.json"
    WalletFile.create(where, [Entry("mnemonic", hd.checked(Secret(WORDS)))], Secret(PASS))
    monkeypatch.setenv("X402_AGENT_WALLET", str(where))
    return where


def run(*words):
    done = CliRunner().invoke(app, ["wallet", *words, "--json"], env={"X402_AGENT_PASSPHRASE": PASS})
    return done.exit_code, json.loads(done.stdout)


def test_an_account_is_the_next_one_on_every_family(path):
    code, told = run("account", "add", "research")
    seed = hd.seed(Secret(WORDS))
    assert code == 0 and told["account"] == {"kind": "mnemonic", "name": "research", "index": "1", **hd.addresses(seed, 1)}
    assert run("account", "add", "research")[0] == 1 and run("account", "add", "Über")[0] == 1
    assert run("account", "add", "team-2")[1]["account"]["index"] == "2"
    wallet = Wallet.from_file(path, PASS)
    assert [wallet.named(name).address("tron") for name in ("", "research", "team-2")] == [hd.addresses(seed, i)["tron"] for i in range(3)]
    assert wallet.address("solana") == hd.addresses(seed, 0)["solana"]  # what is added pays for nobody by itself


def test_the_second_account_is_the_one_that_eth_account_and_solders_derive():
    from eth_account import Account
    from solders.keypair import Keypair

    Account.enable_unaudited_hdwallet_features()
    seed = hd.seed(Secret(WORDS))
    found = hd.addresses(seed, 1)
    assert found["eip155"] == Account.from_mnemonic(WORDS, account_path="m/44'/60'/0'/0/1").address
    assert found["solana"] == str(Keypair.from_seed_and_derivation_path(seed.raw, "m/44'/501'/1'/0'").pubkey())
    assert len({*found.values(), *hd.addresses(seed).values()}) == 8


def test_a_turned_account_keeps_name_and_place_and_the_old_one_its_key(path):
    run("account", "add", "research")
    before = Wallet.from_file(path, PASS)
    code, told = run("rotate", "research")
    wallet = Wallet.from_file(path, PASS)
    assert code == 0 and told["open"] == 0 and told["old"]["name"] == "research.old-1" and told["account"]["index"] == "2"
    assert wallet.named("research").address("eip155") == told["account"]["eip155"] != before.named("research").address("eip155")
    assert wallet.address("eip155") == before.address("eip155")
    assert wallet.signer("eip155", told["old"]["eip155"]).address("eip155") == before.named("research").address("eip155")
    code, told = run("rotate")
    assert code == 0 and told["old"]["name"] == "main.old-0" and told["account"]["index"] == "3"
    assert Wallet.from_file(path, PASS).address("stacks") == told["account"]["stacks"]
    assert run("rotate", "nobody")[0] == 1


def test_what_was_sealed_under_the_old_account_still_opens(path):
    before = Wallet.from_file(path, PASS)
    run("rotate")
    after = Wallet.from_file(path, PASS)
    assert after.account != before.account
    assert after.secret(before.account, "credentials").raw == before.secret(before.account, "credentials").raw


def test_a_single_key_is_not_turned(tmp_path, monkeypatch):
    where = tmp_path / "own" / "wallet.json"
    WalletFile.create(where, [Entry("key", Secret(KEYS[0]))], Secret(PASS))
    monkeypatch.setenv("X402_AGENT_WALLET", str(where))
    code, told = run("rotate")
    assert code == 1 and "import --first" in told["hint"]
    assert run("account", "add", "research")[0] == 1 and len(WalletFile.read(where).accounts) == 1


# -- who pays for whom ------------------------------------------------------------------------------------------------

TOML = 'networks = ["base-sepolia"]\n[wallet]\n"agent:research" = "research"\n"group:team" = "shop"\n'


@pytest.fixture
def box():
    with Sandbox() as one:
        for key in KEYS:
            one.fund(KeySigner(key).address("eip155"), 1_000_000)
        yield one


def payer_of(box, tmp_path, policy, agent="", group="", names=("", "research")):
    signers = [KeySigner(key, name=name) for key, name in zip((box.payer_key, *KEYS), (names[0], *names[1:]), strict=False)]
    settings = replace(Settings.load(), agent=agent, group=group)
    return Payer(wallet=Wallet(*signers), policy=policy, settings=settings, sandbox=box,
                 ledger=SqliteLedger(tmp_path / "ledger.db", sandbox=True, agent=agent))  # fmt: skip


@pytest.mark.parametrize("agent, group, place", [("research", "", 1), ("other", "", 0), ("", "", 0), ("other", "team", 2), ("research", "team", 1)])
def test_policy_says_which_agent_uses_which_account(box, tmp_path, agent, group, place):
    with payer_of(box, tmp_path, parse(TOML, "policy.toml"), agent, group, ("", "research", "shop")) as payer, payer.client() as http:
        before = [box.balance(signer.address("eip155")) for signer in payer.wallet.signers]
        assert http.get(box.url("/joke")).status_code == 200
        after = [box.balance(signer.address("eip155")) for signer in payer.wallet.signers]
        assert [was - now for was, now in zip(before, after, strict=True)] == [10_000 * (i == place) for i in range(3)]


def test_an_account_that_is_not_there_pays_by_no_other(box, tmp_path):
    with payer_of(box, tmp_path, parse(TOML, "policy.toml"), "research", names=("", "shop")) as payer, payer.client() as http:
        with pytest.raises(PolicyDenied) as found:
            http.get(box.url("/joke"))
        assert "policy.toml:3" in str(found.value) and "wallet account add research" in found.value.hint


@pytest.mark.parametrize("text", ['[wallet]\n"host:a.example" = "x"', '[wallet]\n"agent:x" = 1', 'wallet = "x"', '[wallet]\n"agent:x" = "A b"', '[wallet]\nresearch = "x"'])
def test_what_says_nothing_of_an_agent_is_an_error_with_its_line(text):
    with pytest.raises(SettingsError) as found:
        parse(text, "policy.toml")
    assert "policy.toml:" in str(found.value)


def test_rules_without_accounts_cost_a_look_up():
    assert Policy().account("research", "team") == ("", "")
    assert Under().agent == ""


def test_an_open_payment_is_resumed_by_the_account_in_its_row(tmp_path):
    """The account turns while its payment is in doubt: its own key shows the same proof, and nothing is paid twice."""
    with Sandbox("answer_lost") as box:
        old, new = KeySigner(box.payer_key, name="main.old-0"), KeySigner(KEYS[0])
        box.fund(new.address("eip155"), 1_000_000)
        policy, ledger = Policy(networks=("base-sepolia",)), tmp_path / "ledger.db"
        with Payer(wallet=Wallet(old), policy=policy, ledger=SqliteLedger(ledger, sandbox=True), sandbox=box) as payer, payer.client() as http:
            with pytest.raises(PaymentInDoubt):
                http.post(box.url("/joke"), json={})
            nonce = payer.ledger.open_payments()[0].terms.nonce
        with Payer(wallet=Wallet(new, old), policy=policy, ledger=SqliteLedger(ledger, sandbox=True), sandbox=box) as payer:
            with payer.client() as http:
                assert http.post(box.url("/joke"), json={}).status_code == 200
            assert box.balance(new.address("eip155")) == 1_000_000
            assert len(payer.ledger.payments()) == 1 and nonce
        with Payer(wallet=Wallet(new), policy=policy, ledger=SqliteLedger(ledger, sandbox=True), sandbox=box) as payer:
            assert payer.wallet.signer("eip155", old.address("eip155")) is None
