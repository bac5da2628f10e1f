"""How a row of the database looks outside: dollars and SOL as numbers, times in ISO 8601, and what may be asked of a column."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..books import stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["COLUMNS", "Wrong", "inside", "outside"]

MOST = 10**15  # millionths
_LONGEST = 1_000  # characters of a text that has no width
_SAID: Mapping[str, str] = {
    "x402_service_configs": "id service_id:uuid service_type owner_wallet platform_wallet base_price:usd currency pricing_model min_payment:usd max_payment:usd"
    " max_session_amount:usd requires_preauth:bool allowed_origins:json webhook_url is_active:bool created_at:time updated_at:time",
    "x402_payment_sessions": "id wallet_address session_token authorized_amount:usd remaining_amount:usd currency resource_pattern service_id:uuid service_type status"
    " auto_renew:bool renewal_amount:usd initial_payment_signature sol_amount:sol usd_amount:usd conversion_rate:usd expires_at:time last_used_at:time"
    " created_at:time updated_at:time",
    "x402_payment_credits": "id wallet_address service_id:uuid service_type balance:usd total_deposited:usd total_spent:usd created_at:time updated_at:time",
    "x402_transactions": "id wallet_address service_id:uuid service_type session_id transaction_signature amount:usd currency status resource_type resource_id"
    " http_method purpose error_code created_at:time",
    "x402_payment_authorizations": "id wallet_address service_id:uuid service_type spending_limit_per_request:usd spending_limit_per_day:usd"
    " spending_limit_per_month:usd status expires_at:time created_at:time updated_at:time",
    "x402_analytics": "id date service_id:uuid service_type total_requests:int successful_payments:int failed_payments:int total_revenue:usd unique_wallets:int updated_at:time",
}
COLUMNS: Mapping[str, Mapping[str, str]] = {
    table: {name: kind or "text" for name, _, kind in (each.partition(":") for each in said.split())} for table, said in _SAID.items()
}
_WIDTHS: Mapping[str, Mapping[str, int]] = {  # as the schema says them to PostgreSQL: SQLite keeps whatever it is given
    table: {name: int(width) for name, width in re.findall(r"^  (\w+) varchar\((\d+)\)", body, re.MULTILINE)}
    for table, body in re.findall(r"create table (\w+) \((.*?)\n\);", (files(__package__) / "sql" / "0001_tables.sql").read_text("utf-8"), re.DOTALL)
}


class Wrong(ValueError):
    """A value that its column does not take."""


def outside(table: str, row: Mapping[str, Any], names: tuple[str, ...] = ()) -> dict[str, Any]:
    """A row as JSON has it, of these columns."""
    kinds = COLUMNS[table]
    return {name: _said(kinds[name], row[name]) for name in names or kinds}


def _said(kind: str, value: Any) -> Any:
    if value is None:
        return None
    if kind in ("usd", "sol"):
        return value / 10 ** (6 if kind == "usd" else 9)
    if kind == "bool":
        return bool(value)
    if kind == "time":
        whole, _, part = str(value).replace(" ", "T").partition(".")
        return f"{whole}.{part[:3]:0<3}+00:00"  # whatever the engine leaves out
    return json.loads(value) if kind == "json" else value


def inside(table: str, name: str, value: Any) -> object:
    """What a caller says as the database keeps it; raises Wrong."""
    kind = COLUMNS[table].get(name)
    if kind is None:
        raise Wrong(f"column {table}.{name[:60]} does not exist")
    if value is None:
        return None
    try:
        return _kept(kind, value, _WIDTHS[table].get(name, _LONGEST))
    except (ValueError, TypeError, ArithmeticError):  # the last are Decimal's own: 1e999999 overflows there
        words = f'input syntax for type uuid: "{str(value)[:60]}"' if kind == "uuid" else f"value for {name}"
        raise Wrong(f"invalid {words}") from None


def _kept(kind: str, value: Any, width: int) -> object:
    if kind in ("usd", "sol", "int"):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Wrong
        scaled = Decimal(str(value)) * {"usd": 10**6, "sol": 10**9, "int": 1}[kind]
        if not 0 <= scaled <= MOST * 1000:
            raise Wrong
        return int(scaled.to_integral_value())
    if kind == "bool":
        found = {True: 1, False: 0, "true": 1, "false": 0}.get(value)
        if found is None:
            raise Wrong
        return found
    if kind == "time":
        when = datetime.fromisoformat(value)
        return stamp((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())
    if kind == "json":
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise Wrong
        return json.dumps(value)
    if not isinstance(value, str) or not value.isprintable() or len(value) > width:
        raise Wrong
    return str(UUID(value)) if kind == "uuid" else value
