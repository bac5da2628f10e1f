"""This seller's database, and the jobs that its operators run. No payment passes here."""

from __future__ import annotations

from typing import Any

from ...database import Pool
from ..books import Books, Migration
from .policies import migration

__all__ = ["LilyBooks"]


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
        self.pool = Pool(self.database, url, self.schema)

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

    def analytics(self) -> list[dict[str, Any]]:
        """The sums of the last week's days, newest first."""
        return self.database.rows("select date, service_id, service_type, total_requests, successful_payments, failed_payments, total_revenue, unique_wallets"
                                  " from x402_analytics order by date desc, service_id, service_type limit 100")  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Sessions by state, what is left in them, credits, transactions by what they were for."""
        sessions = self.database.rows("select status, count(*) as n, sum(remaining_amount) as m from x402_payment_sessions group by status order by status")
        balances = self.database.one("select count(*) as n, coalesce(sum(balance), 0) as m from x402_payment_credits")
        noted = self.database.rows("select purpose, count(*) as n from x402_transactions group by purpose order by purpose")
        return {
            "sessions": {row["status"]: int(row["n"]) for row in sessions},
            "unused_usd": {row["status"]: f"{int(row['m']) / 1_000_000:.6f}" for row in sessions},
            "credits": {"wallets": int(balances["n"]), "usd": f"{int(balances['m']) / 1_000_000:.6f}"} if balances else {},
            "transactions": {row["purpose"]: int(row["n"]) for row in noted},
        }
