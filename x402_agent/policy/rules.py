"""The rules of one payer, frozen, each with the place that it came from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .. import assets
from ..errors import SettingsError
from ..model import Cap, Limit
from .approval import Approval
from .budget import Budget, dollars, micros

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..model import Ask, Network, Offer

__all__ = ["DEFAULT", "HostRule", "Policy"]

GROUPS = ("mainnet", "testnet")
SANDBOX = "the sandbox default"  # the source of the sandbox's policy
_CODE = "Budget(…) in code"
_NAME = re.compile(r"(?:https?://)?(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?|[0-9a-f:.]+").fullmatch


@dataclass(frozen=True)
class HostRule:
    """Limits of one host, in millionths of a dollar."""

    per_call: int | None = None
    day: int | None = None
    total: int | None = None


@dataclass(frozen=True)
class Policy:
    """What may be paid. Amounts in millionths of a dollar over pegged assets; `where` names file and line of a rule.

    `networks` holds groups (`mainnet`, `testnet`) or names of the table; test and real money never mix unless
    `mix_networks`. `assets` empty means every dollar-pegged token of the table. `loopback` lets real money be asked
    for over plain http by a server on this machine. `signer` says which user of this machine is which agent of a signer
    (`team/research`). `allow` and `deny` hold hosts (`a.example`, `a.example:8443`) or
    origins (`https://a.example`); so does `prepay`, whose remembered offers are good for `prepay_age` seconds and
    `prepay_uses` calls. `rebuy_after` is for how many seconds a delivered purchase is not bought again. Raises SettingsError for a network that is not in the table, and for a host that no
    request could match: a rule that never applies is no rule.
    """

    per_call: int = 100_000
    day: int | None = 5_000_000
    total: int | None = None
    hosts: Mapping[str, HostRule] = field(default_factory=dict)
    networks: tuple[str, ...] = ("mainnet",)
    assets: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    max_lifetime: int = 600
    approve_above: int | None = None
    approval: Approval = field(default_factory=Approval)
    loopback: bool = False
    mix_networks: bool = False
    signer: Mapping[str, str] = field(default_factory=dict)
    prepay: tuple[str, ...] = ()
    prepay_age: int = 300
    prepay_uses: int = 100
    rebuy_after: int = 0
    where: Mapping[str, str] = field(default_factory=dict)
    source: str = "the built-in default"

    def __post_init__(self) -> None:
        for rule in ("allow", "deny", "prepay"):
            named = tuple(self._host(name, rule) for name in getattr(self, rule))
            object.__setattr__(self, rule, named)
        hosts = {self._host(name, "hosts", alone=True): rules for name, rules in self.hosts.items()}
        object.__setattr__(self, "hosts", hosts)
        kinds = set()
        for name in self.networks:
            found = assets.network(name)
            if name not in GROUPS and found is None:
                raise SettingsError(f"{name!r} is no network of the table", rule=self.place("networks"),
                                    hint="mainnet, testnet, base, base-sepolia, …")  # fmt: skip
            kinds.add(name == "testnet" or (found is not None and found.testnet))
        if len(kinds) > 1 and not self.mix_networks:
            raise SettingsError("test and real networks in one policy", rule=self.place("networks"),
                                hint="one payer for each, or mix_networks = true")  # fmt: skip
        for rule in ("prepay_age", "prepay_uses", "rebuy_after"):
            if getattr(self, rule) < 0:
                raise SettingsError(f"{rule} is not below 0", rule=self.place(rule))
        if not 0 < self.max_lifetime <= 3600:
            raise SettingsError("max_lifetime is 1 to 3600 seconds", rule=self.place("max_lifetime"))

    def _host(self, name: str, rule: str, *, alone: bool = False) -> str:
        """A host as requests have it: lower case, no final dot or slash, no port that goes without saying."""
        found = name.lower().removesuffix("/")
        found = re.sub(r"^(http://.*):80$|^(https://.*):443$|^([^:]+):443$", r"\1\2\3", found).rstrip(".")
        if not _NAME(found) or (alone and ("/" in found or found.count(":") == 1 or "[" in found)):
            raise SettingsError(f"no request goes to a host called {name[:80]!r}", rule=self.place(rule),
                                hint="a.example, in ASCII (xn--…), without path or *")  # fmt: skip
        return found

    def place(self, rule: str) -> str:
        """`per_call in policy.toml:3`, as refusals name it."""
        return f"{rule} in {self.where.get(rule, self.source)}"

    def wider(self, rule: str, amount: str, flag: str = "") -> str:
        """What to type for a higher limit: a command where a file may set it, else where in the code it is given."""
        where = self.where.get(rule, self.source)
        if where == _CODE:
            return f"a larger {_CODE}"
        if where == SANDBOX:
            return "Payer.sandbox(budget=…) in Python; the command line keeps to the sandbox's limits"
        return f"x402-agent budget set {amount}{flag}"

    def with_budget(self, budget: Budget) -> Policy:
        """This policy under a budget given in code."""
        where = {**self.where, budget.window: _CODE}
        made = replace(self, day=None, where=where) if budget.window == "total" else replace(self, where=where)
        made = replace(made, day=budget.micros) if budget.window == "day" else replace(made, total=budget.micros)
        if budget.per_call is None:
            return made
        return replace(made, per_call=micros(budget.per_call, "Budget"), where={**where, "per_call": _CODE})

    def pays_on(self, network: Network) -> bool:
        """Whether this network is allowed."""
        group = "testnet" if network.testnet else "mainnet"
        named = (network.id, network.name, *network.aliases, group)
        return any(name in named for name in self.networks)

    def prepays(self, ask: Ask) -> bool:
        """Whether a proof may go on the first send to this origin."""
        named = self.prepay
        return bool(named) and (ask.origin in named or ask.host in named or ask.origin.partition("://")[2] in named)

    def call_limit(self, ask: Ask) -> Cap:
        """The lowest cap on one call, by the rules here and by what the Ask brings along."""
        caps = [Cap(self.per_call, self.place("per_call")), *ask.caps]
        host = self.hosts.get(ask.host)
        if host is not None and host.per_call is not None:
            caps.append(Cap(host.per_call, self.place(f"hosts.{ask.host}.per_call")))
        return min(caps)

    def limits(self, ask: Ask, offer: Offer) -> tuple[Limit, ...]:
        """What the ledger must enforce over time for this Ask and offer: the rules here, and what the Ask brings along."""
        found = list(ask.limits)
        host = self.hosts.get(ask.host)
        for scope, rule, own, flag in (
            ("all", "", self, ""),
            (f"host:{ask.host}", f"hosts.{ask.host}.", host, f" --host {ask.host}"),
        ):
            if own is None:
                continue
            if own.day is not None:
                hint = self.wider(f"{rule}day", f"{dollars(own.day * 2)}/day", flag)
                found.append(Limit(scope, "day", own.day, self.place(f"{rule}day"), hint))
            if own.total is not None:
                hint = self.wider(f"{rule}total", f"{dollars(own.total * 2)}/total", flag)
                found.append(Limit(scope, "total", own.total, self.place(f"{rule}total"), hint))
        return tuple(found)


DEFAULT = Policy()
