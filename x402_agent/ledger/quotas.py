"""Payments that buy calls of a whole origin: while one is unresolved there, it is presented again, and no second one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PolicyDenied
from ..model import INVOICE, QUOTA
from ..steps import Busy
from . import states
from .invoices import once
from .purchase import in_quarantine
from .reports import select
from .rows import hold_of, whose

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from ..model import Ask, Hold
    from .store import Store

    AtWork = Callable[[Store, sqlite3.Row], bool]

__all__ = ["ONE", "of_origin", "taken"]

ONE = "one payment for calls of an origin until they are used (KAMIYO, Lily)"
_OPEN = (
    f"(p.is_open = 1 AND p.origin = ?1 AND o.flow = '{QUOTA}') OR p.payment_id IN (SELECT payment_id FROM x402_tokens "
    "WHERE origin = ?1 AND uses_left < 0 AND (expires_at IS NULL OR expires_at > ?2)) ORDER BY p.id"
)


def of_origin(store: Store, ask: Ask, at_work: AtWork) -> Hold | Busy | None:
    """The payment that bought calls where this Ask goes and that is open, or whose calls are refused; Busy while somebody is at it, or None.

    Raises PaymentInDoubt for one in quarantine, PolicyDenied for another agent's.
    """
    for row in select(store, _OPEN, (ask.origin, int(store.clock()))):
        state = row["state"]
        if state in states.UNSENT | states.UNDER_WAY and at_work(store, row):
            return Busy(row["payment_id"] if whose(row["agent"]) == whose(ask.under.agent) else "")
        settled = state in states.SPENT
        if state in states.UNSENT or (settled and ask.again is True):
            continue
        if whose(row["agent"]) != whose(ask.under.agent):
            raise PolicyDenied(f"another agent's payment for calls at {ask.host} is not resolved", rule=ONE, hint="x402-agent log --in-doubt")
        if state == "QUARANTINE" or row["proof_digest"] == states.NO_PROOF:
            raise in_quarantine(row)
        return hold_of(row, ask)
    return None


def taken(store: Store, plan: Hold, at_work: AtWork) -> bool:
    """Whether a new payment of this kind must wait, since one is open at its origin: whoever wants it looks again.

    Raises PolicyDenied for an invoice that was paid before.
    """
    if plan.offer.flow == INVOICE:
        once(store, plan)
    if plan.offer.flow != QUOTA:
        return False
    return of_origin(store, plan.ask, at_work) is not None
