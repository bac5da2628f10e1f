"""Tenants of the verification service: their keys (as SHA-256 alone), their month's quota, what they had verified."""

from __future__ import annotations

import json
import secrets
from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import SettingsError
from ..books import stamp
from .store import digest, usdc

if TYPE_CHECKING:
    from collections.abc import Callable

    from .books import KamiyoBooks
    from .sight import Seen

__all__ = ["TIERS", "Tenant", "Tenants", "Tier"]

SCOPES = ("verify", "settle", "analytics")


class Tier(NamedTuple):
    """What a tier allows: calls a minute and an hour, verifications a month (-1: any number), chains."""

    minute: int
    hour: int
    month: int
    chains: tuple[str, ...]


_ALL = ("solana", "base", "ethereum", "polygon", "avalanche", "sei", "iotex", "peaq", "arbitrum", "optimism", "bsc")
TIERS = {
    "none": Tier(5, 50, -1, _ALL[:2]),
    "free": Tier(10, 100, 1_000, _ALL[:2]),
    "starter": Tier(100, 5_000, 50_000, _ALL[:3]),
    "pro": Tier(500, 50_000, 500_000, _ALL[:6]),
    "enterprise": Tier(2_000, 200_000, -1, _ALL),
}


class Tenant(NamedTuple):
    """Who calls: with which key, in which tier. `payee` is whom its customers pay, "" for the service's own merchant."""

    id: str
    tier: str
    status: str
    limit: int
    used: int
    resets: str
    key: str
    scopes: tuple[str, ...]
    payee: str


