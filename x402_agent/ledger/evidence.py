"""What sellers signed, kept word for word beside their payment. It changes no state and no count."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .opened import Opened
from .writer import Late

if TYPE_CHECKING:
    from .store import Store
    from .writer import Job

__all__ = ["Evidence"]

MOST = 8  # artifacts of one kind for one payment: a seller that signs a new receipt for every showing fills no disk
_INSERT = (
    "INSERT OR IGNORE INTO x402_evidence (payment_id, kind, text, created_at) SELECT ?, ?, ?, ? "
    "WHERE (SELECT COUNT(*) FROM x402_evidence WHERE payment_id = ? AND kind = ?) < ?"
)


class Evidence(Opened):
    """The part of the ledger that keeps signed offers and receipts."""

    def testify(self, payment_id: str, kind: str, text: str) -> Job[None]:
        """Keep one artifact (JSON, at most 8 KiB) of a payment, with the next batch; what cannot be written is logged."""

        def write(store: Store) -> None:
            store.db.execute(_INSERT, (payment_id, kind, text, int(store.clock()), payment_id, kind, MOST))

        writer = self._writer if self._store is not None and not self._forked else None
        return Late(writer, write, write=True, full=False)

    def evidence(self, payment_id: str) -> list[tuple[str, str]]:
        """(kind, text) of everything kept for one payment: offers first."""
        query = "SELECT kind, text FROM x402_evidence WHERE payment_id = ? ORDER BY kind, created_at, text"

        def read(store: Store) -> list[tuple[str, str]]:
            return [(kind, text) for kind, text in store.db.execute(query, (payment_id,))]

        found: list[tuple[str, str]] = self._job(read, write=False).run()
        return found
