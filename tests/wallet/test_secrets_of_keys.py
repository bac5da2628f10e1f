"""What lies encrypted beside a key: the same key opens it again, no other one, and a signer without secrets says so."""

from __future__ import annotations

import pytest
from eth_account import Account

from x402_agent import Wallet, WalletError
from x402_agent.secret import Secret
from x402_agent.vault import Vault
from x402_agent.wallet import AccountSigner, KeySigner, LockedSigner

KEY = "0x" + "5a" * 32
SALT = Secret(b"s" * 32)


class Remote:
    local = False

    def address(self, namespace):
        return "0x" + "ab" * 20 if namespace == "eip155" else ""

    def sign_digest(self, namespace, digest):
        raise AssertionError("nothing is signed here")


class Restless(AccountSigner):
    """Signs otherwise each time, as many HSMs do."""

    def sign_digest(self, namespace, digest):
        import secrets

        return secrets.token_bytes(65)


@pytest.mark.parametrize("signer", [lambda: KeySigner(KEY), lambda: AccountSigner(Account.from_key(KEY)), Remote, lambda: Restless(Account.from_key(KEY))])
def test_the_same_wallet_and_ledger_open_it_again_and_nothing_else(signer):
    account, sealed = Vault(Wallet(signer()), SALT).close("p", Secret(b"plain text"), "a", "b")
    assert b"plain" not in sealed and account == signer().address("eip155")
    again = Vault(Wallet(Remote(), signer()) if signer is not Remote else Wallet(signer()), SALT)
    assert again.open("p", account, sealed, "a", "b").raw == b"plain text"
    for vault, purpose, about in (
        (Vault(Wallet(signer()), Secret(b"t" * 32)), "p", ("a", "b")), (again, "q", ("a", "b")), (again, "p", ("a", "c")),
        (Vault(Wallet.from_key("0x" + "11" * 32), SALT), "p", ("a", "b")), (Vault(Wallet(), SALT), "p", ("a", "b")),
    ):  # fmt: skip
        assert vault.open(purpose, account, sealed, *about) is None
    for spoilt in (b"", sealed[:20], b"\x02" + sealed[1:], sealed[:-1], sealed[:-1] + bytes([sealed[-1] ^ 1])):
        assert again.open("p", account, spoilt, "a", "b") is None


def test_two_seals_of_one_text_differ_and_names_do_not():
    vault = Vault(Wallet.from_key(KEY), SALT)
    assert vault.close("p", Secret(b"x"))[1] != vault.close("p", Secret(b"x"))[1]
    assert vault.name("p", Secret(b"x")) == Vault(Wallet.from_key(KEY), SALT).name("p", Secret(b"x"))
    assert vault.name("p", Secret(b"x")) != Vault(Wallet.from_key(KEY), Secret(b"t" * 32)).name("p", Secret(b"x"))


def test_purposes_have_keys_of_their_own_and_none_is_the_key():
    signer = KeySigner(KEY)
    made = {signer.secret(purpose).raw for purpose in ("a", "b")}
    assert len(made) == 2 and bytes.fromhex(KEY[2:]) not in made
    assert AccountSigner(Account.from_key(KEY)).secret("a").raw not in made
    assert len(Restless(Account.from_key(KEY)).secret("a")) == 0


def test_a_locked_wallet_neither_seals_nor_opens(tmp_path):
    account, sealed = Vault(Wallet.from_key(KEY), SALT).close("p", Secret(b"x"))
    locked = Vault(Wallet(LockedSigner({"eip155": account}, tmp_path)), SALT)
    for call in (lambda: locked.open("p", account, sealed), lambda: locked.close("p", Secret(b"x")), lambda: locked.name("p", Secret(b"x"))):
        with pytest.raises(WalletError, match="locked"):
            call()
