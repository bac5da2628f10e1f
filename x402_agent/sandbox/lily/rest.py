"""The database's own door: `/rest/v1/TABLE` in PostgREST's manners, for who holds a key. A key is a JSON Web Token with a role and a wallet.

Filters eq, neq, gt, gte, lt, lte, in, is; select, order, limit, offset; Prefer return=representation; Accept for one row by itself. `policies` says who may touch which rows.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from ..books import stamp
from ..messages import Answer, json_answer
from .columns import COLUMNS, Wrong, inside, outside
from .paid_rows import MONEY, Turned
from .policies import ANON, AUTHENTICATED, SERVICE, Acting, Claims, Forbidden, acting
from .store import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from ...database import Database
    from ..limits import Limiter
    from ..messages import Request
    from ..tokens import Tokens
    from .paid_rows import Desk, Paid
    from .quirks import Quirks
    from .store import Store

__all__ = ["ROOT", "USE", "Rest"]

ROOT = "/rest/v1/"
USE = "lily"  # what a key's token is for
MOST = 1_000  # rows of an answer
_KNOWN = 10_000  # keys that are remembered
_ALONE = "application/vnd.pgrst.object+json"  # what published clients' .single() accepts
_ASKED = 100  # conditions of one query; values 1,000: more are too many for SQLite
_GIVEN = 100  # authorisations of one wallet: each call of its is held against all of them
_SIGNS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_VERBS = {"GET": "select", "HEAD": "select", "POST": "insert", "PATCH": "update", "DELETE": "delete"}
_ORDER = re.compile(r"([a-z_]+)(\.(asc|desc))?").fullmatch


class Rest:
    """`desk` makes the rows that stand for money."""

    def __init__(self, store: Store, desk: Desk, tokens: Tokens, limiter: Limiter, clock: Callable[[], float]) -> None:
        self._store, self._desk, self._tokens, self._limiter, self._clock = store, desk, tokens, limiter, clock
        self._callers: dict[str, tuple[Claims, int]] = {}
        self._read = self._failed = 0  # how often a scenario was asked for a configuration, and refused a row

    def handle(self, request: Request, quirks: Quirks) -> Answer:
        """One request below ROOT."""
        try:
            caller = self.caller(request)
            table, verb = request.path.removeprefix(ROOT), _VERBS.get(request.method)
            if table not in COLUMNS:
                raise Turned(404, "PGRST205", "Could not find the table in the schema cache")
            if verb is None:
                raise Turned(405, "PGRST117", "Unsupported HTTP method")
            self._often(caller, request, quirks)
            return self._done(caller, table, verb, request, quirks)
        except Turned as why:
            document = {"code": why.code, "message": str(why), "details": None, "hint": why.hint}
            lines = [("retry-after", str(60 - int(self._clock()) % 60))] if why.status == 429 else []
            return json_answer(why.status, document, ("cache-control", "no-store"), *lines)

    # -- who asks -------------------------------------------------------------------------------------------------------

    def caller(self, request: Request) -> Claims:
        """Whose key a request shows; raises Turned."""
        bearer = request.headers.get("authorization", "")
        token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else request.headers.get("apikey", "")
        if not token:
            raise Turned(401, "PGRST301", "No API key found in request", "an apikey header and Authorization: Bearer")
        known = self._callers.get(token)
        if known is not None and known[1] > self._clock():
            return known[0]
        claims = self._tokens.read(token, USE)
        role = (claims or {}).get("role")
        if claims is None or role not in (ANON, AUTHENTICATED, SERVICE):
            raise Turned(401, "PGRST301", "JWT is not valid, or has expired")
        made = Claims(role, str(claims.get("wallet_address", "")))
        if len(self._callers) >= _KNOWN:
            self._callers.clear()
        self._callers[token] = made, int(claims["exp"])
        return made

    def _often(self, caller: Claims, request: Request, quirks: Quirks) -> None:
        if caller.role != SERVICE and not self._limiter.call(f"rest {caller.wallet or request.client}", quirks.calls, 60).allowed:
            raise Turned(429, "RATE_LIMITED", "Too many requests")

    # -- what is asked --------------------------------------------------------------------------------------------------

    def _done(self, caller: Claims, table: str, verb: str, request: Request, quirks: Quirks) -> Answer:
        pairs = parse_qsl(request.query, keep_blank_values=True)
        names = self._names(table, dict(pairs).get("select", "*"))
        alone = _ALONE in request.headers.get("accept", "")
        if verb == "insert":
            rows = self._insert(caller, table, _one(self._bodies(request), alone), quirks)
        elif verb == "select":
            rows = self._select(Claims(SERVICE) if quirks.public else caller, table, pairs)
            if quirks.flips and table == "x402_service_configs":
                self._read += 1
                rows = [{**row, "platform_wallet": row["owner_wallet"]} if self._read > 1 else row for row in rows]
        elif quirks.unbooked and table == "x402_payment_credits":
            rows = []
        else:
            rows = self._change(caller, table, pairs, self._bodies(request)[0] if verb == "update" else None, alone)
        if verb != "select" and "return=representation" not in request.headers.get("prefer", ""):
            return Answer(201 if verb == "insert" else 204)
        shown = [outside(table, row, names) for row in _one(rows, alone)]
        return json_answer(201 if verb == "insert" else 200, shown[0] if alone else shown, ("cache-control", "no-store"))

    def _names(self, table: str, said: str) -> tuple[str, ...]:
        names = tuple(COLUMNS[table]) if said == "*" else tuple(each.strip() for each in said.split(","))
        if unknown := [each for each in names if each not in COLUMNS[table]]:
            raise Turned(400, "42703", f"column {table}.{unknown[0][:60]} does not exist")
        return names

    def _bodies(self, request: Request) -> list[dict[str, Any]]:
        try:
            found = request.json()
        except ValueError:
            found = None
        rows = found if isinstance(found, list) else [found]
        if not rows or len(rows) > 100 or not all(isinstance(each, dict) for each in rows):
            raise Turned(400, "PGRST102", "Empty or invalid json")
        return rows

    def _filters(self, table: str, pairs: Sequence[tuple[str, str]]) -> tuple[str, list[object]]:
        """The condition of a query, with its values."""
        parts: list[str] = []
        values: list[object] = []
        for name, said in pairs:
            if name in ("select", "order", "limit", "offset"):
                continue
            sign, _, value = said.partition(".")
            if name not in COLUMNS[table]:
                raise Turned(400, "42703", f"column {table}.{name[:60]} does not exist")
            if sign == "is" and value == "null":
                parts.append(f"{name} is null")
            elif sign == "in" and value[:1] == "(" and value[-1:] == ")":
                several = [self._value(table, name, each.strip('"')) for each in value[1:-1].split(",")]
                parts.append(f"{name} in ({', '.join('?' * len(several))})")
                values += several
            elif sign in _SIGNS:
                parts.append(f"{name} {_SIGNS[sign]} ?")
                values.append(self._value(table, name, value))
            else:
                raise Turned(400, "PGRST100", f"failed to parse filter ({said[:60]})")
            if len(parts) > _ASKED or len(values) > MOST:
                raise Turned(400, "54001", f"at most {_ASKED} conditions, and {MOST} values")
        return " and ".join(parts), values

    def _value(self, table: str, name: str, value: object) -> object:
        try:
            return inside(table, name, value)
        except Wrong as why:
            raise Turned(400, "22P02", str(why)) from None

    def _select(self, caller: Claims, table: str, pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        where, values = self._filters(table, pairs)
        asked = dict(pairs)
        order = _ORDER(asked.get("order", "id"))
        if order is None or order[1] not in COLUMNS[table]:
            raise Turned(400, "PGRST100", "failed to parse order")
        # as PostgreSQL has it: SQLite puts what is null first
        by = f"{order[1]} {order[3] or 'asc'} nulls {'first' if order[3] == 'desc' else 'last'}" if "order" in asked else "id"
        limit, offset = (self._count(asked.get(name, usual)) for name, usual in (("limit", str(MOST)), ("offset", "0")))
        with self._writing(caller) as link, self._acting(link, caller) as act:
            return act.select(table, tuple(COLUMNS[table]), where, values, f"order by {by} limit {min(limit, MOST)} offset {offset}")

    def _count(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Turned(400, "PGRST100", "failed to parse limit")
        return int(text)

    # -- what changes ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _writing(self, caller: Claims) -> Iterator[Database]:
        """A transaction; what the rules or the database refuse in it is Turned, in PostgREST's manners."""
        try:
            with self._store.writing() as link:
                yield link
        except Forbidden as why:
            raise Turned(401 if caller.role == ANON else 403, why.code, str(why)) from None
        except self._store.books.database.errors as cause:
            state, words = str(getattr(cause, "sqlstate", None) or ""), str(cause).lower()
            if state == "23505" or "unique constraint" in words:
                raise Turned(409, "23505", "duplicate key value violates unique constraint") from None
            if state[:2] in ("22", "23") or "constraint" in words:  # PostgreSQL's words are its operator's language
                raise Turned(400, "23514", "new row violates check constraint") from None
            raise

    def _acting(self, link: Database, caller: Claims) -> AbstractContextManager[Acting]:
        return acting(link, caller, self._store.books.schema)

    def _insert(self, caller: Claims, table: str, rows: Sequence[Mapping[str, Any]], quirks: Quirks) -> list[dict[str, Any]]:
        """Rows as their caller may write them, all of them or none: what stands for money is as large as what was paid."""
        ready = [self._ready(caller, table, row, quirks) for row in rows]
        fails = self._fails(table, quirks) if any(paid for paid, _ in ready) else "works"
        if fails == "fails":
            raise Turned(503, "XX000", "the row was not written")
        with self._writing(caller) as link:
            if caller.role == AUTHENTICATED and table == "x402_payment_authorizations":
                kept = link.rows("select count(*) as n from x402_payment_authorizations where wallet_address = ?", caller.wallet)
                if kept[0]["n"] + len(rows) > _GIVEN:
                    raise Turned(400, "54000", f"a wallet has at most {_GIVEN} authorizations", "DELETE those that are over")
            made = [self._wrote(link, caller, table, paid, kept, quirks) for paid, kept in ready]
        if fails == "booked":
            raise Turned(503, "XX000", "nobody knows whether the row was written")
        return made

    def _ready(self, caller: Claims, table: str, row: Mapping[str, Any], quirks: Quirks) -> tuple[Paid | None, dict[str, object]]:
        """A row as it will be written, and what was paid for it, where it stands for money."""
        if caller.role == AUTHENTICATED and "wallet_address" in COLUMNS[table] and row.get("wallet_address") != caller.wallet:
            raise Turned(403, "42501", f'new row violates row-level security policy for table "{table}"')
        if table in MONEY and caller.role == AUTHENTICATED:
            paid, kept = self._desk.row(table, row)
            if quirks.life and table == "x402_payment_sessions":
                kept["expires_at"] = stamp(self._clock() + quirks.life)
            return paid, kept
        now = self._store.now()
        filled = {"id": new_id()} | {name: now for name in ("created_at", "updated_at") if name in COLUMNS[table]}
        return None, {**filled, **{name: self._value(table, name, value) for name, value in row.items()}}

    def _wrote(self, link: Database, caller: Claims, table: str, paid: Paid | None, row: Mapping[str, object], quirks: Quirks) -> dict[str, Any]:
        claims = caller._replace(signature=paid.signature, paid=paid.amount) if paid else caller
        with self._acting(link, claims) as act:
            made = act.insert(table, row)
        if paid and not (quirks.unbooked and table == "x402_transactions"):
            self._desk.book(link, table, paid, made)  # what follows is the seller's own to write
        return made

    def _fails(self, table: str, quirks: Quirks) -> str:
        """What a scenario does with this row of a session."""
        if table != "x402_payment_sessions" or (quirks.failing and self._failed >= quirks.failing):
            return "works"
        self._failed += quirks.inserts != "works"
        return quirks.inserts

    def _change(self, caller: Claims, table: str, pairs: Sequence[tuple[str, str]], body: Mapping[str, Any] | None, alone: bool) -> list[dict[str, Any]]:
        """The rows that a filter names, changed, or gone where there is no body; `alone`: it is one, or nothing happens."""
        where, values = self._filters(table, pairs)
        if not where or body == {}:
            raise Turned(400, "21000", "UPDATE and DELETE require a filter, and an UPDATE something to change")
        kept = {name: self._value(table, name, value) for name, value in (body or {}).items()}
        with self._writing(caller) as link, self._acting(link, caller) as act:
            return _one(act.delete(table, where, values) if body is None else act.update(table, kept, where, values), alone)


def _one(rows: list[dict[str, Any]], alone: bool) -> list[dict[str, Any]]:
    """The same rows; raises Turned where one by itself was asked for, and it is none, or several."""
    if alone and len(rows) != 1:
        raise Turned(406, "PGRST116", "JSON object requested, multiple (or no) rows returned")
    return rows