class Tenants:
    """`clock` is the seller's, unix seconds."""

    def __init__(self, books: KamiyoBooks, clock: Callable[[], float]) -> None:
        self._database, self._clock = books.database, clock

    def now(self) -> str:
        """The seller's time."""
        return stamp(self._clock())

    def create(self, email: str, tier: str = "free", environment: str = "live", payee: str = "") -> tuple[str, str]:
        """A new tenant: its id and its first key, which is shown this once. Raises SettingsError."""
        if tier not in TIERS or tier == "none":
            raise SettingsError(f"no tier is called {tier[:40]!r}", rule="free, starter, pro, enterprise", hint='tier="free"')
        identity, now = secrets.token_hex(12), self.now()
        made = self._database.one(
            'insert into "X402Tenant" (id, email, tier, "basePaymentAddress", "monthlyVerificationLimit", "quotaResetDate",'
            ' "enabledChains", "createdAt", "updatedAt") values (?, ?, ?, ?, ?, ?, ?, ?, ?)'
            " on conflict do nothing returning id",
            identity, email, tier, payee or None, TIERS[tier].month, _month(now), json.dumps(TIERS[tier].chains), now, now,
        )  # fmt: skip
        if made is None:
            raise SettingsError("there is a tenant with this address", rule="one tenant for an e-mail address, and for a payment address")
        return identity, self.key(identity, environment)

    def key(self, tenant: str, environment: str = "live", scopes: tuple[str, ...] = SCOPES) -> str:
        """A new key, shown this once: x402_live_ or x402_test_ and 43 characters. Raises SettingsError."""
        if environment not in ("live", "test"):
            raise SettingsError(f"no environment is called {environment[:40]!r}", rule="live or test", hint='environment="test"')
        made = f"x402_{environment}_{secrets.token_urlsafe(32)}"
        self._database.rows(
            'insert into "X402ApiKey" (id, "tenantId", "keyHash", environment, scopes, "createdAt") values (?, ?, ?, ?, ?, ?)',
            secrets.token_hex(12), tenant, digest(made), environment, json.dumps(scopes), self.now(),
        )  # fmt: skip
        return made

    def revoke(self, key: str) -> None:
        """A key that opens nothing any more."""
        self._database.rows('update "X402ApiKey" set "isActive" = 0, "revokedAt" = ? where "keyHash" = ?', self.now(), digest(key))

    def suspend(self, tenant: str) -> None:
        """A tenant whose keys are refused."""
        self._database.rows("update \"X402Tenant\" set status = 'suspended' where id = ?", tenant)

    def who(self, key: str) -> Tenant | None:
        """Whose key this is, with a new month's quota once the old one is over."""
        if not 50 <= len(key) <= 100:
            return None
        row = self._database.one(
            'select t.id, t.tier, t.status, t."monthlyVerificationLimit" as month, t."monthlyVerificationsUsed" as used,'
            ' t."quotaResetDate" as resets, t."basePaymentAddress" as payee, k.id as key, k.scopes'
            ' from "X402ApiKey" k join "X402Tenant" t on t.id = k."tenantId" where k."keyHash" = ? and k."isActive" = 1',
            digest(key),
        )  # fmt: skip
        if row is None:
            return None
        if row["resets"] <= self.now():
            over, row["used"], row["resets"] = row["resets"], 0, _month(self.now())
            self._database.rows(
                'update "X402Tenant" set "monthlyVerificationsUsed" = 0, "quotaResetDate" = ? where id = ? and "quotaResetDate" = ?',
                row["resets"], row["id"], over,  # once, whichever process is first
            )  # fmt: skip
        return Tenant(row["id"], row["tier"], row["status"], int(row["month"]), int(row["used"]), str(row["resets"]), row["key"],
                      tuple(json.loads(row["scopes"])), row["payee"] or "")  # fmt: skip

    def take(self, tenant: Tenant) -> bool:
        """Use one verification of the month; False when none is left."""
        done = self._database.rows(
            'update "X402Tenant" set "monthlyVerificationsUsed" = "monthlyVerificationsUsed" + 1, "updatedAt" = ?'
            ' where id = ? and ("monthlyVerificationLimit" < 0 or "monthlyVerificationsUsed" < "monthlyVerificationLimit") returning id',
            self.now(), tenant.id,
        )  # fmt: skip
        return bool(done)

    def verified(self, tenant: Tenant, tx: str, chain: str, seen: Seen | None, why: str, took: int, caller: str) -> None:
        """Note one verification, and that the key was used; `took` in milliseconds."""
        now = self.now()
        self._database.rows(
            'insert into "X402Verification" ("tenantId", "txHash", chain, success, "amountUsdc", "errorCode", "errorMessage", "apiKeyId",'
            ' "ipAddress", "responseTimeMs", "createdAt") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)',
            tenant.id, tx, chain, int(seen is not None), usdc(seen.amount) if seen else None, "PAYMENT_INVALID" if why else None,
            why or None, tenant.key, caller[:45], took, now,
        )  # fmt: skip
        self._database.rows('update "X402ApiKey" set "lastUsedAt" = ? where id = ?', now, tenant.key)

    def analytics(self, tenant: Tenant, days: int) -> dict[str, Any]:
        """What a tenant had verified in so many days, in the service's words."""
        since = (datetime.fromisoformat(self.now()) - timedelta(days=days)).isoformat(" ", "milliseconds")
        hour = 'substr(cast("createdAt" as varchar(30)), 1, 13)'
        rows = self._database.rows(
            f'select {hour} as hour, chain, count(*) as n, sum(success) as good, coalesce(sum("responseTimeMs"), 0) as ms,'
            ' coalesce(sum(cast(round("amountUsdc" * 1000000) as bigint)), 0) as micros'
            f' from "X402Verification" where "tenantId" = ? and "createdAt" > ? group by {hour}, chain',
            tenant.id, since,
        )  # fmt: skip
        total = _Sum()
        days_of: dict[str, _Sum] = defaultdict(_Sum)
        chains: dict[str, _Sum] = defaultdict(_Sum)
        hours: dict[int, _Sum] = defaultdict(_Sum)
        for row in rows:
            for each in (total, days_of[row["hour"][:10]], chains[row["chain"]], hours[int(row["hour"][11:])]):
                each.add(row)
        return {
            "total_verifications": total.n,
            "trend_data": [{"date": day, "verifications": each.n, "successful": each.good} for day, each in sorted(days_of.items())],
            "chain_data": [{"chain": chain, "verifications": each.n, "successful": each.good, "amount_usdc": each.micros / 1_000_000}
                           for chain, each in sorted(chains.items())],
            "success_rate": round(100 * total.good / total.n, 2) if total.n else 0.0,
            "response_time_data": [{"hour": hour, "avg_ms": hours[hour].mean} for hour in range(24)],
            "avg_response_time_ms": total.mean,
        }  # fmt: skip


class _Sum:
    """Verifications added up: how many, how many were good, milliseconds, atomic units."""

    def __init__(self) -> None:
        self.n = self.good = self.ms = self.micros = 0

    def add(self, row: dict[str, Any]) -> None:
        self.n += int(row["n"])
        self.good += int(row["good"])
        self.ms += int(row["ms"])
        self.micros += int(row["micros"])

    @property
    def mean(self) -> float:
        return round(self.ms / self.n, 1) if self.n else 0.0


def _month(now: str) -> str:
    """The first moment of the month after this one."""
    first = datetime.fromisoformat(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return (first + timedelta(days=32)).replace(day=1).isoformat(" ", "milliseconds")
