"""`x402-agent why`: one payment, step by step."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from .. import Money, Settings
from .common import as_json, errors, found, link, row

__all__ = ["run"]

_NEXT = {
    "in_doubt": "x402-agent resume {id}",
    "refused": "x402-agent resume {id}",
    "spent": "x402-agent log --host {host}",
    "released": "repeat the call: nothing was paid",
}


def run(
    payment: Annotated[str, typer.Argument(help="A payment id, or at least 4 characters of its start.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """What happened to one payment: each move, the last answer, and one line to try."""
    with errors(json):
        ledger, one = found(Settings.load(), payment)
        events = ledger.events(one.payment_id)
        hint = _NEXT[one.outcome].format(id=one.payment_id[:8], host=one.host)
        if json:
            moves = [{"at": e.at, "from": e.from_state, "to": e.state, **e.data} for e in events]
            as_json({**row(one, sandbox=ledger.sandbox), "events": moves, "try": hint})
            return
        label = ", sandbox" if ledger.sandbox else ""
        print(f"{one.payment_id}  {one.outcome} ({one.state})  {str(one.money)[:-1]}{label})")
        print(f"  asked      {one.method} {one.url}")
        print(f"  from       {one.payer}\n  to         {one.pay_to}")
        print(f"  proof      {one.nonce[2:6]}…{one.nonce[-2:]}   expires {_clock(one.valid_before)}")
        if one.status:
            print(f"  answer     {one.status}   {'tx ' + one.transaction if one.transaction else 'no transaction named'}")
        if one.charged is not None and one.money:
            print(f"  charged    {Money(one.charged, one.money.asset).text} of at most {one.money.text}, by the chain")
        if page := link(one, sandbox=ledger.sandbox):
            print(f"  explorer   {page}")
        for event in events:
            note = event.data.get("note") or ""
            print(f"  {_clock(event.at / 1000)}   {event.from_state or 'new':>10} -> {event.state:16} {note}")
        print(f"  try        {hint}")


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
