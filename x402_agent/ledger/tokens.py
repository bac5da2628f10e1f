"""Credentials bought earlier, as rows: what they send is sealed above us; uses are taken before they are sent.

Memory holds the live ones while no other process has written (cache.Cache). A use is one transaction: the row counts
one less, and a lease says who has it. Only what provably never left gives a lease back; what is not known was used.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, NamedTuple

from ..errors import LedgerError
from ..model import QUOTA
from . import lock, states
from .moves import Answer, known, move
from .opened import Opened
from .serial import LEASE
from .writer import Forgiving, Job, Late, done_job

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ..steps import Busy
    from .store import Store

__all__ = ["Live", "Token", "Tokens", "Used", "forget_expired", "plain_path"]

_COLUMNS = ("token_hash", "payment_id", "origin", "path", "uses_left", "expires_at", "account", "dialect", "sealed",
            "created_at", "last_used_at", "agent", "serial")  # fmt: skip
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM x402_tokens"
_LIVE = f"{_SELECT} WHERE uses_left IS NULL OR uses_left > 0 ORDER BY created_at, rowid"
_INSERT = (
    f"INSERT INTO x402_tokens ({', '.join(_COLUMNS)}) VALUES ({','.join('?' * len(_COLUMNS))}) "
    "ON CONFLICT (token_hash) DO UPDATE SET uses_left = excluded.uses_left, expires_at = excluded.expires_at, sealed = excluded.sealed"
)
_TAKE = (
    "UPDATE x402_tokens SET uses_left = uses_left - 1, last_used_at = ?1 WHERE token_hash = ?2 AND uses_left > 0 "
    "AND (expires_at IS NULL OR expires_at > ?1)"
)
_OWE = (
    "UPDATE x402_tokens SET uses_left = -uses_left, sealed = x'' WHERE token_hash = ?1 AND uses_left > 0 "
    "AND (expires_at IS NULL OR expires_at > ?2) AND payment_id IN (SELECT p.payment_id FROM x402_payments p "
    f"JOIN x402_offers o ON o.offer_digest = p.offer_digest WHERE o.flow = '{QUOTA}')"
)
_OLDER = (
    "SELECT t.token_hash FROM x402_tokens t JOIN x402_payments p ON p.payment_id = t.payment_id "
    "JOIN x402_offers o ON o.offer_digest = p.offer_digest "
    f"WHERE t.payment_id = ? AND t.token_hash <> ? AND o.flow = '{QUOTA}'"
)
_OPEN = (
    "SELECT p.payment_id FROM x402_tokens t JOIN x402_payments p ON p.payment_id = t.payment_id JOIN x402_offers o ON o.offer_digest = p.offer_digest "
    f"WHERE t.token_hash = ? AND p.is_open = 1 AND o.flow = '{QUOTA}' AND p.state IN {states.listed(states.SPENT | {'UNKNOWN', 'PROVING'})}"
)
_LEAST = "UPDATE x402_tokens SET uses_left = MIN(COALESCE(uses_left, ?1), ?1) WHERE token_hash = ?2"


class Token(NamedTuple):
    """One credential as the ledger has it. Times are unix seconds; `uses_left` and `expires` None: without end, and below zero
    `uses_left` are calls that were paid for and are refused; `agent` is whose it is among a signer's agents. `serial`: one use at a time."""

    name: str
    payment_id: str
    origin: str
    path: str
    uses_left: int | None = None
    expires: int | None = None
    account: str = ""
    dialect: str = ""
    sealed: bytes = b""
    created_at: int = 0
    last_used_at: int | None = None
    agent: str = ""
    serial: int = 0
    in_use: int = 0

    def __repr__(self) -> str:
        return f"Token({self.name[:8]}, {self.origin}{self.path})"

    def lives(self, now: float) -> bool:
        """Whether it has time and uses left, as far as this copy of its row says."""
        return (self.uses_left is None or self.uses_left > 0) and (self.expires is None or now < self.expires)


class Live(NamedTuple):
    """Credentials with uses left by origin, oldest first; and by origin and Ask key the payment whose goods wait here."""

    tokens: dict[str, list[Token]]
    goods: dict[str, dict[str, str]]


class Used(NamedTuple):
    """What came of a use: `left` is what the seller says is left, None when he says nothing. `agent` ("" is everybody's
    word): by whose word, which moves no credential of another's. `serial`: others wait for this one to end. `good`: it opened the door.
    """

    name: str
    lease: int = 0
    left: int | None = None
    refused: bool = False
    unsent: bool = False
    agent: str = ""
    serial: bool = False
    good: bool = False


