"""`x402-agent pins`, `pin`, `unpin`: the recipient that each seller's money goes to, changed by a person only."""

from __future__ import annotations

import re
import time
from typing import Annotated

import typer

from .. import Settings, SettingsError, assets
from ..ledger import SqliteLedger
from ..policy import scopes
from .common import Json, as_json, errors, ledgers, say

__all__ = ["pin", "pins", "unpin"]

_Origin = Annotated[str, typer.Argument(help="https://api.example.com, as the refusal names it.")]
_EVM = re.compile(r"0x[0-9a-fA-F]{40}", re.ASCII)


def pins(json: Json = False) -> None:
    """List who is paid for each origin and network. The first payment pins its recipient; another one later is refused (R4)."""
    with errors(json):
        found = [(*each, ledger.sandbox) for ledger in ledgers(Settings.load()) for each in ledger.pins()]
        if json:
            as_json([dict(zip(("origin", "network", "pay_to", "sandbox"), each, strict=True)) for each in found])
            return
        if not found:
            say("no recipient is pinned yet: the first payment to an origin pins it")
        for origin, network, pay_to, box in found:
            where = assets.network(network)
            print(f"{pay_to}  {where.name if where else network}{' (sandbox)' if box else ''}  {origin}")


def pin(
    origin: _Origin,
    address: Annotated[str, typer.Argument(help="Whom to pay from now on, in full.")],
    network: Annotated[str, typer.Option(help="base, polygon, … as in assets.toml.")],
    sandbox: Annotated[bool, typer.Option("--sandbox", help="In the sandbox's ledger.")] = False,
    json: Json = False,
) -> None:
    """Pay only this recipient for an origin, in place of the one pinned before.

    A seller who changes his address looks like somebody who took his place: ask him by another way before you type this.
    """
    with errors(json):
        where = assets.network(network)
        if where is None:
            raise SettingsError(f"{network!r} is no network of the table", rule="--network", hint="--network base")
        if where.namespace == "eip155" and not _EVM.fullmatch(address):
            raise SettingsError(f"{address[:80]!r} is no address on {where.name}", rule="ADDRESS", hint="0x and 40 hex digits")
        settings = Settings.load()
        ledger = (SqliteLedger(settings.sandbox_ledger, sandbox=True) if sandbox
                  else SqliteLedger(settings.ledger_path, notes=settings.notes_path))  # fmt: skip
        before = ledger.pin(_origin(origin), where.id, address)
        if json:
            as_json({"origin": _origin(origin), "network": where.id, "before": before, "pay_to": address, "at": int(time.time())})
        else:
            print(f"{_origin(origin)} on {where.name}\n  before  {before or 'nobody'}\n  now     {address}")


def unpin(
    origin: _Origin,
    network: Annotated[str, typer.Option(help="Only on this network.")] = "",
    json: Json = False,
) -> None:
    """Forget the recipients pinned for an origin: the next payment pins whoever asks then."""
    with errors(json):
        where = assets.network(network) if network else None
        if network and where is None:
            raise SettingsError(f"{network!r} is no network of the table", rule="--network", hint="--network base")
        gone = sum(ledger.unpin(_origin(origin), where.id if where else "") for ledger in ledgers(Settings.load()))
        if json:
            as_json({"origin": _origin(origin), "forgotten": gone})
        else:
            print(f"forgot {gone} pinned recipient{'' if gone == 1 else 's'} of {_origin(origin)}")


def _origin(text: str) -> str:
    """The origin as payments have it; raises SettingsError."""
    return scopes.scope(f"origin:{text}", "ORIGIN").removeprefix("origin:")
