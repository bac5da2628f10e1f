"""Who calls the API: people who signed a login message with their Stacks account, and programs with a key of theirs."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ...chains.stacks import messages
from ...encodings import unc32_address
from ..books import stamp
from ..remembered import Remembered
from .content import people
from .store import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..tokens import Tokens
    from .books import X402PayBooks

__all__ = ["SCOPES", "Caller", "Desk", "Refusal"]

SESSION = 7 * 86_400  # seconds
LOGIN = 300  # seconds that a login message may be old
SCOPES = ("read", "write", "admin")
_SIGNATURE = re.compile(r"(0x)?([0-9a-fA-F]{130})").fullmatch


class Refusal(Exception):
    """An answer that ends a request: its status, code and words."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(words)
        self.status, self.code = status, code


class Caller(NamedTuple):
    """Who calls: whose account it is, and what may be done in its name. `key` is "" in a session."""

    user: str
    address: str
    scopes: tuple[str, ...]
    key: str = ""

    def may(self, scope: str) -> bool:
        """Whether it may: an admin may everything."""
        return scope in self.scopes or "admin" in self.scopes


class Desk:
    """`clock` is the seller's, in unix seconds; accounts are of the network whose addresses have this version."""

    def __init__(self, books: X402PayBooks, tokens: Tokens, clock: Callable[[], float], version: int = 26) -> None:
        self._database, self._tokens, self._clock, self._version = books.database, tokens, clock, version
        self._used: Remembered[bool] = Remembered(2 * LOGIN)  # login messages, until they are too old

    def now(self) -> str:
        """The seller's time."""
        return stamp(self._clock())

    # -- people ---------------------------------------------------------------------------------------------------------

    def login(self, body: dict[str, Any]) -> dict[str, Any]:
        """A session for who signed `message`; raises Refusal."""
        address, signature, message, said = (body.get(each) for each in ("address", "signature", "message", "timestamp"))
        if not isinstance(address, str) or not isinstance(signature, str) or not isinstance(message, str):
            raise Refusal(400, "BAD_REQUEST", "address, signature, message and timestamp are required")
        try:
            known = unc32_address(address)[0] == self._version and "." not in address
        except ValueError:
            known = False
        if not known:
            raise Refusal(400, "INVALID_ADDRESS", "Not an address of this network")
        seconds, now = _seconds(said), self._clock()
        if message != f"x402Pay Login\nTimestamp: {said}" or seconds is None:
            raise Refusal(401, "INVALID_MESSAGE", "The message is not the login message of this timestamp")
        if not -60 <= now - seconds < LOGIN:
            raise Refusal(401, "MESSAGE_EXPIRED", "The login message is older than 5 minutes, or from the future")
        found = _SIGNATURE(signature)
        if not found or not messages.verify(messages.plain_digest(message), bytes.fromhex(found[2]), address):
            raise Refusal(401, "INVALID_SIGNATURE", "The signature is not by this address")
        if self._used.get(f"{address} {said}", now):
            raise Refusal(401, "MESSAGE_USED", "This login message was used")
        self._used.put(f"{address} {said}", value=True, now=now)
        user = people(self._database, address, self.now())
        token = self._tokens.issue("session", int(now) + SESSION, sub=address, user=user)
        return {"token": token, "user": {"id": user, "walletAddress": address}}

    def session(self, token: str) -> Caller | None:
        """Whose session a token is."""
        claims = self._tokens.read(token, "session")
        return Caller(claims["user"], claims["sub"], ("read", "write")) if claims else None

    # -- programs -------------------------------------------------------------------------------------------------------

    def key(self, address: str, scopes: tuple[str, ...], made: str = "") -> tuple[str, str]:
        """A key for an account's programs, which is shown this once, and its id; raises Refusal."""
        if not scopes or not set(scopes) <= set(SCOPES):
            raise Refusal(400, "BAD_REQUEST", "scopes are some of read, write, admin")
        key, identity = made or f"x4p_{secrets.token_urlsafe(32)}", str(uuid.uuid4())
        self._database.rows(
            "insert into api_keys (id, user_id, key_hash, key_preview, scopes, created_at) values (?, ?, ?, ?, ?, ?)",
            identity, people(self._database, address, self.now()), digest(key), f"{key[:8]}…", json.dumps(scopes), self.now(),
        )  # fmt: skip
        return key, identity

    def program(self, key: str) -> Caller | None:
        """Whose key this is."""
        row = self._database.one(
            "select k.id, k.scopes, u.id as owner, u.wallet_address from api_keys k join users u on u.id = k.user_id where k.key_hash = ? and k.revoked_at is null",
            digest(key),
        )
        return Caller(row["owner"], row["wallet_address"], tuple(json.loads(row["scopes"])), row["id"]) if row and len(key) <= 100 else None

    def keys(self, user: str) -> list[dict[str, Any]]:
        """The keys of an account, without what opens anything."""
        rows = self._database.rows("select id, key_preview, scopes, created_at, revoked_at from api_keys where user_id = ? order by created_at, id", user)
        return [
            {"id": row["id"], "preview": row["key_preview"], "scopes": json.loads(row["scopes"]), "active": row["revoked_at"] is None} for row in rows
        ]  # fmt: skip

    def revoke(self, user: str, identity: str) -> bool:
        """Whether there was such a key of this account; it opens nothing any more."""
        done = self._database.rows("update api_keys set revoked_at = ? where id = ? and user_id = ? and revoked_at is null returning id", self.now(), identity, user)
        return bool(done)

    def noted(self, actor: str, action: str, entity: str) -> None:
        """A line of the audit log."""
        self._database.rows("insert into audit_logs (id, actor, action, entity, created_at) values (?, ?, ?, ?, ?)", str(uuid.uuid4()), actor, action, entity[:100], self.now())


def _seconds(said: object) -> float | None:
    """A timestamp in unix seconds: a number of seconds, of milliseconds above 10**11, or ISO 8601; None for anything else."""
    if type(said) is int and 0 < said < 10**14:
        return said / 1000 if said > 10**11 else float(said)
    if isinstance(said, str) and len(said) <= 40:
        if said.isascii() and said.isdigit() and len(said) < 15:
            return _seconds(int(said))
        try:
            found = datetime.fromisoformat(said)
        except ValueError:
            return None
        return found.timestamp() if found.tzinfo else None
    return None
