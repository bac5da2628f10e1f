"""Who may do what with which rows: one table of rules, which PostgreSQL enforces by its own policies, and SQLite by the same conditions here.

A request to the tables acts as the role of its key: `anon`, `authenticated` (a wallet's) or `service_role`. On PostgreSQL these are roles, called
SCHEMA_anon and so on, since roles belong to the whole server and an operator may have an `anon` of his own; each request takes one on for
its transaction, with what its key says in `request.jwt.claims`, so that the database itself refuses what no rule allows. Whoever owns the
tables, the gate with its deductions, stands above them.
"""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..books import Migration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ...database import Database

__all__ = ["ANON", "AUTHENTICATED", "RULES", "SERVICE", "Acting", "Claims", "Forbidden", "Rule", "acting", "migration"]

ANON, AUTHENTICATED, SERVICE = "anon", "authenticated", "service_role"
_ROLES = (ANON, AUTHENTICATED, SERVICE)
_VERBS = ("select", "insert", "update", "delete")
_DENIED = "42501"  # insufficient_privilege


class Rule(NamedTuple):
    """What others than the service may do: `rows` they reach, `made` what a row is once they wrote it, `columns` they may change.

    {wallet} is the key's wallet; {signature} and {paid} are a payment that the seller saw on the chain for this request.
    """

    table: str
    verb: str
    who: tuple[str, ...] = ()
    rows: str = ""
    made: str = ""
    columns: tuple[str, ...] = ()


_WALLET = (AUTHENTICATED,)
_OWN = "wallet_address = {wallet}"
_LIMITS = ("spending_limit_per_request", "spending_limit_per_day", "spending_limit_per_month", "status", "expires_at", "updated_at")
_GIVEN = (
    Rule("x402_service_configs", "select", (ANON, AUTHENTICATED), "is_active = 1"),
    Rule("x402_payment_sessions", "select", _WALLET, _OWN),
    Rule("x402_payment_sessions", "insert", _WALLET, made=f"{_OWN} and initial_payment_signature = {{signature}} and authorized_amount = {{paid}} and remaining_amount = {{paid}}"),
    Rule("x402_payment_sessions", "update", _WALLET, f"{_OWN} and status = 'active'", f"{_OWN} and status = 'revoked'", ("status", "updated_at")),
    Rule("x402_payment_credits", "select", _WALLET, _OWN),
    Rule("x402_transactions", "select", _WALLET, _OWN),
    Rule("x402_transactions", "insert", _WALLET, made=f"{_OWN} and transaction_signature = {{signature}} and amount = {{paid}}"),
    Rule("x402_payment_authorizations", "select", _WALLET, _OWN),
    Rule("x402_payment_authorizations", "insert", _WALLET, made=_OWN),
    Rule("x402_payment_authorizations", "update", _WALLET, _OWN, _OWN, _LIMITS),
    Rule("x402_payment_authorizations", "delete", _WALLET, _OWN),
)  # fmt: skip
_TABLES = (*dict.fromkeys(each.table for each in _GIVEN), "x402_analytics")
RULES: Mapping[tuple[str, str], Rule] = {(table, verb): Rule(table, verb) for table in _TABLES for verb in _VERBS} | {(each.table, each.verb): each for each in _GIVEN}


class Claims(NamedTuple):
    """What a request's key says, and what the seller saw of its payment: `paid` is in millionths of a dollar."""

    role: str
    wallet: str = ""
    signature: str = ""
    paid: int = 0


class Forbidden(Exception):
    """No rule allows it; the words are PostgreSQL's."""

    code = _DENIED


class Acting:
    """Statements on behalf of who sent a request. `where` is a condition with `?`, of names that the caller knows to be columns."""

    def __init__(self, link: Database, claims: Claims) -> None:
        self._link, self._claims = link, claims
        self._native = link.engine == "postgresql"  # there the database judges, and nothing is added here

    def select(self, table: str, names: Sequence[str], where: str = "", values: Sequence[object] = (), tail: str = "") -> list[dict[str, Any]]:
        """Rows that may be seen. Raises Forbidden."""
        limit, more = self._limit(self._rule(table, "select").rows)
        return self._run(f"select {', '.join(names)} from {table} where ({where or '1 = 1'}) and {limit} {tail}", *values, *more)

    def insert(self, table: str, row: Mapping[str, object]) -> dict[str, Any]:
        """The row as it was written. Raises Forbidden."""
        good, more = self._limit(self._rule(table, "insert").made)
        sql = f"insert into {table} ({', '.join(row)}) values ({', '.join('?' * len(row))}) returning *"
        return self._judged(table, sql, good, (*row.values(), *more))[0]

    def update(self, table: str, row: Mapping[str, object], where: str, values: Sequence[object]) -> list[dict[str, Any]]:
        """The rows that were reached and changed. Raises Forbidden."""
        rule = self._rule(table, "update")
        if not self._native and self._claims.role != SERVICE and not set(row) <= set(rule.columns):
            raise Forbidden(f"permission denied for table {table}")
        reached, first = self._limit(rule.rows)
        good, more = self._limit(rule.made)
        sql = f"update {table} set {', '.join(f'{name} = ?' for name in row)} where ({where}) and {reached} returning *"
        return self._judged(table, sql, good, (*row.values(), *values, *first, *more))

    def delete(self, table: str, where: str, values: Sequence[object]) -> list[dict[str, Any]]:
        """The rows that went. Raises Forbidden."""
        limit, more = self._limit(self._rule(table, "delete").rows)
        return self._run(f"delete from {table} where ({where}) and {limit} returning *", *values, *more)

    def _rule(self, table: str, verb: str) -> Rule:
        rule = RULES[table, verb]
        if not self._native and self._claims.role not in (*rule.who, SERVICE):
            raise Forbidden(f"permission denied for table {table}")
        return rule

    def _limit(self, condition: str) -> tuple[str, list[object]]:
        """A rule's condition with its values; true where the database judges, and for the service."""
        if self._native or self._claims.role == SERVICE:
            return "1 = 1", []
        known: dict[str, object] = {"wallet": self._claims.wallet or None, "signature": self._claims.signature or None, "paid": self._claims.paid or None}
        return f"({re.sub(_NAME, '?', condition)})", [known[each] for each in re.findall(_NAME, condition)]

    def _judged(self, table: str, sql: str, good: str, values: Sequence[object]) -> list[dict[str, Any]]:
        """What was written, held against its rule afterwards: the transaction goes back with the exception."""
        if self._native:
            return self._run(sql, *values)
        rows = self._run(f"{sql}, {good} as x402_good", *values)
        if not all(row.pop("x402_good") for row in rows):
            raise Forbidden(f'new row violates row-level security policy for table "{table}"')
        return rows

    def _run(self, sql: str, *values: object) -> list[dict[str, Any]]:
        try:
            return self._link.rows(sql, *values)
        except self._link.errors as cause:
            if getattr(cause, "sqlstate", "") != _DENIED:
                raise
            raise Forbidden(str(cause).partition("\n")[0]) from None


