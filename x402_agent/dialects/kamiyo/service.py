"""KAMIYO's verification service, for developers and as a second opinion: is this transaction a payment? No answer of it pays anything.

What it did not decide is None and never False: 429, 5xx, silence and a broken answer say nothing of a payment. What it does decide is held
against the amount and recipient that the caller expects, since published servers compare neither.
"""

from __future__ import annotations

import json
import re
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from ...errors import ChallengeInvalid, NodeError, SettingsError
from ...secret import Secret, Veiled, plain
from ...steps import Fetch, Fetched
from .. import strict
from ..x402.passed import Passed
from .shapes import usdc

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...steps import Steps

__all__ = ["BASE", "Analytics", "Health", "Limits", "Service", "Usage", "Verified"]

BASE = "https://kamiyo.ai/api/v1/x402"
CACHE, MANY = 3600.0, 1000  # seconds, entries
TIMEOUT = 35.0  # seconds: it waits 30 for its own verifier
_KEY = re.compile(r"x402_(?:live|test)_[A-Za-z0-9_-]{38,90}").fullmatch
_TX = re.compile(r"0x[0-9a-fA-F]{64}|[1-9A-HJ-NP-Za-km-z]{87,88}").fullmatch
_CHAIN = re.compile(r"[a-z0-9-]{2,32}").fullmatch
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_DECIDED = ("PAYMENT_INVALID",)


class Limits(NamedTuple):
    """What a window of calls still has: `resets` in unix seconds, however the service spells it."""

    limit: int
    remaining: int
    resets: float


class Verified(NamedTuple):
    """What is known of a transaction. `success` is None where nothing was decided; `amount` is in atomic units of USDC.

    `retry_after` is in seconds, None where the service names no time: a month's quota has ended, or it failed.
    """

    success: bool | None
    transaction: str
    chain: str
    amount: int | None = None
    sender: str = ""
    to: str = ""
    confirmations: int = 0
    cached: bool = False
    code: str = ""
    words: str = ""
    retry_after: float | None = None
    limits: Limits | None = None


class Usage(NamedTuple):
    """A key's month; `remaining` and `limit` are None without a limit."""

    tier: str
    used: int
    limit: int | None
    remaining: int | None
    resets: str
    chains: tuple[str, ...]
    percent: str


class Analytics(NamedTuple):
    """Some days of a key's verifications, as the service counts them; `raw` is all that it said."""

    total: int
    success_rate: str
    average_ms: str
    raw: Mapping[str, Any]


class Health(NamedTuple):
    """Whether it works, by its own word; `checks` by their names."""

    healthy: bool
    status: str
    checks: Mapping[str, str]


