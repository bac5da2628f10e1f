"""Account nonces, on chains that count them: one payment of an account is signed at a time, under the first that is free.

A transaction waits on its chain for every account nonce before its own. Were two given out at once, and the lower one never used (its
signer failed, its purchase was open elsewhere), the other would wait for somebody who never comes.
"""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import NoAcceptableOffer
from ..model import CROWDED
from ..steps import Busy

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Hold
    from .store import Store

__all__ = ["free", "numbered", "signing"]

SIGNS = 30  # seconds that the next payment waits for one that is being signed: its account nonce stays its own, but a gap may be made
_TAKEN = (
    "SELECT account_nonce FROM x402_transactions WHERE network = ?1 AND account = ?2 AND account_nonce >= ?3 "
    "AND state <> 'RELEASED' UNION SELECT account_nonce FROM x402_payments WHERE network = ?1 AND from_address = ?2 "
    "AND account_nonce >= ?3 AND account_nonce >= 0 AND state <> 'RELEASED'"
)
_SIGNED = (
    "SELECT payment_id, owner FROM x402_payments WHERE network = ? AND from_address = ? AND account_nonce >= ? "
    "AND account_nonce >= 0 AND state <> 'RELEASED' AND state = 'RESERVED' AND updated_at > ?"
)


def free(store: Store, network: str, account: str, pending: int, most: int = -1) -> int:
    """The first account nonce from `pending` on that no transaction or payment of ours has; a released one's is free again.

    Raises NoAcceptableOffer (CROWDED) where nodes take none above `most`: such a transaction would be refused, and hold its nonce.
    """
    taken = {nonce for (nonce,) in store.db.execute(_TAKEN, (network, account, pending))}
    while pending in taken:
        pending += 1
    if 0 <= most < pending:
        raise NoAcceptableOffer(f"too many transactions of {account} wait for a block: its next account nonce is {pending}, nodes take {most} at most",
                                rule=CROWDED, hint="x402-agent resume shows again what was lost on its way; then repeat the request")  # fmt: skip
    return pending


def signing(store: Store, network: str, account: str, pending: int, at_work: Callable[[Store, sqlite3.Row], bool]) -> Busy | None:
    """The payment of this account that has an account nonce and is being signed just now, where there is one."""
    cursor = store.db.cursor()
    cursor.row_factory = sqlite3.Row
    for row in cursor.execute(_SIGNED, (network, account, pending, int(store.clock()) - SIGNS)):
        if at_work(store, row):
            return Busy(row["payment_id"], how="signs")
    return None


def numbered(store: Store, plan: Hold, at_work: Callable[[Store, sqlite3.Row], bool]) -> Hold | Busy:
    """The plan under the first account nonce that is free, where a payment takes one; Busy while another is being signed."""
    terms, network = plan.terms, plan.offer.asset.network.id
    if terms.anchor.number < 0:
        return plan
    if (busy := signing(store, network, terms.payer, terms.anchor.number, at_work)) is not None:
        return busy
    number = free(store, network, terms.payer, terms.anchor.number, terms.anchor.most)
    return replace(plan, terms=replace(terms, anchor=terms.anchor._replace(number=number, most=-1)))
