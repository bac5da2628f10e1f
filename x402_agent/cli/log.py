"""`x402-agent log`: what was spent, what is in doubt."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from .. import Money, Settings, SettingsError
from ..ledger import By
from ..policy import dollars
from .common import as_json, colored, errors, ledgers, link, row

if TYPE_CHECKING:
    from ..ledger import Payment, SqliteLedger

__all__ = ["run"]


def run(
    today: Annotated[bool, typer.Option("--today", help="Only today, UTC.")] = False,
    host: Annotated[str, typer.Option(help="Only this host.")] = "",
    in_doubt: Annotated[bool, typer.Option("--in-doubt", help="Only what may still settle.")] = False,
    by: Annotated[str, typer.Option(help="Totals by host, agent, group, task, tool, category, payee or day.")] = "",
    follow: Annotated[bool, typer.Option("--follow", help="Go on as payments happen; ^C ends.")] = False,
    path: Annotated[bool, typer.Option("--path", help="Where the ledger lies.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON document a line.")] = False,
) -> None:
    """List payments: those in doubt first, then the newest last; the sandbox's are marked. Days are UTC, times local."""
    with errors(json):
        settings = Settings.load()
        if path:
            as_json({"path": str(settings.ledger_path)}) if json else print(settings.ledger_path)
            return
        if by and by not in get_args(By):
            raise SettingsError(f"there are no totals by {by!r}", rule=f"--by {', '.join(get_args(By))}", hint="--by host")
        if by and (today or host or in_doubt or follow):
            raise SettingsError("--by gives the totals of everything", rule="--by stands alone", hint=f"x402-agent log --by {by}")
        opened = ledgers(settings)
        if not opened and not json:
            print("nothing was paid yet; x402-agent try makes a first payment on test money")
        seen: set[tuple[str, str]] = set()
        while True:
            for ledger in opened:
                if by:
                    _totals(ledger, by, json)
                else:
                    _payments(ledger, seen, today=today, host=host, in_doubt=in_doubt, json=json)
            if not follow:
                return
            sys.stdout.flush()
            time.sleep(0.5)
            opened = opened if len(opened) == 2 else _again(opened, settings)


def _again(opened: list[SqliteLedger], settings: Settings) -> list[SqliteLedger]:
    for ledger in opened:
        ledger.shut()
    return ledgers(settings)


def _payments(ledger: SqliteLedger, seen: set[tuple[str, str]], *, json: bool, **which: Any) -> None:
    found = ledger.payments(**which)[::-1]
    found.sort(key=lambda p: p.outcome not in ("in_doubt", "refused"))
    for payment in found:
        if (payment.payment_id, payment.state) in seen:
            continue
        seen.add((payment.payment_id, payment.state))
        if json:
            as_json(row(payment, sandbox=ledger.sandbox))
        else:
            print(_line(payment, ledger.sandbox))


def _line(payment: Payment, sandbox: bool) -> str:
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(payment.created_at / (1000 if payment.created_at > 10**11 else 1)))
    money = str(payment.money).replace(")", ", sandbox)") if sandbox else str(payment.money)
    if payment.charged is not None and payment.money:
        money = f"{Money(payment.charged, payment.money.asset).text} of {money}"
    text = f"{at}  {payment.outcome:8}  {money}  {payment.host}{payment.url.partition(payment.host)[2]}  {payment.payment_id}"
    if page := link(payment, sandbox=sandbox):
        text += f"  {page}"
    color = colored() and payment.outcome in ("in_doubt", "refused")
    return f"\x1b[33m{text}\x1b[0m" if color else text


def _totals(ledger: SqliteLedger, by: Any, json: bool) -> None:
    for total in ledger.totals(by):
        if json:
            as_json({"name": total.name, "realm": total.realm, "payments": total.payments, "micros": total.micros})
        else:
            print(f"{dollars(total.micros):>12} USD  {total.payments:5} payments  {total.name}  ({total.realm})")
