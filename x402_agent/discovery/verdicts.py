"""What looks at services have found, on its way into the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio import to_thread

from . import listed, probe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..database import Database
    from .frontier import Entry, Frontier
    from .probe import Verdict
    from .report import Report
    from .store import Store

__all__ = ["Verdicts"]


class Verdicts:
    """Each is written together with what others found meanwhile: a transaction for each would cost more than the look itself."""

    def __init__(self, store: Store, frontier: Frontier, report: Report) -> None:
        self.store, self.frontier, self.report = store, frontier, report
        self._found: list[tuple[Entry, Verdict]] = []
        self._writing = False

    async def add(self, entry: Entry, found: Verdict) -> None:
        """Write it, or leave it to whoever writes now. What a killed process had not written is looked at again."""
        self._found.append((entry, found))
        while self._found and not self._writing:
            batch, self._found, self._writing = self._found, [], True
            try:
                await to_thread.run_sync(self._written, batch)
            finally:
                self._writing = False
            for each in batch:
                self.told(*each)

    def _written(self, batch: Sequence[tuple[Entry, Verdict]]) -> None:
        with self.store.writing() as db:
            for each in batch:
                self.write(db, *each)

    def write(self, db: Database, entry: Entry, found: Verdict) -> None:
        """One of them, inside a transaction."""
        probe.write(db, str(entry.state.get("service", "")), self.store.clock(), found, listed.prices_out(found.prices))
        self.frontier.done(db, entry, why=found.why)

    def told(self, entry: Entry, found: Verdict) -> None:
        """For the report."""
        self.report.look(entry.url, found.word, found.why)
