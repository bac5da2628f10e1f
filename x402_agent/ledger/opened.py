"""A ledger that is open: its file, its writer, and what this process has in progress. The other parts stand on this one.

It ends with the process, and a fork opens it anew: two processes never share one connection.
"""

from __future__ import annotations

import atexit
import os
import time
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from ..errors import LedgerError, PaymentError
from ..model import Hold
from ..secret import Secret
from . import checkpoints, recovery, states
from .moves import known, move
from .notes import Note
from .serial import Serial
from .store import Store
from .writer import Forgiving, Job, Writer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

    from .moves import Known

__all__ = ["Opened"]

_LEDGERS: weakref.WeakSet[Opened] = weakref.WeakSet()


class Opened:
    """`clock` gives unix seconds; `journal="normal"` is for benchmarks and tests only; `notes`: see notes.py.

    Opening raises LedgerError when the file cannot be locked, read, migrated or trusted.
    """

    def __init__(
        self,
        path: Path,
        *,
        sandbox: bool = False,
        clock: Callable[[], float] = time.time,
        journal: Literal["full", "normal"] = "full",
        agent: str = "",
        notes: Path | None = None,
    ) -> None:
        self.path, self.sandbox, self.clock, self.agent = path, sandbox, clock, agent
        self._durable, self._notes = journal == "full", notes
        self._child = False  # forked children mostly end by os._exit, which runs no exit handler: nothing of theirs may wait
        self._open()
        _LEDGERS.add(self)

    def _open(self) -> None:
        self._store: Store | None = Store(self.path, self.clock, durable=self._durable)
        self._writer = Writer(self._store)
        self._live: dict[str, Known] = {}  # our payments in progress, and what Close needs of their rows
        self._serial = Serial()
        self._committing: set[str] = set()  # handed to the writer, perhaps not written yet
        self._forked = False
        self._job(recovery.trust, write=True).run()
        self._note: Note = self._job(lambda store: Note(self._notes, store), write=True).run()
        self._store.note = self._note
        self._job(recovery.recover, write=True).run()  # last: what is not trusted frees nothing

    def _job(self, operation: Callable[[Store], Any], *, write: bool, full: bool = False) -> Job[Any]:
        if self._forked:
            self._open()
        if self._store is None:
            raise LedgerError("the ledger is closed", rule="no journal, no signature", hint="a new Payer: this one was closed")
        return Job(self._writer, operation, write=write, full=full)

    def _holding(self, operation: Callable[[Store], Any]) -> Job[Any]:
        """A job that sets budget aside, and whose Hold is released where nobody is left to sign it."""

        def undo(store: Store, made: Any) -> None:
            row = known(store, made.payment_id) if isinstance(made, Hold) else None
            if row is not None and row.state in states.UNSENT:
                store.cache.loud(row.ask_key, row.payment_id)
                move(store, row, "RELEASED", note="whoever wanted it was interrupted")
                self._live.pop(row.payment_id, None)

        job = self._job(operation, write=True)
        job.undo = undo
        return job

    @property
    def secret(self) -> Secret:
        """32 bytes of this ledger, kept beside it and in no row: half of the key to what is sealed in it."""
        if self._store is None:
            raise LedgerError("the ledger is closed", rule="no journal, no signature", hint="a new Payer: this one was closed")
        return Secret(self._store.secret)

    def _busy(self, store: Store, row: sqlite3.Row) -> bool:
        return row["state"] in states.UNDER_WAY and self._at_work(store, row)

    def _at_work(self, store: Store, row: sqlite3.Row) -> bool:
        """Whether somebody is presenting this very proof now: another live process, or a call of ours."""
        if row["owner"] == store.owner:
            return row["payment_id"] in self._live
        return store.owners.alive(row["owner"])

    def recover(self) -> int:
        """Release the RESERVED rows of owners that are gone: nothing of them ever left. -> how many."""
        found: int = self._job(recovery.recover, write=True).run()
        return found

    def flush(self) -> None:
        """Write what waits; afterwards other processes see it too."""
        if self._store is not None and not self._forked:
            Forgiving(self._writer, recovery.nothing, write=False, full=False).run()  # it may share the lot of a late Close

    def shut(self) -> None:
        """Finish what waits and close the file. Jobs made later raise LedgerError."""
        if self._store is None or self._forked:
            return
        with suppress(PaymentError):
            self._job(checkpoints.tidy, write=True).run()
        self.flush()
        store, self._store = self._store, None
        self._writer.stop()
        store.close()
        self._note.close()

    def _after_fork(self) -> None:
        if self._store is not None and not self._forked:
            self._store.forked()
            self._note.close()
            self._forked = self._child = True


@atexit.register
def _at_exit() -> None:
    for ledger in list(_LEDGERS):
        with suppress(PaymentError, OSError):
            ledger.shut()


def _after_fork() -> None:
    for ledger in list(_LEDGERS):
        ledger._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
