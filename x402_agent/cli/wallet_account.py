"""`x402-agent wallet account` and `wallet rotate`: more accounts of the same words, and a fresh one in the place of an old one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Settings, SettingsError, WalletError
from ..secret import Env
from ..wallet import FAMILIES, Entry, WalletFile, file_at
from .common import Json, as_json, errors, ledgers
from .secrets import no_dumps, passphrase_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["app", "rotate"]

app = typer.Typer(
    help="Named accounts of the wallet's words: each the next one on every family of chains.\n\n"
    'Policy says who uses which: [wallet] "agent:research" = "research" in policy.toml.',
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("add", short_help="The next account of the words, under a name.")
def add(
    name: Annotated[str, typer.Argument(help="research, team-2: small letters, digits, dots and dashes.")], json: Json = False
) -> None:
    """Add the next account of the wallet's words under a name. It pays for nobody until policy.toml says so.

    There: [wallet] "agent:research" = "research"
    """
    with errors(json):
        no_dumps()
        path = _file()
        if not name:
            raise SettingsError("an account that is added has a name", rule="NAME", hint="x402-agent wallet account add research")
        file = WalletFile.change(path, passphrase_of(path), lambda entries: (*entries, _next(path, entries, name)))
        _told(file, json, made=file.accounts[-1], facts={})
        if not json:
            print(f'next      [wallet] "agent:{name}" = "{name}" in policy.toml; x402-agent wallet fund --account {name}')


@app.command("list", short_help="Every account and its addresses.")
def list_(json: Json = False) -> None:
    """List the accounts in the order in which they pay. Needs no passphrase."""
    with errors(json):
        file = WalletFile.read(_file())
        if json:
            as_json({"accounts": list(file.accounts)})
            return
        for known in file.accounts:
            _shown(known)


def rotate(
    name: Annotated[str, typer.Argument(help="Of the account; the first one, which pays, if not given.")] = "",
    json: Json = False,
) -> None:
    """Let a fresh account of the same words pay in the place of an old one.

    The old one stays in the wallet under another name and pays for nothing new: payments of it that are open are still shown and
    resumed with its own key. Programs and signers that run pay from it until they start again. Allowances are an account's own.
    """
    with errors(json):
        no_dumps()
        path = _file()
        file = WalletFile.change(path, passphrase_of(path), lambda entries: _turned(path, entries, name))
        old = file.accounts[-1]
        made = next(known for known in file.accounts if known.get("name", "") == name or not name)
        waiting = _open(set(old.values()))
        _told(file, json, made=made, facts={"old": dict(old), "open": waiting})
        if not json:
            words = f"{waiting} open: x402-agent resume settles them with its key" if waiting else "nothing is open"
            print(f"old       {old['name']}, {words}\nnext      x402-agent wallet fund, then x402-agent wallet sweep --account {old['name']}")


def _file() -> Path:
    return file_at(Env(), Settings.load().wallet_path)


def _next(path: Path, entries: Sequence[Entry], name: str) -> Entry:
    """The next account of the mnemonic; raises WalletError where there is none."""
    made = [entry for entry in entries if entry.kind == "mnemonic"]
    if not made:
        raise WalletError(f"{path} holds keys and no mnemonic", rule="accounts are made of words",
                          hint="x402-agent wallet import --name NAME, of another key")  # fmt: skip
    return replace(made[0], name=name, index=max(entry.index for entry in made) + 1)


def _turned(path: Path, entries: Sequence[Entry], name: str) -> list[Entry]:
    """The accounts with a fresh one in the place of `name`, and that one last, under a name of its own."""
    old = next((entry for entry in entries if not name or entry.name == name), None)
    if old is None:
        raise WalletError(f"no account is called {name[:40]!r}", rule=str(path), hint="x402-agent wallet account list")
    if old.kind != "mnemonic":
        raise WalletError("a single key has no next one", rule="accounts are made of words",
                          hint="x402-agent wallet import --first, of a new key: the old one stays for what is open")  # fmt: skip
    fresh = _next(path, entries, old.name)
    kept = replace(old, name=f"{(old.name or 'main')[:24]}.old-{old.index}")
    return [*(fresh if entry is old else entry for entry in entries), kept]


def _open(addresses: set[str]) -> int:
    """Payments and transactions of an account that are not at their end."""
    found = 0
    for ledger in ledgers(replace(Settings.load(), signer=None)):
        found += sum(hold.terms.payer in addresses for hold in ledger.open_payments())
        found += sum(row.account in addresses for row in ledger.transactions(open_only=True))
        ledger.shut()
    return found


def _told(file: WalletFile, json: bool, *, made: Any, facts: dict[str, Any]) -> None:
    if json:
        as_json({"file": str(file.path), "account": dict(made), **facts})
    else:
        _shown(made)


def _shown(known: Any) -> None:
    print(known.get("name", "") or f"({known['kind']}, not named)")
    for namespace, family in FAMILIES.items():
        if namespace in known:
            print(f"    {family:7} {known[namespace]}")
