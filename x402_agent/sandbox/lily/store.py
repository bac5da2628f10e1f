"""What is sold for how much, and what was paid: sessions, proofs, credits, authorisations, the log. Any thread may call anything.

Whatever takes money does so in one statement, inside the transaction in which its goods are made: two calls never have the same cent.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..books import moment, stamp
from .asking import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ...database import Database
    from .books import LilyBooks
    from .quirks import Quirks

__all__ = ["AGENT", "CLAIMS", "SERVICE", "Call", "Store", "Terms", "new_id"]

SERVICE = "5b6f6c1e-0d0a-4e0e-9a53-10f1d5a1e402"  # the same for ever, so that what a file has kept fits tomorrow's seller
AGENT = "agent_execution"
CLAIMS = "('proof', 'session', 'credit', 'credit_top_up')"  # purposes for which a signature is good once
DAY = 86_400
_TERMS = "service_id, service_type, platform_wallet, base_price, currency, pricing_model, min_payment, max_payment, max_session_amount, requires_preauth, allowed_origins, is_active"


class Terms(NamedTuple):
    """A service as its configuration says it: money in millionths of a dollar, `rate` those of a whole SOL."""

    service: str
    kind: str
    payee: str
    price: int
    currency: str
    least: int
    most: int
    most_session: int
    preauth: bool
    origins: str
    active: bool
    rate: int

    def lamports(self, price: int) -> int:
        """What is asked in SOL for so many millionths."""
        return price * 10**9 // self.rate


class Call(NamedTuple):
    """A request that wants to be sold: `digest` is of all that it asks for; `patterns` are those that cover what it is; `client` is where it comes from."""

    resource: str
    method: str
    digest: str
    patterns: tuple[str, str]
    client: str = ""


def new_id() -> str:
    """A row's id."""
    return str(uuid.uuid4())


