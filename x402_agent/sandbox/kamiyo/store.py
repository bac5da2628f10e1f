"""What was paid, which tokens open it, and how often it was used. Tokens are kept as SHA-256 alone."""

from __future__ import annotations

import hashlib
import secrets
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from ..books import stamp
from .books import KamiyoBooks

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sight import Seen

__all__ = ["Bought", "Store", "digest", "usdc"]

MICRO = 1_000_000
_CLOCK = 1.0  # seconds by which the database's idea of our clock may be wrong
_FIELDS = "id, tx_hash, chain, amount_usdc, from_address, to_address, block_number, status, requests_allocated, requests_used, expires_at, claimed_by"


class Bought(NamedTuple):
    """A payment as it is kept: `amount` in atomic units, `expires_at` naive UTC, `claimed_by` who may use it."""

    id: int
    tx_hash: str
    chain: str
    amount: int
    from_address: str
    to_address: str
    block: int
    status: str
    allocated: int
    used: int
    expires_at: str
    claimed_by: str

    @property
    def remaining(self) -> int:
        """Requests that are left."""
        return self.allocated - self.used


def usdc(amount: int) -> str:
    """Atomic units as the text that both databases keep: six decimals."""
    return f"{amount // MICRO}.{amount % MICRO:06d}"


def digest(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


class Store:
    """`clock` is the seller's, in unix seconds; `machine` the machine's own, by which the database's views run."""

    def __init__(self, books: KamiyoBooks, clock: Callable[[], float], machine: Callable[[], float]) -> None:
        self.books, self.database = books, books.database
        self._clock, self._machine = clock, machine
        books.migrate()
        self._ahead = float((self.database.one("select ahead from x402_clock") or {"ahead": 0})["ahead"])
        self.tick()

    def now(self) -> str:
        """The seller's time."""
        return stamp(self._clock())

    def tick(self) -> None:
        """Tell the views how far our clock is ahead of the machine's."""
        ahead = self._clock() - self._machine()
        if abs(ahead - self._ahead) > _CLOCK:
            self._ahead = ahead
            self.database.rows("update x402_clock set ahead = ?", ahead)

    # -- payments -----------------------------------------------------------------------------------------------------

    def payment(self, identity: int) -> Bought | None:
        """A payment by its id."""
        return _bought(self.database.one(f"select {_FIELDS} from x402_payments where id = ?", identity))

    def by_tx(self, tx: str) -> Bought | None:
        """A payment by its transaction, spelt as the chain does."""
        return _bought(self.database.one(f"select {_FIELDS} from x402_payments where tx_hash = ?", tx))

    def sold(self, seen: Seen, chain: str, *, allocated: int, used: int, life: int, caller: str) -> Bought | None:
        """Keep a verified payment, `life` seconds from now; None when this transaction was sold already."""
        now, end = self.now(), stamp(self._clock() + life)
        status = "verified" if used < allocated else "used"
        row = self.database.one(
            "insert into x402_payments (tx_hash, chain, amount_usdc, from_address, to_address, block_number, confirmations,"
            " status, requests_allocated, requests_used, created_at, verified_at, expires_at, updated_at, claimed_by)"
            " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            f" on conflict (tx_hash) do nothing returning {_FIELDS}",
            seen.tx, chain, usdc(seen.amount), seen.sender, seen.to, seen.block, seen.confirmations, status,
            allocated, used, now, now, end, now, caller,
        )  # fmt: skip
        return _bought(row)

    def take(self, identity: int, *, strictly: bool = True) -> Bought | None:
        """Use one request of a payment; None when none is left, or its time is over (unless not `strictly`)."""
        now = self.now()
        row = self.database.one(
            "update x402_payments set requests_used = requests_used + 1, updated_at = ?,"
            " status = case when requests_used + 1 >= requests_allocated then 'used' else status end"
            " where id = ? and status = 'verified' and requests_used < requests_allocated and expires_at > ?"
            f" returning {_FIELDS}",
            now, identity, now,
        )  # fmt: skip
        return _bought(row) if row or strictly else self.payment(identity)

    # -- tokens -------------------------------------------------------------------------------------------------------

    def token(self, bought: Bought) -> str:
        """A new token for a payment: 43 url-safe characters, never kept themselves."""
        made = secrets.token_urlsafe(32)
        self.database.rows(
            "insert into x402_tokens (token_hash, payment_id, created_at, expires_at) values (?, ?, ?, ?)",
            digest(made), bought.id, self.now(), bought.expires_at,
        )  # fmt: skip
        return made

    def by_token(self, token: str) -> Bought | None:
        """The payment that a token opens now, None when it opens nothing."""
        fields = ", ".join(f"p.{each}" for each in _FIELDS.split(", "))
        row = self.database.one(
            f"select {fields} from x402_tokens t join x402_payments p on p.id = t.payment_id"
            " where t.token_hash = ? and t.expires_at > ?",
            digest(token), self.now(),
        )  # fmt: skip
        return _bought(row)

    def touched(self, token: str) -> None:
        """Note that a token was shown."""
        self.database.rows("update x402_tokens set last_used_at = ? where token_hash = ?", self.now(), digest(token))

    # -- usage --------------------------------------------------------------------------------------------------------

    def used(self, payment: int, endpoint: str, method: str, status: int, took: int, caller: str, agent: str) -> None:
        """Note one paid request; `took` in milliseconds."""
        self.database.rows(
            "insert into x402_usage (payment_id, endpoint, method, status_code, response_time_ms, ip_address, user_agent, created_at)"
            " values (?, ?, ?, ?, ?, ?, ?, ?)",
            payment, endpoint[:255], method[:10], status, took, caller[:45], agent[:1000], self.now(),
        )  # fmt: skip

    def stats(self, address: str) -> dict[str, Any]:
        """What an address has paid and used so far, in the facilitator's words."""
        row = self.database.one(
            "select count(*) as n, coalesce(sum(cast(round(amount_usdc * 1000000) as bigint)), 0) as amount,"
            " coalesce(sum(requests_allocated), 0) as allocated, coalesce(sum(requests_used), 0) as used,"
            " coalesce(sum(case when status = 'verified' and expires_at > ? then 1 else 0 end), 0) as active"
            " from x402_payments where from_address = ?",
            self.now(), address,
        ) or {}  # fmt: skip
        return {
            "from_address": address, "total_payments": int(row["n"]), "total_amount_usdc": int(row["amount"]) / MICRO,
            "total_requests_allocated": int(row["allocated"]), "total_requests_used": int(row["used"]),
            "active_payments": int(row["active"]),
        }  # fmt: skip


def _bought(row: dict[str, Any] | None) -> Bought | None:
    if row is None:
        return None
    return Bought(
        id=int(row["id"]),
        tx_hash=row["tx_hash"],
        chain=row["chain"],
        amount=int(Decimal(str(row["amount_usdc"])) * MICRO),
        from_address=row["from_address"],
        to_address=row["to_address"],
        block=int(row["block_number"]),
        status=row["status"],
        allocated=int(row["requests_allocated"]),
        used=int(row["requests_used"]),
        expires_at=row["expires_at"],
        claimed_by=row["claimed_by"],
    )
