"""A payment in QUARANTINE ends by a person's word alone: its row proves nothing, so no chain can be asked about it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import LedgerError
from . import checkpoints
from .moves import known, move
from .states import NO_PROOF, STILL

if TYPE_CHECKING:
    from .rows import Payment
    from .sqlite import SqliteLedger
    from .store import Store

__all__ = ["Verdict", "end_quarantine", "verdict"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a person decides about one payment, and what that means; amounts in millionths of a dollar."""

    payment: Payment
    paid: bool
    before: int
    after: int
    accepts: tuple[str, ...]


def verdict(ledger: SqliteLedger, payment_id: str, *, paid: bool) -> Verdict:
    """What would be decided; nothing is changed. Raises LedgerError for what is not in quarantine or may still settle."""
    one = ledger.payment(payment_id)
    if one.state != "QUARANTINE":
        raise LedgerError(f"payment {one.payment_id} is {one.state}, not in quarantine", rule="only a damaged row is decided about",
                          hint=f"x402-agent resume {one.payment_id[:8]}", payment_id=one.payment_id)  # fmt: skip
    ends = min(one.valid_before, one.updated_at + STILL)
    if not paid and ledger.clock() <= ends:
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(ends))
        raise LedgerError(f"a proof of it may settle until {until}", rule="nothing that may settle stops counting",
                          hint="the same command after that", payment_id=one.payment_id)  # fmt: skip
    what = f"{one.method} {one.url}" if one.url else "what nobody can read"
    if paid:
        told = ("it stays counted as spent, in the windows it was made in", f"nothing asks for {what} by this payment any more")
    else:
        told = ("it stops being counted: every budget it stands in has that much more room",
                "if it was paid after all, more is spent than your budgets say")  # fmt: skip
    again = f"{what} may be bought again, at your cost"
    return Verdict(one, paid, one.micros, one.micros if paid else 0, (*told, again))


def end_quarantine(ledger: SqliteLedger, made: Verdict) -> Payment:
    """Do it: one move in the journal, a checkpoint sealed behind it, both durable before this returns. Raises LedgerError."""

    def write(store: Store) -> None:
        row = known(store, made.payment.payment_id)
        if row is None or row.state != "QUARANTINE":
            raise LedgerError("it has moved meanwhile", rule="compare and swap", hint=f"x402-agent why {row.payment_id[:8]}" if row else "x402-agent log", payment_id=made.payment.payment_id)
        store.now()  # a broken ledger decides nothing
        move(store, row, "CONFIRMED" if made.paid else "DEAD", note=f"a person decided: {'paid' if made.paid else 'not paid'}")
        store.db.execute("UPDATE x402_payments SET proof_digest = ? WHERE payment_id = ?", (NO_PROOF, row.payment_id))
        checkpoints.seal(store)

    ledger._job(write, write=True, full=True).run()
    return ledger.payment(made.payment.payment_id)
