"""A wallet signs and names its accounts; no key shows in any text."""

from __future__ import annotations

import pickle

import pytest

from x402_agent.errors import SettingsError, SigningFailed
from x402_agent.primitives import keccak, recover
from x402_agent.wallet import AccountSigner, KeySigner, Wallet

KEY = "22" * 32


def test_a_key_from_the_environment():
    wallet = Wallet.from_env({"X402_AGENT_EVM_KEY": "0x" + KEY})
    assert wallet.address("eip155") == "0x1563915e194D8CfBA1943570603F7606A3115508"
    assert wallet.address("solana") == "" and wallet.signer("solana") is None


def test_no_key_is_an_empty_wallet():
    assert Wallet.from_env({}).signer("eip155") is None


@pytest.mark.parametrize("text", ["0x12", "zz" * 32, "00" * 32, "ff" * 32, "22" * 33])
def test_a_bad_key_is_named_by_its_variable_and_never_shown(text):
    with pytest.raises(SettingsError) as found:
        Wallet.from_env({"X402_AGENT_EVM_KEY": text})
    assert "X402_AGENT_EVM_KEY" in str(found.value) and text not in str(found.value)


def test_signatures_recover_to_the_account():
    signer, digest = KeySigner(KEY), keccak(b"x")
    assert recover(digest, signer.sign_digest("eip155", digest)) == signer.address("eip155")


def test_an_eth_account_as_people_hold_it():
    from eth_account import Account

    digest = keccak(b"x")
    account = AccountSigner(Account.from_key("0x" + KEY))
    assert account.sign_digest("eip155", digest) == KeySigner(KEY).sign_digest("eip155", digest)
    assert account.address("eip155") == KeySigner(KEY).address("eip155")


def test_other_namespaces_are_not_signed():
    for signer in (KeySigner(KEY),):
        with pytest.raises(SigningFailed):
            signer.sign_digest("solana", bytes(32))
    with pytest.raises(SigningFailed):
        AccountSigner(object())


def test_no_text_shows_the_key():
    wallet = Wallet.from_key(KEY)
    shown = repr(wallet) + str(wallet) + repr(wallet.signers[0]) + repr(vars(wallet))
    assert KEY not in shown and "2222222222" not in shown
    with pytest.raises(TypeError):
        pickle.dumps(wallet.signers[0])


def test_sandbox_keys_are_fresh():
    assert Wallet.generated().address("eip155") != Wallet.generated().address("eip155")
