"""`x402-agent budget`: the limits, by a person, in policy.toml."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import Budget, Settings, SettingsError, assets
from ..policy import dollars, edit, file, load, micros, scopes
from ..policy.budget import window as _window
from ..policy.replay import replay
from .common import Json, as_json, errors, ledgers
from .policy import yesterday

if TYPE_CHECKING:
    from ..ledger import Left
    from ..policy import Policy

__all__ = ["app"]

app = typer.Typer(help="Show or set what may be spent.", no_args_is_help=False, invoke_without_command=True)
_Scope = Annotated[str, typer.Argument(help="all, host:api.example.com, agent:research, … as `budget` shows it.")]


@app.callback()
def default(context: typer.Context, json: Json = False) -> None:
    """Show every limit, what is left of it, and its file and line."""
    if context.invoked_subcommand is None:
        show(json)


@app.command("show", short_help="Every limit, and what is left of it.")
def show(json: Json = False) -> None:
    """Show every limit with what is spent and left, its file and line, and budgets that are paused, revoked or expired."""
    with errors(json):
        settings = Settings.load()
        rows = _rows(settings.policy(), settings)
        if json:
            as_json(rows)
            return
        for row in rows:
            print(f"{row['most']:>12}  {row['left'] and row['left'] + ' left':>16}  {row['scope']:<24}  {row['rule']}")


def _rows(policy: Policy, settings: Settings) -> list[dict[str, Any]]:
    """One row a rule. Amounts are text for people; `micros` and `spent` are millionths of a dollar, or counts."""
    limits = [limit for rule in policy.every().values() for limit in rule.limits]
    spent = _spent([limit for limit in limits if not limit.scope.startswith("each:")], policy, settings)
    rows: list[dict[str, Any]] = []
    for scope, rule in policy.every().items():
        if rule.state != "active" or rule.end is not None:
            said = rule.state if rule.state != "active" else f"until {policy.budgets[scope].until}"
            key = "state" if rule.state != "active" else "until"
            rows.append({"scope": scope, "key": key, "most": said, "left": "", "rule": policy.place(key, scope)})
        if rule.cap is not None:
            most = f"{dollars(rule.cap.micros)} a call"
            rows.append({"scope": scope, "key": "per_call", "most": most, "micros": rule.cap.micros, "left": "", "rule": rule.cap.rule})
        for limit in rule.limits:
            used = spent.get((scope, limit.window, limit.unit))
            left = "" if used is None else _amount(max(0, limit.most - used), limit.unit)
            most = f"{_amount(limit.most, limit.unit)}/{limit.window}"
            rows.append({"scope": scope, "key": limit.window, "unit": limit.unit, "most": most, "micros": limit.most,
                         "spent": used, "left": left, "rule": limit.rule})  # fmt: skip
    return rows + _gas(policy, settings)


def _gas(policy: Policy, settings: Settings) -> list[dict[str, Any]]:
    """What transactions of ours may cost, in each network's own coin; `wei` and `spent` in its atomic units, whatever they are called."""
    kept = [ledger for ledger in ledgers(settings) if policy.gas and not ledger.sandbox]
    rows: list[dict[str, Any]] = []
    for network_id, own in policy.gas.items():
        network = assets.network(network_id)
        assert network is not None  # read_gas takes no others
        name, coins = network.name, network.coins
        if own.per_call is not None:
            rows.append({"scope": f"gas:{name}", "key": "per_call", "most": f"{coins(own.per_call)} coins a call", "wei": str(own.per_call),
                         "left": "", "rule": policy.place(f"gas.{name}.per_call")})  # fmt: skip
        for window, most in own.windows:
            used = sum(ledger.fees(network_id, window) for ledger in kept)
            rows.append({"scope": f"gas:{name}", "key": window, "most": f"{coins(most)} coins/{window}", "wei": str(most), "spent": str(used),
                         "left": f"{coins(max(0, most - used))}", "rule": policy.place(f"gas.{name}.{window}")})  # fmt: skip
    return rows


def _amount(value: int, unit: str) -> str:
    return dollars(value) if unit == "micros" else f"{value} {'calls' if unit == 'payments' else unit}"


def _spent(limits: list[Any], policy: Policy, settings: Settings) -> dict[tuple[str, str, str], int]:
    """What the ledger counts against each limit: real money's, unless this policy pays in test money."""
    realm = "test" if policy.only_tests() else "real"
    for ledger in ledgers(settings):
        if not ledger.sandbox:
            found: list[Left] = ledger.spent(limits, realm=realm)
            return {(each.limit.scope, each.limit.window, each.limit.unit): each.spent for each in found}
    return {(limit.scope, limit.window, limit.unit): 0 for limit in limits}