class Service:
    """One key at one service. Its questions are generators of steps; what is verified is remembered for an hour."""

    def __init__(self, key: str = "", *, base: str = BASE, loopback: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._key = Secret(key)
        if key and not _KEY(key):
            raise SettingsError("that is no key of this service", rule="key", hint="x402_live_… or x402_test_…, as its dashboard showed it once")
        parts = urlsplit(base)
        local = loopback and parts.scheme == "http" and parts.hostname in _LOOPBACK
        if not parts.hostname or parts.username or not (parts.scheme == "https" or local):
            raise SettingsError("a verification service is asked over https", rule="base", hint="loopback=True for one on this machine")
        self._base, self._clock = base.rstrip("/"), clock
        self._known: dict[tuple[str, str], tuple[float, Verified]] = {}

    def __repr__(self) -> str:
        return f"Service({urlsplit(self._base).hostname})"

    def verify(self, transaction: str, chain: str, *, expected: str = "", to: str = "") -> Steps[Verified]:
        """Is it a payment, of at least `expected` dollars (text), to this account? Raises SettingsError for what is no transaction."""
        if not _TX(transaction) or not _CHAIN(chain):
            raise SettingsError("that is no transaction id, or no chain's name", rule="transaction, chain", hint='verify("0x…", "base")')
        least = _dollars(expected) if expected else 0
        known = self._known.get((transaction, chain))
        if known is not None and 0 <= self._clock() - known[0] < CACHE:
            return _held(known[1]._replace(cached=True), least, to)
        said: dict[str, object] = {"tx_hash": transaction, "chain": chain}
        got = yield from self._ask("POST", "/verify", json.dumps(said | ({"expected_amount": least / 1_000_000} if least else {})).encode())
        found = _verdict(got, transaction, chain)
        if found.success:
            if len(self._known) >= MANY:
                self._known.clear()
            self._known[transaction, chain] = self._clock(), found
        return _held(found, least, to)

    def usage(self) -> Steps[Usage]:
        """This key's month. Raises SettingsError for a key that is not known, NodeError where there is no answer."""
        fields = _good((yield from self._ask("GET", "/usage")), "usage")
        limit, remaining = _count(fields, "verifications_limit"), _count(fields, "verifications_remaining")
        chains = fields.get("enabled_chains")
        return Usage(_word(fields, "tier"), _count(fields, "verifications_used") or 0, limit, remaining, _word(fields, "quota_reset_date"),
                     tuple(map(_plain, chains[:32])) if isinstance(chains, list) else (), _word(fields, "usage_percent"))  # fmt: skip

    def supported_chains(self) -> Steps[tuple[str, ...]]:
        """Chains by their names; it advertises more than it verifies. Raises as `usage`."""
        fields = _good((yield from self._ask("GET", "/supported-chains")), "supported-chains")
        listed = next((value for value in fields.values() if isinstance(value, list)), [])
        return tuple(_plain(each.get("chain", each.get("name", ""))) if isinstance(each, dict) else _plain(each) for each in listed[:64])

    def analytics(self, days: int = 30) -> Steps[Analytics]:
        """The last 1 to 90 days. Raises as `usage`."""
        if type(days) is not int or not 1 <= days <= 90:
            raise SettingsError("analytics are of 1 to 90 days", rule="days", hint="analytics(days=30)")
        fields = _good((yield from self._ask("GET", f"/analytics?days={days}")), "analytics")
        return Analytics(_count(fields, "total_verifications") or 0, _word(fields, "success_rate"), _word(fields, "avg_response_time_ms"), fields)

    def health(self) -> Steps[Health]:
        """Whether it works; 503 with its checks is an answer. Raises NodeError where there is none."""
        got = yield from self._ask("GET", "/health", named=False)
        fields = _fields(got)
        checks = fields.get("checks")
        if got.status not in (200, 503) or not fields:
            raise _silent(got, "health")
        named = {_plain(name): _plain(each.get("status")) for name, each in list(checks.items())[:16] if isinstance(each, dict)} if isinstance(checks, dict) else {}
        return Health(got.status == 200 and fields.get("status") == "healthy", _word(fields, "status"), named)

    def _ask(self, method: str, path: str, body: bytes = b"", *, named: bool = True) -> Steps[Fetched]:
        headers = {"content-type": "application/json"} if body else {}
        if named and len(self._key):
            headers["authorization"] = f"Bearer {self._key.text}"
        got: Fetched = yield Fetch(method, self._base + path, body, Veiled(headers), timeout=TIMEOUT, limit=256 * 1024, theirs=False)
        return got


def _fields(got: Fetched) -> dict[str, Any]:
    """The JSON object of an answer, {} where there is none."""
    try:
        return strict.parse(got.content, limit=256 * 1024).fields
    except ChallengeInvalid:
        return {}


def _verdict(got: Fetched, transaction: str, chain: str) -> Verified:
    fields = _fields(got)
    code, words = _word(fields, "errorCode"), _word(fields, "error") or _word(fields, "message")
    blank = Verified(None, transaction, chain, code=code, words=words, retry_after=_retry(got, fields), limits=_limits(got))
    if got.status == 400 and code in _DECIDED:
        return blank._replace(success=False)
    named = str(fields.get("txHash", "")).lower() == transaction.lower() and fields.get("chain") == chain
    if got.status != 200 or fields.get("success") is not True or not named:
        return blank._replace(code=code or f"HTTP_{got.status}")
    try:
        amount = usdc(strict.parse(got.content, limit=256 * 1024).raw["amountUsdc"])
    except (Passed, KeyError):
        return blank._replace(code="NO_AMOUNT")
    return blank._replace(success=True, amount=amount, sender=_word(fields, "fromAddress"), to=_word(fields, "toAddress"),
                          confirmations=_count(fields, "confirmations") or 0, cached=fields.get("cached") is True)  # fmt: skip


def _held(found: Verified, least: int, to: str) -> Verified:
    """The verdict, held against what the caller expects."""
    if not found.success:
        return found
    if (found.amount or 0) < least:
        return found._replace(success=False, code="AMOUNT_TOO_LOW", words="it moved less than was expected")
    same = found.to == to or (to.startswith("0x") and found.to.lower() == to.lower())
    if to and not same:
        return found._replace(success=False, code="OTHER_RECIPIENT", words="it paid somebody else")
    return found


def _dollars(text: str) -> int:
    try:
        made = usdc(text)
    except Passed:
        raise SettingsError("an expected amount is a decimal number of dollars, in text", rule="expected", hint='expected="0.01"') from None
    if not 0 < made <= 10**12:
        raise SettingsError("an expected amount is above 0 and at most 1,000,000", rule="expected", hint='expected="0.01"')
    return made


def _good(got: Fetched, what: str) -> dict[str, Any]:
    fields = _fields(got)
    if got.status == 401:
        raise SettingsError(f"the service does not know this key: {_word(fields, 'error') or 'unauthorized'}", rule="key", hint="a key of its dashboard")
    if got.status != 200 or not fields:
        raise _silent(got, what)
    return fields


def _silent(got: Fetched, what: str) -> NodeError:
    fields = _fields(got)
    wait = _retry(got, fields)
    said = _word(fields, "errorCode") or _word(fields, "error") or ("no answer" if not got.status else f"status {got.status}")
    return NodeError(f"the verification service told no {what}: {said}", rule="nothing is decided by it",
                     hint=f"again in {wait:.0f} seconds" if wait is not None else "again later")  # fmt: skip


def _retry(got: Fetched, fields: Mapping[str, Any]) -> float | None:
    """Seconds until the next call is answered; None where nobody says so."""
    text = got.headers.get("retry-after", "")
    if text.isascii() and text.isdigit() and len(text) < 8:
        return float(text)
    told: Any = fields.get("retryAfter")
    return float(told) if type(told) in (int, float) and 0 <= told < 10**7 else None


def _limits(got: Fetched) -> Limits | None:
    found = [got.headers.get(f"x-ratelimit-{name}", "") for name in ("limit", "remaining", "reset")]
    if not all(each.isascii() and each.isdigit() and len(each) < 15 for each in found):
        return None
    limit, remaining, reset = map(int, found)
    return Limits(limit, remaining, reset / 1000 if reset > 10**11 else float(reset))


def _count(fields: Mapping[str, Any], name: str) -> int | None:
    """A whole number, None for -1 (without a limit) and for what is none."""
    found = fields.get(name)
    return found if type(found) is int and 0 <= found < 1 << 53 else None


def _plain(value: object) -> str:
    return plain(value, 200) if isinstance(value, str) else ""


def _word(fields: Mapping[str, Any], name: str) -> str:
    """A short text of the service's, harmless; numbers as they are printed."""
    found = fields.get(name)
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return f"{Decimal(str(found)):f}"[:40]
    return _plain(found)
