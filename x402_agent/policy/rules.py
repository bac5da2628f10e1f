"""The rules of one payer, frozen, each with the place that it came from, and looked up by the scopes of a payment."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

from .. import assets
from ..errors import SettingsError
from ..model import FEES, ChainRules, Limit, Stop
from ..scopes import scopes_of
from . import scopes
from .approval import Approval
from .bounds import STATES, Bounds, Often, Rule, compiled
from .budget import Budget, expected, micros

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..model import Ask, Network, Offer
    from .evidence import Evidence
    from .fees import Gas

__all__ = ["DEFAULT", "Policy", "Verdict"]

Verdict = Literal["ask", "deny"]
GROUPS = ("mainnet", "testnet")
SANDBOX = "the sandbox default"  # the source of the sandbox's policy
_CODE = "Budget(…) in code"
_OWN = ("per_call", "day", "total")  # of all payments together: fields of Policy itself


@dataclass(frozen=True)
class Policy:
    """What may be paid. Amounts in millionths of a dollar; `where` names file and line of a rule.

    `per_call`, `day` and `total` bound all payments together, `budgets` any scope (`host:…`, `agent:…`, `each:payee`,
    …). `networks` holds groups (`mainnet`, `testnet`) or names of the table; test and real money never mix unless
    `mix_networks`. Networks of `prefer`, in that order, are taken before the cheapest while they cost at most `prefer_within`
    times as much. `assets` empty means every token that a budget can count. `loopback` lets real money be asked for
    over plain http by a server on this machine. `allow` and `deny` hold hosts (`a.example`, `a.example:8443`) or
    origins (`https://a.example`). `categories` sorts hosts, origins and paths. `max_fee` bounds the fees of one payment,
    `max_facilitator_fee` and the like those of one kind; `gas` what our own transactions cost, by network id, in wei.
    `drift` is how many times dearer than the least paid in 30 days a request may become. A token without a peg is worth
    what the payer's price source says, at most `price_max_age` seconds ago and at most `price_max_spread` of it apart.
    `prepay` holds hosts or origins too, whose remembered offers are good for `prepay_age` seconds and `prepay_uses` calls;
    `rebuy_after` is for how many seconds a delivered purchase is not bought again. After `stop_after` payments in a row
    that are in doubt or undelivered nothing new is paid to that origin or recipient; 0 never stops. `repeat` is how often
    the same purchase is made in how many seconds before a person is asked. `evidence` is what a first payment needs of the catalogue.
    `expect_calls` is how many calls a seller is expected to be asked for, where a task does not say so.
    With `know_balance` an account's balance is read before a Hold, where a node is set.
    `signer` says which user of this machine is which agent of a signer (`team/research`), `wallet` which account of the wallet
    pays for an agent, a group or all (`agent:research`).

    Raises SettingsError for what could apply to no payment: such a rule is no rule.
    """

    per_call: int = 100_000
    day: int | None = 5_000_000
    total: int | None = None
    budgets: Mapping[str, Bounds] = field(default_factory=dict)
    networks: tuple[str, ...] = ("mainnet",)
    prefer: tuple[str, ...] = ()
    prefer_within: Fraction = Fraction(11, 10)
    assets: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    max_lifetime: int = 600
    max_fee: int = 20_000
    chains: ChainRules = field(default_factory=ChainRules)
    max_facilitator_fee: int | None = None
    max_priority_fee: int | None = None
    max_network_fee: int | None = None
    gas: Mapping[str, Gas] = field(default_factory=dict)
    approve_above: int | None = None
    approval: Approval = field(default_factory=Approval)
    ask_new_origin: bool = False
    ask_new_payee: bool = False
    drift: Fraction | None = None
    on_drift: Verdict = "ask"
    unknown_price: Verdict = "deny"
    price_max_age: int = 300
    price_max_spread: Fraction = Fraction(2, 100)
    loopback: bool = False
    know_balance: bool = True
    mix_networks: bool = False
    signer: Mapping[str, str] = field(default_factory=dict)
    wallet: Mapping[str, str] = field(default_factory=dict)
    prepay: tuple[str, ...] = ()
    prepay_age: int = 300
    prepay_uses: int = 100
    rebuy_after: int = 0
    stop_after: int = 3
    expect_calls: int = 1
    repeat: Often | None = None
    evidence: Evidence | None = None
    where: Mapping[str, str] = field(default_factory=dict)
    source: str = "the built-in default"
    _rules: Mapping[str, Rule] = field(default_factory=dict, init=False, repr=False, compare=False)
    _each: bool = field(default=False, init=False, repr=False, compare=False)
    _sorted: Mapping[str, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for rule in ("allow", "deny", "prepay"):
            named = tuple(scopes.host(name, self.place(rule)) for name in getattr(self, rule))
            object.__setattr__(self, rule, named)
        self._check_networks()
        self._check_assets()
        if not 0 < self.max_lifetime <= 3600:
            raise SettingsError("max_lifetime is 1 to 3600 seconds", rule=self.place("max_lifetime"), hint="max_lifetime = 600")
        if self.drift is not None and self.drift < 1:
            raise SettingsError("a drift is 1 or more times the price", rule=self.place("drift"), hint='drift = "2.0"')
        for rule in (*(f"max_{kind}_fee" for kind in FEES if getattr(self, f"max_{kind}_fee") is not None), "max_fee", "prepay_age", "prepay_uses", "price_max_age", "rebuy_after", "stop_after"):
            if getattr(self, rule) < 0:
                raise SettingsError(f"{rule} is not below 0", rule=self.place(rule), hint=f'{rule} = "0.02"' if rule.endswith("_fee") else f"{rule} = 0")
        if self.repeat is not None and not all(number > 0 for number in self.repeat):
            raise SettingsError("a repeat is a number of times in a time", rule=self.place("repeat"), hint='repeat = "5 in 10 minutes"')
        expected(self.expect_calls, self.place("expect_calls"))
        for rule in ("on_drift", "unknown_price"):
            if getattr(self, rule) not in ("ask", "deny"):
                raise SettingsError(f"{rule} is ask or deny", rule=self.place(rule), hint=f'{rule} = "ask"')
        self._compile()

    def _check_networks(self) -> None:
        kinds = set()
        for name in self.networks:
            found = assets.network(name)
            if name not in GROUPS and found is None:
                raise SettingsError(f"{name!r} is no network of the table", rule=self.place("networks"),
                                    hint="mainnet, testnet, base, base-sepolia, …")  # fmt: skip
            kinds.add(name == "testnet" or (found is not None and found.testnet))
        for name in self.prefer:
            if assets.network(name) is None:
                raise SettingsError(f"{name[:80]!r} is no network of the table", rule=self.place("prefer"), hint='prefer = ["base", "solana"]')
        if self.prefer_within < 1:
            raise SettingsError("prefer_within is 1 or more times the cheapest", rule=self.place("prefer_within"), hint='prefer_within = "1.1"')
        if len(kinds) > 1 and not self.mix_networks:
            raise SettingsError("test and real networks in one policy", rule=self.place("networks"),
                                hint="one payer for each, or mix_networks = true")  # fmt: skip

    def _check_assets(self) -> None:
        known = {name for each in assets.assets() for name in (each.symbol, each.id, each.address)} if self.assets else set()
        for name in self.assets:
            if name not in known:
                raise SettingsError(f"{name[:80]!r} is no token of the table", rule=self.place("assets"),
                                    hint="USDC, or eip155:8453/erc20:0x…, as in assets.toml")  # fmt: skip

    def _compile(self) -> None:
        """Budgets by scope, each scope spelt as `scopes_of` spells it. What is said of all of them is said here once."""
        named: dict[str, Bounds] = {}
        for text, own in self.budgets.items():
            name = scopes.scope(text, self.place("budgets"))
            if name in named or own.state not in STATES:
                raise SettingsError(f"{text!r} stands twice, or is {own.state!r}", rule=self.place("state", name), hint=f"one budget for it; its state is one of {', '.join(STATES)}")
            named[name] = own
        every = named.pop("all", Bounds())
        for rule in _OWN:
            if getattr(every, rule) is not None:
                object.__setattr__(self, rule, getattr(every, rule))
        every = replace(every, per_call=None, day=None, total=None)
        object.__setattr__(self, "budgets", {"all": every, **named} if every != Bounds() else named)
        every = replace(every, per_call=self.per_call, day=self.day, total=self.total)
        rules = {name: compiled(self, name, own) for name, own in [("all", every), *named.items()]}
        object.__setattr__(self, "_rules", rules)
        object.__setattr__(self, "_each", any(name.startswith("each:") for name in rules))
        sort: dict[str, str] = {}
        for category, members in self.categories.items():
            scopes.scope(f"category:{category}", self.place("categories"))
            for member in members:
                name = _member(member, self.place(category, "categories"))
                sort[name] = f"{sort[name]},{category}" if name in sort else category
        object.__setattr__(self, "_sorted", sort)

    # -- places and words ---------------------------------------------------------------------------------------------

    def place(self, rule: str, scope: str = "all") -> str:
        """`per_call in policy.toml:3`, `day of host:a.example in policy.toml:7`: as refusals name it."""
        if scope != "all":
            return f"{rule} of {scope} in {self.where.get(f'{scope}.{rule}') or self.where.get(scope) or self.source}"
        return f"{rule} in {self.where.get(rule, self.source)}"

    def wider(self, scope: str, rule: str, options: str) -> str:
        """What to type for a higher limit: a command where a file may set it, else where in the code it is given."""
        name = rule if scope == "all" else f"{scope}.{rule}"
        where = self.where.get(name, self.source)
        if where == _CODE:
            return f"a larger {_CODE}"
        if where == SANDBOX:
            return "Payer.sandbox(budget=…) in Python; the command line keeps to the sandbox's limits"
        return f"x402-agent budget set {options}{scopes.flag(scope)}"

    def with_budget(self, budget: Budget) -> Policy:
        """This policy under a budget given in code: it replaces that of its window, per month or in total also that of a day."""
        window = budget.window
        where = {**self.where, window: _CODE}
        own: dict[str, Any] = {window: budget.micros}
        every = replace(self.budgets.get("all", Bounds()), **own)
        day = None if window in ("month", "total") else self.day
        made = replace(self, day=day, budgets={**self.budgets, "all": every}, where=where)
        if budget.per_call is None:
            return made
        return replace(made, per_call=micros(budget.per_call, "Budget"), where={**where, "per_call": _CODE})

    def account(self, agent: str, group: str) -> tuple[str, str]:
        """The name of the account that pays for an agent of a group, and the rule that says so; "" where no rule does."""
        if not self.wallet:
            return "", ""
        named = next((scope for scope in (f"agent:{agent}", f"group:{group}", "all") if scope in self.wallet), "")
        return self.wallet.get(named, ""), self.place(f"wallet.{named}")

    @property
    def stop(self) -> Stop:
        """What the ledger is told of `stop_after`."""
        return Stop(self.stop_after, self.place("stop_after"))

    # -- look-ups -----------------------------------------------------------------------------------------------------

    def pays_on(self, network: Network) -> bool:
        """Whether this network is allowed."""
        group = "testnet" if network.testnet else "mainnet"
        named = (network.id, network.name, *network.aliases, group)
        return any(name in named for name in self.networks)

    def liking(self, network: Network) -> int | None:
        """The place of a network among the preferred ones, None when it is not there."""
        named = (network.id, network.name, *network.aliases)
        return next((at for at, name in enumerate(self.prefer) if name in named), None)

    def prepays(self, ask: Ask) -> bool:
        """Whether a proof may go on the first send to this origin."""
        named = self.prepay
        return bool(named) and (ask.origin in named or ask.host in named or ask.origin.partition("://")[2] in named)

    def rules(self, ask: Ask, offer: Offer) -> Iterator[tuple[str, Rule]]:
        """The rules of every scope that this payment belongs to, with that scope's name."""
        known = self._rules
        yield "all", known["all"]
        if len(known) == 1:
            return
        for scope in scopes_of(ask, offer)[1:]:
            if (own := known.get(scope)) is not None:
                yield scope, own
            if not self._each:
                continue
            kind, _, name = scope.partition(":")
            if (each := known.get(f"each:{kind}")) is not None and not (kind in ("payee", "asset") and "/" in name):
                yield scope, each

    def every(self) -> Mapping[str, Rule]:
        """Every budget by its scope, `all` first."""
        return self._rules

    def only_tests(self) -> bool:
        """Whether nothing but test money is paid."""
        found = (assets.network(name) for name in self.networks if name != "testnet")
        return all(network is not None and network.testnet for network in found)

    def limits(self, ask: Ask, offer: Offer) -> tuple[Limit, ...]:
        """What the ledger must enforce over time for this Ask and offer: the rules here, and what the Ask brings along.

        Limits in units are about the asset that they name; of an offer without a value in dollars nothing is counted in dollars.
        """
        found = list(ask.limits)
        blind = offer.micros is None
        for scope, rule in self.rules(ask, offer):
            found += [limit if limit.scope == scope else replace(limit, scope=scope)
                      for limit in rule.limits if not (blind and limit.unit == "micros")]  # fmt: skip
        return tuple(found)

    def top_up(self, ask: Ask) -> int:
        """How much may be paid ahead to an account at the seller of this Ask, in millionths of a dollar; 0 where no rule says so."""
        own = (self.budgets.get(scope) for scope in (f"origin:{ask.origin}", f"host:{ask.host}"))
        return next((each.top_up for each in own if each is not None and each.top_up), 0)

    def sort(self, ask: Ask) -> None:
        """Put the Ask into the categories that this policy has for it, beside those of its task (never the seller's)."""
        if not self._sorted:
            return
        names = [f"host:{ask.host}", f"origin:{ask.origin}"]
        path, parts = ask.origin, ask.path.strip("/").split("/")
        for part in parts if parts != [""] else ():
            path = f"{path}/{part}"
            names.append(f"path:{path}")
        found = ask.under.category.split(",") if ask.under.category else []
        for name in names:
            found += [each for each in self._sorted.get(name, "").split(",") if each and each not in found]
        ask.under = ask.under._replace(category=",".join(found))


def _member(text: str, place: str) -> str:
    """`api.example.com`, `https://x.example:8443` or `https://x.example/v1`, as a scope."""
    if "://" not in text:
        return scopes.scope(f"host:{text}", place)
    below = text.partition("://")[2].partition("/")[2]
    return scopes.scope(f"{'path' if below else 'origin'}:{text}", place)


DEFAULT = Policy()
