"""`x402-agent freeze`, `unfreeze`: stop paying, at once and in every process, until a person says otherwise."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from .. import LedgerError, Settings, SettingsError
from ..ledger import FREEZE_FILE, SqliteLedger
from ..policy import scopes
from .common import Json, as_json, errors, ledgers

if TYPE_CHECKING:
    from pathlib import Path

    from ..ledger import Freeze, Kind

__all__ = ["freeze", "frozen", "unfreeze"]

_Host = Annotated[str | None, typer.Option(help="Only payments to this host.")]
_Agent = Annotated[str | None, typer.Option(help="Only payments of this agent (X402_AGENT_NAME).")]
_Payee = Annotated[str | None, typer.Option(help="Only payments to this recipient, whoever asks.")]


def freeze(
    host: _Host = None,
    agent: _Agent = None,
    payee: _Payee = None,
    note: Annotated[str, typer.Option(help="Why, for whoever meets the refusal.")] = "",
    show: Annotated[bool, typer.Option("--show", help="Freeze nothing: list what is frozen.")] = False,
    json: Json = False,
) -> None:
    """Pay nothing new from now on: at all, or to a host or recipient, or by an agent.

    It holds in every process that uses this ledger, from its next payment on, and outlives them. A proof that left before may
    still be shown again: that pays nothing new. Without a working program, an empty file called `freeze` beside policy.toml
    or beside the ledger stops everything as well.
    """
    with errors(json):
        settings = Settings.load()
        kind, name = _which(host, agent, payee)
        try:
            found = _open(settings, make=not show)
            if not show:
                for ledger in found:
                    ledger.freeze(kind, name, note)
        except LedgerError as why:
            if not show:
                file = settings.config_dir / FREEZE_FILE
                why.hint = f"touch {file}   stops every payment without the ledger{'; ' + why.hint if why.hint else ''}"
            raise
        rows = _rows(settings, found)
        if json:
            as_json(rows)
            return
        for row in rows:
            print("  ".join(filter(None, (row["frozen"], row["since"], row["note"], "(sandbox)" if row["sandbox"] else ""))))
        if not rows:
            print("nothing is frozen")


def unfreeze(host: _Host = None, agent: _Agent = None, payee: _Payee = None, json: Json = False) -> None:
    """Pay again: lift a freeze, and take the `freeze` files away when everything is meant.

    With --host or --payee it also lets a seller be paid again who was stopped because payment after payment brought nothing.
    A person types this, not an agent.
    """
    with errors(json):
        kind, name = _which(host, agent, payee)
        settings = Settings.load()
        found = _open(settings, make=False)
        lifted = [ledger.unfreeze(kind, name) for ledger in found]
        files = _files(settings) if kind == "all" else []
        for path in files:
            path.unlink()
        if json:
            as_json({"kind": kind, "name": name, "was_frozen": any(lifted), "removed": [str(path) for path in files]})
            return
        print("lifted" if any(lifted) else "it was not frozen by a command")
        for path in files:
            print(f"removed {path}")


def _which(host: str | None, agent: str | None, payee: str | None) -> tuple[Kind, str]:
    named: list[tuple[Kind, str | None]] = [("host", host), ("agent", agent), ("payee", payee)]
    given = [(kind, name) for kind, name in named if name is not None]  # an empty one is an error: it must not mean everything
    if len(given) > 1:
        raise SettingsError("one at a time", rule="--host, --agent or --payee", hint="x402-agent freeze --host api.example.com")
    for kind, name in given:
        return kind, _spelt(kind, name)
    return "all", ""


def _spelt(kind: Kind, name: str) -> str:
    """The name as payments have it; raises SettingsError for one that no payment has: such a freeze would stop nothing.

    In a hurry people paste what they see: of a URL its host is meant.
    """
    if kind == "host" and ("/" in name or ":" in name):
        try:
            name = urlsplit(name if "//" in name else f"//{name}").hostname or name
        except ValueError:
            pass  # left as it is, and refused below
    if kind == "payee" and "/" in name:
        raise SettingsError(f"{name[:80]!r} is no address", rule="--payee", hint="0x…, without a network: it is stopped on all")
    return scopes.scope(f"{kind}:{name}", f"--{kind}").partition(":")[2]


def _open(settings: Settings, *, make: bool) -> list[SqliteLedger]:
    """Both ledgers; with `make` yours is begun, so that it is frozen before its first payment."""
    if make and not settings.ledger_path.exists():
        SqliteLedger(settings.ledger_path, notes=settings.notes_path).shut()
    return ledgers(settings)


def _files(settings: Settings) -> list[Path]:
    places = {settings.config_dir, settings.ledger_path.parent, settings.data_dir}
    return sorted(place / FREEZE_FILE for place in places if (place / FREEZE_FILE).exists())


def frozen(settings: Settings, ledger: SqliteLedger | None) -> list[str]:
    """What is frozen, in words: in this ledger, and by files."""
    return [str(row["frozen"]) for row in _rows(settings, [ledger] if ledger else [])]


def _rows(settings: Settings, found: list[SqliteLedger]) -> list[dict[str, Any]]:
    made = [_row(each, sandbox=ledger.sandbox) for ledger in found for each in ledger.freezes()]
    return made + [{"kind": "all", "name": "", "frozen": f"everything, by the file {path}", "since": "", "note": "", "sandbox": False}
                   for path in _files(settings)]  # fmt: skip


def _row(each: Freeze, *, sandbox: bool) -> dict[str, Any]:
    since = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(each.since))
    what = f"{each.kind} {each.name}" if each.name else "everything"
    return {"kind": each.kind, "name": each.name, "frozen": what, "since": since, "note": each.note, "sandbox": sandbox}
