"""Credentials bought earlier. Their secret header values lie in a private file beside the ledger, never inside it."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING

from ..errors import LedgerError
from ..model import Credential
from . import lock
from .opened import Opened

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .store import Store
    from .writer import Job

__all__ = ["Tokens", "token_hash"]

_INSERT = (
    "INSERT INTO x402_tokens (token_hash, payment_id, origin, path, uses_left, expires_at, created_at) "
    "VALUES (?,?,?,?,?,?,?) ON CONFLICT (token_hash) DO UPDATE SET uses_left = excluded.uses_left, "
    "expires_at = excluded.expires_at"
)
_USE = (
    "UPDATE x402_tokens SET uses_left = CASE WHEN uses_left IS NULL THEN NULL ELSE MAX(0, uses_left - ?) END, "
    "last_used_at = ? WHERE token_hash = ?"
)
_LIVE = (
    "SELECT token_hash, payment_id, origin, path, uses_left, expires_at FROM x402_tokens "
    "WHERE (expires_at IS NULL OR expires_at > ?) AND (uses_left IS NULL OR uses_left > 0) ORDER BY created_at"
)


def token_hash(credential: Credential) -> str:
    """The name of a credential: sha256 over its origin, path and header values."""
    parts = json.dumps([credential.origin, credential.path, sorted(credential.headers.items())])
    return hashlib.sha256(parts.encode()).hexdigest()


class Tokens(Opened):
    """The part of the ledger that keeps credentials."""

    def keep(self, credential: Credential, used: int = 0, refused: bool = False) -> Job[None]:
        """Store a credential, count `used` uses of it, or forget it because it was refused. Raises LedgerError."""
        return self._job(lambda store: _keep(store, credential, used, refused), write=True, full=not used)

    def credentials(self, now: float) -> list[Credential]:
        """Those with uses and time left at `now` (unix seconds), oldest first."""
        found: list[Credential] = self._job(lambda store: _live(store, now), write=False).run()
        return found


def _keep(store: Store, credential: Credential, used: int, refused: bool) -> None:
    name = token_hash(credential)
    if refused:
        store.db.execute("DELETE FROM x402_tokens WHERE token_hash = ?", (name,))
        _rewrite(store, lambda held: held.pop(name, None))
    elif used:
        store.db.execute(_USE, (used, int(store.clock()), name))
    else:
        headers = dict(credential.headers)
        _rewrite(store, lambda held: held.__setitem__(name, headers))  # the secret first: a row without it is useless
        expires = None if credential.expires is None else int(credential.expires)
        values = (name, credential.payment_id, credential.origin, credential.path, credential.uses_left, expires,
                  int(store.clock()))  # fmt: skip
        store.db.execute(_INSERT, values)


def _live(store: Store, now: float) -> list[Credential]:
    held = _read(_secrets_path(store))
    rows = store.db.execute(_LIVE, (int(now),)).fetchall()
    return [
        Credential(origin, path, held[name], payment_id, uses_left, expires)
        for name, payment_id, origin, path, uses_left, expires in rows
        if name in held
    ]


def forget_expired(store: Store, now: float) -> int:
    """Remove credentials without time or uses, and secrets without a row. -> how many rows."""
    gone = store.db.execute("DELETE FROM x402_tokens WHERE expires_at <= ? OR uses_left = 0", (int(now),)).rowcount
    kept = {name for (name,) in store.db.execute("SELECT token_hash FROM x402_tokens")}
    if set(_read(_secrets_path(store))) - kept:
        _rewrite(store, lambda held: [held.pop(name) for name in list(held) if name not in kept])
    return gone


def _secrets_path(store: Store) -> Path:
    return store.path.with_name(store.path.name + ".tokens")


def _read(path: Path) -> dict[str, dict[str, str]]:
    try:
        fd = lock.open_private(path, create=False)
    except FileNotFoundError:
        return {}
    with os.fdopen(fd, "rb") as file:
        raw = file.read()
    try:
        held: dict[str, dict[str, str]] = json.loads(raw)
    except ValueError as cause:
        raise LedgerError(f"{path} is damaged", rule="stored credentials are JSON", hint=f"remove {path}") from cause
    return held


def _rewrite(store: Store, change: Callable[[dict[str, dict[str, str]]], object]) -> None:
    """Replace the file in one step, durably; we are under the ledger's lock."""
    path = _secrets_path(store)
    held = _read(path)
    change(held)
    fresh = path.with_name(path.name + ".new")
    try:
        fd = lock.open_private(fresh)
        with os.fdopen(fd, "wb") as file:
            file.truncate()
            file.write(json.dumps(held).encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError as cause:
        raise LedgerError(f"{path} cannot be written: {cause.strerror}", rule="no journal, no signature") from cause
