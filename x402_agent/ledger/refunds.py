"""Refunds: rows of their own beside the payment they give back, from the chain alone. They widen no budget (V11).

Were they to give room back, a seller who refunds could make a budget of one dollar last for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import LedgerError
from . import states
from .opened import Opened
from .reports import select
from .rows import hold_of

if TYPE_CHECKING:
    import sqlite3

    from ..model import Hold
    from .store import Store

__all__ = ["Refund", "Refunds"]


@dataclass(frozen=True, slots=True)
class Refund:
    """Atomic units of the payment's asset that one transaction brought back; `at` is when we learnt of it, unix seconds."""

    transaction: str
    amount: int
    at: int


class Refunds(Opened):
    """The part of the ledger that remembers what came back."""

    def refunded(self, payment_id: str, transaction: str, amount: int) -> bool:
        """Link a transaction to the payment that it gives back. -> False when that was known.

        Raises LedgerError when nothing was spent, when another payment has this refund, and when more would come back
        than was paid.
        """
        found: bool = self._job(lambda store: _link(store, payment_id, transaction.lower(), amount), write=True).run()
        return found

    def spent_hold(self, payment_id: str) -> Hold:
        """One payment with the terms it was signed with, to ask the chain about it; raises LedgerError unless it was spent."""

        def read(store: Store) -> Hold:
            return hold_of(_spent(store, payment_id))

        made: Hold = self._job(read, write=False).run()
        return made

    def refunds(self, payment_id: str) -> list[Refund]:
        """What came back of one payment, oldest first."""
        query = "SELECT txid, amount, created_at FROM x402_refunds WHERE payment_id = ? ORDER BY created_at, txid"

        def read(store: Store) -> list[Refund]:
            return [Refund(txid, int(amount), at) for txid, amount, at in store.db.execute(query, (payment_id,))]

        return list(self._job(read, write=False).run())


def _link(store: Store, payment_id: str, txid: str, amount: int) -> bool:
    row = _spent(store, payment_id)
    network, paid = row["network"], int(row["charged"] or row["amount"])
    known = store.db.execute("SELECT payment_id FROM x402_refunds WHERE network = ? AND txid = ?", (network, txid)).fetchone()
    if known is not None:
        if known[0] == payment_id:
            return False
        raise LedgerError(
            f"this transaction gives back payment {known[0]}", rule="one transaction, one refund (V8)",
            hint=f"x402-agent why {known[0][:8]}", payment_id=payment_id,
        )  # fmt: skip
    before = store.db.execute("SELECT amount FROM x402_refunds WHERE payment_id = ?", (payment_id,)).fetchall()
    if amount <= 0 or sum(int(each) for (each,) in before) + amount > paid:
        raise LedgerError(
            f"{amount} atomic units would be more than the {paid} that were paid", rule="no more than was paid (V11)",
            hint=f"x402-agent why {payment_id[:8]}", payment_id=payment_id,
        )  # fmt: skip
    values = (network, txid, payment_id, str(amount), int(store.clock()))
    store.db.execute("INSERT INTO x402_refunds (network, txid, payment_id, amount, created_at) VALUES (?,?,?,?,?)", values)
    return True


def _spent(store: Store, payment_id: str) -> sqlite3.Row:
    found = select(store, "payment_id = ?", (payment_id,))
    if not found or found[0]["state"] not in states.SPENT:
        raise LedgerError(
            f"nothing is known to be spent by {payment_id}", rule="refunds are of what was spent (V11)",
            hint=f"x402-agent resume {payment_id[:8]}", payment_id=payment_id,
        )  # fmt: skip
    return found[0]
