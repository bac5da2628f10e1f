"""What the payer knows and policy asks: prices paid before, known origins and recipients, the price source's word.

Remembered for a minute, since another process may pay too; our own payments are learnt at once.
"""

from __future__ import annotations

import time
from copy import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ledger import SqliteLedger
    from ..model import Ask, Asset, Hold, Money, Offer
    from ..policy import Listed, Price, PriceSource
    from ..wallet import Wallet
    from .payer import Payer

__all__ = ["Known", "pretend"]

_FRESH = 60.0  # seconds
_MANY = 4096
_DAY = 86_400

Purchase = tuple[str, str, str]  # method, origin, path: a query or body must not hide that a price walks


class Known:
    """policy.Facts of one payer. The ledger is asked only where a rule needs it."""

    def __init__(self, payer: Payer) -> None:
        self._payer = payer
        self._wallet: Wallet | None = None
        self._paid: dict[Purchase, tuple[float, tuple[tuple[str, int], ...]]] = {}
        self._known: dict[tuple[str, str], float] = {}

    def of(self, wallet: Wallet) -> Known:
        """The same where other accounts of the wallet pay."""
        made = copy(self)
        made._wallet = wallet
        return made

    def now(self) -> float:
        return self._payer.clock()

    def price(self, asset: Asset) -> Price | None:
        source = self._payer.prices
        return None if source is None else source.price(asset)

    def fee(self, offer: Offer) -> Money | None:
        chain: Any = self._payer.chains.get(offer.network.namespace)
        found: Money | None = chain.fee(offer, self._payer.policy.chains) if hasattr(chain, "fee") else None
        return found

    def most(self, offer: Offer) -> Money | None:
        """What its network takes of us at most, for a budget that must hold it: gas, too, by which nothing is ranked."""
        chain: Any = self._payer.chains.get(offer.network.namespace)
        found: Money | None = chain.gas(offer, self._payer.policy.chains) if hasattr(chain, "gas") else self.fee(offer)
        return found

    def balance(self, offer: Offer) -> int | None:
        return self._payer.balances.known(offer, (self._wallet or self._payer.wallet).address(offer.network.namespace))

    def paid(self, ask: Ask) -> tuple[tuple[str, int], ...]:
        what, now = (ask.method, ask.origin, ask.path), time.monotonic()
        found = self._paid.get(what)
        if found is None or found[0] < now:
            ledger = self._ledger()
            days = ledger.prices(*what, since=_day(self.now() - 30 * _DAY)) if ledger is not None else ()
            if len(self._paid) >= _MANY:
                self._paid.clear()
            found = self._paid[what] = now + _FRESH, days
        return found[1]

    def learn(self, hold: Hold) -> None:
        """A proof for this has left: its price is one that was paid. Costs nothing where no rule ever asked."""
        ask, price = hold.ask, hold.offer.micros
        found = self._paid.get((ask.method, ask.origin, ask.path))
        if found is None or price is None:
            return
        days, today = found[1], _day(self.now())
        if days and days[-1][0] == today:
            days = (*days[:-1], (today, min(price, days[-1][1])))
        else:
            days = (*days, (today, price))
        self._paid[ask.method, ask.origin, ask.path] = found[0], days

    def repeats(self, ask: Ask, seconds: int) -> int:
        ledger = self._ledger()
        return 0 if ledger is None else ledger.repeats(ask, seconds)

    def knows_origin(self, ask: Ask) -> bool:
        return self._is_known(ask.origin, "")

    def knows_payee(self, offer: Offer) -> bool:
        return self._is_known(offer.network.id, offer.pay_to)

    def _is_known(self, where: str, payee: str) -> bool:
        """Yes is remembered for a minute, no is not: the next payment may make it known."""
        now = time.monotonic()
        if self._known.get((where, payee), 0.0) > now:
            return True
        ledger = self._ledger()
        if ledger is None or not (ledger.pinned_payee(where, payee) if payee else ledger.pinned_origin(where)):
            return False
        if len(self._known) >= _MANY:
            self._known.clear()
        self._known[where, payee] = now + _FRESH
        return True

    def listed(self, ask: Ask) -> Listed | None:
        found = self._payer.discover.listed(ask.method, ask.url)
        if found is None:
            return None
        from ..policy import Listed

        terms = frozenset((price.asset, price.pay_to.lower()) for price in found.prices if price.asset)
        return Listed(found.id, found.verdict, found.probed, found.agreement, found.payers, found.seen, found.micros, terms)

    def _ledger(self) -> SqliteLedger | None:
        """None while nothing was ever paid: a quote makes no ledger."""
        payer = self._payer
        return payer.ledger if "ledger" in payer.__dict__ or payer.settings.ledger_path.exists() else None


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(at))


class _Pretend:
    """What coins of a sandbox count: test money has no price, and its budgets need one."""

    def __init__(self, coins: Mapping[str, int]) -> None:
        self._coins = dict(coins)

    def price(self, asset: Asset) -> Price | None:
        from ..policy import Price

        found = self._coins.get(asset.symbol)
        return Price(found, 0, int(time.time())) if found else None


def pretend(coins: Mapping[str, int]) -> PriceSource | None:
    """A price source of a sandbox, by symbols, in millionths of a dollar for a whole coin; None for none."""
    return _Pretend(coins) if coins else None
