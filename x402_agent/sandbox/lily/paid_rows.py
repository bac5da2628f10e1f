"""Rows that stand for money: a session, a top-up of credits. What the caller claims is held against the chain, and what the chain says is kept.

A signature is good once, whatever for. Who may insert is for `policies` to say, by what is found here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from ..books import moment, stamp
from .columns import Wrong, inside
from .gate import worth
from .sight import Unpaid
from .store import AGENT, CLAIMS, DAY, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...database import Database
    from .sight import Sight
    from .store import Store, Terms

__all__ = ["MONEY", "Desk", "Paid", "Turned"]

MONEY = ("x402_payment_sessions", "x402_transactions")
LONGEST = 30 * DAY  # seconds that a session may live
_TOKEN = re.compile(r"[0-9a-f]{64}").fullmatch
_SIGNATURE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{64,90}").fullmatch
_AGENT = re.compile(r"agent/([^/]{1,64})/").match
_PATH = re.compile(r"/(\*|[A-Za-z0-9._~/-]{1,120})").fullmatch


class Turned(Exception):
    """A request that is not done: what PostgREST says then."""

    def __init__(self, status: int, code: str, words: str, hint: str | None = None) -> None:
        super().__init__(words)
        self.status, self.code, self.hint = status, code, hint


class Paid(NamedTuple):
    """A payment as the chain has it: `amount` in millionths of a dollar, `atomic` in the currency's smallest unit."""

    terms: Terms
    wallet: str
    signature: str
    amount: int
    atomic: int


