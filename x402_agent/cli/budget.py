"""`x402-agent budget`: the limits, by a person, in policy.toml."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .. import Budget, Settings, SettingsError
from ..policy import dollars, load, micros, write_budget
from .common import as_json, errors, ledgers

__all__ = ["app"]

app = typer.Typer(help="Show or set what may be spent.", no_args_is_help=False, invoke_without_command=True)


@app.callback()
def show(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Show every limit with its file and line."""
    if context.invoked_subcommand is not None:
        return
    with errors(json):
        policy = load(Settings.load().policy_path)
        rules = [("per_call", policy.per_call), ("day", policy.day), ("total", policy.total)]
        for host, own in policy.hosts.items():
            rules += [(f"hosts.{host}.{name}", getattr(own, name)) for name in ("per_call", "day", "total")]
        shown = [(policy.place(name), value) for name, value in rules if value is not None]
        if json:
            as_json([{"rule": rule, "micros": value} for rule, value in shown])
        else:
            for rule, value in shown:
                print(f"{dollars(value):>10} USD  {rule}")


@app.command("set", short_help="Set a limit: `budget set 5.00/day`.")
def set_(
    amount: Annotated[str, typer.Argument(help="5.00/day, 100/total, or nothing with --per-call.")] = "",
    per_call: Annotated[str, typer.Option("--per-call", help="At most this much for one call, in dollars.")] = "",
    host: Annotated[str, typer.Option(help="For this host only.")] = "",
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Set a limit: `budget set 5.00/day --per-call 0.10 --host api.example.com`."""
    with errors(json):
        if not amount and not per_call:
            raise SettingsError("which limit?", rule="budget set", hint="x402-agent budget set 5.00/day --per-call 0.10")
        settings = Settings.load()
        said = write_budget(
            settings.policy_path, Budget(amount) if amount else None, per_call=per_call or None, host=host.lower()
        )
        stopped = _stopped(settings, host.lower(), per_call)
        if json:
            as_json({"rules": said, "yesterday": stopped})
            return
        for line in said:
            print(line)
        if per_call:
            print(f"of the payments in the ledger since yesterday it would have stopped {stopped}")


@app.command("unpin", short_help="Forget the recipient pinned for a seller.")
def unpin(
    origin: Annotated[str, typer.Argument(help="https://api.example.com, as the refusal names it.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Forget the recipient pinned for an origin: the next payment pins whoever asks then."""
    with errors(json):
        if "://" not in origin:
            raise SettingsError(f"{origin!r} is no origin", rule="ORIGIN", hint=f"x402-agent budget unpin https://{origin}")
        gone = sum(ledger.unpin(origin.rstrip("/")) for ledger in ledgers(Settings.load()))
        if json:
            as_json({"origin": origin, "forgotten": gone})
        else:
            print(f"forgot {gone} pinned recipient{'' if gone == 1 else 's'} of {origin}")


def _stopped(settings: Any, host: str, per_call: str) -> int:
    """How many payments of the last two UTC days were dearer than the new cap."""
    import time

    if not per_call:
        return 0
    cap, since = micros(per_call, "--per-call"), time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400))
    paid = [p for ledger in ledgers(settings) for p in ledger.payments() if not ledger.sandbox]
    return sum(p.day >= since and p.micros > cap and (not host or p.host == host) for p in paid)
