"""Limits: each is checked against its counter in the transaction that writes the payment. Realms (purses) keep test money
and real money apart."""  # fmt: skip

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from ..errors import BudgetExceeded, LedgerError
from ..model import Money, scopes_of
from . import counters
from .counters import GRACE, Counter, problems
from .windows import began

if TYPE_CHECKING:
    from ..model import Ask, Limit, Offer
    from .cache import Cache
    from .store import Store

__all__ = ["GRACE", "check", "counted", "dollars", "left_words", "micros_of", "problems", "realm_of", "room", "scopes", "spent"]

_MOST = 2**53
_LEFT = {"minute": "left this minute", "hour": "left this hour", "day": "left today", "month": "left this month", "total": "left"}


def realm_of(offer: Offer, *, sandbox: bool) -> str:
    """Which purse: `sandbox`, `test` or `real`."""
    return "sandbox" if sandbox else "test" if offer.asset.network.testnet else "real"


def scopes(realm: str, ask: Ask, offer: Offer) -> tuple[str, ...]:
    """Where a payment counts, as counters are named: `REALM/SCOPE`."""
    return _in_realm(realm, scopes_of(ask, offer))


@lru_cache(maxsize=512)
def _in_realm(realm: str, scopes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{realm}/{scope}" for scope in scopes)


def micros_of(offer: Offer, limits: tuple[Limit, ...]) -> int:
    """Millionths of a dollar to count; raises BudgetExceeded when a dollar limit meets a token without a peg."""
    micros = offer.micros
    if micros is None:
        for limit in limits:
            if limit.unit == "micros":
                raise BudgetExceeded(
                    f"{offer.money} has no value in dollars, and a limit is in dollars", rule=limit.rule, hint=limit.hint
                )
        return 0
    if micros > _MOST:
        raise BudgetExceeded(
            f"{offer.money.amount:.3g} units are more than any budget", rule="at most 2^53 micro-dollars"
        )
    return micros


def counted(limit: Limit, counter: Counter) -> int:
    """What of a counter a limit is about."""
    return counter.micros if limit.unit == "micros" else counter.payments if limit.unit == "payments" else counter.units


def _adds(limit: Limit, offer: Offer, micros: int) -> int:
    return micros if limit.unit == "micros" else 1 if limit.unit == "payments" else offer.amount + offer.fee_cap


def check(
    store: Store, scopes: tuple[str, ...], ask: Ask, offer: Offer, limits: tuple[Limit, ...], now: float
) -> int:
    """Raise BudgetExceeded when a limit has no room for this offer. -> its micros."""
    micros, since, realm = micros_of(offer, limits), began(now), scopes[0].partition("/")[0]
    counters.load(store, scopes)
    if store.broken:  # by what was loaded
        store.now()
    for limit in limits:
        scope, window, unit = f"{realm}/{limit.scope}", limit.window, limit.unit
        if window not in since or (unit == "units" and not limit.scope.startswith("asset:")):
            raise LedgerError(f"nothing counts {unit} of {limit.scope!r} per {window!r}", rule=limit.rule)
        if scope not in scopes:
            counters.where(scope)
            continue
        counter = counters.at(store, scope, window, since[window])
        used = counter.micros if unit == "micros" else counted(limit, counter)
        if used + (micros if unit == "micros" else _adds(limit, offer, micros)) > limit.most:
            raise _exceeded(ask, offer, limit, used)
    return micros


def room(cache: Cache, realm: str, offer: Offer, limits: tuple[Limit, ...], now: float) -> bool:
    """Whether memory alone shows that every limit has room for as much again, and a tenth of it left.

    Called outside the batch too, so it only looks things up. What it says is a hint, `check` decides.
    """
    micros, since = offer.micros or 0, began(now)
    if micros > _MOST or (micros == 0 and limits):
        return False
    for limit in limits:
        counter = counters.look(cache, f"{realm}/{limit.scope}", limit.window, since.get(limit.window, -1))
        if counter is None:
            return False
        dollars = limit.unit == "micros"
        adds = micros if dollars else _adds(limit, offer, micros)
        left = limit.most - (counter.micros if dollars else counted(limit, counter)) - adds
        if left < adds or left * 10 < limit.most:
            return False
    return True


def spent(store: Store, realm: str, limit: Limit, now: float) -> int:
    """What is counted against a limit now, for one who only reads."""
    return counted(limit, counters.known(store, f"{realm}/{limit.scope}", limit.window, began(now)[limit.window]))


def _exceeded(ask: Ask, offer: Offer, limit: Limit, used: int) -> BudgetExceeded:
    """`api.example.com asks 0.2500 USDC (base), the limit per day for all hosts is 5.0000 USD, left today 0.1000 USD`."""
    per = "in total" if limit.window == "total" else f"per {limit.window}"
    return BudgetExceeded(
        f"{ask.host} asks {offer.money}, the limit {per} for {_whom(limit.scope)} is {_amount(limit, offer, limit.most)}, "
        f"{_LEFT[limit.window]} {_amount(limit, offer, max(0, limit.most - used))}",
        rule=limit.rule,
        hint=limit.hint,
    )


def left_words(limit: Limit, offer: Offer, left: int) -> str:
    """What a limit still allows, for people: `4.7500 USD left today for all hosts   [day in policy.toml:2]`."""
    return f"{_amount(limit, offer, left)} {_LEFT[limit.window]} for {_whom(limit.scope)}   [{limit.rule}]"


def _whom(scope: str) -> str:
    """`all hosts`, `api.example.com`, `the task research`: whom a limit is about."""
    kind, _, name = scope.partition(":")
    if kind == "payee":
        return f"the recipient {name.rpartition('/')[2]}"
    if kind == "run":
        return "this task"
    return "all hosts" if scope == "all" else name if kind in ("host", "origin", "path") else f"the {kind} {name}"


def _amount(limit: Limit, offer: Offer, amount: int) -> str:
    if limit.unit == "payments":
        return f"{amount} payment{'' if amount == 1 else 's'}"
    return str(Money(amount, offer.asset)) if limit.unit == "units" else f"{dollars(amount)} USD"


def dollars(micros: int) -> str:
    """Micro-dollars for people, at least four decimals: `0.2500`."""
    text = f"{micros // 1_000_000}.{micros % 1_000_000:06d}"
    return text.removesuffix("00")
