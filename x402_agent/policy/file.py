"""policy.toml: read strictly, each rule with its line. What it does not know is an error: a limit misspelt is no limit."""

from __future__ import annotations

import hashlib
import logging
import re
import tomllib
from dataclasses import fields
from datetime import date, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .. import assets
from ..errors import SettingsError
from ..model import FEES
from . import scopes
from .approval import read_approval
from .bounds import STATES, Bounds, Often
from .budget import WINDOWS, expected, micros, window
from .chains import read_chains
from .evidence import read_evidence
from .fees import read_gas
from .lines import Span, spans
from .rules import Policy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ..model import Window

__all__ = ["calls", "load", "parse", "units"]

log = logging.getLogger("x402_agent")

_MONEY = ("per_call", "day", "total", "approve_above", "max_fee", *(f"max_{kind}_fee" for kind in FEES))
_LISTS = ("networks", "prefer", "assets", "allow", "deny", "prepay")
_FLAGS = ("loopback", "mix_networks", "ask_new_origin", "ask_new_payee", "know_balance")
_WORDS = ("on_drift", "unknown_price")
_RATIOS = ("drift", "price_max_spread", "prefer_within")
_NOT_KEYS = ("where", "source", "expect_calls", "_rules", "_each", "_sorted")
_TOP = ("per_call", "day", "total")
_BOUNDS = ("per_call", *WINDOWS)
_UNITS = tuple(f"{each}_units" for each in _BOUNDS)
_COUNT = re.compile(r"([0-9]{1,9})\s*/\s*([a-z]+)", re.ASCII)
_RATIO = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?", re.ASCII)
_TOKENS = re.compile(r"([0-9]{1,30})(?:\.([0-9]{1,30}))?", re.ASCII)
_REPEAT = re.compile(r"([0-9]{1,6}) in ([0-9]{1,6}) (second|minute|hour)s?", re.ASCII)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600}
_AGENT = re.compile(r"(?:[A-Za-z0-9._-]{1,64}/)?[A-Za-z0-9._-]{1,64}").fullmatch


def load(path: Path) -> Policy:
    """The policy in a TOML file, the default when there is none; SettingsError names file and line."""
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Policy()
    except (OSError, UnicodeDecodeError) as why:
        said, hint = ("it is not UTF-8", "save it as UTF-8") if isinstance(why, UnicodeDecodeError) else (why.strerror, f"ls -l {path}")
        raise SettingsError(f"policy.toml cannot be read: {said}", rule=str(path), hint=hint) from None
    made = parse(text, str(path))
    log.info("policy %s, sha256 %s", path, hashlib.sha256(text.encode()).hexdigest())  # who edited it meanwhile shows (Z14)
    return made


