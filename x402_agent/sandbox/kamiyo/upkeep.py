"""What an operator does with the database: clean up, sum up, count, export, start over. No payment passes here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .database import Database

__all__ = ["analytics", "cleanup"]


def cleanup(database: Database, now: str) -> int:
    """Payments whose time is over become expired, their tokens go; how many. On PostgreSQL its own function does it."""
    if database.engine == "postgresql":
        return int(database.rows("select cleanup_expired_x402_payments() as n")[0]["n"])
    with database.transaction():
        database.rows("delete from x402_tokens where expires_at <= ?", now)
        done = database.rows(
            "update x402_payments set status = 'expired', updated_at = ?"
            " where status in ('pending', 'verified') and expires_at <= ? returning id",
            now, now,
        )  # fmt: skip
    return len(done)


def analytics(database: Database, now: str) -> None:
    """Sum up the hour before this one, chain by chain; doing it again changes nothing."""
    if database.engine == "postgresql":
        database.rows("select update_x402_analytics()")
        return
    upto = now[:13] + ":00:00.000"
    since = (datetime.fromisoformat(upto) - timedelta(hours=1)).isoformat(" ", "milliseconds")
    micros = "sum(cast(round(amount_usdc * 1000000) as integer))"
    database.rows(
        "insert into x402_analytics"
        " (hour_bucket, chain, total_payments, total_amount_usdc, total_requests, unique_payers, average_payment_usdc)"
        " select ?, chain, sum(payments), printf('%.6f', sum(amount) / 1000000.0), sum(requests), sum(payers),"
        " case when sum(payments) > 0 then printf('%.6f', sum(amount) / 1000000.0 / sum(payments)) end"
        f" from (select chain, count(*) as payments, {micros} as amount, 0 as requests, count(distinct from_address) as payers"
        " from x402_payments where created_at >= ? and created_at < ? group by chain"
        " union all select p.chain, 0, 0, count(*), 0 from x402_usage u join x402_payments p on p.id = u.payment_id"
        " where u.created_at >= ? and u.created_at < ? group by p.chain) group by chain"
        " on conflict (hour_bucket, chain) do update set total_payments = excluded.total_payments,"
        " total_amount_usdc = excluded.total_amount_usdc, total_requests = excluded.total_requests,"
        " unique_payers = excluded.unique_payers, average_payment_usdc = excluded.average_payment_usdc",
        since, since, upto, since, upto,
    )  # fmt: skip