class Store:
    """`clock` is the seller's, in unix seconds; `rate` what a SOL counts; `told` hears of each event at the end of its transaction: link, event, terms, wallet, facts."""

    def __init__(self, books: LilyBooks, clock: Callable[[], float], rate: int) -> None:
        self.books, self.pool = books, books.pool
        self.away = books.database.away
        self._clock, self.rate = clock, rate
        self.told: Callable[[Database, str, Terms, str, dict[str, Any]], None] = lambda *_: None
        self._events: dict[Database, list[tuple[str, Terms, str, dict[str, Any]]]] = {}  # by connection: what happened in its transaction so far

    def now(self) -> str:
        """The seller's time."""
        return stamp(self._clock())

    @contextmanager
    def writing(self) -> Iterator[Database]:
        """A connection in a transaction. What happened in it is told at its end: of what goes back nobody hears, and nobody counts it."""
        with self.pool.lent() as link, link.transaction():
            events = self._events[link] = []
            try:
                yield link
            finally:
                del self._events[link]
            for event in events:
                self.told(link, *event)

    def tell(self, link: Database, event: str, terms: Terms, wallet: str, facts: dict[str, Any]) -> None:
        """Something happened in the transaction of `link`, which `writing` has begun."""
        self._events[link].append((event, terms, wallet, facts))

    # -- what is sold ---------------------------------------------------------------------------------------------------

    def configure(self, quirks: Quirks, owner: str, payee: str) -> None:
        """The service that this seller sells, as a scenario wants it."""
        now = self.now()
        values = (owner, payee, quirks.price, quirks.currency, quirks.model, quirks.least, quirks.most or None, quirks.most_session or None, int(quirks.preauth), now)
        names = "owner_wallet, platform_wallet, base_price, currency, pricing_model, min_payment, max_payment, max_session_amount, requires_preauth, updated_at"
        sets = ", ".join(f"{each} = excluded.{each}" for each in names.split(", "))
        with self.pool.lent() as link:
            link.rows(
                f"insert into x402_service_configs (id, service_id, service_type, created_at, {names}) values (?, ?, ?, ?, {', '.join('?' * len(values))})"
                f" on conflict (service_id, service_type) do update set {sets}",
                new_id(), SERVICE, AGENT, now, *values,
            )  # fmt: skip

    def terms(self, link: Database, service: str = SERVICE, kind: str = AGENT) -> Terms | None:
        """A service's configuration."""
        row = link.one(f"select {_TERMS} from x402_service_configs where service_id = ? and service_type = ?", service, kind)
        if row is None:
            return None
        return Terms(
            row["service_id"], row["service_type"], row["platform_wallet"], row["base_price"], row["currency"], row["min_payment"], row["max_payment"] or 0,
            row["max_session_amount"] or 0, bool(row["requires_preauth"]), row["allowed_origins"], bool(row["is_active"]), self.rate,
        )  # fmt: skip

    # -- sessions -------------------------------------------------------------------------------------------------------

    def spend_session(self, link: Database, token: str, wallet: str, terms: Terms, call: Call) -> int:
        """Take the price of a call from a session; what is left in it. Raises Refused."""
        now = self.now()
        row = link.one(
            "update x402_payment_sessions set remaining_amount = remaining_amount - ?, last_used_at = ?, updated_at = ?,"
            " status = case when remaining_amount <= ? then 'depleted' else status end"
            " where session_token = ? and wallet_address = ? and service_id = ? and service_type = ? and resource_pattern in (?, ?)"
            " and currency = ? and status = 'active' and expires_at > ? and remaining_amount >= ? returning id, remaining_amount",
            terms.price, now, now, terms.price, token, wallet, terms.service, terms.kind, *call.patterns, terms.currency, now, terms.price,
        )  # fmt: skip
        if row is None:
            raise self._why_not(link, token, wallet, terms, call)
        self.log(link, wallet, terms, terms.price, "call", call, session=row["id"])
        self.tell(link, "call.sold", terms, wallet, {"sessionId": row["id"], "amount": terms.price, "client": call.client})
        if row["remaining_amount"] == 0:
            self.tell(link, "session.depleted", terms, wallet, {"sessionId": row["id"]})
        return int(row["remaining_amount"])

    def _why_not(self, link: Database, token: str, wallet: str, terms: Terms, call: Call) -> Refused:
        """Why a session does not pay for a call."""
        row = link.one("select id, wallet_address, service_id, service_type, resource_pattern, currency, remaining_amount, status, expires_at"
                       " from x402_payment_sessions where session_token = ?", token)  # fmt: skip
        if row is None:
            return Refused("SESSION_NOT_FOUND", "Session not found")
        left, name = int(row["remaining_amount"]), str(row["id"])
        if row["wallet_address"] != wallet:
            return Refused("VALIDATION_FAILED", "Session is another wallet's", 403, session=name)
        if row["status"] == "revoked":
            return Refused("VALIDATION_FAILED", "Session is revoked", 403, session=name)
        same = (row["service_id"], row["service_type"], row["currency"]) == (terms.service, terms.kind, terms.currency)
        if not same or row["resource_pattern"] not in call.patterns:
            return Refused("VALIDATION_FAILED", "Session is for another resource", 403, session=name)
        if row["status"] == "expired" or str(row["expires_at"]) <= self.now():
            return Refused("SESSION_EXPIRED", "Session expired", balance=left, session=name)
        return Refused("INSUFFICIENT_BALANCE", "Insufficient session balance", balance=left, session=name)

    # -- single proofs and signed headers -------------------------------------------------------------------------------

    def claimed(self, link: Database, signature: str, wallet: str, call: Call) -> bool:
        """Whether a signature was taken for this very call before, within a day; raises Refused where it was for anything else."""
        row = link.one(
            f"select wallet_address, request_hash, purpose, created_at from x402_transactions where transaction_signature = ? and purpose in {CLAIMS}", signature
        )
        if row is None:
            return False
        if row["wallet_address"] != wallet or row["request_hash"] != call.digest or row["purpose"] not in ("proof", "credit"):
            if row["purpose"] == "credit" and row["wallet_address"] == wallet:
                raise Refused("RATE_LIMITED", "This signed header was used for another request", 429, wait=1)
            raise Refused("VALIDATION_FAILED", "Payment proof already used")
        if moment(str(row["created_at"])) + DAY <= self._clock():
            raise Refused("VALIDATION_FAILED", "Payment proof already used, more than a day ago")
        return True

    def claim(self, link: Database, signature: str, wallet: str, terms: Terms, amount: int, purpose: str, call: Call | None = None) -> bool:
        """Use a signature up, once for everybody; False where it was used."""
        row = link.one(
            "insert into x402_transactions (id, wallet_address, service_id, service_type, transaction_signature, amount, currency, status, resource_id,"
            " http_method, purpose, request_hash, created_at) values (?, ?, ?, ?, ?, ?, ?, 'completed', ?, ?, ?, ?, ?)"
            f" on conflict (transaction_signature) where purpose in {CLAIMS} do nothing returning id",
            new_id(), wallet, terms.service, terms.kind, signature, amount, terms.currency, call.resource if call else "", call.method if call else "POST",
            purpose, call.digest if call else "", self.now(),
        )  # fmt: skip
        if row is not None:
            self.tell(link, "payment.completed", terms, wallet, {"transactionId": row["id"], "purpose": purpose, "amount": amount})
        return row is not None

    # -- credits --------------------------------------------------------------------------------------------------------

    def spend_credits(self, link: Database, wallet: str, terms: Terms) -> int:
        """Take the price of a call from a wallet's credits; what is left. Raises Refused."""
        row = link.one(
            "update x402_payment_credits set balance = balance - ?, total_spent = total_spent + ?, updated_at = ?"
            " where wallet_address = ? and service_id = ? and service_type = ? and balance >= ? returning balance",
            terms.price, terms.price, self.now(), wallet, terms.service, terms.kind, terms.price,
        )  # fmt: skip
        if row is None:
            raise Refused("INSUFFICIENT_BALANCE", "Insufficient credits", balance=self.credits(link, wallet, terms))
        left = int(row["balance"])
        self.tell(link, "credits.spent", terms, wallet, {"balance": left})
        return left

    def credits(self, link: Database, wallet: str, terms: Terms) -> int:
        """What a wallet has here."""
        row = link.one(
            "select balance from x402_payment_credits where wallet_address = ? and service_id = ? and service_type = ?", wallet, terms.service, terms.kind
        )
        return int(row["balance"]) if row else 0

    def top_up(self, link: Database, wallet: str, terms: Terms, amount: int) -> None:
        """Add what was paid."""
        now = self.now()
        link.rows(
            "insert into x402_payment_credits (id, wallet_address, service_id, service_type, balance, total_deposited, created_at, updated_at)"
            " values (?, ?, ?, ?, ?, ?, ?, ?) on conflict (wallet_address, service_id, service_type) do update set"
            " balance = x402_payment_credits.balance + excluded.balance, total_deposited = x402_payment_credits.total_deposited + excluded.balance,"
            " updated_at = excluded.updated_at",
            new_id(), wallet, terms.service, terms.kind, amount, amount, now, now,
        )  # fmt: skip

    # -- authorisations -------------------------------------------------------------------------------------------------

    def authorize(self, link: Database, wallet: str, terms: Terms) -> None:
        """Count a price against what a wallet has allowed itself; raises Refused where that is too little, or nothing where something is needed."""
        now = self.now()
        live = "wallet_address = ? and service_id = ? and service_type = ? and status = 'active' and (expires_at is null or expires_at > ?)"
        who = (wallet, terms.service, terms.kind, now)
        found = link.rows(f"select id from x402_payment_authorizations where {live}", *who)
        if not found:
            if terms.preauth:
                raise Refused("VALIDATION_FAILED", "This wallet has no active authorization for this service", 403)
            return
        day, month, price = now[:10], now[:7], terms.price
        spent = "case when {0} = ? then {0}_spent else 0 end + ?"
        kept = link.rows(
            f"update x402_payment_authorizations set day_spent = {spent.format('day')}, month_spent = {spent.format('month')}, day = ?, month = ?"
            f" where {live} and (spending_limit_per_request is null or spending_limit_per_request >= ?)"
            f" and (spending_limit_per_day is null or spending_limit_per_day >= {spent.format('day')})"
            f" and (spending_limit_per_month is null or spending_limit_per_month >= {spent.format('month')}) returning id",
            day, price, month, price, day, month, *who, price, day, price, month, price,
        )  # fmt: skip
        if len(kept) < len(found):
            raise Refused("VALIDATION_FAILED", "A spending limit of this wallet's authorization is reached", 403)

    # -- the log --------------------------------------------------------------------------------------------------------

    def log(self, link: Database, wallet: str, terms: Terms, amount: int, purpose: str, call: Call, *, session: str | None = None, code: str = "") -> None:
        """A line of the log: a call that was sold, or one that was not, with its `code`."""
        link.rows(
            "insert into x402_transactions (id, wallet_address, service_id, service_type, session_id, amount, currency, status, resource_id, http_method,"
            " purpose, request_hash, error_code, created_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            new_id(), wallet, terms.service, terms.kind, session, amount, terms.currency, "failed" if code else "completed", call.resource, call.method,
            purpose, call.digest, code, self.now(),
        )  # fmt: skip
        if code:
            self.tell(link, "payment.failed", terms, wallet, {"code": code, "resource": call.resource, "sessionId": session or ""})