class Tokens(Opened):
    """The part of the ledger that keeps credentials."""

    def known_live(self) -> Live | None:
        """All that opens doors or waits, from memory; None while memory may be behind the file."""
        store = self._store
        return None if store is None or self._forked or not store.current() else store.cache.live

    def live(self) -> Job[Live]:
        """All that opens doors or waits, from the file where memory may be behind it."""
        return self._job(_live, write=False)

    def keep(self, token: Token) -> Job[None]:
        """Write a credential down, durably; the same name again changes uses and expiry. Raises LedgerError."""
        return self._job(lambda store: _keep(store, token), write=True, full=True)

    def use(self, name: str, *, serial: bool = False) -> Job[tuple[int, int] | Busy | None]:
        """Take one use before it is sent. -> (lease, uses left), None when there was none to take; Busy while another use of a
        `serial` one is under way. Raises LedgerError."""  # fmt: skip
        if not serial:
            return self._job(lambda store: _use(store, name), write=True)
        if self._store is not None and not self._forked and (busy := self._serial.seen(self._store, name)) is not None:
            return done_job(busy)
        return self._job(self._in_turn(name), write=True)

    def _in_turn(self, name: str) -> Callable[[Store], tuple[int, int] | Busy | None]:
        def take(store: Store) -> tuple[int, int] | Busy | None:
            busy = self._serial.under_way(store, name, self._at_work)
            if busy is not None or (taken := _use(store, name)) is None:
                return busy
            self._serial.taken(name, taken[0])
            return taken

        return take

    def used(self, use: Used) -> Job[None]:
        """What came of it. A refused credential is forgotten; of two counts of what is left the lower one holds (K2).

        What cannot be written is logged, and leaves the use taken.
        """
        writer = self._writer if self._store is not None and not self._forked else None
        kind = Forgiving if use.refused or use.unsent or use.serial else Late
        return kind(writer, lambda store: self._back(store, use), write=True, full=False)

    def _back(self, store: Store, use: Used) -> None:
        if use.serial:  # else it is no turn of whoever says so
            self._serial.back(use.lease)
        _used(store, use)

    def forget_token(self, name: str) -> bool:
        """Remove one credential for every process. -> whether it was there."""
        found: bool = self._job(lambda store: _drop(store, name), write=True, full=True).run()
        return found

    def tokens(self) -> list[Token]:
        """Every credential that is kept, used up and expired ones too, oldest first; `in_use` counts uses under way."""

        def read(store: Store) -> list[Token]:
            return [each._replace(in_use=_leases(store, each.name)) for each in _rows(store, f"{_SELECT} ORDER BY created_at, rowid")]

        found: list[Token] = self._job(read, write=False).run()
        return found

    def token(self, prefix: str) -> Token:
        """The one credential whose name begins so (at least 4 characters); raises LedgerError for none or several."""
        found = [each for each in self.tokens() if len(prefix) >= 4 and each.name.startswith(prefix)]
        if len(found) != 1:
            many = "more than one credential begins" if found else "no credential begins"
            raise LedgerError(f"{many} with {prefix[:70]!r}", rule="at least 4 characters of its id", hint="x402-agent credentials list")
        return found[0]

    # -- the file of earlier releases -----------------------------------------------------------------------------

    def plain_tokens(self) -> dict[str, dict[str, str]]:
        """Header values that an earlier release kept unsealed beside the ledger, by name; raises LedgerError."""
        return _read(plain_path(self.path))

    def seal_plain(self, sealed: Callable[[Token], Token]) -> None:
        """Replace those rows by sealed ones, durably, and then remove the file. Raises LedgerError."""
        names = self.plain_tokens()

        def write(store: Store) -> None:
            for old in _rows(store, _SELECT):
                if old.name in names:
                    _drop(store, old.name)
                    _keep(store, sealed(old))

        self._job(write, write=True, full=True).run()
        plain_path(self.path).unlink(missing_ok=True)


def _rows(store: Store, query: str, values: Sequence[object] = ()) -> list[Token]:
    return [Token(*row) for row in store.db.execute(query, tuple(values)).fetchall()]


def _live(store: Store) -> Live:
    if store.cache.live is not None and store.current():
        return store.cache.live
    tokens: dict[str, list[Token]] = {}
    for token in _rows(store, _LIVE):
        tokens.setdefault(token.origin, []).append(token)
    goods: dict[str, dict[str, str]] = {}
    for origin, key, payment_id in store.db.execute("SELECT origin, ask_key, payment_id FROM x402_goods ORDER BY rowid DESC"):
        goods.setdefault(origin, {})[key] = payment_id  # of several, the oldest
    found = Live(tokens, goods)
    if store.current():  # asked after reading: what another process began before then is in neither
        store.cache.live = found
    return found


