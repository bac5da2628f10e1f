"""This seller's database, and the jobs that its operators run: hourly clean-up, hourly sums. No payment passes here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ..books import Books

__all__ = ["KamiyoBooks"]

_MICROS = "sum(cast(round(amount_usdc * 1000000) as integer))"


class KamiyoBooks(Books):
    """On PostgreSQL its own functions do the two jobs, on SQLite the same statements from here."""

    schema = "x402_kamiyo"
    package = __package__
    tables = ("x402_payments", "x402_tokens", "x402_usage", "x402_analytics", "X402Tenant", "X402ApiKey", "X402Verification")

    def cleanup(self) -> int:
        """Payments whose time is over become expired, their tokens go; how many payments."""
        if self.database.engine == "postgresql":
            return int(self.database.rows("select cleanup_expired_x402_payments() as n")[0]["n"])
        now = self.now()
        with self.database.transaction():
            self.database.rows("delete from x402_tokens where expires_at <= ?", now)
            done = self.database.rows(
                "update x402_payments set status = 'expired', updated_at = ?"
                " where status in ('pending', 'verified') and expires_at <= ? returning id",
                now, now,
            )  # fmt: skip
        return len(done)

    def analytics(self) -> list[dict[str, Any]]:
        """Chain by chain; doing it again changes nothing."""
        now = self.now()
        if self.database.engine == "postgresql":
            self.database.rows("select update_x402_analytics()")
        else:
            self._sum_up(now)
        day = (datetime.fromisoformat(now) - timedelta(days=1)).isoformat(" ", "milliseconds")
        return self.hours(day)

    def hours(self, since: str) -> list[dict[str, Any]]:
        """The hourly sums since a time, newest first."""
        return self.database.rows(
            "select hour_bucket, chain, total_payments, total_amount_usdc, total_requests, unique_payers, average_payment_usdc"
            " from x402_analytics where hour_bucket >= ? order by hour_bucket desc, chain",
            since,
        )

    def facts(self) -> dict[str, Any]:
        """Payments by state, what was paid, what is active, the last day by chain."""
        states = self.database.rows("select status, count(*) as n from x402_payments group by status order by status")
        paid = self.database.one("select coalesce(sum(cast(round(amount_usdc * 1000000) as bigint)), 0) as n from x402_payments")
        active = self.database.rows("select count(*) as n from v_x402_active_payments")
        return {
            "payments": {row["status"]: int(row["n"]) for row in states},
            "total_usdc": f"{int(paid['n'] if paid else 0) / 1_000_000:.6f}",
            "active_payments": int(active[0]["n"]),
            "last_24_hours": [{name: str(value) for name, value in row.items()} for row in self.database.rows("select * from v_x402_stats_24h")],
        }

    def _sum_up(self, now: str) -> None:
        upto = now[:13] + ":00:00.000"
        since = (datetime.fromisoformat(upto) - timedelta(hours=1)).isoformat(" ", "milliseconds")
        self.database.rows(
            "insert into x402_analytics"
            " (hour_bucket, chain, total_payments, total_amount_usdc, total_requests, unique_payers, average_payment_usdc)"
            " select ?, chain, sum(payments), printf('%.6f', sum(amount) / 1000000.0), sum(requests), sum(payers),"
            " case when sum(payments) > 0 then printf('%.6f', sum(amount) / 1000000.0 / sum(payments)) end"
            f" from (select chain, count(*) as payments, {_MICROS} as amount, 0 as requests, count(distinct from_address) as payers"
            " from x402_payments where created_at >= ? and created_at < ? group by chain"
            " union all select p.chain, 0, 0, count(*), 0 from x402_usage u join x402_payments p on p.id = u.payment_id"
            " where u.created_at >= ? and u.created_at < ? group by p.chain) group by chain"
            " on conflict (hour_bucket, chain) do update set total_payments = excluded.total_payments,"
            " total_amount_usdc = excluded.total_amount_usdc, total_requests = excluded.total_requests,"
            " unique_payers = excluded.unique_payers, average_payment_usdc = excluded.average_payment_usdc",
            since, since, upto, since, upto,
        )  # fmt: skip
