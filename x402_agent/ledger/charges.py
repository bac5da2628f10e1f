"""What a payment with a ceiling (scheme `upto`) really cost: given back once, on the chain's evidence alone.

Until then the whole ceiling counts. A seller's header or receipt names a transaction to look at, and nothing more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import LedgerError
from . import states
from .moves import known, move
from .opened import Opened
from .reports import select
from .rows import hold_of, known_offer

if TYPE_CHECKING:
    import sqlite3

    from ..model import Hold
    from .store import Store

__all__ = ["Charges"]

_UNCHARGED = f"o.scheme = 'upto' AND p.charged = '' AND p.proof_digest <> '{states.NO_PROOF}' AND p.state IN {states.listed(states.SPENT)}"


class Charges(Opened):
    """The part of the ledger that learns from the chain what was paid, and trues up."""

    def uncharged(self) -> list[tuple[Hold, str]]:
        """Spent payments of scheme `upto` whose charge nobody has looked up, each with the transaction that its seller
        claims ("" for none); oldest first."""  # fmt: skip

        def read(store: Store) -> list[tuple[Hold, str]]:
            return [(hold_of(row), row["tx_hash"]) for row in select(store, f"{_UNCHARGED} ORDER BY p.id", ())]

        return list(self._job(read, write=False).run())

    def claimed(self, payment_id: str = "") -> list[tuple[Hold, str, str]]:
        """Payments that are settled by their seller's word alone, with the transaction it claims ("" for none) and our note:
        the one called so, or the newest thousand, oldest first."""  # fmt: skip
        where = "p.state = 'CLAIMED' AND o.scheme <> 'upto' AND (?1 = '' OR p.payment_id = ?1) ORDER BY p.id DESC LIMIT 1000"

        def read(store: Store) -> list[tuple[Hold, str, str]]:
            rows = select(store, where, (payment_id,))
            return [(hold_of(row), row["tx_hash"], row["note"]) for row in rows[::-1] if known_offer(row)]

        return list(self._job(read, write=False).run())

    def true_up(self, payment_id: str, charged: int) -> int:
        """Count `charged` atomic units, as the chain shows, instead of the ceiling. -> micro-dollars given back.

        Done once: later calls give 0. Raises LedgerError for a payment without a ceiling, one that is not spent, and a
        charge that is negative or above what was signed.
        """
        found: int = self._job(lambda store: _true_up(store, payment_id, charged), write=True).run()
        return found


def _true_up(store: Store, payment_id: str, charged: int) -> int:
    found = select(store, "payment_id = ?", (payment_id,))
    if not found:
        raise LedgerError(f"no payment is called {payment_id}", hint="x402-agent log", payment_id=payment_id)
    row = found[0]
    if row["charged"]:
        return 0
    _check(row, charged)
    moving = known(store, payment_id)
    assert moving is not None
    state = "CONFIRMED" if states.legal(moving.state, "CONFIRMED") else moving.state
    return move(store, moving, state, note="charged on chain", charged=charged)


def _check(row: sqlite3.Row, charged: int) -> None:
    ceiling = int(row["amount"])
    if row["scheme"] != "upto" or row["state"] not in states.SPENT:
        raise LedgerError(
            f"a payment by {row['scheme']} that is {row['state']} is not trued up",
            rule="only what was spent under a ceiling (V7)",
            payment_id=row["payment_id"],
        )
    if not 0 <= charged <= ceiling:
        raise LedgerError(
            f"a charge of {charged} is not within the {ceiling} that were signed",
            rule="never below nothing, never above the ceiling (V7)",
            payment_id=row["payment_id"],
        )
