"""Our own transactions (approve, revoke, transfer): raw bytes, id and account nonce are durable before a broadcast.

BUILT    signed and written down; nothing has left                                       -> INFLIGHT, RELEASED
INFLIGHT may have left; after a crash the very same bytes go out again, never others     -> MINED, CONFIRMED, REVERTED, DEAD
MINED    in a block that is not final yet                                                -> INFLIGHT (reorg) and the same
CONFIRMED, REVERTED (only its fee is gone), DEAD (its account nonce is spent otherwise), RELEASED (never left): the end
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..assets import network
from ..errors import BudgetExceeded, LedgerError
from . import states
from .events import canonical
from .numbers import free
from .windows import began

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..model import Limit
    from .store import Store

__all__ = [
    "BROADCAST_MOVES", "COLUMNS", "OPEN", "Transaction", "afford", "beside", "build", "fees", "find", "follow", "launch", "problems", "release", "replace", "reseal",
    "transaction_of",
]  # fmt: skip

_STATES = ("BUILT", "INFLIGHT", "MINED", "CONFIRMED", "REVERTED", "DEAD", "RELEASED")
BROADCAST_MOVES: dict[str, frozenset[str]] = {
    "": frozenset({"BUILT"}),
    **{state: states.MOVES[state] & frozenset(_STATES) for state in _STATES},  # a payment's, as far as they concern it
}
OPEN = "('BUILT', 'INFLIGHT', 'MINED')"
COLUMNS = (
    "txid, network, account, account_nonce, kind, asset, party, amount, gas_limit, max_fee, fee_paid, raw, state, block, "
    "note, created_at, updated_at, last_event, owner"
)
_INSERT = f"INSERT INTO x402_transactions ({COLUMNS}) VALUES ({','.join('?' * 19)})"
_MOVE = (
    "UPDATE x402_transactions SET state=?, block=?, fee_paid=?, note=?, raw=?, owner=?, updated_at=?, last_event=? "
    "WHERE txid=? AND last_event=?"
)
_OWN_FEES = (
    "SELECT gas_limit, max_fee, fee_paid FROM x402_transactions WHERE network = ? AND state NOT IN ('RELEASED', 'DEAD') "
    f"AND (created_at >= ? OR state IN {OPEN})"
)
_PAYING_FEES = (
    "SELECT gas, gas_paid, state FROM x402_payments WHERE network = ? AND gas <> '' AND (created_at >= ? OR is_open = 1)"
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of ours. `amount` in atomic units of `asset` (CAIP-19), `max_fee` in wei per gas, `fee_paid` in wei.

    `party` is the spender of an approve or revoke, the recipient of a transfer; `block` is 0 until it is mined.
    """

    txid: str
    network: str
    account: str
    account_nonce: int
    kind: str
    asset: str
    party: str
    amount: int
    gas_limit: int
    max_fee: int
    raw: bytes = field(repr=False)
    state: str = "BUILT"
    fee_paid: int | None = None
    block: int = 0
    note: str = ""
    created_at: int = 0
    updated_at: int = 0

    @property
    def fee_cap(self) -> int:
        """The most it may cost, in wei."""
        return self.gas_limit * self.max_fee


def transaction_of(row: tuple[Any, ...]) -> Transaction:
    """A row of x402_transactions, its columns as COLUMNS has them."""
    (txid, network, account, nonce, kind, asset, party, amount, gas, max_fee, fee, raw, state, block, note, created,
     updated, *_) = row  # fmt: skip
    return Transaction(txid, network, account, nonce, kind, asset, party, int(amount), gas, int(max_fee), bytes(raw), state,
                       int(fee) if fee else None, block, note, created, updated)  # fmt: skip


def fees(store: Store, made_on: str, window: str) -> int:
    """What our transactions on a network cost in a window, or still may, in atomic units of its coin: fees paid, else the most of it.

    Payments by transactions of ours count with the others. One that is dead took nothing, unless a block had shown its fee.
    """
    since = began(store.now())[window]
    own = store.db.execute(_OWN_FEES, (made_on, since))
    paying = store.db.execute(_PAYING_FEES, (made_on, since))
    return sum(int(paid) if paid else gas * int(most) for gas, most, paid in own) + sum(
        int(paid) if paid else int(most) * (state not in states.FREED) for most, paid, state in paying)  # fmt: skip


