"""This seller's database, and the jobs that its operators run: what is over expires, old lines of the log go, sums of a day."""

from __future__ import annotations

import time
from typing import Any

from ...database import Pool
from ..books import Books, moment, stamp

__all__ = ["LIFE", "MonitorBooks"]

LIFE = 86_400  # seconds that an invoice is watched
_LATE = 600  # seconds after that in which a payment that came in time may still become final
_DAY = 86_400


class MonitorBooks(Books):
    """The tables as published, one of ours beside them: what the shop's invoices are for."""

    schema = "x402_monitor"
    package = __package__
    tables = ("payments", "payment_logs", "shop_orders")

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.pool = Pool(self.database, url, self.schema)

    def close(self) -> None:
        """Let go of every connection."""
        self.pool.close()
        self.database.close()  # where the pool has renewed it, it was opened for an operator

    def now(self) -> str:
        """The machine's time, or that of the newest line of the log, whose seller's clock may be ahead of it."""
        newest = self.database.one("select max(created_at) as t from payment_logs")
        return max(stamp(time.time()), stamp(moment(newest["t"])) if newest and newest["t"] else "")

    def cleanup(self) -> int:
        """Invoices that nobody paid within their day expire; how many."""
        now = self.now()
        with self.database.transaction():
            over = self.database.rows(
                "update payments set status = 'EXPIRED' where status = 'PENDING' and created_at <= ? returning id", stamp(moment(now) - LIFE - _LATE)
            )
            logged = "insert into payment_logs (payment_id, event_type, message, created_at) values (?, 'expired', 'nobody paid', ?)"
            self.database.many(logged, [(each["id"], now) for each in over])
        return len(over)

    def cleanup_logs(self, _days: int) -> int:
        """Lines of the log older than so many days go; how many."""
        old = stamp(moment(self.now()) - _days * _DAY)
        return len(self.database.rows("delete from payment_logs where created_at < ? returning id", old))

    def analytics(self) -> list[dict[str, Any]]:
        """What was completed on each of the last seven days, newest first; counting it changes nothing."""
        day = "substr(completed_at, 1, 10)" if self.database.engine == "sqlite" else "to_char(completed_at, 'YYYY-MM-DD')"
        return self.database.rows(
            f"select {day} as day, count(*) as payments, sum(cast(round(received_amount_usdt * 1000000) as bigint)) as micros"
            f" from payments where status = 'COMPLETED' and completed_at >= ? group by {day} order by {day} desc",
            stamp(moment(self.now()) - 7 * _DAY),
        )

    def facts(self) -> dict[str, Any]:
        """Payments by state, what was received, callbacks that nobody took."""
        states = self.database.rows("select status, count(*) as n from payments group by status order by status")
        received = self.database.one("select coalesce(sum(cast(round(received_amount_usdt * 1000000) as bigint)), 0) as n from payments")
        lost = self.database.one("select count(*) as n from payments where status = 'COMPLETED' and callback_url <> '' and callback_success = 0")
        return {
            "payments": {str(row["status"]).lower(): int(row["n"]) for row in states},
            "total_usdt": f"{int(received['n'] if received else 0) / 1_000_000:.6f}",
            "failed_callbacks": int(lost["n"] if lost else 0),
        }
