"""This seller's database, and the jobs that its operators run. No payment passes here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from ..books import Books

__all__ = ["X402PayBooks"]


class X402PayBooks(Books):
    """Hourly and daily revenue are views on both engines: nothing has to be summed up, so twice is once."""

    schema = "x402_x402pay"
    package = __package__
    tables = (
        "users", "content", "payments", "access_grants", "api_keys", "audit_logs", "payment_events", "x402_challenges",
        "agent_detections", "payment_nonces", "webhooks", "webhook_deliveries",
    )  # fmt: skip

    def cleanup(self) -> int:
        """Challenges whose time is over become expired, nonces whose time is over go; how many of both."""
        now = self.now()
        with self.database.transaction():
            gone = self.database.rows("delete from payment_nonces where expires_at <= ? returning id", now)
            over = self.database.rows("update x402_challenges set status = 'expired' where status = 'pending' and expires_at <= ? returning id", now)
        return len(gone) + len(over)

    def analytics(self) -> list[dict[str, Any]]:
        """The hours of the last day, newest first."""
        since = (datetime.fromisoformat(self.now()) - timedelta(days=1)).strftime("%Y-%m-%d %H:00:00")
        return self.database.rows(
            "select bucket, asset, sum(payments) as payments, sum(amount) as amount, sum(agent_payments) as agent_payments"
            " from revenue_hourly where bucket >= ? group by bucket, asset order by bucket desc, asset",
            since,
        )

    def facts(self) -> dict[str, Any]:
        """Payments by state, what was paid in each asset, what opens now, what is for sale."""
        states = self.database.rows("select status, count(*) as n from payments group by status order by status")
        paid = self.database.rows("select asset, sum(amount) as n from payments where status = 'confirmed' group by asset order by asset")
        grants = self.database.one("select count(*) as n from access_grants where revoked_at is null and (expires_at is null or expires_at > ?)", self.now())
        content = self.database.rows("select status, count(*) as n from content group by status order by status")
        return {
            "payments": {row["status"]: int(row["n"]) for row in states},
            "revenue": {row["asset"]: str(row["n"]) for row in paid},
            "active_grants": int(grants["n"]) if grants else 0,
            "content": {row["status"]: int(row["n"]) for row in content},
        }
