"""Account nonces, on chains that count them: one payment of an account is signed at a time, under the first that is free.

A transaction waits on its chain for every account nonce before its own. Were two given out at once, and the lower one never used (its
signer failed, its process was killed, its purchase was open elsewhere), the other would wait for somebody who never comes.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from ..errors import NoAcceptableOffer
from ..model import CROWDED
from ..steps import Busy
from .moves import known, move
from .rows import whose

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..model import Hold
    from .store import Store

    AtWork = Callable[[Store, sqlite3.Row], bool]

__all__ = ["free", "numbered", "seen", "signing"]

SIGNS = 60  # seconds after which a payment that is still being signed gives its account nonce to the next one, and is made anew
AGAIN = 0.5  # seconds until the file is asked again though nobody has written: a process may have ended
_TAKEN = (
    "SELECT account_nonce FROM x402_transactions WHERE network = ?1 AND account = ?2 AND account_nonce >= ?3 "
    "AND state <> 'RELEASED' UNION SELECT account_nonce FROM x402_payments WHERE network = ?1 AND from_address = ?2 "
    "AND account_nonce >= ?3 AND account_nonce >= 0 AND state <> 'RELEASED'"
)
_SIGNED = (  # both conditions of x402_payments_account_nonce stand in it, so that index serves
    "SELECT payment_id, owner, agent, updated_at FROM x402_payments WHERE network = ? AND from_address = ? AND account_nonce >= ? "
    "AND account_nonce >= 0 AND state <> 'RELEASED' AND state = 'RESERVED'"
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


def signing(store: Store, network: str, account: str, pending: int, at_work: AtWork) -> tuple[str, str] | None:
    """The payment of this account that has an account nonce and is being signed just now, and by whose name it is made; None for none.

    What nobody signs any more, or not within SIGNS seconds, is released here, in the writer's transaction: nothing of it has left, and
    whoever still signs it finds that out at Commit.
    """
    found: tuple[str, str] | None = None
    now, cursor = store.now(), store.db.cursor()
    cursor.row_factory = sqlite3.Row
    for row in cursor.execute(_SIGNED, (network, account, pending)).fetchall():
        if at_work(store, row) and row["updated_at"] > now - SIGNS:
            found = row["payment_id"], row["agent"]
        elif (stuck := known(store, row["payment_id"])) is not None:
            store.cache.loud(stuck.ask_key, stuck.payment_id)
            move(store, stuck, "RELEASED", note="it was not signed in time: its account nonce went to the next one")
    return found


def seen(store: Store, plan: Hold) -> Busy | None:
    """Busy where memory knows that another payment of the account is being signed: until somebody has written, it still is."""
    if plan.terms.anchor.number < 0 or (told := store.cache.signing.get(_who(plan))) is None:
        return None
    batch, until, busy = told
    return busy if batch == store.generation() and time.monotonic() < until else None


def numbered(store: Store, plan: Hold, at_work: AtWork, *, later: bool = False) -> Hold | Busy:
    """The plan under the first account nonce that is free, where a payment takes one; Busy while another is being signed.

    `later`: without one as yet, and only where there would be one.
    """
    terms, network = plan.terms, plan.offer.asset.network.id
    if terms.anchor.number < 0:
        return plan
    if not later and (other := signing(store, network, terms.payer, terms.anchor.number, at_work)) is not None:
        busy = Busy(other[0] if whose(other[1]) == whose(plan.ask.under.agent) else "", how="signs")
        store.cache.signing[_who(plan)] = store.cache.generation, time.monotonic() + AGAIN, busy
        return busy
    number = free(store, network, terms.payer, terms.anchor.number, terms.anchor.most)
    return replace(plan, terms=replace(terms, anchor=terms.anchor._replace(number=-1 if later else number, most=-1)))


def _who(plan: Hold) -> tuple[str, str, str]:
    return plan.offer.asset.network.id, plan.terms.payer, plan.ask.under.agent