def parse(text: str, path: str) -> Policy:
    """The policy in a TOML text that stands at `path`; raises SettingsError."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as why:
        line = re.search(r"at line ([0-9]+)", str(why))
        raise SettingsError(f"policy.toml cannot be read: {why}", rule=f"{path}:{line[1]}" if line else path,
                            hint='a line is  day = "5.00"  or  [budgets."host:api.example.com"]; nothing is paid until it is whole') from None  # fmt: skip
    return _Reader(path, spans(text)).policy(data)


class _Reader:
    """One file while it is read: where each key stands."""

    def __init__(self, path: str, at: Mapping[tuple[str, ...], Span]) -> None:
        self.path, self.at = path, at
        self.where: dict[str, str] = {}

    def place(self, *names: str) -> str:
        """`policy.toml:7`; of a key in an inline table the line of that table."""
        while names and names not in self.at:
            names = names[:-1]
        return f"{self.path}:{self.at[names].first + 1}" if names else self.path

    def policy(self, data: dict[str, Any]) -> Policy:
        known = {f.name for f in fields(Policy)} - set(_NOT_KEYS) | {"hosts", "defaults"}
        values: dict[str, Any] = {"where": self.where, "source": f"the default ({self.path} does not say)"}
        budgets: dict[str, dict[str, Any]] = {}
        readers: dict[str, Callable[[Any], Any]] = {
            "signer": lambda value: _agents(value, self.place("signer", "agents")),
            "wallet": self.accounts,
            "chains": lambda value: read_chains(value, self.place),
            "evidence": lambda value: read_evidence(value, self.place),
            "gas": lambda value: read_gas(value, self.place, self.where),
            "categories": lambda value: self.categories(value, self.place("categories")),
        }
        for name, value in data.items():
            place = self.where[name] = self.place(name)
            if name not in known:
                from difflib import get_close_matches

                near = get_close_matches(name, known, 1)
                raise SettingsError(f"policy.toml has no rule {name!r}", rule=place, hint=near[0] if near else ", ".join(sorted(known)))
            if name in ("hosts", "budgets"):
                self.tables(name, value, budgets)
            elif name == "defaults":
                values["expect_calls"] = self.defaults(value)
            elif name == "approval":
                keys = {f"approval.{key}": self.place(name, key) for key in value} if isinstance(value, dict) else {}
                values[name] = read_approval(value, {"approval": place, **keys})
            elif name in readers:
                values[name] = readers[name](value)
            else:
                values[name] = _value(name, value, place)
        for name in _TOP:
            if name in values and name in budgets.get("all", {}):
                raise SettingsError(f"{name} stands twice", rule=f"{self.where[name]} and {self.place('budgets', 'all', name)}", hint="take one of the two lines away")
            if name in budgets.get("all", {}):
                self.where[name] = self.place("budgets", "all", name)
        values["budgets"] = {scope: Bounds(**own) for scope, own in budgets.items()}
        return Policy(**values)

    def defaults(self, value: Any) -> int:
        """`[defaults] expect_calls = 200`: what a task may say otherwise."""
        if not isinstance(value, dict) or set(value) != {"expect_calls"}:
            raise SettingsError("defaults is the table of expect_calls alone", rule=self.place("defaults"), hint="[defaults] expect_calls = 200")
        self.where["expect_calls"] = self.place("defaults", "expect_calls")
        return expected(value["expect_calls"], self.where["expect_calls"])

    def tables(self, kind: str, value: Any, budgets: dict[str, dict[str, Any]]) -> None:
        """`[budgets."SCOPE"]`, and `[hosts."x"]`, which is another way to write `[budgets."host:x"]`."""
        if not isinstance(value, dict):
            raise SettingsError(f"{kind} is a table", rule=self.place(kind), hint=f'[{kind}."…"]')
        for name, own in value.items():
            place = self.place(kind, name)
            if not isinstance(own, dict):
                raise SettingsError(f"{kind}.{name} is a table", rule=place, hint=f'[{kind}."{name}"]')
            scope = scopes.scope(f"host:{name}" if kind == "hosts" else name, place)
            self.where.setdefault(scope, place)
            made = budgets.setdefault(scope, {})
            for key, one in own.items():
                line = self.place(kind, name, key)
                field, bound = _bound(scope, key, one, line)
                if field in made and field != "units":
                    raise SettingsError(f"{key} of {scope} stands twice", rule=f"{self.where[f'{scope}.{key}']} and {line}", hint="take one of the two lines away")
                made[field] = (*made.get("units", ()), *bound) if field == "units" else bound
                self.where[f"{scope}.{key}" if scope != "all" else key] = line

    def accounts(self, value: Any) -> dict[str, str]:
        """`[wallet] "agent:research" = "research"`: which account pays for an agent, a group, or all."""
        if not isinstance(value, dict):
            raise SettingsError("wallet is a table", rule=self.place("wallet"), hint='[wallet] "agent:research" = "research"')
        made: dict[str, str] = {}
        for name, account in value.items():
            line = self.place("wallet", name)
            scope = scopes.scope(name, line)
            if scope.partition(":")[0] not in ("agent", "group", "all") or not isinstance(account, str) or not _AGENT(account):
                raise SettingsError(f"{name[:80]!r} = {account!r:.40} says of no agent which account is its", rule=line,
                                    hint='"agent:research" = "research", "group:team" = …, all = …')  # fmt: skip
            self.where[f"wallet.{scope}"], made[scope] = line, account
        return made

    def categories(self, value: Any, place: str) -> dict[str, tuple[str, ...]]:
        """`[categories] weather = ["api.example.com", "https://x.example/v1"]`."""
        if not isinstance(value, dict):
            raise SettingsError("categories is a table", rule=place, hint='[categories] weather = ["api.example.com"]')
        for name in value:
            self.where[f"categories.{name}"] = self.place("categories", name)
        return {name: _value("allow", own, self.place("categories", name), name) for name, own in value.items()}


def _value(name: str, value: Any, place: str, shown: str = "") -> Any:
    if name in _MONEY:
        return _money(value, place)
    if name in _LISTS:
        if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
            raise SettingsError(f"{shown or name} is a list of text", rule=place, hint=f'{shown or name} = ["…"]')
        return tuple(value)
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise SettingsError(f"{name} is true or false", rule=place, hint=f"{name} = true")
        return value
    if name in _WORDS:
        if value not in ("ask", "deny"):
            raise SettingsError(f"{name} is ask or deny", rule=place, hint=f'{name} = "ask"')
        return value
    if name in _RATIOS:
        if not isinstance(value, str) or not _RATIO.fullmatch(value):
            raise SettingsError(f"{name} is a number in text", rule=place, hint=f'{name} = "2.0"')
        return Fraction(value)
    if name == "repeat":
        found = _REPEAT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise SettingsError("repeat is a number of times in a time", rule=place, hint='repeat = "5 in 10 minutes"')
        return Often(int(found[1]), int(found[2]) * _SECONDS[found[3]])
    if not isinstance(value, int) or isinstance(value, bool):
        raise SettingsError(f"{name} is a whole number", rule=place, hint=f"{name} = 300, without quotes")
    return value


def _bound(scope: str, key: str, value: Any, place: str) -> tuple[str, Any]:
    """One key of a budget, as the field of Bounds that it sets."""
    if key in _BOUNDS:
        return key, _money(value, place)
    if key == "top_up":
        if not scope.startswith(("host:", "origin:")):
            raise SettingsError(f"{scope} is no seller: credits are topped up at one", rule=place, hint='[hosts."api.example.com"] top_up = "1.00"')
        return key, _money(value, place)
    if key in _UNITS:
        return "units", ((units(scope, value, place), key.removesuffix("_units")),)
    if key == "calls":
        return key, tuple(calls(each, place) for each in (value if isinstance(value, list) else [value]))
    if key in ("state", "until") and scope.startswith("each:"):
        raise SettingsError(f"{scope} is a limit for each; it has no {key}", rule=place, hint="[budgets.all]")
    if key == "state":
        if value not in STATES:
            raise SettingsError(f"a budget is {', '.join(STATES)}", rule=place, hint='state = "paused"')
        return key, value
    if key == "until":
        if not isinstance(value, date) or isinstance(value, datetime):
            raise SettingsError("until is a date, the last day (UTC) on which it pays", rule=place, hint="until = 2026-12-31")
        return key, value
    known = ", ".join((*_BOUNDS, "calls", "state", "until", "top_up for a host", "day_units, … for an asset"))
    raise SettingsError(f"a budget has no {key!r}", rule=place, hint=known)


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


def calls(value: Any, place: str) -> tuple[int, Window]:
    """`20/minute`, as (20, "minute"); raises SettingsError."""
    found = _COUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise SettingsError("calls are a number per window", rule=place, hint='calls = "20/minute"')
    return int(found[1]), window(found[2], place)


def units(scope: str, value: Any, place: str) -> int:
    """Atomic units from whole tokens in text, for a scope of exactly one asset of the table; raises SettingsError."""
    name = scope.removeprefix("asset:")
    found = [each for each in assets.assets() if name in (each.id, each.symbol)] if scope.startswith("asset:") else []
    if len(found) != 1 or name != found[0].id:
        raise SettingsError("units are of one asset on one network", rule=place,
                            hint='[budgets."asset:eip155:8453/erc20:0x…"], as in assets.toml')  # fmt: skip
    parts = _TOKENS.fullmatch(value) if isinstance(value, str) else None
    if parts is None or len(parts[2] or "") > found[0].decimals:
        raise SettingsError(f"{value!r} is no number of {found[0].symbol}", rule=place, hint='day_units = "10.5"')
    return int(parts[1] + (parts[2] or "").ljust(found[0].decimals, "0"))
