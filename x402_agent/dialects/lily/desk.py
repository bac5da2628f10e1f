"""What settings say of one origin that sells by Lily, and questions to the tables that they name. Its key goes there and nowhere else."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ... import assets
from ...errors import ChallengeInvalid, SettingsError
from ...secret import Secret, Veiled
from ...steps import Fetch, Fetched
from .. import strict
from ..desks import TIMEOUT
from .header import number

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...model import Asset, Network
    from ...steps import Steps

__all__ = ["CONFIGS", "NOBODY", "SESSIONS", "Desk", "amount_in", "desk", "text_in", "time_in"]

CONFIGS, SESSIONS = "x402_service_configs", "x402_payment_sessions"
SOLANA = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"
ROWS = 64  # of one answer that are looked at
HOURS = 24
MOST_HOURS = 24 * 30
_WAYS = ("auto", "proof", "session", "credits")
_COINS = ("USDC", "SOL")
_WORD = re.compile(r"[0-9A-Za-z_.:-]{1,128}").fullmatch
_HINT = 'dialects.lily."https://agents.example" = { rest_url = "https://project.supabase.co", key_env = "LILY_KEY", service_id = "…" }'


class Desk(NamedTuple):
    """`rest` is the base of its tables ("" for none), `key` goes there alone; `currency` "" is what the service's row says.

    `lacks` names the variable that its key should be in and is not.
    `pays` is auto, proof, session or credits; `most` dollars for models without a fixed price; `price` dollars where there is no row.
    """

    rest: str = ""
    key: Secret = Secret()
    service_id: str = ""
    service_type: str = "agent_execution"
    pay_to: str = ""
    network: str = SOLANA
    currency: str = ""
    pays: str = "auto"
    most: Decimal | None = None
    hours: int = HOURS
    price: Decimal | None = None
    lacks: str = ""

    @property
    def where(self) -> Network:
        """The network that it is paid on."""
        found = assets.network(self.network)
        assert found is not None
        return found

    def asset(self, symbol: str) -> Asset | None:
        """USDC or SOL there."""
        where = self.where
        if symbol == "SOL":
            return assets.coin(where)
        return next((each for each in assets.assets() if each.network is where and each.symbol == symbol), None)

    @property
    def serves(self) -> bool:
        """Whether there are tables to ask for a service."""
        return bool(self.rest and self.service_id)

    @property
    def service(self) -> dict[str, str]:
        """The filter for rows about the service itself."""
        return {"service_id": self.service_id, "service_type": self.service_type}

    def ask(self, method: str, table: str, where: Mapping[str, str | Secret] | None = None, document: Mapping[str, Any] | None = None) -> Steps[Fetched]:
        """One question about rows whose columns equal these. In the document a Decimal is written as the number that it is."""
        got: Fetched = yield self._question(method, table, where or {}, document)  # no frame that waits has the key or a token in its locals
        return got

    def _question(self, method: str, table: str, where: Mapping[str, str | Secret], document: Mapping[str, Any] | None) -> Fetch:
        query = "&".join(f"{name}=eq.{quote(Secret(value).text, safe='')}" for name, value in where.items())
        headers = {"accept": "application/json"}
        if len(self.key):
            headers |= {"apikey": self.key.text, "authorization": f"Bearer {self.key.text}"}
        body = b""
        if document is not None:
            headers |= {"content-type": "application/json", "prefer": "return=representation"}
            body = _json(document)
        url = f"{self.rest}/rest/v1/{table}" + (f"?{query}" if query else "") + ("&select=*" if method == "GET" else "")
        return Fetch(method, url, body, Veiled(headers), timeout=TIMEOUT, theirs=False)

    def rows(self, table: str, where: Mapping[str, str]) -> Steps[list[strict.Document] | None]:
        """The rows of a table that match; None where nobody gave any answer that can be read."""
        got = yield from self.ask("GET", table, where)
        return rows_of(got) if got.status == 200 else None


NOBODY = Desk()


def _json(document: Mapping[str, Any]) -> bytes:
    return ("{" + ",".join(f"{json.dumps(name)}:{_member(value)}" for name, value in document.items()) + "}").encode()


def _member(value: object) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(value.text if isinstance(value, Secret) else value)


def rows_of(got: Fetched) -> list[strict.Document] | None:
    """The rows of an answer with the text of each column as it came; None for what is no list of rows."""
    try:
        if not got.content.lstrip().startswith(b"["):
            return None
        found = strict.parse(b'{"rows":' + got.content + b"}", "rows")
        return [strict.parse(each.encode()) for each in found.rows[:ROWS]]
    except ChallengeInvalid:
        return None


def text_in(row: strict.Document, name: str) -> str:
    """A column of text, "" where it is none."""
    found = row.fields.get(name)
    return found if isinstance(found, str) else ""


def amount_in(row: strict.Document, name: str) -> Decimal | None:
    """A column's number as it was written, never through a float; None where it is null, or is no plain number."""
    return number(row.raw.get(name, "").strip('"'))


def time_in(row: strict.Document, name: str) -> int | None:
    """A column of ISO 8601 as unix seconds, UTC where it names no zone; None for what is none."""
    text = text_in(row, name)
    try:
        at = datetime.fromisoformat(text) if 0 < len(text) <= 40 else None
        return None if at is None else int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def desk(said: Mapping[str, str]) -> Desk:
    """The table of one origin. Raises SettingsError for what nobody can pay by."""
    where = assets.network(said.get("network", SOLANA))
    if where is None or where.namespace != "solana":
        raise _wrong("network", "a network of Solana")
    if said.get("currency", "USDC") not in _COINS:
        raise _wrong("currency", "USDC or SOL")
    if said.get("pays", "auto") not in _WAYS:
        raise _wrong("pays", ", ".join(_WAYS))
    for name in ("service_id", "service_type", "pay_to"):
        if name in said and not _WORD(said[name]):
            raise _wrong(name, "letters, digits, - and _")
    hours = said.get("hours", str(HOURS))
    if not (hours.isascii() and hours.isdigit() and len(hours) < 4 and 1 <= int(hours) <= MOST_HOURS):
        raise _wrong("hours", f"1 to {MOST_HOURS}")
    return Desk(said.get("rest_url", "").rstrip("/"), Secret(said.get("key", "")), said.get("service_id", ""), said.get("service_type", "agent_execution"),
                said.get("pay_to", ""), where.id, said.get("currency", ""), said.get("pays", "auto"), _dollars(said, "max_payment"), int(hours),
                _dollars(said, "price"), said.get("key_env", ""))  # fmt: skip


def _dollars(said: Mapping[str, str], name: str) -> Decimal | None:
    if name not in said:
        return None
    found = number(said[name])
    if not found:
        raise _wrong(name, 'dollars, as "0.50"')
    return found


def _wrong(name: str, what: str) -> SettingsError:
    return SettingsError(f"{name} of a Lily seller is {what}", rule=f"{name} of dialects.lily in settings.toml", hint=_HINT)