def afford(store: Store, made_on: str, cost: int, limits: Sequence[Limit]) -> None:
    """Raises BudgetExceeded when a transaction that may cost `cost` units of the coin has no room in one of these limits."""
    for limit in limits:
        left = limit.most - fees(store, made_on, limit.window)
        if cost > left:
            raise BudgetExceeded(
                f"it may cost {_coins(made_on, cost)} of the network's coin, {_coins(made_on, max(0, left))} of {_coins(made_on, limit.most)} "
                f"{'in total' if limit.window == 'total' else 'a ' + limit.window} is left for gas",
                rule=limit.rule, hint=limit.hint,
            )  # fmt: skip


def _coins(made_on: str, units: int) -> str:
    where = network(made_on)
    return where.coins(units) if where else str(units)


def build(store: Store, made: Transaction, pending: int, limits: Sequence[Limit] = ()) -> bool:
    """Write it down as BUILT; False when its account nonce was taken meanwhile. Raises BudgetExceeded."""
    store.now()
    afford(store, made.network, made.fee_cap, limits)
    if made.account_nonce != free(store, made.network, made.account, pending):
        return False
    _insert(store, made)
    return True


def replace(store: Store, made: Transaction, payment_id: str, limits: Sequence[Limit]) -> None:
    """Write down what may take the place of an open payment, under its account nonce, as BUILT.

    Raises LedgerError for a payment that is at its end, or another's nonce; for a bump of one that is being cancelled; and for
    bytes, or a fee, that another process has written down meanwhile. BudgetExceeded: each form counts in `limits` beside the others.
    """
    store.now()
    afford(store, made.network, made.fee_cap, limits)
    row = store.db.execute("SELECT state, network, from_address, account_nonce FROM x402_payments WHERE payment_id = ?", (payment_id,)).fetchone()
    if row is None or row[0] not in states.IN_DOUBT - {"QUARANTINE", "PROVING"} or tuple(row[1:]) != (made.network, made.account, made.account_nonce):
        raise LedgerError("no open payment has this account nonce", rule="what is replaced is still open", hint=f"x402-agent why {payment_id[:8]}", payment_id=payment_id)
    before = beside(store, made.network, made.account, made.account_nonce)
    if any(each.fee_cap >= made.fee_cap or (each.kind == "cancel" != made.kind) for each in before):
        raise LedgerError("another process has replaced it meanwhile", rule="each form offers more than the one before", hint=f"x402-agent resume {payment_id[:8]}", payment_id=payment_id)
    _insert(store, made)


def beside(store: Store, network: str, account: str, number: int) -> list[Transaction]:
    """What was written down to take the place of a payment, and may have left, oldest first."""
    query = (f"SELECT {COLUMNS} FROM x402_transactions WHERE network = ? AND account = ? AND account_nonce = ? "
             f"AND kind IN ('bump', 'cancel') AND state <> 'RELEASED' ORDER BY id")  # fmt: skip
    return [transaction_of(row) for row in store.db.execute(query, (network, account, number))]


def _insert(store: Store, made: Transaction) -> None:
    now = store.clock()
    seq = store.journal.append(made.txid, 0, ("", "BUILT"), int(now * 1000), _facts(made))
    seconds = int(now)
    row = (
        made.txid, made.network, made.account, made.account_nonce, made.kind, made.asset, made.party, str(made.amount),
        made.gas_limit, str(made.max_fee), "", made.raw, "BUILT", 0, made.note, seconds, seconds, seq, store.owner,
    )  # fmt: skip
    store.db.execute(_INSERT, row)


def _facts(made: Transaction) -> str:
    """What never changes in a row: its first event."""
    return canonical({
        "account": made.account, "account_nonce": made.account_nonce, "amount": str(made.amount), "asset": made.asset,
        "gas_limit": made.gas_limit, "kind": made.kind, "max_fee": str(made.max_fee), "network": made.network,
        "party": made.party, "raw": hashlib.sha256(made.raw).hexdigest(), "txid": made.txid,
    })  # fmt: skip