class Desk:
    """`clock` is the seller's, in unix seconds."""

    def __init__(self, store: Store, sight: Sight, clock: Callable[[], float]) -> None:
        self._store, self._sight, self._clock = store, sight, clock

    def row(self, table: str, said: Mapping[str, Any]) -> tuple[Paid, dict[str, object]]:
        """What was paid for a row, and the row that it makes; nothing is written yet. Raises Turned."""
        return self._session(said) if table == "x402_payment_sessions" else self._top_up(said)

    def book(self, link: Database, table: str, paid: Paid, made: Mapping[str, Any]) -> None:
        """Use the payment up with the row that it made, in its transaction. Raises Turned."""
        if table == "x402_payment_sessions":
            if not self._store.claim(link, paid.signature, paid.wallet, paid.terms, paid.amount, "session"):
                raise _used()
            self._store.tell(link, "session.created", paid.terms, paid.wallet, {"sessionId": made["id"], "amount": paid.amount})
        else:
            self._store.top_up(link, paid.wallet, paid.terms, paid.amount)
            self._store.tell(link, "payment.completed", paid.terms, paid.wallet, {"transactionId": made["id"], "purpose": "credit_top_up", "amount": paid.amount})

    def _session(self, said: Mapping[str, Any]) -> tuple[Paid, dict[str, object]]:
        named = _AGENT(str(said.get("resource_pattern")))  # published rows name their service there, and nowhere else
        terms = self._terms({**said, "service_id": said.get("service_id") or (named and named[1])})
        token = _text(said, "session_token", _TOKEN)
        root = f"agent/{terms.service}"
        pattern = str(said.get("resource_pattern") or f"{root}/*")
        if not pattern.startswith(root) or not _PATH(pattern.removeprefix(root)):
            raise Turned(400, "23514", f"resource_pattern is {root}/* or {root}/PATH")
        ends = self._ends(said.get("expires_at"))
        more = {name: _kept(name, said, "x402_payment_sessions") for name in ("auto_renew", "renewal_amount")}
        paid = self._paid(said, terms, "initial_payment_signature", "authorized_amount")
        if terms.most_session and paid.amount > terms.most_session:
            raise Turned(400, "23514", "the amount paid is more than a session may have")
        now, sol = self._store.now(), terms.currency == "SOL"
        return paid, {
            "id": new_id(), "wallet_address": paid.wallet, "session_token": token, "authorized_amount": paid.amount, "remaining_amount": paid.amount,
            "currency": terms.currency, "resource_pattern": pattern, "service_id": terms.service, "service_type": terms.kind,
            "auto_renew": more["auto_renew"] or 0, "renewal_amount": more["renewal_amount"] or None, "initial_payment_signature": paid.signature,
            "sol_amount": paid.atomic if sol else None, "usd_amount": paid.amount, "conversion_rate": terms.rate if sol else None,
            "expires_at": ends, "created_at": now, "updated_at": now,
        }  # fmt: skip

    def _top_up(self, said: Mapping[str, Any]) -> tuple[Paid, dict[str, object]]:
        if said.get("purpose") != "credit_top_up":
            raise Turned(403, "42501", "permission denied for table x402_transactions", "purpose credit_top_up: all other rows are the seller's to write")
        terms = self._terms(said)
        paid = self._paid(said, terms, "transaction_signature", "amount")
        return paid, {
            "id": new_id(), "wallet_address": paid.wallet, "service_id": terms.service, "service_type": terms.kind, "transaction_signature": paid.signature,
            "amount": paid.amount, "currency": terms.currency, "status": "completed", "http_method": "POST", "purpose": "credit_top_up",
            "created_at": self._store.now(),
        }  # fmt: skip

    # -- what they are made of ------------------------------------------------------------------------------------------

    def _terms(self, said: Mapping[str, Any]) -> Terms:
        with self._store.pool.lent() as link:
            found = self._store.terms(link, str(said.get("service_id")), str(said.get("service_type") or AGENT))
        if found is None or not found.active:
            raise Turned(400, "23503", "there is no such service", "service_id and service_type; a session's resource_pattern agent/SERVICE/* names it, too")
        if said.get("currency", found.currency) != found.currency:
            raise Turned(400, "23514", f"this service takes {found.currency}")
        return found

    def _paid(self, said: Mapping[str, Any], terms: Terms, name: str, amount: str) -> Paid:
        wallet, signature = str(said["wallet_address"]), _text(said, name, _SIGNATURE)
        claimed = _kept(amount, said, "x402_payment_sessions" if amount == "authorized_amount" else "x402_transactions")
        with self._store.pool.lent() as link:
            if link.one(f"select id from x402_transactions where transaction_signature = ? and purpose in {CLAIMS}", signature):
                raise _used()
        try:
            seen = self._sight.look(signature, wallet, terms.payee, terms.currency, DAY)
        except Unpaid as why:
            raise Turned(400, "P0001", f"Payment validation failed: {why}", "the same row again, once it is confirmed" if why.missing else None) from None
        found = worth(seen, terms, claimed if isinstance(claimed, int) else 0)
        if found < max(terms.least, 1):
            raise Turned(400, "23514", "the amount paid is below the least payment")
        return Paid(terms, wallet, signature, found, seen.amount)

    def _ends(self, said: object) -> str:
        now = self._clock()
        if said is None:
            return stamp(now + DAY)
        try:
            ends = str(inside("x402_payment_sessions", "expires_at", said))
        except Wrong as why:
            raise Turned(400, "22007", str(why)) from None
        if not now < moment(ends) <= now + LONGEST:
            raise Turned(400, "23514", f"expires_at lies within {LONGEST // DAY} days")
        return ends


def _text(said: Mapping[str, Any], name: str, shape: Callable[[str], object]) -> str:
    found = said.get(name)
    if not isinstance(found, str) or not shape(found):
        raise Turned(400, "23514", f"{name} is not one")
    return found


def _kept(name: str, said: Mapping[str, Any], table: str) -> object:
    try:
        return inside(table, name, said.get(name))
    except Wrong as why:
        raise Turned(400, "22P02", str(why)) from None


def _used() -> Turned:
    return Turned(409, "23505", "duplicate key value violates unique constraint")
