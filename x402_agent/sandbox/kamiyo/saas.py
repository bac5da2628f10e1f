"""The verification service, below `/api/v1/x402`: is this transaction a payment? It reads the chain and sells nothing.

Stricter than deployed ones: expected_amount, scopes and whose money it was are held against the transaction.
"""

from __future__ import annotations

import hmac
import re
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ...dialects import strict
from ...errors import ChallengeInvalid, SettingsError
from ..books import stamp
from ..limits import Limiter
from ..messages import Answer, json_answer
from ..remembered import Remembered
from .sight import MICRO, Seen, Unpaid, dollars
from .tenants import TIERS, Tenant, Tenants

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..ground import Ground
    from ..limits import Counts
    from ..messages import Request
    from .books import KamiyoBooks
    from .quirks import Quirks
    from .sight import Sight

__all__ = ["ROOT", "Saas"]

ROOT = "/api/v1/x402/"
UPGRADE = "https://kamiyo.ai/pricing"
KNOWN = ("solana", "base", "ethereum", "polygon", "arbitrum", "optimism", "avalanche", "bsc")
TWINS = {"base-sepolia": "base", "solana-devnet": "solana"}  # what a test network counts as
CACHE, CACHED = 3600, 10_000  # seconds, entries
FAILURES, PAUSE = 5, 60  # of the node, before it is left alone for so many seconds
_EVM = re.compile(r"0x[0-9a-fA-F]{64}").fullmatch
_SOLANA = re.compile(r"[1-9A-HJ-NP-Za-km-z]{87,88}").fullmatch


class Rejected(Exception):
    """An answer that ends a request."""

    def __init__(self, status: int, code: str, words: str, **more: object) -> None:
        super().__init__(words)
        self.answer = json_answer(status, {"success": False, "error": words, "errorCode": code, **more})


