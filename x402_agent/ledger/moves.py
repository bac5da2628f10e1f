"""Moving one payment: compare-and-swap on its row, one event, and the counters when money is given back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..assets import asset_by_id
from ..errors import LedgerError
from ..model import Money
from . import counters, states
from .events import quoted

if TYPE_CHECKING:
    from .store import Store

__all__ = ["Answer", "Known", "Overtaken", "known", "move"]

_READ = (
    "SELECT payment_id, ask_key, state, is_open, delivered, refused, owner, status_code, tx_hash, note, "
    "micros, last_event, id FROM x402_payments WHERE payment_id = ?"
)
_UPDATE = (
    "UPDATE x402_payments SET state=?, is_open=?, delivered=?, refused=?, owner=?, status_code=?, tx_hash=?, note=?, "
    "updated_at=?, last_event=? WHERE id=? AND last_event=?"
)
_PRICED = "SELECT asset, fee_cap FROM x402_payments WHERE payment_id = ?"
_CHARGED = "UPDATE x402_payments SET charged = ?, given_back = ?, micros = ? WHERE payment_id = ?"


_FEE = "UPDATE x402_payments SET gas_paid = ? WHERE payment_id = ?"


class Overtaken(LedgerError):
    """The row is no longer what memory had: read it again."""


class Answer(NamedTuple):
    """What came back for a proof: the last answer's status (0 = none), the seller's claim, our note."""

    refused: bool = False
    status: int = 0
    transaction: str = ""
    note: str = ""
    milliseconds: int = 0


_NONE = Answer()


@dataclass(slots=True)
class Known:
    """The moving part of a row, as memory or the file has it."""

    payment_id: str
    ask_key: str
    state: str
    is_open: int
    delivered: int
    refused: int
    owner: str
    status: int
    transaction: str
    note: str
    micros: int
    last_event: int
    id: int


def known(store: Store, payment_id: str) -> Known | None:
    """The row's moving part from the file, None when there is no such payment."""
    row = store.db.execute(_READ, (payment_id,)).fetchone()
    return Known(*row) if row else None


def move(
    store: Store,
    row: Known,
    state: str,
    *,
    answer: Answer | None = None,
    note: str = "",
    charged: int | None = None,
    idle: bool = False,
    fee: int | None = None,
) -> int:
    """Write the move and its event; raises LedgerError when it is not legal. Staying is recorded, and moves nothing.

    `charged` is what the chain shows to have moved, in atomic units beside the fee; REVERTED is 0 of the price. `idle`: nobody
    is at it any more, although its state is one of those under way. `fee`: what a block shows that its transaction took.
    -> the micro-dollars that it gives back.
    """
    before = row.state
    if before != state and not states.legal(before, state):
        raise LedgerError(
            f"a payment does not move from {before} to {state}", rule="states.MOVES", payment_id=row.payment_id
        )
    now = store.clock()
    delivered, refused, owner = row.delivered, row.refused, "" if idle else store.owner
    status, transaction = row.status, row.transaction
    if answer is not None:
        refused = int(answer.refused)
        status, transaction = answer.status or status, answer.transaction or transaction
        note = note or answer.note
    if answer is not None or before == "QUARANTINE":
        delivered = int(delivered or states.came(before, state, answer.status if answer else 0))
    if state == "PAID_UNDELIVERED":
        delivered = 0
    is_open = int(states.is_open(state, delivered=bool(delivered)))
    charged = 0 if state == "REVERTED" and before != state else charged
    given = 0 if charged is None else _given(store, row, charged)
    values = (state, is_open, delivered, refused, owner, status, transaction, note, int(now), store.journal.seq + 1,
              row.id, row.last_event)  # fmt: skip
    if store.db.execute(_UPDATE, values).rowcount != 1:
        raise Overtaken("the row has moved meanwhile", rule="compare and swap", payment_id=row.payment_id)
    paid = "" if charged is None else f'"charged":"{charged}","given_back":{given},'
    paid += "" if fee is None else f'"fee":"{fee}",'
    data = _data(paid, answer or _NONE, (note, refused, transaction))
    seq = store.journal.append(row.payment_id, row.last_event, (before, state), int(now * 1000), data)
    if state not in states.COUNTED and before in states.COUNTED:
        counters.take(store, row.id, before, row.micros)
        store.cache.allowances.clear()
    if charged is not None:
        row.micros -= given
        store.db.execute(_CHARGED, (str(charged), given, row.micros, row.payment_id))
        counters.take(store, row.id, before, given, charged=charged)
        store.cache.allowances.clear()
    if fee is not None:
        store.db.execute(_FEE, (str(fee), row.payment_id))
    store.cache.moved(before, "UNKNOWN" if idle else state)
    if is_open != row.is_open:
        store.cache.opened(row.ask_key, 1 if is_open else -1)
    row.state, row.is_open, row.delivered, row.refused, row.owner = state, is_open, delivered, refused, owner
    row.status, row.transaction, row.note, row.last_event = status, transaction, note, seq
    return given


def _data(paid: str, answer: Answer, said: tuple[str, int, str]) -> str:
    """What an event says beside its states; a charge or a fee stands first."""
    note, refused, transaction = said
    return (f'{{{paid}"ms":{answer.milliseconds},"note":{quoted(note)},"refused":{refused},'
            f'"status":{answer.status},"tx":{quoted(transaction)}}}')  # fmt: skip


def _given(store: Store, row: Known, charged: int) -> int:
    """What is counted above a charge and the whole fee cap, in micro-dollars; 0 for a token that left the table."""
    asset_id, fee_cap = store.db.execute(_PRICED, (row.payment_id,)).fetchone()
    asset = asset_by_id(asset_id)
    micros = Money(charged + int(fee_cap), asset).micros if asset else None
    return 0 if micros is None else max(0, row.micros - micros)