def launch(store: Store, txid: str) -> Transaction:
    """BUILT -> INFLIGHT; raises LedgerError for one that has ended."""
    store.now()
    found = find(store, txid)[0]
    if found.state in ("INFLIGHT", "MINED"):
        return found
    return follow(store, txid, "INFLIGHT")


def find(store: Store, txid: str) -> tuple[Transaction, int]:
    """The transaction and the number of its last event; raises LedgerError when there is none."""
    row = store.db.execute(f"SELECT {COLUMNS} FROM x402_transactions WHERE txid = ?", (txid,)).fetchone()
    if row is None:
        raise LedgerError(f"no transaction is called {txid}", rule="written down before it is broadcast (b1)", hint="x402-agent wallet transactions")
    return transaction_of(row), row[17]


def follow(
    store: Store, txid: str, state: str, *, block: int = 0, fee: int | None = None, note: str = ""
) -> Transaction:
    """Move it, as one event; staying moves nothing. Raises LedgerError for a move that is not legal."""
    found, last = find(store, txid)
    if state not in BROADCAST_MOVES[found.state]:
        if state == found.state:
            return found
        raise LedgerError(f"a transaction does not move from {found.state} to {state}", rule="transactions.BROADCAST_MOVES")
    now = store.clock()
    raw = b"" if state == "RELEASED" else found.raw
    paid = "" if fee is None else str(fee)
    data = canonical({"block": block, "fee": paid, "note": note})
    values = (state, block, paid, note, raw, store.owner, int(now), store.journal.seq + 1, txid, last)
    store.db.execute(_MOVE, values)
    store.journal.append(txid, last, (found.state, state), int(now * 1000), data)
    return find(store, txid)[0]


def release(store: Store) -> int:
    """BUILT rows of owners that are gone -> RELEASED: nothing of them ever left. -> how many."""
    built = store.db.execute("SELECT txid, owner FROM x402_transactions WHERE state = 'BUILT'").fetchall()
    gone = [txid for txid, owner in built if owner != store.owner and not store.owners.alive(owner)]
    for txid in gone:
        follow(store, txid, "RELEASED", note="its process ended before it was sent")
    return len(gone)


def reseal(store: Store, entry: Callable[[Store, int], tuple[Any, ...] | None]) -> None:
    """Rows that their journal does not bear out stay as they stand, with a first event of now: no budget counts them."""
    for row in store.db.execute(f"SELECT {COLUMNS} FROM x402_transactions").fetchall():
        made = transaction_of(row)
        if _wrong(store, made, row[17], entry):
            seq = store.journal.append(made.txid, 0, ("", made.state), store.journal.at, _facts(made))
            store.db.execute("UPDATE x402_transactions SET last_event = ? WHERE txid = ?", (seq, made.txid))


def _wrong(store: Store, made: Transaction, seq: int, entry: Callable[[Store, int], tuple[Any, ...] | None]) -> bool:
    event = entry(store, seq)
    fits = event is not None and event[1] == made.txid and event[4] == made.state
    while fits and event is not None and event[2]:
        later, event = event, entry(store, event[2])
        fits = event is not None and event[1] == made.txid and event[0] < later[0]
    if fits and event is not None and made.state != "RELEASED":
        fits = event[6] == _facts(made)
    return not fits


def problems(
    store: Store, entry: Callable[[Store, int], tuple[Any, ...] | None], *, whole: bool
) -> tuple[list[str], set[str]]:
    """Rows that their journal does not bear out, and the ids of all that were looked at; `whole` looks at ended ones."""
    where = "" if whole else f" WHERE state IN {OPEN}"
    found, ids = list[str](), set[str]()
    for row in store.db.execute(f"SELECT {COLUMNS} FROM x402_transactions{where}").fetchall():
        made, seq = transaction_of(row), row[17]
        ids.add(made.txid)
        if _wrong(store, made, seq, entry):
            found.append(f"the row of transaction {made.txid} is not what its journal says")
    return found, ids
