"""Whether an open or finished payment is the very purchase that is asked for now, or another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import budget, states

if TYPE_CHECKING:
    import sqlite3

    from ..model import Ask, Offer
    from .store import Store

__all__ = ["index_asks", "same_payee", "same_purchase"]


def index_asks(store: Store) -> None:
    """The index that only `again=False` needs: made on its first use, since every payment would pay for it."""
    store.db.execute("CREATE INDEX IF NOT EXISTS x402_payments_ask ON x402_payments (ask_key)")


def same_purchase(row: sqlite3.Row, ask: Ask, now: float) -> bool:
    """Whether this row's proof is the one to present for `ask`, rather than a new one (decisions.md 4)."""
    state = row["state"]
    if state in states.UNSENT | states.FREED | {"REVERTED"}:
        return False
    timely = now < row["valid_before"] + budget.GRACE or ask.again is False
    if state in states.IN_DOUBT:
        return timely
    if ask.again is True:
        return False
    return bool(ask.caller_key) or ask.again is False or (timely and not row["delivered"])


def same_payee(pinned: str, offer: Offer) -> bool:
    """Whether an offer pays the pinned recipient: EVM addresses are equal whatever their case, all others as they are."""
    if offer.network.namespace == "eip155":
        return pinned.lower() == offer.pay_to.lower()
    return pinned == offer.pay_to
