"""The calls by which our own transactions are written down and followed; transactions.py says what each state means."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import LedgerError
from . import numbers, transactions
from .opened import Opened
from .reports import select
from .rows import hold_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..model import Hold, Limit
    from .store import Store
    from .transactions import Transaction

__all__ = ["Broadcasts"]

_PAUSE, _LOOKS = 0.05, 20 * (numbers.SIGNS + 5)


class Broadcasts(Opened):
    """The part of the ledger that keeps our own transactions."""

    def next_nonce(self, network: str, account: str, pending: int) -> int:
        """The account nonce to build with: the first from the node's `pending` on that no transaction of ours has.

        Waits for a payment that is being signed. Raises LedgerError when that does not end.
        """

        def take(store: Store) -> int | None:
            busy = numbers.signing(store, network, account, pending, self._at_work)
            return numbers.free(store, network, account, pending) if busy is None else None

        for _ in range(_LOOKS):
            if (found := self._job(take, write=True).run()) is not None:
                return int(found)
            time.sleep(_PAUSE)
        raise LedgerError("a payment of this account is being signed, and has not ended", rule="one account nonce after the other", hint="x402-agent log --in-doubt")

    def afford(self, network: str, cost: int, limits: Sequence[Limit]) -> None:
        """Raises BudgetExceeded when `cost` wei more do not fit into what gas may cost there; `build` looks again."""
        self._job(lambda store: transactions.afford(store, network, cost, limits), write=False).run()

    def fees(self, network: str, window: str) -> int:
        """Wei that our own transactions on a network cost in this window, or still may."""
        found: int = self._job(lambda store: transactions.fees(store, network, window), write=False).run()
        return found

    def build(self, made: Transaction, pending: int, limits: Sequence[Limit] = ()) -> bool:
        """Write a signed transaction down, durably. False when its account nonce was taken meanwhile: sign another (C6).

        `pending` is the node's count that `next_nonce` was asked with. Raises LedgerError, BudgetExceeded for `limits`.
        """
        found: bool = self._job(lambda store: transactions.build(store, made, pending, limits), write=True, full=True).run()
        return found

    def replace(self, made: Transaction, payment_id: str, limits: Sequence[Limit] = ()) -> None:
        """Write down, durably, what may take the place of an open payment under its account nonce. Raises LedgerError (transactions.replace),
        BudgetExceeded for `limits`."""  # fmt: skip
        self._job(lambda store: transactions.replace(store, made, payment_id, limits), write=True, full=True).run()

    def replacements(self, network: str, account: str, number: int) -> list[Transaction]:
        """What was written down to take the place of the payment with this account nonce, oldest first."""
        return list(self._job(lambda store: transactions.beside(store, network, account, number), write=False).run())

    def holder(self, network: str, account: str, number: int) -> Hold:
        """The payment that has an account nonce, whatever became of it; raises LedgerError when there is none."""

        def read(store: Store) -> Hold:
            where = "p.network = ? AND p.from_address = ? AND p.account_nonce = ? AND p.state <> 'RELEASED'"
            found = select(store, where, (network, account, number))
            if not found:
                raise LedgerError("no payment has this account nonce", rule="what replaces a payment is followed with it")
            return hold_of(found[0])

        made: Hold = self._job(read, write=False).run()
        return made

    def launch(self, txid: str) -> Transaction:
        """BUILT -> INFLIGHT, durably: from here its bytes may leave. Again it changes nothing.

        Raises LedgerError for one that has ended.
        """
        made: Transaction = self._job(lambda store: transactions.launch(store, txid), write=True, full=True).run()
        return made

    def follow(self, txid: str, state: str, *, block: int = 0, fee: int | None = None, note: str = "") -> Transaction:
        """What the chain shows of it now; `fee` in wei. One that has ended stays as it is: another process was faster.

        Raises LedgerError for a move that is not legal.
        """

        def write(store: Store) -> Transaction:
            found = transactions.find(store, txid)[0]
            ended = not transactions.BROADCAST_MOVES[found.state]
            return found if ended else transactions.follow(store, txid, state, block=block, fee=fee, note=note)

        made: Transaction = self._job(write, write=True).run()
        return made

    def transactions(self, *, open_only: bool = False) -> list[Transaction]:
        """Our own transactions, oldest first; `open_only` those that are not at their end."""
        where = f"WHERE state IN {transactions.OPEN} " if open_only else ""
        query = f"SELECT {transactions.COLUMNS} FROM x402_transactions {where}ORDER BY id"

        def read(store: Store) -> list[Transaction]:
            return [transactions.transaction_of(row) for row in store.db.execute(query).fetchall()]

        return list(self._job(read, write=False).run())

    def transaction(self, prefix: str) -> Transaction | None:
        """The one whose id begins so (hex with or without 0x, at least 4 characters), None when there is none or several."""
        hex_ = "0x" + prefix.lower().removeprefix("0x")

        def read(store: Store) -> Transaction | None:
            query = f"SELECT {transactions.COLUMNS} FROM x402_transactions WHERE (txid >= ?1 AND txid < ?1 || '~') OR (txid >= ?2 AND txid < ?2 || '~') LIMIT 2"
            found = store.db.execute(query, (prefix, hex_)).fetchall()
            return transactions.transaction_of(found[0]) if len(found) == 1 and len(hex_) >= 6 else None

        found: Transaction | None = self._job(read, write=False).run()
        return found
