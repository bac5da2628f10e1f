"""`x402-agent policy check`: what policy.toml says, what in it does nothing, and what it would have stopped."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Settings, SettingsError
from ..policy.replay import replay, warnings
from .common import Exit, Json, as_json, errors, ledgers

if TYPE_CHECKING:
    from ..ledger.past import PastPayment

__all__ = ["app", "yesterday"]

_DAY = 86_400
app = typer.Typer(help="Check policy.toml before it decides.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    pass


@app.command("check", short_help="Parse, warn, and judge yesterday's payments again.")
def check(
    file: Annotated[str, typer.Argument(help="A policy.toml; yours when none is named.")] = "",
    since: Annotated[str, typer.Option(help="2026-11-20: judge payments from this UTC day on; yesterday's and today's by default.")] = "",
    json: Json = False,
) -> None:
    """Read a policy, say what in it does nothing, and which payments in your ledger it would have refused, and by which line.

    Limits over time are counted from the first payment that is judged; nobody is asked anything. Exit code 1 when a payment would
    have been refused, 2 when the file is no policy.
    """
    with errors(json):
        settings = Settings.load()
        path = Path(file).expanduser() if file else settings.policy_path
        if file and not path.exists():
            raise SettingsError(f"there is no {path}", rule="FILE", hint="x402-agent policy check")
        policy = replace(settings, policy_path=path).policy()
        paid = yesterday(settings, since)
        stopped = replay(policy, paid)
        said = warnings(policy, path, time.time())
        if json:
            as_json({"file": str(path), "budgets": list(policy.every()), "warnings": said, "payments": len(paid),
                     "stopped": [_row(each.payment, each.error) for each in stopped]})  # fmt: skip
        else:
            print(f"{path}: {len(policy.every())} budgets, {sum(len(rule.limits) for rule in policy.every().values())} limits over time")
            for note in said:
                print(f"  note  {note}")
            for each in stopped:
                row = _row(each.payment, each.error)
                print(f"  stop  {row['id'][:8]} {row['at']} {row['money']} to {row['host']}   {row['what']}   {row['rule']}")
            print(f"of {len(paid)} payments it would have refused {len(stopped)}")
    raise typer.Exit(Exit.FAILED if stopped else Exit.OK)


def _row(payment: Any, error: Any) -> dict[str, str]:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(payment.at))
    return {"id": payment.hold.payment_id, "at": at, "money": str(payment.hold.offer.money), "host": payment.hold.ask.host,
            "what": error.what, "rule": error.rule}  # fmt: skip


def yesterday(settings: Settings, since: str = "") -> list[PastPayment]:
    """What your own ledger holds since a UTC day, or since yesterday; oldest first. Raises SettingsError for what is no day."""
    begin = time.time() // _DAY * _DAY - _DAY
    if since:
        try:
            begin = datetime.strptime(since, "%Y-%m-%d").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise SettingsError(f"{since[:40]!r} is no day", rule="--since", hint="--since 2026-11-20") from None
    found: list[PastPayment] = []
    for ledger in ledgers(settings):
        found += [] if ledger.sandbox else ledger.past(begin)
    return found
