"""The database's own door: `/rest/v1/TABLE` in PostgREST's manners, for who holds a key. A key is a JSON Web Token with a role and a wallet.

Filters eq, neq, gt, gte, lt, lte, in, is; select, order, limit, offset; Prefer return=representation. `rules` says who may touch which rows.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from ..messages import Answer, json_answer
from .columns import COLUMNS, Wrong, inside, outside
from .paid_rows import Turned
from .rules import ANON, OPERATOR, PERSON, RULES, Caller, may
from .store import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..limits import Limiter
    from ..messages import Request
    from ..tokens import Tokens
    from .paid_rows import Desk
    from .quirks import Quirks
    from .store import Store

__all__ = ["ROOT", "USE", "Rest"]

ROOT = "/rest/v1/"
USE = "lily"  # what a key's token is for
MOST = 1_000  # rows of an answer
_KNOWN = 10_000  # keys that are remembered
_SIGNS = {"eq": "=", "neq": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_VERBS = {"GET": "select", "HEAD": "select", "POST": "insert", "PATCH": "update", "DELETE": "delete"}
_T = TypeVar("_T")
_ORDER = re.compile(r"([a-z_]+)(\.(asc|desc))?").fullmatch


class Rest:
    """`desk` makes the rows that stand for money."""

    def __init__(self, store: Store, desk: Desk, tokens: Tokens, limiter: Limiter, clock: Callable[[], float]) -> None:
        self._store, self._desk, self._tokens, self._limiter, self._clock = store, desk, tokens, limiter, clock
        self._callers: dict[str, tuple[Caller, int]] = {}

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
            return self._done(caller, table, verb, request)
        except Turned as why:
            document = {"code": why.code, "message": str(why), "details": None, "hint": why.hint}
            lines = [("retry-after", "1")] if why.status == 429 else []
            return json_answer(why.status, document, ("cache-control", "no-store"), *lines)

    # -- who asks -------------------------------------------------------------------------------------------------------

    def caller(self, request: Request) -> Caller:
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
        if claims is None or role not in (ANON, PERSON, OPERATOR):
            raise Turned(401, "PGRST301", "JWT is not valid, or has expired")
        made = Caller(role, str(claims.get("wallet_address", "")))
        if len(self._callers) >= _KNOWN:
            self._callers.clear()
        self._callers[token] = made, int(claims["exp"])
        return made

    def _often(self, caller: Caller, request: Request, quirks: Quirks) -> None:
        if caller.role != OPERATOR and not self._limiter.call(f"rest {caller.wallet or request.client}", quirks.calls, 60).allowed:
            raise Turned(429, "RATE_LIMITED", "Too many requests")

    # -- what is asked --------------------------------------------------------------------------------------------------

    def _done(self, caller: Caller, table: str, verb: str, request: Request) -> Answer:
        pairs = parse_qsl(request.query, keep_blank_values=True)
        names = self._names(table, dict(pairs).get("select", "*"))
        where, values = may(caller, table, verb)
        if verb == "select":
            if not where:
                return json_answer(200, [])
            rows = self._select(table, (where, values), pairs)
            return json_answer(200, [outside(table, row, names) for row in rows], ("cache-control", "no-store"))
        if not where:
            raise Turned(401 if caller.role == ANON else 403, "42501", f"permission denied for table {table}")
        if verb == "insert":
            rows = [self._insert(caller, table, each) for each in self._bodies(request)]
        else:
            body = self._bodies(request)[0] if verb == "update" else {}
            rows = self._change(caller, table, verb, (where, values), pairs, body)
        shown = "return=representation" in request.headers.get("prefer", "")
        status = 201 if verb == "insert" else 200 if shown else 204
        if not shown:
            return Answer(status)
        return json_answer(status, [outside(table, row, names) for row in rows], ("cache-control", "no-store"))

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
        """The conditions of a query, beside what `rules` says."""
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
        return "".join(f" and {each}" for each in parts), values

    def _value(self, table: str, name: str, value: object) -> object:
        try:
            return inside(table, name, value)
        except Wrong as why:
            raise Turned(400, "22P02", str(why)) from None

    def _select(self, table: str, allowed: tuple[str, tuple[object, ...]], pairs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
        more, values = self._filters(table, pairs)
        asked = dict(pairs)
        order = _ORDER(asked.get("order", "id"))
        if order is None or order[1] not in COLUMNS[table]:
            raise Turned(400, "PGRST100", "failed to parse order")
        limit, offset = (self._count(asked.get(name, usual)) for name, usual in (("limit", str(MOST)), ("offset", "0")))
        with self._store.pool.lent() as link:
            return link.rows(
                f"select * from {table} where {allowed[0]}{more} order by {order[1]} {order[3] or 'asc'} limit ? offset ?",
                *allowed[1], *values, min(limit, MOST), offset,
            )  # fmt: skip

    def _count(self, text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10):
            raise Turned(400, "PGRST100", "failed to parse limit")
        return int(text)

    # -- what changes ---------------------------------------------------------------------------------------------------

    def _insert(self, caller: Caller, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        if caller.role == OPERATOR:
            return self._put(table, row)
        if row.get("wallet_address") != caller.wallet:
            raise Turned(403, "42501", f'new row violates row-level security policy for table "{table}"')
        if table == "x402_payment_sessions":
            return self._desk.session(row)
        if table == "x402_transactions":
            if row.get("purpose") == "credit_top_up":
                return self._desk.top_up(row)
            with self._store.writing() as link:
                return self._guarded(lambda: self._desk.note(link, row))
        changes = RULES[table, "update"].changes
        return self._put(table, {name: value for name, value in row.items() if name in ("wallet_address", "service_id", "service_type", *changes)})

    def _put(self, table: str, row: Mapping[str, Any]) -> dict[str, Any]:
        now = self._store.now()
        filled = {"id": new_id()} | {name: now for name in ("created_at", "updated_at") if name in COLUMNS[table]}
        kept: dict[str, object] = {**filled} | {name: self._value(table, name, value) for name, value in row.items()}
        sql = f"insert into {table} ({', '.join(kept)}) values ({', '.join('?' * len(kept))}) returning *"
        with self._store.writing() as link:
            return self._guarded(lambda: link.rows(sql, *kept.values()))[0]

    def _change(
        self, caller: Caller, table: str, verb: str, allowed: tuple[str, tuple[object, ...]], pairs: Sequence[tuple[str, str]], body: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        more, values = self._filters(table, pairs)
        if not more:
            raise Turned(400, "21000", f"{verb} requires a filter")
        where = f"where {allowed[0]}{more}"
        if verb == "delete":
            with self._store.writing() as link:
                return self._guarded(lambda: link.rows(f"delete from {table} {where} returning *", *allowed[1], *values))
        changes = RULES[table, "update"].changes
        if caller.role != OPERATOR and not set(body) <= set(changes):
            raise Turned(403, "42501", f"permission denied for table {table}", f"columns {', '.join(changes)}")
        if caller.role != OPERATOR and table == "x402_payment_sessions" and body.get("status", "revoked") != "revoked":
            raise Turned(403, "42501", "a session can only be revoked")
        kept = {name: self._value(table, name, value) for name, value in body.items()} | {"updated_at": self._store.now()}
        sets = ", ".join(f"{name} = ?" for name in kept)
        with self._store.writing() as link:
            return self._guarded(lambda: link.rows(f"update {table} set {sets} {where} returning *", *kept.values(), *allowed[1], *values))

    def _guarded(self, work: Callable[[], _T]) -> _T:
        """What the database refuses, in its own manners; raises Turned."""
        try:
            return work()
        except self._store.books.database.errors as cause:
            words = str(cause)
            if "nique" in words:
                raise Turned(409, "23505", "duplicate key value violates unique constraint") from None
            if "onstraint" in words or "too long" in words:
                raise Turned(400, "23514", "new row violates check constraint") from None
            raise
