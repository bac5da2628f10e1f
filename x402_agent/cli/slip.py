"""`x402-agent slip`: the purses that were given away, and how a person stops one."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import LedgerError, Payer, Settings, SettingsError, Wallet
from ..policy import dollars
from .common import Json, as_json, errors, ledgers, sandbox_payer

if TYPE_CHECKING:
    from ..ledger import Slip, SqliteLedger

__all__ = ["app"]

app = typer.Typer(help="Purses given to child processes and sub-agents: run, list, pause, resume, revoke.", short_help="Purses for child processes and sub-agents.", no_args_is_help=True)
_Which = Annotated[str, typer.Argument(metavar="ID", help="The slip's id, or how it begins, as `slip list` shows it.")]


@app.command("list", short_help="Slips that may still be paid from.")
def list_(
    every: Annotated[bool, typer.Option("--all", help="Those that are over, too.")] = False, json: Json = False
) -> None:
    """List slips: what is left of each, until when, and why it is over. Never the token, which no ledger has."""
    with errors(json):
        opened = ledgers(Settings.load())
        found = [(ledger, slip) for ledger in opened for slip in ledger.slips() if every or not slip.over]
        if json:
            as_json([_row(*each) for each in found])
            return
        for ledger, slip in found:
            print(_line(ledger, slip))
        if not found:
            print("no slip may be paid from" if not every else "no slip was ever given")


@app.command("pause", short_help="Nothing new is paid from it until it is resumed.")
def pause(slip: _Which, json: Json = False) -> None:
    """Stop a slip for now: nothing new is paid from it. Proofs that left already may still settle."""
    _set(slip, "pause", machine=json)


@app.command("resume", short_help="A paused slip goes on.")
def resume(slip: _Which, json: Json = False) -> None:
    """Let a paused slip go on. What was revoked or is over stays so."""
    _set(slip, "resume", machine=json)


@app.command("revoke", short_help="Nothing new is ever paid from it again.")
def revoke(slip: _Which, json: Json = False) -> None:
    """End a slip for good. Proofs that left already may still settle; its purchases stay counted."""
    _set(slip, "revoke", machine=json)


@app.command("run", short_help="Run a program that pays from a purse, and from nothing else.")
def run(
    budget: Annotated[str, typer.Argument(help="Dollars in all: 0.50")],
    command: Annotated[list[str], typer.Argument(help="The program and its arguments, after --")],
    minutes: Annotated[float, typer.Option(help="It ends then.")] = 10,
    host: Annotated[list[str] | None, typer.Option(help="Only this host; may be given several times.")] = None,
    calls: Annotated[int | None, typer.Option(help="So many payments.")] = None,
    per_call: Annotated[str | None, typer.Option("--per-call", help="At most this much for one, in dollars.")] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="In test money, of the sandbox that runs.")] = False,
    json: Json = False,
) -> None:
    """Run a program under a slip: `slip run 0.50 --minutes 10 -- python agent.py`. Its exit code is the program's.

    The token is in its environment (X402_AGENT_SLIP). The purse ends with this command, however that ends.
    """
    with errors(json):
        settings = Settings.load()
        with sandbox_payer(settings) if sandbox else Payer(wallet=Wallet(), settings=settings) as payer:
            token = payer.slip(budget, minutes=minutes, hosts=host or (), calls=calls, per_call=per_call)
            try:
                process = subprocess.Popen(command, env={**os.environ, "X402_AGENT_SLIP": token})  # noqa: S603 - the person's own
            except OSError as why:
                raise SettingsError(f"{command[0]} cannot be run: {why.strerror}", rule="slip run", hint="x402-agent slip run 0.50 -- python agent.py") from None
            while process.returncode is None:
                with suppress(KeyboardInterrupt):  # the program has it, too
                    process.wait()
    raise typer.Exit(process.returncode % 256)


def _set(prefix: str, verb: str, *, machine: bool) -> None:
    with errors(machine):
        last = LedgerError("no slip was ever given: there is no ledger", hint="payer.slip(…) in Python")
        for ledger in ledgers(Settings.load()):
            try:
                slip = ledger.set_slip(prefix, verb)
            except LedgerError as why:
                last = why
                continue
            if machine:
                as_json(_row(ledger, slip))
            else:
                print(_line(ledger, slip))
            return
        raise last


def _spent(ledger: SqliteLedger, slip: Slip) -> int:
    return ledger.counted(f"run:{slip.slip_id}")


def _line(ledger: SqliteLedger, slip: Slip) -> str:
    until = time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(slip.expires_at))
    spent = f"{dollars(_spent(ledger, slip))} of {dollars(slip.budget)} USD spent"
    return f"{slip.slip_id}  {slip.state:<8}  {spent}  until {until}{'  ' if slip.why else ''}{slip.why}{'  (sandbox)' if ledger.sandbox else ''}"


def _row(ledger: SqliteLedger, slip: Slip) -> dict[str, Any]:
    return {
        "slip_id": slip.slip_id, "state": slip.state, "why": slip.why, "budget_micros": slip.budget,
        "spent_micros": _spent(ledger, slip), "created_at": slip.created_at, "expires_at": slip.expires_at,
        "under": list(slip.runs[:-1]), "sandbox": ledger.sandbox,
    }  # fmt: skip
