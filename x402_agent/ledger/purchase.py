"""Whether an open or finished payment is the very purchase that is asked for now, or another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import PaymentInDoubt, PolicyDenied
from . import budget, states

if TYPE_CHECKING:
    import sqlite3

    from ..model import Ask, Offer
    from .store import Store

__all__ = ["Rebuy", "in_quarantine", "index_asks", "not_again", "same_payee", "same_purchase"]

_BOUGHT = (
    "SELECT payment_id, created_at FROM x402_payments WHERE ask_key = ? AND delivered = 1 AND created_at > ? "
    "ORDER BY id DESC LIMIT 1"
)


class Rebuy(NamedTuple):
    """For how many seconds what was delivered is not bought again, and the rule that says so."""

    seconds: int
    rule: str


def not_again(store: Store, ask: Ask, rebuy: Rebuy) -> None:
    """Raises PolicyDenied, naming the earlier payment, where this very purchase was delivered lately."""
    index_asks(store)
    now = int(store.clock())
    row = store.db.execute(_BOUGHT, (ask.key, now - rebuy.seconds)).fetchone()
    if row is not None:
        payment_id, bought = row
        raise PolicyDenied(
            f"{ask.method} {ask.origin}{ask.path} was bought and delivered {max(0, now - bought)} seconds ago",
            rule=rebuy.rule,
            hint=f"x402-agent why {payment_id[:8]}   (another purchase of the same: give it a key of its own)",
            payment_id=payment_id,
        )


def in_quarantine(row: sqlite3.Row) -> PaymentInDoubt:
    """The error for a purchase whose row could not be trusted: its proof cannot be shown again, and no other is made."""
    decided = row["state"] != "QUARANTINE"
    return PaymentInDoubt(
        f"{row['method']} {row['origin']}{row['path']} was paid for, and the row of that payment was damaged",
        rule="its proof is never shown again" if decided else "what is in quarantine is not paid again until a person decides",
        hint="another key, or again=True, buys anew" if decided else
        f"ask the seller, then x402-agent ledger decide {row['payment_id'][:8]} --paid (or --not-paid)",
        payment_id=row["payment_id"],
    )


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
    """Whether an offer pays the pinned recipient: EVM addresses are equal whatever their case, all others as they are.

    On Stacks an account and its contracts are one: their names begin with it, and only its key can deploy them.
    """
    if pinned == offer.pay_to or (offer.network.namespace == "stacks" and pinned.partition(".")[0] == offer.pay_to.partition(".")[0]):
        return True
    return offer.network.namespace == "eip155" and pinned.lower() == offer.pay_to.lower()