@app.command("set", short_help="Set a limit: `budget set 5.00/day`.")
def set_(
    amounts: Annotated[list[str] | None, typer.Argument(help="5.00/day, 1.00/hour, 100/total: dollars per window of the UTC calendar.")] = None,
    per_call: Annotated[str, typer.Option(help="Dollars for one call.")] = "",
    calls: Annotated[list[str] | None, typer.Option(help="20/minute: so many payments.")] = None,
    units: Annotated[list[str] | None, typer.Option(help="10.5/day: whole tokens of --asset, whatever they are worth.")] = None,
    per_call_units: Annotated[str, typer.Option(help="Whole tokens of --asset for one call.")] = "",
    until: Annotated[str, typer.Option(help="2026-12-31: the last day (UTC) on which it pays.")] = "",
    host: Annotated[str, typer.Option(help="Only for this host.")] = "",
    origin: Annotated[str, typer.Option(help="Only for https://api.example.com:8443.")] = "",
    path: Annotated[str, typer.Option(help="Only below https://api.example.com/v1.")] = "",
    payee: Annotated[str, typer.Option(help="Only to 0x… on any network, or base/0x….")] = "",
    asset: Annotated[str, typer.Option(help="Only in USDC, or eip155:8453/erc20:0x….")] = "",
    agent: Annotated[str, typer.Option(help="Only for this agent (X402_AGENT_NAME).")] = "",
    group: Annotated[str, typer.Option(help="Only for this group (X402_AGENT_GROUP).")] = "",
    task: Annotated[str, typer.Option(help="Only for tasks of this name, and those inside them.")] = "",
    tool: Annotated[str, typer.Option(help="Only for this tool.")] = "",
    category: Annotated[str, typer.Option(help="Only for this category, of [categories] or of a task.")] = "",
    each: Annotated[str, typer.Option(help="For each host, origin, payee, agent, … by itself.")] = "",
    json: Json = False,
) -> None:
    """Write limits into policy.toml. All budgets that a payment belongs to must have room; a narrow one never lifts a wide one."""
    with errors(json):
        named = {"host": host, "origin": origin, "path": path, "payee": payee, "asset": asset, "agent": agent, "group": group,
                 "task": task, "tool": tool, "category": category, "each": each}  # fmt: skip
        values = _values(amounts or [], per_call, calls or [], units or [], per_call_units, until)
        _write(_scope(named), values, json)


def _scope(named: dict[str, str]) -> str:
    given = {kind: name for kind, name in named.items() if name}
    if len(given) > 1:
        raise SettingsError("a budget has one scope", rule="budget set", hint=f"--{next(iter(given))} alone")
    kind, name = next(iter(given.items()), ("all", ""))
    return scopes.scope(f"{kind}:{name}" if name else kind, f"--{kind}")


def _values(amounts: list[str], per_call: str, calls: list[str], units: list[str], per_call_units: str, until: str) -> dict[str, str]:
    """Keys of a budget and what they are set to, in TOML's spelling; raises SettingsError."""
    values: dict[str, str] = {}
    for text in amounts:
        budget = Budget(text)
        values[budget.window] = f'"{dollars(budget.micros)}"'
    if per_call:
        values["per_call"] = f'"{dollars(micros(per_call, "--per-call"))}"'
    if calls:
        found = [file.calls(each, "--calls") for each in calls]
        shown = [f'"{count}/{window}"' for count, window in found]
        values["calls"] = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    for text in units:
        amount, _, window = text.partition("/")
        values[f"{_window(window, '--units')}_units"] = _quoted(amount)
    if per_call_units:
        values["per_call_units"] = _quoted(per_call_units)
    if until:
        try:
            values["until"] = date.fromisoformat(until).isoformat()
        except ValueError:
            raise SettingsError(f"{until[:40]!r} is no date", rule="--until", hint="--until 2026-12-31") from None
    if not values:
        raise SettingsError("which limit?", rule="budget set", hint="x402-agent budget set 5.00/day --per-call 0.10")
    return values


def _quoted(amount: str) -> str:
    if not amount.isascii() or not amount.replace(".", "").isdigit():
        raise SettingsError(f"{amount[:40]!r} is no number of tokens", rule="--units", hint="--units 10.5/day")
    return f'"{amount}"'


@app.command("pause", short_help="Pay nothing under one budget for now.")
def pause(scope: _Scope, json: Json = False) -> None:
    """Pause a budget: nothing that belongs to it is paid until `budget resume`. Open payments still settle."""
    with errors(json):
        _write(scopes.scope(scope, "SCOPE"), {"state": '"paused"'}, json)


@app.command("resume", short_help="Lift a pause.")
def resume(scope: _Scope, json: Json = False) -> None:
    """Lift a pause. A revoked budget comes back only by a person's editor."""
    with errors(json):
        name, path = scopes.scope(scope, "SCOPE"), Settings.load().policy_path
        policy = load(path)
        if (rule := policy.every().get(name)) is not None and rule.state == "revoked":
            raise SettingsError(f"the budget of {name} is revoked", rule=policy.place("state", name), hint="that line, by hand")
        _write(name, {"state": '"active"'}, json)


@app.command("revoke", short_help="Pay nothing under one budget, for good.")
def revoke(scope: _Scope, json: Json = False) -> None:
    """Revoke a budget: nothing that belongs to it is paid any more. Open payments still settle."""
    with errors(json):
        _write(scopes.scope(scope, "SCOPE"), {"state": '"revoked"'}, json)


def _write(scope: str, values: dict[str, str], json: bool) -> None:
    settings = Settings.load()
    paid = yesterday(settings)
    before = {each.payment for each in replay(settings.policy(), paid)}
    said = edit.change(settings.policy_path, scope, values)
    stopped = [each.payment for each in replay(settings.policy(), paid) if each.payment not in before]
    whose = "all payments together" if scope == "all" else scope
    if json:
        as_json({"scope": scope, "rules": [{"key": key, "value": values[key], "line": line} for key, line in said.items()],
                 "yesterday": {"payments": len(paid), "stopped": len(stopped)}})  # fmt: skip
        return
    for key, line in said.items():
        print(f"{_words(key, values[key].strip(chr(34)))} {whose}   {line}")
    print(f"of {len(paid)} payments since yesterday it would have stopped {len(stopped)}")


def _words(key: str, value: str) -> str:
    if key == "state":
        return f"{value}:"
    if key == "until":
        return f"paid until the end of {value}:"
    if key == "calls":
        return f"at most {value} payments for"
    window = key.removesuffix("_units").replace("per_call", "for one call")
    unit = "tokens" if key.endswith("_units") else "USD"
    when = window if window == "for one call" else "in total" if window == "total" else f"per {window} (UTC)"
    return f"at most {value} {unit} {when} for"
