"""What an operator ought to see: payments that fail, sessions that are abused, spending that is unusual, credit that runs out.

One row for a subject in one window of time, written in the transaction of what crossed the threshold. What is counted per use of a session or
spent per hour is counted in memory, by each process for itself, so that a call costs no question to the database until it is close.
"""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..books import stamp
from .asking import dollars
from .books import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...database import Database

__all__ = ["Alerts", "Thresholds"]

_HOUR, _WEEK = 3600, 604_800
_NEVER = 10**30  # a sum that nobody spends
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which number on. `failed` payments of one wallet in `window` seconds; `refused` uses of one session in the same time, or uses from so many
    `addresses` in an hour; spending of an hour that is `times` the wallet's usual hour (of the week before), and `floor` millionths of a dollar
    or more; credit for fewer than `calls` calls."""

    failed: int = 5
    window: int = 600
    refused: int = 10
    addresses: int = 4
    times: int = 5
    floor: int = 5_000_000
    calls: int = 10


class _Window(Generic[V]):
    """What is counted in one window of time: the next one begins with nothing."""

    def __init__(self) -> None:
        self._number, self._kept = 0, dict[str, V]()

    def of(self, number: int) -> dict[str, V]:
        if number != self._number:
            self._number, self._kept = number, {}
        return self._kept


class Alerts:
    """`clock` is the seller's, in unix seconds; `tell` is `Hooks.tell`. A service is its id and type, amounts are millionths of a dollar."""

    def __init__(
        self, clock: Callable[[], float], tell: Callable[[Database, tuple[str, str], str, dict[str, Any]], None], thresholds: Thresholds | None = None
    ) -> None:
        self._clock, self._tell, self.thresholds = clock, tell, thresholds or Thresholds()
        self._addresses: _Window[set[str]] = _Window()  # by session: where it came from in this hour
        self._refusals: _Window[int] = _Window()  # by session: how often it was refused in this window
        self._spending: _Window[tuple[int, int]] = _Window()  # by wallet: what it spent in this hour, and from which sum on that is looked at again
        self._lock = threading.Lock()

    def failed(self, link: Database, wallet: str, service: tuple[str, str]) -> None:
        """A payment of a wallet was refused, and stands among the transactions."""
        now, most = self._clock(), self.thresholds.failed
        found = link.one(
            f"select count(*) as n from x402_transactions where wallet_address = ? and {FAILED} and created_at > ?", wallet, stamp(now - self.thresholds.window)
        )
        count = int(found["n"]) if found else 0
        if count >= most:
            words = f"{count} payments of this wallet failed within {self.thresholds.window // 60} minutes"
            self._raise(link, "failed_payments", wallet, service, words, (count, most), self.thresholds.window)

    def refused(self, link: Database, session: str, service: tuple[str, str]) -> None:
        """A session was shown that opens nothing any more, or by somebody else."""
        with self._lock:
            counts = self._refusals.of(int(self._clock()) // self.thresholds.window)
            count = counts[session] = counts.get(session, 0) + 1
        if count >= self.thresholds.refused:
            words = f"this session was refused {count} times within {self.thresholds.window // 60} minutes"
            self._raise(link, "session_abuse", session, service, words, (count, self.thresholds.refused), self.thresholds.window)

    def used(self, link: Database, session: str, service: tuple[str, str], address: str) -> None:
        """A session bought something from an address."""
        with self._lock:
            found = self._addresses.of(int(self._clock()) // _HOUR).setdefault(session, set())
            if address in found:
                return
            found.add(address)
            count = len(found)
        if count >= self.thresholds.addresses:
            words = f"this session was used from {count} addresses within an hour"
            self._raise(link, "session_abuse", session, service, words, (count, self.thresholds.addresses), _HOUR)

    def spent(self, link: Database, wallet: str, service: tuple[str, str], amount: int) -> None:
        """A wallet spent so much on a call."""
        hour = int(self._clock()) // _HOUR
        with self._lock:
            spending = self._spending.of(hour)
            total, look = spending.get(wallet, (0, self.thresholds.floor))
            total += amount
            spending[wallet] = (total, look)
        if total >= look:
            limit = max(self.thresholds.floor, self.thresholds.times * self._usual(link, wallet, hour))
            with self._lock:  # what is usual stays what it is for this hour
                spending[wallet] = (spending[wallet][0], limit if total < limit else _NEVER)
            if total >= limit:
                self._raise(link, "unusual_spending", wallet, service, f"this wallet spent {dollars(total)} USD within an hour", (total, limit), _HOUR)

    def credit(self, link: Database, wallet: str, service: tuple[str, str], left: int, price: int) -> None:
        """A call for `price` was paid from a balance, of which this is left: its owner's service is told when it crosses the threshold."""
        limit = self.thresholds.calls * price
        if left < limit <= left + price:
            words = f"the credit of this wallet is {dollars(left)} USD"
            if self._raise(link, "low_credit", wallet, service, words, (left, limit), _HOUR):
                self._tell(link, service, "credit.low", {"wallet": wallet, "balance": dollars(left), "threshold": dollars(limit)})

    def _usual(self, link: Database, wallet: str, hour: int) -> int:
        """What a wallet spent in an hour of the week before, on the average."""
        start = hour * _HOUR
        found = link.one(
            "select coalesce(sum(amount), 0) as n from x402_transactions where wallet_address = ? and created_at >= ? and created_at < ?"
            " and status = 'completed' and purpose in ('proof', 'call', 'credit')",
            wallet, stamp(start - _WEEK), stamp(start),
        )  # fmt: skip
        return int(found["n"]) * _HOUR // _WEEK if found else 0

    def _raise(self, link: Database, kind: str, subject: str, service: tuple[str, str], words: str, numbers: tuple[int, int], window: int) -> bool:
        """Whether the row is new: in one window of time a subject has one of a kind."""
        now = self._clock()
        since = stamp(int(now) // window * window)
        return bool(link.rows(
            "insert into x402_alerts (id, kind, subject, service_id, service_type, words, measured, threshold, since, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " on conflict (kind, subject, service_id, since) do nothing returning id",
            str(uuid.uuid4()), kind, subject, *service, words, *numbers, since, stamp(now),
        ))  # fmt: skip