class Saas:
    """One service over one ground. `tenants` opens and closes accounts; a browser's session there is none."""

    def __init__(self, ground: Ground, sight: Sight, books: KamiyoBooks, admin_key: str) -> None:
        self._ground, self._sight, self._books, self._admin_key = ground, sight, books, admin_key
        self.tenants = Tenants(books, ground.now)
        self._limits = Limiter(ground.now)
        self._cache: Remembered[dict[str, Any]] = Remembered(CACHE, CACHED)
        self._failures, self._closed_until = 0, 0

    def count_in(self, counts: Counts) -> None:
        """Count calls elsewhere: in Redis, for several processes."""
        self._limits = Limiter(self._ground.now, counts)

    def handle(self, request: Request, quirks: Quirks) -> Answer:
        """What happens to a request below ROOT."""
        name = request.path.removeprefix(ROOT)
        answers: dict[str, tuple[str, Callable[[Request, Quirks], Answer]]] = {
            "verify": ("POST", self._verify), "usage": ("GET", self._usage), "supported-chains": ("GET", self._chains),
            "analytics": ("GET", self._analytics), "health": ("GET", self._health), "admin/create-tenant": ("POST", self._create),
        }  # fmt: skip
        if name == "keys" or name.startswith("keys/"):
            return json_answer(401, {"error": "Unauthorized"})  # these want a browser's session
        if name not in answers:
            return json_answer(404, {"error": "Not found"})
        method, answer = answers[name]
        if request.method != method:
            return json_answer(405, {"error": "Method not allowed"}, ("allow", method))
        if quirks.saas_down and name != "supported-chains":
            return self._down(name)
        if quirks.saas_error and "authorization" in request.headers:
            return json_answer(quirks.saas_error, {"error": "Internal server error"})
        try:
            return answer(request, quirks)
        except Rejected as rejected:
            return rejected.answer

    def _down(self, name: str) -> Answer:
        if name == "health":
            broken = {"database": {"status": "unhealthy", "latency_ms": 0}, "verifier": {"status": "unhealthy", "mode": "http_api"}}
            return json_answer(503, {"status": "unhealthy", "checks": broken, "recentErrors": FAILURES})
        return json_answer(503, {"error": "Service unavailable"})

    # -- who calls, and how often ---------------------------------------------------------------------------------------

    def _caller(self, request: Request, scope: str, *, needed: bool = False) -> Tenant | None:
        """The tenant whose key was shown, None for nobody's; raises Rejected."""
        kind, _, key = request.headers.get("authorization", "").partition(" ")
        if not kind and not needed:
            return None
        tenant = self.tenants.who(key.strip()) if kind.lower() == "bearer" else None
        if tenant is None:
            raise Rejected(401, "INVALID_API_KEY", "Invalid API key")
        if tenant.status != "active":
            raise Rejected(401, "TENANT_SUSPENDED", f"Tenant account is {tenant.status}")
        if scope not in tenant.scopes:
            raise Rejected(403, "SCOPE_MISSING", f"This key may not {scope}")
        return tenant

    def _limited(self, request: Request, tenant: Tenant | None, quirks: Quirks) -> tuple[Answer | None, tuple[tuple[str, str], ...]]:
        """A 429 when somebody calls too often, and the header lines of every answer."""
        tier = TIERS[tenant.tier if tenant else "none"]
        who = f"tenant {tenant.id}" if tenant else f"address {request.client}"
        verdicts = [self._limits.call(who, limit, seconds) for limit, seconds in ((tier.minute, 60), (tier.hour, 3600))]
        shown = next((each for each in verdicts if not each.allowed), verdicts[0])
        reset = shown.ends if quirks.in_seconds else shown.ends * 1000
        lines = (("X-RateLimit-Limit", str(shown.limit)), ("X-RateLimit-Remaining", str(shown.remaining)), ("X-RateLimit-Reset", str(reset)))
        if shown.allowed:
            return None, lines
        wait = max(1, shown.ends - int(self._ground.now()))
        body = {"error": "Rate limit exceeded", "message": f"{shown.limit} calls are allowed", "retryAfter": wait, "resetTime": stamp(shown.ends).replace(" ", "T") + "Z"}
        return json_answer(429, body, ("Retry-After", str(wait)), *lines), lines

    # -- POST /verify ---------------------------------------------------------------------------------------------------

    def _verify(self, request: Request, quirks: Quirks) -> Answer:
        tenant = self._caller(request, "verify")
        refused, lines = self._limited(request, tenant, quirks)
        if refused is not None:
            return refused
        try:
            return self._judged(request, tenant, quirks).plus(*lines)
        except Rejected as rejected:
            return rejected.answer.plus(*lines)

    def _judged(self, request: Request, tenant: Tenant | None, quirks: Quirks) -> Answer:
        tx, chain, expected = self._asked(request, tenant, quirks)
        key = f"{tenant.id if tenant else ''} {chain} {tx.lower() if tx.startswith('0x') else tx}"
        known = self._cache.get(key, self._ground.now()) if tenant else None
        if known is not None and (not expected or known["amountUsdc"] * MICRO >= expected):
            return json_answer(200, known)
        self._afford(tenant, quirks)
        began = time.perf_counter()
        seen, why = self._look(tx, chain, expected, tenant, quirks)
        took = int((time.perf_counter() - began) * 1000)
        if tenant is not None:
            if seen is not None and not self.tenants.take(tenant):
                raise self._exhausted()
            self.tenants.verified(tenant, tx, chain, seen, why, took, request.client)
        if seen is None:
            return json_answer(400, {"error": why, "errorCode": "PAYMENT_INVALID"})  # without `success`, as deployed
        document = {
            "success": True, "txHash": seen.tx, "chain": chain, "amountUsdc": seen.amount / MICRO, "fromAddress": seen.sender,
            "toAddress": seen.to, "confirmations": seen.confirmations, "riskScore": 0.1, "error": None, "errorCode": None,
        }  # fmt: skip
        if tenant is not None and not quirks.forgetful:
            self._remember(key, document)
        return json_answer(200, document)

    def _asked(self, request: Request, tenant: Tenant | None, quirks: Quirks) -> tuple[str, str, int]:
        """Transaction, chain and expected amount in atomic units; raises Rejected."""
        try:
            body, raw, _ = strict.parse(request.body, "")
            name = "expected_amount" if "expected_amount" in body else "expectedAmount"
            expected = Decimal(raw[name]) if isinstance(body.get(name), float) else body.get(name)
        except (ChallengeInvalid, ArithmeticError):  # 1e-99999999999999999999 is no Decimal
            raise Rejected(400, "MISSING_FIELDS", "Missing required fields") from None
        tx, chain = body.get("tx_hash") or body.get("txHash"), body.get("chain")
        if not isinstance(tx, str) or not isinstance(chain, str):
            raise Rejected(400, "MISSING_FIELDS", "Missing required fields")
        if chain not in (*KNOWN, self._sight.chain):
            raise Rejected(400, "INVALID_CHAIN", f"Invalid chain: {chain[:40]}")
        if not (_SOLANA if TWINS.get(chain, chain) == "solana" else _EVM)(tx):
            raise Rejected(400, "INVALID_TX_HASH", "Invalid transaction hash")
        if TWINS.get(chain, chain) not in TIERS[tenant.tier if tenant else "none"].chains:
            raise Rejected(403, "CHAIN_NOT_ENABLED", f"Chain {chain} is not enabled for this tier", upgradeUrl=UPGRADE)
        return tx, chain, 0 if expected is None or quirks.careless else _amount(expected)

    def _afford(self, tenant: Tenant | None, quirks: Quirks) -> None:
        if tenant is None:
            return
        limit = tenant.limit if quirks.saas_quota < 0 else quirks.saas_quota
        if 0 <= limit <= tenant.used:
            raise self._exhausted()

    def _exhausted(self) -> Rejected:
        return Rejected(429, "QUOTA_EXCEEDED", "Monthly verification quota exceeded", upgradeUrl=UPGRADE)

    def _look(self, tx: str, chain: str, expected: int, tenant: Tenant | None, quirks: Quirks) -> tuple[Seen | None, str]:
        """The payment, or why it is none; raises Rejected while the node is left alone."""
        now = int(self._ground.now())
        if now < self._closed_until:
            raise Rejected(400, "VERIFICATION_FAILED", "Verification is not available now")
        try:
            if chain != self._sight.chain:
                raise Unpaid(f"Unsupported chain: {chain}")
            seen = self._sight.look(tx, quirks, tenant.payee if tenant else "")
            if expected > seen.amount:
                raise Unpaid(f"Payment amount too low: {dollars(seen.amount)} < {dollars(expected)}")
        except Unpaid as why:
            self._failures = 0
            return None, str(why)
        except Exception:
            self._failures += 1
            if self._failures >= FAILURES:
                self._failures, self._closed_until = 0, now + PAUSE
            raise Rejected(400, "VERIFICATION_FAILED", "Verification failed") from None
        self._failures = 0
        return seen, ""

    def _remember(self, key: str, document: dict[str, Any]) -> None:
        now = int(self._ground.now())
        at = stamp(now).replace(" ", "T") + "Z"
        more = {"cached": True, "timestamp": at, "verifiedAt": at, "message": "Payment was verified within the last hour"}
        self._cache.put(key, {**document, **more}, now)

    # -- the rest -------------------------------------------------------------------------------------------------------

    def _usage(self, request: Request, quirks: Quirks) -> Answer:
        tenant = self._caller(request, "verify", needed=True)
        refused, lines = self._limited(request, tenant, quirks)
        if refused is not None or tenant is None:
            return refused or json_answer(401, {})
        limit = tenant.limit if quirks.saas_quota < 0 else quirks.saas_quota
        left = -1 if limit < 0 else max(0, limit - tenant.used)
        percent = f"{100 * tenant.used / limit:.2f}" if limit > 0 else "0.00"
        document = {
            "tier": tenant.tier, "verifications_used": tenant.used, "verifications_limit": limit, "verifications_remaining": left,
            "quota_reset_date": tenant.resets.replace(" ", "T") + "Z", "enabled_chains": list(TIERS[tenant.tier].chains), "usage_percent": percent,
        }  # fmt: skip
        return json_answer(200, document, *lines)

    def _chains(self, request: Request, quirks: Quirks) -> Answer:
        return json_answer(200, {"supported_chains": [{"chain": self._sight.chain, "confirmations": quirks.confirmations or self._sight.needed}]})

    def _analytics(self, request: Request, quirks: Quirks) -> Answer:
        tenant = self._caller(request, "analytics", needed=True)
        refused, lines = self._limited(request, tenant, quirks)
        if refused is not None or tenant is None:
            return refused or json_answer(401, {})
        days = parse_qs(request.query).get("days", ["30"])[0]
        if not (days.isascii() and days.isdigit() and len(days) <= 2 and 1 <= int(days) <= 90):
            raise Rejected(400, "INVALID_PARAMETER", "days is 1 to 90")
        return json_answer(200, self.tenants.analytics(tenant, int(days)), *lines)

    def _health(self, request: Request, quirks: Quirks) -> Answer:
        began = time.perf_counter()
        try:
            self._books.database.rows("select 1 as n")
            database = "healthy"
        except self._books.database.away:
            database = "unhealthy"
        took = round((time.perf_counter() - began) * 1000, 2)
        verifier = "unhealthy" if self._ground.now() < self._closed_until else "healthy"
        good = database == verifier == "healthy"
        checks = {"database": {"status": database, "latency_ms": took}, "verifier": {"status": verifier, "mode": "http_api"}}
        return json_answer(200 if good else 503, {"status": "healthy" if good else "unhealthy", "checks": checks, "recentErrors": self._failures})

    def _create(self, request: Request, quirks: Quirks) -> Answer:
        if not hmac.compare_digest(request.headers.get("x-admin-key", "").encode(), self._admin_key.encode()):
            raise Rejected(403, "ADMIN_KEY_REQUIRED", "Admin key required")
        body = request.json()
        usual = (("email", ""), ("tier", "free"), ("environment", "live"), ("payment_address", ""))
        fields = [body.get(name, text) if isinstance(body, dict) else "" for name, text in usual]
        if "@" not in str(fields[0]):
            raise Rejected(400, "MISSING_FIELDS", "Missing required fields")
        if not all(isinstance(each, str) and len(each) < 255 and each.isprintable() for each in fields):
            raise Rejected(400, "INVALID_PARAMETER", "fields are short texts")
        if fields[3] and not self._sight.payable(fields[3]):
            raise Rejected(400, "INVALID_PARAMETER", "payment_address is none of this chain")
        try:
            tenant, key = self.tenants.create(*fields)
        except SettingsError as why:
            raise Rejected(400, "INVALID_PARAMETER", why.what) from None
        return json_answer(201, {"success": True, "tenant_id": tenant, "api_key": key, "tier": fields[1]}, ("cache-control", "no-store"))


def _amount(value: object) -> int:
    """An expected amount in atomic units; raises Rejected."""
    good = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    number = Decimal(value) if isinstance(value, (int, Decimal)) else Decimal(-1)
    if not good or not number.is_finite() or not 0 <= number <= 1_000_000 or number != round(number, 6):
        raise Rejected(400, "INVALID_AMOUNT", "Invalid amount")
    return int(number * MICRO)
