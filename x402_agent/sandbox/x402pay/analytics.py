"""What was earned, and by what: revenue by hour, day, week or month, and the content that was bought most."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .desk import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .books import X402PayBooks

__all__ = ["GRAINS", "Analytics"]

GRAINS: dict[str, Callable[[datetime], datetime]] = {
    "hour": lambda when: when,
    "day": lambda when: when.replace(hour=0),
    "week": lambda when: when.replace(hour=0) - timedelta(days=when.weekday()),
    "month": lambda when: when.replace(hour=0, day=1),
}
_USUAL = timedelta(days=30)


class Analytics:
    """`now` gives the seller's time as the database writes it. `owner` is a creator's id, "" everybody's."""

    def __init__(self, books: X402PayBooks, now: Callable[[], str]) -> None:
        self._database, self._now = books.database, now

    def revenue(self, owner: str, query: dict[str, list[str]]) -> dict[str, Any]:
        """`startDate`, `endDate` (a month until now), `granularity` (day): sums of each period in which something was paid. Raises Refusal."""
        grain = query.get("granularity", ["day"])[0]
        if grain not in GRAINS:
            raise Refusal(400, "BAD_REQUEST", f"granularity is one of {', '.join(GRAINS)}")
        start, end = self._span(query)
        rows = self._database.rows(
            "select bucket, asset, sum(payments) as payments, sum(amount) as amount, sum(creator_amount) as earned, sum(agent_payments) as agents"
            " from revenue_hourly where (creator_id = ? or ? = '') and bucket >= ? and bucket < ? group by bucket, asset order by bucket, asset",
            owner, owner, start.strftime("%Y-%m-%d %H:00:00"), end.strftime("%Y-%m-%d %H:%M:%S"),
        )  # fmt: skip
        found: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            period = GRAINS[grain](datetime.fromisoformat(row["bucket"])).strftime("%Y-%m-%dT%H:00:00Z")
            sums = found.setdefault((period, row["asset"]), [0, 0, 0, 0])
            for index, name in enumerate(("payments", "amount", "earned", "agents")):
                sums[index] += int(row[name])
        listed = [
            {"period": period, "asset": asset, "payments": count, "amount": str(amount), "creatorAmount": str(earned), "agentPayments": agents}
            for (period, asset), (count, amount, earned, agents) in sorted(found.items())
        ]  # fmt: skip
        totals: dict[str, int] = {}
        for row in rows:
            totals[row["asset"]] = totals.get(row["asset"], 0) + int(row["amount"])
        return {"granularity": grain, "revenue": listed, "total": {asset: str(amount) for asset, amount in totals.items()}}

    def top(self, owner: str, limit: int) -> dict[str, Any]:
        """What was bought most often, most first."""
        rows = self._database.rows(
            "select content_id, asset, sum(payments) as payments, sum(amount) as amount from content_performance_daily"
            " where (creator_id = ? or ? = '') group by content_id, asset order by sum(payments) desc, sum(amount) desc, content_id limit ?",
            owner, owner, limit,
        )  # fmt: skip
        return {
            "content": [{"contentId": row["content_id"], "asset": row["asset"], "payments": int(row["payments"]), "amount": str(row["amount"])} for row in rows]
        }

    def _span(self, query: dict[str, list[str]]) -> tuple[datetime, datetime]:
        """A day that is named alone is meant whole. Raises Refusal."""
        now = datetime.fromisoformat(self._now())
        try:
            end_text = query.get("endDate", [""])[0]
            end = _when(end_text) if end_text else now + timedelta(seconds=1)
            end += timedelta(days=1) if len(end_text) == len("2026-01-02") else timedelta()
            start = _when(query["startDate"][0]) if query.get("startDate") else end - _USUAL
        except (ValueError, OverflowError):
            raise Refusal(400, "BAD_REQUEST", "startDate and endDate are ISO 8601") from None
        if start >= end:
            raise Refusal(400, "BAD_REQUEST", "startDate comes before endDate")
        return start, end


def _when(text: str) -> datetime:
    """ISO 8601 as naive UTC; raises ValueError, OverflowError."""
    found = datetime.fromisoformat(text)
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found
