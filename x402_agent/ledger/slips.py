"""Slips: purses that other processes pay from. A slip is looked at inside the transaction that holds its money.

It is dead when its time is over, when a person revoked it, when the task it was given from under has ended, and when the
process that gave it is gone; never by what its holder does or leaves undone.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import LedgerError, PolicyDenied, SettingsError
from .opened import Opened
from .writer import Job, done_job

if TYPE_CHECKING:
    from ..secret import Secret
    from .store import Store

__all__ = ["Slip", "Slips", "check_slips"]

_COLUMNS = "slip_id, digest, owner, runs, terms, budget, state, created_at, expires_at"
_READ = f"SELECT {_COLUMNS}, seal FROM x402_slips"
_MOVES = {"pause": ("active", "paused"), "resume": ("paused", "active"), "revoke": ("", "revoked")}


@dataclass(frozen=True, slots=True)
class Slip:
    """One slip as the ledger has it. `budget` in millionths of a dollar, times in unix seconds, `runs` outermost first.

    `state` is active, paused, revoked or expired: its time is over, its task ended, or its process is gone (`why`).
    """

    slip_id: str
    owner: str
    runs: tuple[str, ...]
    terms: str
    budget: int
    state: str
    created_at: int
    expires_at: int
    why: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing will ever be paid from it again."""
        return self.state in ("revoked", "expired")


class Slips(Opened):
    """The part of the ledger that keeps slips."""

    def lend(self, slip_id: str, token: Secret, runs: tuple[str, ...], terms: str, budget: int, expires_at: int) -> Job[None]:
        """Write a new slip down, given by this process. Raises LedgerError."""
        digest = hashlib.sha256(token.raw).hexdigest()

        def write(store: Store) -> None:
            now = int(store.now())
            row = [slip_id, digest, store.owner, "".join(f"/{run}" for run in runs), terms, budget, "active", now, expires_at]
            store.db.execute(f"INSERT INTO x402_slips ({_COLUMNS}, seal) VALUES ({','.join('?' * 10)})", (*row, _seal(store, row)))

        return self._job(write, write=True)

    def slip_of(self, token: Secret) -> Slip:
        """The slip that a token opens; raises SettingsError when there is none, PolicyDenied when it is dead."""
        digest = hashlib.sha256(token.raw).hexdigest()

        def read(store: Store) -> Slip:
            row = store.db.execute(f"{_READ} WHERE digest = ?", (digest,)).fetchone()
            if row is None:
                raise SettingsError("this token is no slip of this ledger", rule="X402_AGENT_SLIP, or payer.under(token)",
                                    hint="whoever gave it gives another one: payer.slip(…)")  # fmt: skip
            slip = _slip(store, row, store.now())
            if slip.over:
                raise _dead(slip)
            return slip

        made: Slip = self._job(read, write=False).run()
        return made

    def slip(self, slip_id: str) -> Slip | None:
        """One slip, alive or not."""

        def read(store: Store) -> Slip | None:
            row = store.db.execute(f"{_READ} WHERE slip_id = ?", (slip_id,)).fetchone()
            return None if row is None else _slip(store, row, store.now())

        made: Slip | None = self._job(read, write=False).run()
        return made

    def slips(self) -> list[Slip]:
        """All slips, newest first."""

        def read(store: Store) -> list[Slip]:
            now = store.clock()
            rows = store.db.execute(f"{_READ} ORDER BY created_at DESC, slip_id").fetchall()
            return [_slip(store, row, now) for row in rows]

        return list(self._job(read, write=False).run())

    def set_slip(self, prefix: str, verb: str) -> Slip:
        """`pause`, `resume` or `revoke` the slip whose id begins so. -> as it is now; raises LedgerError, PolicyDenied."""
        before, after = _MOVES[verb]

        def write(store: Store) -> Slip:
            found = store.db.execute(f"{_READ} WHERE substr(slip_id, 1, ?) = ?", (len(prefix), prefix)).fetchall()
            if len(found) != 1 or not prefix:
                many = "more than one slip begins" if found else "no slip begins"
                raise LedgerError(f"{many} with {prefix[:20]!r}", hint="x402-agent slip list")
            slip = _slip(store, found[0], store.now())
            if slip.over:
                raise _dead(slip)
            if before and slip.state not in (before, after):
                raise PolicyDenied(f"slip {slip.slip_id} is {slip.state}", rule=f"slip {verb}", hint="x402-agent slip list")
            _set_state(store, found[0], after)
            return _slip(store, (*found[0][:6], after, *found[0][7:9], None), store.now())

        made: Slip = self._job(write, write=True, full=True).run()
        return made

    def end_slips(self, run: str) -> Job[None]:
        """The slips given from under a task or slip are over, since it is. Raises LedgerError."""

        def write(store: Store) -> None:
            query = f"{_READ} WHERE instr(runs || '/', ?) AND state IN ('active', 'paused')"
            for row in store.db.execute(query, (f"/{run}/",)).fetchall():
                _set_state(store, row, "expired")

        return done_job(None) if self._store is None else self._job(write, write=True)


def check_slips(store: Store, ids: str, now: float) -> None:
    """Inside the transaction that holds money: raises PolicyDenied unless each of these slips is alive and active."""
    for slip_id in ids.split(","):
        row = store.db.execute(f"{_READ} WHERE slip_id = ?", (slip_id,)).fetchone()
        if row is None:
            raise PolicyDenied(f"slip {slip_id} is not in this ledger", rule=f"slip {slip_id}", hint="x402-agent slip list")
        slip = _slip(store, row, now)
        if slip.state != "active":
            raise _dead(slip)


def _slip(store: Store, row: tuple[Any, ...], now: float) -> Slip:
    slip_id, _, owner, runs, terms, budget, state, created_at, expires_at, seal = row
    if seal is not None and not hmac.compare_digest(_seal(store, row[:9]), str(seal)):
        raise LedgerError(f"slip {slip_id} has been changed or damaged", rule="a slip is sealed (Z1)", hint="x402-agent doctor")
    why = "its task has ended" if state == "expired" else ""
    if state in ("active", "paused"):
        if now >= expires_at:
            state, why = "expired", "its time is over"
        elif not store.owners.alive(owner):
            state, why = "expired", "the process that gave it is gone"
    return Slip(slip_id, owner, tuple(runs.split("/")[1:]), terms, budget, state, created_at, expires_at, why)


def _set_state(store: Store, row: tuple[Any, ...], state: str) -> None:
    sealed = _seal(store, (*row[:6], state, *row[7:9]))
    store.db.execute("UPDATE x402_slips SET state = ?, seal = ? WHERE slip_id = ?", (state, sealed, row[0]))


def _seal(store: Store, row: Any) -> str:
    return hmac.digest(store.secret, "\x00".join(["slip", *map(str, row)]).encode(), "sha256").hex()


def _dead(slip: Slip) -> PolicyDenied:
    hint = f"x402-agent slip resume {slip.slip_id}" if slip.state == "paused" else "whoever gave it gives another one: payer.slip(…)"
    return PolicyDenied(f"slip {slip.slip_id} is {slip.state}{slip.why and ': ' + slip.why}", rule=f"slip {slip.slip_id}", hint=hint)
