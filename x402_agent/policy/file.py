"""policy.toml: read strictly, each rule with its line, and edited by one command, never by an agent."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from .approval import read_approval
from .budget import Budget, dollars, micros
from .rules import HostRule, Policy

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load", "write_budget"]

_MONEY = ("per_call", "day", "total", "approve_above")
_LISTS = ("networks", "assets", "allow", "deny", "prepay")
_FLAGS = ("loopback", "mix_networks")
_AGENT = re.compile(r"(?:[A-Za-z0-9._-]{1,64}/)?[A-Za-z0-9._-]{1,64}").fullmatch
_TABLE = re.compile(r'\s*\[hosts\."?([^"\]]+)"?\]')
_KEY = re.compile(r"\s*([a-z_]+)\s*=")


def load(path: Path) -> Policy:
    """The policy in a TOML file, the default when there is none; SettingsError names file and line."""
    try:
        text = path.read_text("utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError) as why:
        said = "it is not UTF-8" if isinstance(why, UnicodeDecodeError) else why.strerror
        raise SettingsError(f"policy.toml cannot be read: {said}", rule=str(path)) from None
    except tomllib.TOMLDecodeError as why:
        raise SettingsError(f"policy.toml cannot be read: {why}", rule=str(path)) from None
    where = {name: f"{path}:{line}" for name, line in _lines(text).items()}
    values: dict[str, Any] = {"where": where, "source": f"the default ({path} does not say)"}
    known = {f.name for f in fields(Policy)} - {"where", "source"}
    for name, value in data.items():
        place = where.get(name, str(path))
        if name not in known:
            raise SettingsError(f"policy.toml has no rule {name!r}", rule=place, hint=", ".join(sorted(known)))
        values[name] = _value(name, value, place, where)
    return Policy(**values)


def _value(name: str, value: Any, place: str, where: dict[str, str]) -> Any:
    if name in _MONEY:
        return _money(value, place)
    if name in _LISTS:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise SettingsError(f"{name} is a list of text", rule=place, hint=f'{name} = ["…"]')
        return tuple(value)
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise SettingsError(f"{name} is true or false", rule=place)
        return value
    if name == "approval":
        return read_approval(value, where)
    if name == "hosts":
        if not isinstance(value, dict):
            raise SettingsError("hosts is a table", rule=place, hint='[hosts."api.example.com"]')
        return {host.lower().rstrip("."): _host(host, rules, where) for host, rules in value.items()}
    if name == "signer":
        return _agents(value, where.get("signer.agents", place))
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingsError(f"{name} is a whole number", rule=place)
    return value


def _host(host: str, rules: Any, where: dict[str, str]) -> HostRule:
    if not isinstance(rules, dict):
        raise SettingsError(f"hosts.{host} is a table", rule=where.get(f"hosts.{host}", ""))
    if "/" in host or host.count(":") == 1:  # it would match no request and limit nothing; with more colons it is IPv6
        raise SettingsError(f"{host!r} is no host name", rule=where.get(f"hosts.{host}", "policy.toml"),
                            hint="api.example.com, without scheme, port and path")  # fmt: skip
    made = {}
    for name, value in rules.items():
        place = where.get(f"hosts.{host}.{name}", "policy.toml")
        if name not in ("per_call", "day", "total"):
            raise SettingsError(f"a host has no rule {name!r}", rule=place, hint="per_call, day, total")
        made[name] = _money(value, place)
    return HostRule(**made)


def _agents(value: Any, place: str) -> dict[str, str]:
    """Which user of this machine is which agent: `1001 = "research"`, or `"team/research"` with its group."""
    if not isinstance(value, dict) or set(value) != {"agents"} or not isinstance(value["agents"], dict):
        raise SettingsError("signer is the table of agents alone", rule=place, hint='[signer.agents] 1001 = "research"')
    for user, name in value["agents"].items():
        if not isinstance(name, str) or not _AGENT(name):
            raise SettingsError(f"user {user} has no agent's name", rule=place, hint='1001 = "research", or "team/research"')
    return dict(value["agents"])


def _money(value: Any, place: str) -> int:
    if not isinstance(value, (str, int)) or isinstance(value, bool):
        raise SettingsError("money is text, never a float", rule=place, hint='write it as "0.10"')
    return micros(value, place)


def _lines(text: str) -> dict[str, int]:
    """Which line each rule stands on; tomllib does not tell."""
    found: dict[str, int] = {}
    prefix = ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() == "[approval]":
            prefix = "approval."
            found["approval"] = number
        elif table := _TABLE.match(line):
            prefix = f"hosts.{table[1]}."
            found[prefix[:-1]] = number
        elif line.strip() == "[signer.agents]":
            found["signer.agents"], prefix = number, "signer."
        elif key := _KEY.match(line):
            found[prefix + key[1]] = number
    return found


def write_budget(path: Path, budget: Budget | None, *, per_call: str | None, host: str) -> list[str]:
    """Write limits into policy.toml, keep every other line; -> the rules in words, each with file and line.

    Written to a new file and renamed over the old one. Raises SettingsError before it would write a broken policy.
    """
    if host:
        _host(host, {}, {f"hosts.{host}": "--host"})
    changes: dict[str, str] = {}
    if budget is not None:
        changes[budget.window] = dollars(budget.micros)
        per_call = budget.per_call if per_call is None else per_call
    if per_call is not None:
        changes["per_call"] = dollars(micros(per_call, "--per-call"))
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    for name, value in changes.items():
        _set(lines, host, name, f'{name} = "{value}"')
    text = "\n".join(lines) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_suffix(".new")
    fresh.write_text(text, "utf-8")
    fresh.chmod(0o600)
    try:
        load(fresh)
    except SettingsError:
        fresh.unlink()
        raise
    fresh.replace(path)
    prefix = f"hosts.{host}." if host else ""
    at = _lines(text)
    who = host or "all hosts together"
    words = {"per_call": f"for one call to {host or 'any host'}", "day": f"per day (UTC) for {who}", "total": f"in total for {who}"}
    return [f"at most {v} USD {words[n]}   {path}:{at[prefix + n]}" for n, v in changes.items()]


def _set(lines: list[str], host: str, name: str, line: str) -> None:
    """Replace one rule in place, or add it at the end of its table."""
    prefix = f"hosts.{host}." if host else ""
    at = _lines("\n".join(lines))
    if prefix + name in at:
        lines[at[prefix + name] - 1] = line
    elif not host:
        first = next((i for i, text in enumerate(lines) if text.lstrip().startswith("[")), len(lines))
        lines.insert(first, line)
    elif prefix[:-1] in at:
        lines.insert(at[prefix[:-1]], line)
    else:
        lines += ["", f'[hosts."{host}"]', line]
