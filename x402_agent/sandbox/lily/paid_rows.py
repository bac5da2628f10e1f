"""Rows that stand for money: a session, a top-up of credits. What the caller claims is compared with the chain, and the chain is kept.

A signature is good once, whatever for. Who may insert is `rules`'s to say, before anything comes here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..books import moment, stamp
from .columns import Wrong, inside
from .gate import worth
from .sight import Unpaid
from .store import AGENT, DAY, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...database import Database
    from .sight import Seen, Sight
    from .store import Store, Terms

__all__ = ["Desk", "Turned"]

LONGEST = 30 * DAY  # seconds that a session may live
_TOKEN = re.compile(r"[0-9a-f]{64}").fullmatch
_SIGNATURE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{64,90}").fullmatch
_PATH = re.compile(r"/(\*|[A-Za-z0-9._~/-]{1,120})").fullmatch


class Turned(Exception):
    """A row that is not taken: what PostgREST says then."""

    def __init__(self, status: int, code: str, words: str, hint: str | None = None) -> None:
        super().__init__(words)
        self.status, self.code, self.hint = status, code, hint


class Desk:
    """`clock` is the seller's, in unix seconds."""

    def __init__(self, store: Store, sight: Sight, clock: Callable[[], float]) -> None:
        self._store, self._sight, self._clock = store, sight, clock

    def session(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A session for what was paid; the row as kept. Raises Turned."""
        terms, signature = self._terms(row), _text(row, "initial_payment_signature", _SIGNATURE)
        wallet, token = str(row["wallet_address"]), _text(row, "session_token", _TOKEN)
        pattern = str(row.get("resource_pattern") or f"agent/{terms.service}/*")
        root = f"agent/{terms.service}"
        if not pattern.startswith(root) or not _PATH(pattern.removeprefix(root)):
            raise Turned(400, "23514", f"resource_pattern is {root}/* or {root}/PATH")
        ends = self._ends(row.get("expires_at"))
        seen = self._paid(signature, wallet, terms)
        amount = worth(seen, terms, _usd(row, "authorized_amount"))
        if amount < max(terms.least, 1) or (terms.most_session and amount > terms.most_session):
            raise Turned(400, "23514", "the amount paid is not one that a session may have")
        now, sol = self._store.now(), terms.currency == "SOL"
        with self._store.writing() as link:
            if not self._store.claim(link, signature, wallet, terms, amount, "session"):
                raise _used()
            made = link.one(
                "insert into x402_payment_sessions (id, wallet_address, session_token, authorized_amount, remaining_amount, currency, resource_pattern,"
                " service_id, service_type, auto_renew, renewal_amount, initial_payment_signature, sol_amount, usd_amount, conversion_rate, expires_at,"
                " created_at, updated_at) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing returning *",
                new_id(), wallet, token, amount, amount, terms.currency, pattern, terms.service, terms.kind, _kept("auto_renew", row) or 0,
                _kept("renewal_amount", row), signature, seen.amount if sol else None, amount, terms.rate if sol else None, ends, now, now,
            )  # fmt: skip
            if made is None:
                raise _used()  # the claim goes back with it
            self._store.told(link, "session.created", wallet, {"sessionId": made["id"], "amount": amount})
        return made

    def top_up(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Credits for what was paid; the transaction's row as kept. Raises Turned."""
        terms, signature = self._terms(row), _text(row, "transaction_signature", _SIGNATURE)
        wallet = str(row["wallet_address"])
        seen = self._paid(signature, wallet, terms)
        amount = worth(seen, terms, _usd(row, "amount"))
        if amount < max(terms.least, 1):
            raise Turned(400, "23514", "the amount paid is below the least payment")
        with self._store.writing() as link:
            if not self._store.claim(link, signature, wallet, terms, amount, "credit_top_up"):
                raise _used()
            self._store.top_up(link, wallet, terms, amount)
            return link.rows("select * from x402_transactions where transaction_signature = ? and purpose = 'credit_top_up'", signature)[0]

    def note(self, link: Database, row: Mapping[str, Any]) -> dict[str, Any]:
        """What a client notes of a payment of its own: kept, and good for nothing."""
        terms = self._terms(row)
        values = {name: _kept(name, row, "x402_transactions") for name in ("transaction_signature", "amount", "resource_id", "status", "resource_type", "http_method")}
        known = {name: value for name, value in values.items() if value is not None} | {"currency": terms.currency, "purpose": "log"}
        known = {"amount": 0, "status": "pending", **known}
        names = ", ".join(known)
        return link.rows(
            f"insert into x402_transactions (id, wallet_address, service_id, service_type, created_at, {names}) values (?, ?, ?, ?, ?, {', '.join('?' * len(known))}) returning *",
            new_id(), row["wallet_address"], terms.service, terms.kind, self._store.now(), *known.values(),
        )[0]  # fmt: skip

    # -- what it is made of ---------------------------------------------------------------------------------------------

    def _terms(self, row: Mapping[str, Any]) -> Terms:
        with self._store.pool.lent() as link:
            found = self._store.terms(link, str(row.get("service_id")), str(row.get("service_type") or AGENT))
        if found is None or not found.active:
            raise Turned(400, "23503", "there is no such service")
        if row.get("currency", found.currency) != found.currency:
            raise Turned(400, "23514", f"this service takes {found.currency}")
        return found

    def _paid(self, signature: str, wallet: str, terms: Terms) -> Seen:
        with self._store.pool.lent() as link:
            if link.one("select id from x402_transactions where transaction_signature = ? and purpose <> 'log'", signature):
                raise _used()
        try:
            return self._sight.look(signature, wallet, terms.payee, terms.currency)
        except Unpaid as why:
            raise Turned(400, "P0001", f"Payment validation failed: {why}", "the same row again, once it is confirmed" if why.missing else None) from None

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


def _text(row: Mapping[str, Any], name: str, shape: Callable[[str], object]) -> str:
    found = row.get(name)
    if not isinstance(found, str) or not shape(found):
        raise Turned(400, "23514", f"{name} is not one")
    return found


def _kept(name: str, row: Mapping[str, Any], table: str = "x402_payment_sessions") -> object:
    try:
        return inside(table, name, row.get(name))
    except Wrong as why:
        raise Turned(400, "22P02", str(why)) from None


def _usd(row: Mapping[str, Any], name: str) -> int:
    """What a caller says that he paid, in millionths; 0 where he says nothing."""
    found = _kept(name, row, "x402_payment_sessions" if name == "authorized_amount" else "x402_transactions")
    return found if isinstance(found, int) else 0


def _used() -> Turned:
    return Turned(409, "23505", "duplicate key value violates unique constraint")
