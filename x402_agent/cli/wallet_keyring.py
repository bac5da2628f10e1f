"""`x402-agent wallet keyring`: a key, or the wallet file's passphrase, in the system's keyring; by a person."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from .. import Settings, SettingsError, Wallet
from ..secret import Env, Secret
from ..wallet import file_at, oskeyring, private, unlocked
from .common import as_json, errors
from .secrets import ask, no_dumps

__all__ = ["run"]


def run(
    name: Annotated[str, typer.Argument(help="Of the entry; X402_AGENT_KEYRING=NAME uses it.")],
    remove: Annotated[bool, typer.Option("--remove", help="Delete the entry.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document, without secrets.")] = False,
) -> None:
    """Put a private key (64 hex digits) or the wallet file's passphrase into the system's keyring, from stdin or a prompt.

    A passphrase must open the wallet file. Then `export X402_AGENT_KEYRING=NAME` pays, with no secret in the environment.
    """
    with errors(json):
        no_dumps()
        if remove:
            oskeyring.forget(name)
            _told(json, name, "removed")
            return
        given = _given()
        if oskeyring.is_key(given):
            kind = f"key of {Wallet.from_key(given.text).address('eip155')}"
        else:
            path = file_at(Env(), Settings.load().wallet_path)
            if not path.exists():
                raise SettingsError("it is no key, and there is no wallet file that it could open", rule=str(path), hint="x402-agent wallet new")
            kind = f"passphrase of {path}, which pays from {unlocked(path, given)[0].address('eip155')}"
        oskeyring.keep(name, given)
        _told(json, name, kind)


def _given() -> Secret:
    if sys.stdin.isatty():
        return ask("Key or passphrase (not shown): ")
    found = Secret(sys.stdin.buffer.read(private.MAX_BYTES))
    return Secret(found.raw.removesuffix(b"\n").removesuffix(b"\r"))


def _told(json: bool, name: str, kind: str) -> None:
    if json:
        as_json({"entry": name, "service": oskeyring.SERVICE, "what": kind})
    else:
        print(f"{oskeyring.SERVICE}/{name}: {kind}")
