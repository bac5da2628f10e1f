"""This seller's database, and the jobs that its operators run. No payment passes here."""

from __future__ import annotations

import uuid
from typing import Any

from ...database import Pool
from ..books import Books, Migration, moment, stamp
from .policies import migration

__all__ = ["FAILED", "LilyBooks"]

_DAY = 86_400
_CALLS = "purpose in ('call', 'credit', 'proof', 'refused')"  # what came with something to pay it
_PAYMENTS = "status = 'completed' and purpose in ('proof', 'session', 'credit_top_up')"  # money that came by the chain
FAILED = "status = 'failed' and error_code <> 'RATE_LIMITED'"  # who came too often keeps his money, and may come again with it


class LilyBooks(Books):
    """The six tables as published, and what the sandbox's clock is ahead. Any thread borrows a connection from `pool`."""

    schema = "x402_lily"
    package = __package__
    tables = (
        "x402_service_configs", "x402_payment_sessions", "x402_payment_credits", "x402_transactions", "x402_payment_authorizations", "x402_analytics",
        "webhooks", "webhook_deliveries", "x402_alerts",
    )  # fmt: skip

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.pool = Pool(self.database, url, self.schema, more=10)  # 20 in all, as published

    def close(self) -> None:
        """Let go of every connection."""
        self.pool.close()
        self.database.close()  # where the pool has renewed it, it was opened for an operator

    def migrations(self) -> tuple[Migration, ...]:
        """Those of the files, and on PostgreSQL who may do what there."""
        found = super().migrations()
        return found if self.database.engine == "sqlite" else tuple(sorted((*found, migration(3, self.schema))))

    def cleanup(self) -> int:
        """Sessions and authorisations whose time is over become expired; how many of both."""
        now = self.now()
        over = "status = 'expired', updated_at = ? where status = 'active' and expires_at <= ? returning id"
        with self.database.transaction():
            return sum(len(self.database.rows(f"update {table} set {over}", now, now)) for table in ("x402_payment_sessions", "x402_payment_authorizations"))

    def cleanup_logs(self, _days: int) -> int:
        """Calls that were refused, deliveries that are over and alerts older than so many days go; how many. What was paid stays, and today and yesterday, which are still summed up."""
        old = stamp(moment(self.now()) - max(_days, 2) * _DAY)
        over = ("x402_transactions where purpose = 'refused' and", "webhook_deliveries where status <> 'pending' and", "x402_alerts where")
        with self.database.transaction():
            return sum(len(self.database.rows(f"delete from {each} created_at < ? returning id", old)) for each in over)

    def analytics(self) -> list[dict[str, Any]]:
        """Sum up today and the day before; the sums of the last week's days, newest first."""
        now = self.now()
        with self.database.transaction():
            for ago in (1, 0):
                self._summed(stamp(moment(now) - ago * _DAY)[:10], now)
        return self.database.rows(
            "select date, service_id, service_type, total_requests, successful_payments, failed_payments, total_revenue, unique_wallets"
            " from x402_analytics where date > ? order by date desc, service_id, service_type", stamp(moment(now) - 7 * _DAY)[:10],
        )  # fmt: skip

    def _summed(self, day: str, now: str) -> None:
        """One day of each service, from its transactions: doing it again changes nothing."""
        count = "sum(case when {} then 1 else 0 end)"
        found = self.database.rows(
            f"select service_id, service_type, {count.format(_CALLS)} as calls, {count.format(_PAYMENTS)} as paid, {count.format(FAILED)} as failed,"
            f" sum(case when {_PAYMENTS} then amount else 0 end) as revenue, count(distinct case when status = 'completed' then wallet_address end) as wallets"
            " from x402_transactions where created_at >= ? and created_at <= ? group by service_id, service_type",
            f"{day} 00:00:00.000", f"{day} 23:59:59.999",
        )  # fmt: skip
        names = "total_requests, successful_payments, failed_payments, total_revenue, unique_wallets, updated_at"
        self.database.many(
            f"insert into x402_analytics (id, date, service_id, service_type, {names}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict (date, service_id, service_type)"
            f" do update set {', '.join(f'{each} = excluded.{each}' for each in names.split(', '))}",
            [(str(uuid.uuid4()), day, row["service_id"], row["service_type"], *(int(row[each]) for each in ("calls", "paid", "failed", "revenue", "wallets")), now) for row in found],
        )

    def facts(self) -> dict[str, Any]:
        """Sessions by state, what is left in them, credits, transactions by what they were for, webhooks that nobody took, the newest alerts."""
        sessions = self.database.rows("select status, count(*) as n, sum(remaining_amount) as m from x402_payment_sessions group by status order by status")
        balances = self.database.one("select count(*) as n, coalesce(sum(balance), 0) as m from x402_payment_credits")
        noted = self.database.rows("select purpose, count(*) as n from x402_transactions group by purpose order by purpose")
        alerts = self.database.rows("select created_at, kind, subject, words from x402_alerts order by created_at desc, id limit 20")
        lost = self.database.one("select count(*) as n from webhook_deliveries where status = 'failed'")
        return {
            "sessions": {row["status"]: int(row["n"]) for row in sessions},
            "unused_usd": {row["status"]: f"{int(row['m']) / 1_000_000:.6f}" for row in sessions},
            "credits": {"wallets": int(balances["n"]), "usd": f"{int(balances['m']) / 1_000_000:.6f}"} if balances else {},
            "transactions": {row["purpose"]: int(row["n"]) for row in noted},
            "failed_webhooks": int(lost["n"]) if lost else 0,
            "alerts": [{name: str(value) for name, value in each.items()} for each in alerts],
        }
