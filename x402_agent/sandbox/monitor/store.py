"""What is asked for, what was paid, and the log of it. Any thread may call anything: each call borrows a connection."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from ..books import moment, stamp
from .books import LIFE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ...database import Database
    from .books import MonitorBooks
    from .grid import Transfer

__all__ = ["Payment", "Store", "usdt"]

MICRO = 1_000_000
SLOT = 3_000  # milliseconds: a block's stamp is when its slot began, so it may be that much older than what is in it
_FIELDS = (
    "id, wallet_address, expected_amount_usdt, callback_url, order_id, status, transaction_hash, received_amount_usdt, created_at,"
    " completed_at, callback_attempts, callback_success, block_timestamp"
)


class Payment(NamedTuple):
    """One invoice: amounts in atomic units, times in unix seconds, `stamp` of its transfer's block in milliseconds."""

    id: str
    wallet: str
    expected: int
    callback: str
    order: str
    status: str
    tx: str = ""
    received: int = 0
    created: float = 0
    completed: float = 0
    attempts: int = 0
    success: bool = False
    stamp: int = 0

    @property
    def expires(self) -> float:
        """Until when it is watched."""
        return self.created + LIFE


def usdt(amount: int) -> str:
    """Atomic units as the text that both databases keep: six decimals."""
    return f"{amount // MICRO}.{amount % MICRO:06d}"


