"""`x402-agent invoice`: an invoice in USDT on TRON that no 402 asked for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import Settings, SettingsError
from ..payer import invoices
from ..policy import micros
from ..steps import Progress
from .common import Json, as_json, errors, sandbox_payer, say
from .secrets import payer as own_payer

if TYPE_CHECKING:
    from ..model import Ask
    from ..steps import Step

__all__ = ["app"]

_MOST = 64 * 1024  # bytes of an invoice
_File = Annotated[str, typer.Argument(metavar="FILE", help="The invoice as JSON: payment_id, wallet_address, amount (text), expires_at, status_url; network. - reads stdin.")]

app = typer.Typer(help="Invoices in USDT on TRON that came without a 402: pay, status.", short_help="Invoices in USDT on TRON.", no_args_is_help=True)


@app.command("pay", short_help="Pay it once, and wait for its monitor.")
def pay(
    file: _File,
    maximum: Annotated[str, typer.Option("--max", help="Pay at most this much, in dollars. It only lowers.")] = "",
    timeout: Annotated[float, typer.Option(help="Seconds for each answer of the monitor; waiting for blocks takes as long as they do.")] = 180.0,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="In test money, of the sandbox that `sandbox up --seller monitor` runs.")] = False,
    json: Json = False,
) -> None:
    """Pay an invoice within policy, and wait until its monitor calls it completed. It is paid once: the same command shows what became of it.

    Exit code 5: it is paid, and not noticed. The transaction is named; never pay it by other means; `x402-agent resume` asks again.
    """
    with errors(json):
        if not 0 < timeout <= 86_400:
            raise SettingsError("a timeout is above 0 and at most a day", rule="--timeout", hint="--timeout 180")
        if maximum:
            micros(maximum, "--max")
        told = invoices.fields(_read(file))
        with sandbox_payer(Settings.load()) if sandbox else own_payer() as payer:
            payer.trace = None if json else _progress
            paid = invoices.pay(payer, told, maximum or None, timeout)
            payer.ledger.flush()
        money = paid.receipt.money
        if json:
            as_json({"payment_id": paid.payment_id, "status": paid.status, "transaction": paid.transaction, "outcome": paid.receipt.outcome,
                     "payment": paid.receipt.payment_id, "money": str(money), "again": paid.receipt.again, "sandbox": sandbox})  # fmt: skip
        else:
            print(f"invoice {paid.payment_id} is {paid.status or 'paid'}: {money} by {paid.transaction}{' (paid before)' if paid.receipt.again else ''}")


@app.command("status", short_help="What its monitor says.")
def status(file: _File, json: Json = False) -> None:
    """Ask the invoice's status page, and hold the answer against the invoice. Nothing is paid. Exit code 1: no believable answer."""
    with errors(json):
        told = invoices.fields(_read(file))
        found = invoices.standing(told)
        if json:
            as_json({"payment_id": told["payment_id"], "status": found.status, "transaction": found.transaction, "why": found.why,
                     "received": None if found.received is None else f"{found.received:f}"})  # fmt: skip
        else:
            print(f"its status page {found.why}{f', by {found.transaction}' if found.transaction else ''}")
    raise typer.Exit(0 if found.status not in ("", "unknown") else 1)


def _read(file: str) -> bytes:
    try:
        made = sys.stdin.buffer.read(_MOST + 1) if file == "-" else Path(file).read_bytes()
    except OSError as why:
        raise SettingsError(f"{file} cannot be read: {why.strerror}", rule="FILE", hint="the path of an invoice as JSON, or - for stdin") from None
    return made


def _progress(_ask: Ask, step: Step, _value: object) -> None:
    if isinstance(step, Progress):
        say(f"  {step.state.lower():9} {step.words}")