_NAME = re.compile(r"\{(\w+)\}")


@contextmanager
def acting(link: Database, claims: Claims, schema: str) -> Iterator[Acting]:
    """Inside a transaction: what is done in the block is done as the claims' role, what comes after it again as the owner of the tables."""
    if claims.role not in _ROLES:
        raise Forbidden("no such role")
    if link.engine != "postgresql":
        yield Acting(link, claims)
        return
    told = {"role": claims.role, "wallet_address": claims.wallet, "signature": claims.signature, "paid": claims.paid or None}
    link.rows("select set_config('request.jwt.claims', ?, true), set_config('role', ?, true)", json.dumps(told), f"{schema}_{claims.role}")
    yield Acting(link, claims)
    link.rows("select set_config('role', 'none', true), set_config('request.jwt.claims', '', true)")


# -- as PostgreSQL has them ---------------------------------------------------------------------------------------------

_CLAIM = """create function x402_claim(name text) returns text language sql stable as
$$ select nullif(nullif(current_setting('request.jwt.claims', true), '')::json ->> name, '') $$;
"""
_MAKE = """do $$ declare
  r text;
begin
  foreach r in array array[{roles}] loop
    begin
      execute format('create role %I nologin noinherit', r);
    exception when duplicate_object or unique_violation then null;
    end;
    if exists (select 1 from pg_roles where rolname = r and (rolcanlogin or rolsuper or rolbypassrls or rolcreaterole)) then
      raise exception 'the role % is somebody else''s: one that may neither log in nor pass policies by is needed', r;
    end if;
    begin
      execute format('grant %I to current_user', r);
    exception when insufficient_privilege then
      if not pg_has_role(current_user, r, 'member') then raise; end if;
    end;
    execute format('grant usage on schema %I to %I', current_schema(), r);
  end loop;
end $$;
"""
_DROP = """do $$ declare
  r text;
begin
  foreach r in array array[{roles}] loop
    execute format('revoke all on all tables in schema %I from %I', current_schema(), r);
    execute format('revoke usage on schema %I from %I', current_schema(), r);
    begin
      execute format('drop role %I', r);
    exception when dependent_objects_still_exist or insufficient_privilege or object_in_use then null;  -- another database of this server has them, too
    end;
  end loop;
end $$;
"""
_TEXTS = {
    "wallet": "(select x402_claim('wallet_address'))",
    "signature": "(select x402_claim('signature'))",
    "paid": "(select x402_claim('paid'))::bigint",
}


def migration(number: int, schema: str) -> Migration:
    """The rules as PostgreSQL's own. Tables without a rule are the owner's alone."""
    roles = {each: f"{schema}_{each}" for each in _ROLES}
    listed = ", ".join(f"'{each}'" for each in roles.values())
    opened = [f"alter table {table} enable row level security;\ngrant select, insert, update, delete on {table} to {roles[SERVICE]};\n" for table in _TABLES]
    made = [_MAKE.format(roles=listed), _CLAIM, *opened, *(_policy(rule, roles) for rule in RULES.values())]
    gone = [f"drop policy {table}_{verb} on {table};\n" for table, verb in RULES]
    gone += [f"alter table {table} disable row level security;\n" for table in _TABLES]
    return Migration(number, f"{number:04d}_policies", "".join(made), "".join([*gone, "drop function x402_claim(text);\n", _DROP.format(roles=listed)]))


def _policy(rule: Rule, roles: Mapping[str, str]) -> str:
    """One rule: its policy, and the privilege without which nobody gets as far as that."""
    served = f"(select current_user) = '{roles[SERVICE]}'"
    parts = []
    for word, condition in (("using", rule.rows), ("with check", rule.made)):
        wanted = rule.verb != "insert" if word == "using" else rule.verb in ("insert", "update")
        given = " or (" + _NAME.sub(lambda found: _TEXTS[found[1]], condition) + ")" if condition else ""
        parts += [f"{word} ({served}{given})"] if wanted else []
    who = ", ".join(roles[each] for each in (*rule.who, SERVICE))
    text = f"create policy {rule.table}_{rule.verb} on {rule.table} for {rule.verb} to {who} {' '.join(parts)};\n"
    columns = f" ({', '.join(rule.columns)})" if rule.columns else ""
    return text + "".join(f"grant {rule.verb}{columns} on {rule.table} to {roles[each]};\n" for each in rule.who)
