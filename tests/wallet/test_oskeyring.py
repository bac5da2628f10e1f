"""X402_AGENT_KEYRING, with the package `keyring` where it is installed, else with one that has the three functions used."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import types

import pytest

from needles import Needles, leaks
from x402_agent import SettingsError, Wallet, WalletError
from x402_agent.secret import Secret
from x402_agent.wallet import Entry, WalletFile, oskeyring

KEY = "4c" * 32
PASSPHRASE = "correct horse battery staple"


class Memory:
    """The entries, and what a backend may do."""

    def __init__(self):
        self.entries = {}
        self.broken = None

    def get_password(self, service, name):
        if self.broken:
            raise self.broken
        return self.entries.get((service, name))

    def set_password(self, service, name, secret):
        if self.broken:
            raise self.broken
        self.entries[service, name] = secret

    def delete_password(self, service, name):
        del self.entries[service, name]


@pytest.fixture
def ring(monkeypatch):
    room = Memory()
    if importlib.util.find_spec("keyring") is None:
        monkeypatch.setitem(sys.modules, "keyring", types.SimpleNamespace(
            get_password=room.get_password, set_password=room.set_password, delete_password=room.delete_password,
        ))  # fmt: skip
        return room
    import keyring
    from keyring.backend import KeyringBackend

    class Backend(KeyringBackend):
        priority = 9

        def get_password(self, service, username):
            return room.get_password(service, username)

        def set_password(self, service, username, password):
            room.set_password(service, username, password)

        def delete_password(self, service, username):
            room.delete_password(service, username)

    monkeypatch.setattr("keyring.core._keyring_backend", Backend())
    assert keyring.get_keyring().__class__ is Backend
    return room


def test_a_key_in_the_keyring_pays(ring, tmp_path):
    oskeyring.keep("agent", Secret(KEY))
    wallet = Wallet.from_env({"X402_AGENT_KEYRING": "agent"}, tmp_path / "none.json")
    assert wallet.address("eip155") == Wallet.from_key(KEY).address("eip155")
    assert KEY not in repr(wallet)
    oskeyring.forget("agent")
    with pytest.raises(WalletError, match="no entry 'agent'"):
        Wallet.from_env({"X402_AGENT_KEYRING": "agent"}, tmp_path / "none.json")


def test_a_passphrase_in_the_keyring_opens_the_file(ring, tmp_path):
    path = tmp_path / "wallet.json"
    WalletFile.create(path, [Entry("key", Secret(bytes.fromhex(KEY)))], Secret(PASSPHRASE))
    oskeyring.keep("agent", Secret(PASSPHRASE))
    wallet = Wallet.from_env({"X402_AGENT_KEYRING": "agent"}, path)
    assert wallet.address("eip155") == Wallet.from_key(KEY).address("eip155")
    assert len(wallet.signer("eip155").sign_digest("eip155", b"\1" * 32)) == 65


def test_the_command_keeps_only_what_opens_something(ring, tmp_path, monkeypatch):
    from typer.testing import CliRunner

    from x402_agent.cli.app import app

    monkeypatch.setenv("X402_AGENT_HOME", str(tmp_path))
    run = CliRunner()
    assert run.invoke(app, ["wallet", "keyring", "agent"], input=f"{PASSPHRASE}\n").exit_code == 2
    assert not ring.entries
    done = run.invoke(app, ["wallet", "keyring", "agent", "--json"], input=f"{KEY}\n")
    assert done.exit_code == 0 and KEY not in done.output and ring.entries == {("x402-agent", "agent"): KEY}
    WalletFile.create(tmp_path / "wallet.json", [Entry("key", Secret(bytes.fromhex(KEY)))], Secret(PASSPHRASE))
    assert run.invoke(app, ["wallet", "keyring", "agent"], input="another phrase\n").exit_code == 1
    assert run.invoke(app, ["wallet", "keyring", "agent"], input=f"{PASSPHRASE}\n").exit_code == 0
    assert ring.entries == {("x402-agent", "agent"): PASSPHRASE}
    assert run.invoke(app, ["wallet", "keyring", "agent", "--remove"]).exit_code == 0 and not ring.entries


def test_a_keyring_that_fails_shows_nothing_of_what_it_held(ring):
    ring.broken = RuntimeError(f"locked; its password is {KEY}")
    for work in (lambda: oskeyring.entry("agent"), lambda: oskeyring.keep("agent", Secret(KEY))):
        with pytest.raises(WalletError, match="RuntimeError") as why:
            work()
        assert leaks(why.value, Needles(key=KEY)) == []


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(WalletError, match="not installed") as why:
        oskeyring.entry("agent")
    assert "x402-agent-sdk[keyring]" in why.value.hint and not isinstance(why.value, SettingsError)


def test_no_keyring_is_asked_unless_one_is_named():
    code = "import sys; from x402_agent import Payer; Payer.from_env().close(); print('keyring' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