def _changed(store: Store) -> None:
    store.cache.live = None


def _keep(store: Store, token: Token) -> None:
    for (older,) in store.db.execute(_OLDER, (token.payment_id, token.name)).fetchall() if token.payment_id else ():
        _drop(store, older)  # calls are counted once: what a payment buys again takes the place of what it bought
    created = token.created_at or int(store.clock())
    store.db.execute(_INSERT, (token.name, token.payment_id, token.origin, token.path, token.uses_left, token.expires,
                               token.account, token.dialect, token.sealed, created, token.last_used_at, token.agent, token.serial))  # fmt: skip
    _changed(store)


def _use(store: Store, name: str) -> tuple[int, int] | None:
    now = int(store.clock())
    if store.db.execute(_TAKE, (now, name)).rowcount != 1:
        _changed(store)
        return None
    query = "INSERT INTO x402_leases (token_hash, owner, taken_at) VALUES (?,?,?)"
    lease = store.db.execute(query, (name, store.owner, now)).lastrowid or 0
    left: int = store.db.execute("SELECT uses_left FROM x402_tokens WHERE token_hash = ?", (name,)).fetchone()[0]
    _changed(store)
    return lease, left


def _used(store: Store, use: Used) -> None:
    own = "SELECT 1 FROM x402_tokens WHERE token_hash = ? AND agent = ?"
    if use.agent and store.db.execute(own, (use.name, use.agent)).fetchone() is None:
        return
    query = "DELETE FROM x402_leases WHERE id = ? AND token_hash = ?"
    held = bool(use.lease) and store.db.execute(query, (use.lease, use.name)).rowcount == 1
    if use.refused:
        if use.left == 0 or not _owed(store, use.name):  # its seller says that it is used up
            _drop(store, use.name)
    elif use.unsent and held:  # a lease gives back once, and only what it took
        store.db.execute("UPDATE x402_tokens SET uses_left = uses_left + 1 WHERE token_hash = ?", (use.name,))
    elif use.left is not None:
        store.db.execute(_LEAST, (use.left, use.name))
    if use.good:
        _served(store, use.name)
    _changed(store)


def _served(store: Store, name: str) -> None:
    """What was bought opens the door: the payment that bought it has delivered, though its own first call may have failed. Else it would be shown again
    once that is used up, for ever, and no other bought."""  # fmt: skip
    found = store.db.execute(_OPEN, (name,)).fetchone()
    row = known(store, found[0]) if found else None
    if row is not None:
        store.cache.loud(row.ask_key, row.payment_id)
        state = "CLAIMED" if states.legal(row.state, "CLAIMED") else row.state
        move(store, row, state, answer=Answer(status=200, note="what it bought opens the door"))


def _owed(store: Store, name: str) -> bool:
    """Whether what was refused are calls that are paid for still: how many is kept, below zero, until their time is over."""
    values = (name, int(store.clock()))
    store.db.execute("DELETE FROM x402_leases WHERE token_hash = ?", values[:1])
    return store.db.execute(_OWE, values).rowcount == 1


def _drop(store: Store, name: str) -> bool:
    store.db.execute("DELETE FROM x402_leases WHERE token_hash = ?", (name,))
    gone = store.db.execute("DELETE FROM x402_tokens WHERE token_hash = ?", (name,)).rowcount == 1
    _changed(store)
    return gone


def _leases(store: Store, name: str) -> int:
    """Uses under way: taken by a process that lives, within the hour."""
    query = "SELECT owner, COUNT(*) FROM x402_leases WHERE token_hash = ? AND taken_at > ? GROUP BY owner"
    taken = store.db.execute(query, (name, int(store.clock()) - LEASE)).fetchall()
    return sum(count for owner, count in taken if store.owners.alive(owner))


def forget_expired(store: Store, now: float) -> int:
    """Remove credentials without time, or without uses and with none under way. -> how many."""
    query = f"{_SELECT} WHERE expires_at <= ? OR uses_left = 0"
    gone = [each for each in _rows(store, query, (int(now),)) if not _leases(store, each.name)]
    for each in gone:
        _drop(store, each.name)
    store.db.execute("DELETE FROM x402_leases WHERE taken_at <= ?", (int(now) - LEASE,))
    return len(gone)


def plain_path(ledger: Path) -> Path:
    """Where an earlier release kept header values: beside the ledger."""
    return ledger.with_name(ledger.name + ".tokens")


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