class Store:
    """`clock` is the seller's, in unix seconds."""

    def __init__(self, books: MonitorBooks, clock: Callable[[], float]) -> None:
        self.books, self.pool = books, books.pool
        self._clock = clock
        books.migrate()
        self.away = books.database.away

    # -- invoices -----------------------------------------------------------------------------------------------------

    def add(self, new: Payment, path: str = "") -> bool:
        """Keep a new invoice, of the shop's where it has a path; False where its order has one already."""
        with self.pool.lent() as link, link.transaction():
            kept = link.rows(
                "insert into payments (id, wallet_address, expected_amount_usdt, callback_url, order_id, created_at, last_checked_timestamp)"
                " values (?, ?, ?, ?, ?, ?, ?) on conflict (order_id) do nothing returning id",
                new.id, new.wallet, usdt(new.expected), new.callback, new.order, stamp(new.created), int(new.created * 1000) - SLOT,
            )  # fmt: skip
            if kept:
                self._log(link, new.id, "created", f"{usdt(new.expected)} USDT to {new.wallet}")
            if kept and path:
                link.rows("insert into shop_orders values (?, ?)", new.id, path)
        return bool(kept)

    def find(self, identity: str) -> Payment | None:
        """The invoice with this id, which may be anything that a stranger sent."""
        return self._one("id = ?", identity) if len(identity) == 36 and identity.isascii() and identity.isprintable() else None

    def ordered(self, order: str) -> Payment | None:
        """The invoice of an order."""
        return self._one("order_id = ?", order)

    def set_aside(self, old: Payment) -> None:
        """Free an order's name for another invoice, as a memory that forgets does."""
        with self.pool.lent() as link:
            link.rows("update payments set order_id = ? where id = ?", f"{old.order[:63]}~{old.id}", old.id)

    def path(self, identity: str) -> str:
        """What an invoice of the shop's is for, "" for others."""
        with self.pool.lent() as link:
            found = link.one("select path from shop_orders where id = ?", identity)
        return str(found["path"]) if found else ""

    def counts(self) -> dict[str, int]:
        """How many there are of each state, in the API's words."""
        with self.pool.lent() as link:
            rows = link.rows("select status, count(*) as n from payments group by status")
        return {str(row["status"]).lower(): int(row["n"]) for row in rows}

    # -- watching -----------------------------------------------------------------------------------------------------

    def wallets(self) -> dict[str, int]:
        """Every wallet that somebody should pay to, and from when (milliseconds) on its transfers were not looked at yet."""
        with self.pool.lent() as link:
            rows = link.rows("select wallet_address as w, min(last_checked_timestamp) as t from payments where status = 'PENDING' group by wallet_address")
        return {str(row["w"]): int(row["t"]) for row in rows}

    def amounts(self, wallet: str) -> set[int]:
        """What its open invoices ask for."""
        with self.pool.lent() as link:
            rows = link.rows("select distinct expected_amount_usdt as a from payments where status = 'PENDING' and wallet_address = ?", wallet)
        return {_micros(row["a"]) for row in rows}

    def asked(self, wallet: str, amount: int) -> bool:
        """Whether an open invoice of it asks for so much."""
        with self.pool.lent() as link:
            return link.one("select 1 as n from payments where status = 'PENDING' and wallet_address = ? and expected_amount_usdt = ?", wallet, usdt(amount)) is not None

    def complete(self, paid: Sequence[Transfer], *, shared: bool = False) -> None:
        """For each transfer the oldest open invoice that it pays exactly and in time is completed, unless it paid one before.

        `shared`: it completes every one of them.
        """
        with self.pool.lent() as link, link.transaction():
            for each in paid:
                self._complete(link, each, shared)

    def _complete(self, link: Database, paid: Transfer, shared: bool) -> None:
        now, first, last = stamp(self._clock()), stamp((paid.stamp + SLOT) / 1000), stamp(paid.stamp / 1000 - LIFE)
        fits = "status = 'PENDING' and wallet_address = ? and expected_amount_usdt = ? and created_at <= ? and created_at > ?"
        which = f"select id from payments where {fits} order by created_at, id" + ("" if shared else " limit 1")
        unused = "" if shared else " and not exists (select 1 from payments where transaction_hash = ? and transfer_index = ?)"
        place, again = (None, ()) if shared else (paid.place, (paid.tx, paid.place))
        done = link.rows(
            "update payments set status = 'COMPLETED', transaction_hash = ?, transfer_index = ?, received_amount_usdt = ?, completed_at = ?, block_timestamp = ?"
            f" where id in ({which}) and cast(status as varchar(9)) = 'PENDING'{unused} returning id, callback_url",  # cast: found by its id, not by its status
            paid.tx, place, usdt(paid.amount), now, paid.stamp, paid.to, usdt(paid.amount), first, last, *again,
        )  # fmt: skip
        for each in done:
            if each["callback_url"]:
                link.rows("update payments set callback_due = completed_at where id = ?", each["id"])
            self._log(link, each["id"], "completed", f"{usdt(paid.amount)} USDT came", transaction_hash=paid.tx, sender=paid.sender)

    def checked(self, wallet: str, upto: int, seen: int) -> None:
        """All transfers to a wallet up to a time (milliseconds) were looked at, `seen` of them now: what is open and was over then expires."""
        with self.pool.lent() as link, link.transaction():
            oldest = self._oldest(link, wallet)
            if not oldest:
                return
            link.rows(
                "update payments set last_checked_timestamp = ? where status = 'PENDING' and wallet_address = ? and last_checked_timestamp < ?",
                upto, wallet, upto,
            )  # fmt: skip
            self._log(link, oldest, "checking", f"{seen} transfers", upto=upto)
            over = link.rows(
                "update payments set status = 'EXPIRED' where status = 'PENDING' and wallet_address = ? and created_at <= ? returning id", wallet, stamp(upto / 1000 - LIFE)
            )
            for each in over:
                self._log(link, each["id"], "expired", "nobody paid")

    def failed(self, words: str, wallet: str) -> None:
        """TronGrid did not answer: a line of the log, beside the oldest open invoice of the wallet."""
        with self.pool.lent() as link:
            oldest = self._oldest(link, wallet)
            if oldest:
                self._log(link, oldest, "api_error", words)

    @staticmethod
    def _oldest(link: Database, wallet: str) -> str:
        found = link.one("select id from payments where status = 'PENDING' and wallet_address = ? order by created_at, id limit 1", wallet)
        return str(found["id"]) if found else ""

    # -- callbacks ----------------------------------------------------------------------------------------------------

    def untold(self, most: int) -> list[Payment]:
        """Completed invoices whose merchant is to be told now, who has waited longest first."""
        return self._rows("callback_due <= ? order by callback_due, id limit ?", stamp(self._clock()), most)

    def claim(self, each: Payment, again: float | None) -> bool:
        """Count an attempt before it is made, and say in how many seconds the next one is due, None for never; False when somebody else makes it."""
        now = self._clock()
        with self.pool.lent() as link:
            return bool(link.rows(
                "update payments set callback_attempts = callback_attempts + 1, last_callback_attempt = ?, callback_due = ?"
                " where id = ? and callback_attempts = ? returning id",
                stamp(now), None if again is None else stamp(now + again), each.id, each.attempts,
            ))  # fmt: skip

    def told(self, identity: str, words: str, status: int, *, success: bool) -> None:
        """What became of an attempt."""
        with self.pool.lent() as link, link.transaction():
            if success:
                link.rows("update payments set callback_success = 1, callback_due = null where id = ?", identity)
            self._log(link, identity, "callback_sent" if success else "callback_failed", words, status=status)

    # -- the log ------------------------------------------------------------------------------------------------------

    def _log(self, link: Database, identity: str, event: str, words: str, **metadata: Any) -> None:
        link.rows(
            "insert into payment_logs (payment_id, event_type, message, event_metadata, created_at) values (?, ?, ?, ?, ?)",
            identity, event, words[:500], json.dumps(metadata) if metadata else None, stamp(self._clock()),
        )  # fmt: skip

    def _one(self, where: str, *values: object) -> Payment | None:
        found = self._rows(where, *values)
        return found[0] if found else None

    def _rows(self, where: str, *values: object) -> list[Payment]:
        with self.pool.lent() as link:
            return [_payment(row) for row in link.rows(f"select {_FIELDS} from payments where {where}", *values)]


def _micros(text: object) -> int:
    return int(Decimal(str(text)) * MICRO)


def _payment(row: dict[str, Any]) -> Payment:
    return Payment(
        id=row["id"],
        wallet=row["wallet_address"],
        expected=_micros(row["expected_amount_usdt"]),
        callback=row["callback_url"],
        order=row["order_id"],
        status=str(row["status"]).lower(),
        tx=row["transaction_hash"] or "",
        received=_micros(row["received_amount_usdt"] or 0),
        created=moment(row["created_at"]),
        completed=moment(row["completed_at"]) if row["completed_at"] else 0,
        attempts=int(row["callback_attempts"]),
        success=bool(row["callback_success"]),
        stamp=int(row["block_timestamp"] or 0),
    )
