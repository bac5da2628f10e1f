"""What was asked for, paid and granted: nonces, challenges, payments, grants. Tokens are kept as SHA-256 alone."""

from __future__ import annotations

import hashlib
import secrets
import uuid
from typing import TYPE_CHECKING, Any, NamedTuple

from ..books import moment, stamp
from .sight import Seen, Unpaid

if TYPE_CHECKING:
    from collections.abc import Callable

    from .books import X402PayBooks
    from .content import Piece
    from .crowd import Visitor
    from .quirks import Quirks

__all__ = ["Challenge", "Grant", "Store", "digest", "iso"]

_GRANT = "id, user_address, content_id, payment_id, expires_at"
_PAYMENT = "id, content_id, payer_address, amount, creator_amount, platform_amount, block_height, claimed_by"
_CHALLENGE = "id, content_id, requester, status, expires_at, claimed_by"


class Grant(NamedTuple):
    """Who may read what, until when (naive UTC)."""

    id: str
    address: str
    content: str
    payment: str
    expires: str

    @property
    def ends(self) -> int:
        """The same in unix seconds."""
        return int(moment(self.expires))


class Challenge(NamedTuple):
    """What the gateway asked of whom."""

    id: str
    content_id: str
    requester: str
    status: str
    expires_at: str
    claimed_by: str


def digest(token: str) -> str:
    """What is kept of a token or a key."""
    return hashlib.sha256(token.encode()).hexdigest()


def iso(when: str) -> str:
    """A time of the database as JSON says it, in milliseconds whatever the engine leaves out."""
    whole, _, part = str(when).replace(" ", "T").partition(".")
    return f"{whole}.{part[:3]:0<3}Z"


class Store:
    """`clock` is the seller's, in unix seconds; `told` hears of each payment that was booked, in its transaction."""

    def __init__(self, books: X402PayBooks, clock: Callable[[], float], told: Callable[[str, str, dict[str, Any]], None]) -> None:
        self.books, self.database = books, books.database
        self._clock, self._told = clock, told

    def now(self) -> str:
        """The seller's time."""
        return stamp(self._clock())

    # -- what is asked --------------------------------------------------------------------------------------------------

    def nonce(self, content: str, caller: str, life: int) -> str:
        """A new nonce for a payment: 32 hex digits."""
        made = secrets.token_hex(16)
        self.database.rows(
            "insert into payment_nonces (id, nonce, content_id, claimed_by, expires_at) values (?, ?, ?, ?, ?)",
            str(uuid.uuid4()), made, content, caller, stamp(self._clock() + life),
        )  # fmt: skip
        return made

    def check_nonce(self, nonce: str, content: str, caller: str, tx: str, *, memo: bool = False) -> None:
        """Whether it was given to this caller for this, and still stands (as a `memo` it may have ended); raises Unpaid."""
        row = self.database.one("select content_id, claimed_by, tx_id, expires_at from payment_nonces where nonce = ?", nonce)
        if row is None:
            if memo:
                return
            raise Unpaid("Unknown nonce", "INVALID_NONCE")
        if row["content_id"] != content or (caller and row["claimed_by"] != caller):
            raise Unpaid("Nonce of another request", "INVALID_NONCE")
        if memo:
            return
        if str(row["expires_at"]) <= self.now():
            raise Unpaid("Nonce expired", "NONCE_EXPIRED")
        if row["tx_id"] not in ("", tx):
            raise Unpaid("Nonce already used", "INVALID_NONCE")

    def use_nonce(self, nonce: str, tx: str) -> None:
        """From here on it goes with this transaction alone."""
        self.database.rows("update payment_nonces set tx_id = ? where nonce = ?", tx, nonce)

    def end_nonce(self, nonce: str) -> None:
        """It has ended now."""
        self.database.rows("update payment_nonces set expires_at = ? where nonce = ?", self.now(), nonce)

    def challenge(self, piece: Piece, requester: str, visitor: Visitor, asked: tuple[int, str, str, str], life: int) -> tuple[str, str]:
        """A new challenge for (amount, asset, recipient, contract): its token, and when it ends."""
        token, ends = str(uuid.uuid4()), stamp(self._clock() + life)
        self.database.rows(
            "insert into x402_challenges (id, content_id, requester, is_agent, amount, asset, recipient, contract_addr, challenge_token,"
            " expires_at, created_at, claimed_by) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            str(uuid.uuid4()), piece.id, requester, int(visitor.agent), *asked, token, ends, self.now(), visitor.client,
        )  # fmt: skip
        return token, iso(ends)

    def challenged(self, token: str) -> Challenge | None:
        """The challenge with this token."""
        row = self.database.one(f"select {_CHALLENGE} from x402_challenges where challenge_token = ?", token)
        return Challenge(**row | {"expires_at": str(row["expires_at"])}) if row else None

    def settle_challenge(self, challenge: Challenge, status: str, tx: str | None = None) -> None:
        """It was paid, or has expired."""
        self.database.rows(
            "update x402_challenges set status = ?, paid_tx_id = ?, paid_at = ? where id = ?",
            status, tx, self.now() if tx else None, challenge.id,
        )  # fmt: skip

    # -- what was paid --------------------------------------------------------------------------------------------------

    def book(self, seen: Seen, piece: Piece, asset: str, visitor: Visitor, quirks: Quirks) -> Grant:
        """The grant that a payment is, in one transaction with it; raises Unpaid."""
        with self.database.transaction():
            payment = self._booked(seen, piece, asset, visitor)
            if payment is None:  # another process was first
                raise Unpaid("Transaction already used", "TRANSACTION_ALREADY_USED")
            more = {"contentId": piece.id, "amount": str(seen.amount), "asset": asset, "payer": seen.sender, "createdAt": iso(self.now())}
            self._told(piece.owner, "payment.verified", {"txId": seen.tx, **more})
            return self._grant(seen.sender, piece.id, payment, quirks.token_life)

    def known(self, tx: str) -> bool:
        """Whether a transaction has paid for anything."""
        return self.database.one("select id from payments where tx_id = ?", tx) is not None

    def again(self, tx: str, piece: Piece, visitor: Visitor, quirks: Quirks) -> tuple[Grant, Seen] | None:
        """What a payment that is known still opens for its caller; None for one that is new. Raises Unpaid."""
        row = self.database.one(f"select {_PAYMENT} from payments where tx_id = ?", tx)
        if row is None:
            return None
        if row["claimed_by"] != visitor.client and not quirks.anyone:
            raise Unpaid("Transaction already used by somebody else", "TRANSACTION_ALREADY_USED")
        seen = Seen(tx, row["payer_address"], row["amount"], row["creator_amount"], row["platform_amount"], row["block_height"])
        found = self.grant(seen.sender, piece.id) if row["content_id"] == piece.id else None
        if found is None and row["content_id"] != piece.id and quirks.reuses:
            found = self._grant(seen.sender, piece.id, row["id"], quirks.token_life)
        if found is None:
            raise Unpaid("Transaction already used", "TRANSACTION_ALREADY_USED")
        return found, seen

    def _booked(self, seen: Seen, piece: Piece, asset: str, visitor: Visitor) -> str | None:
        now, key = self.now(), str(uuid.uuid4())
        row = self.database.one(
            "insert into payments (id, tx_id, content_id, payer_address, amount, asset, creator_amount, platform_amount, status, is_agent,"
            " agent_id, block_height, created_at, confirmed_at, claimed_by) values (?, ?, ?, ?, ?, ?, ?, ?, 'confirmed', ?, ?, ?, ?, ?, ?)"
            " on conflict (tx_id) do nothing returning id",
            key, seen.tx, piece.id, seen.sender, seen.amount, asset, seen.creator, seen.platform, int(visitor.agent),
            visitor.name, seen.block, now, now, visitor.client,
        )  # fmt: skip
        if row:
            self.database.rows(
                "insert into payment_events (id, time, tx_id, content_id, creator_id, payer_address, amount, asset, creator_amount, is_agent)"
                " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                key, now, seen.tx, piece.id, piece.owner, seen.sender, seen.amount, asset, seen.creator, int(visitor.agent),
            )  # fmt: skip
        return key if row else None

    # -- grants ---------------------------------------------------------------------------------------------------------

    def _grant(self, address: str, content: str, payment: str, life: int) -> Grant:
        row = self.database.one(
            "insert into access_grants (id, user_address, content_id, payment_id, expires_at, created_at) values (?, ?, ?, ?, ?, ?)"
            " on conflict (user_address, content_id) do update set payment_id = excluded.payment_id, expires_at = excluded.expires_at,"
            f" revoked_at = null returning {_GRANT}",
            str(uuid.uuid4()), address, content, payment, stamp(self._clock() + life), self.now(),
        )  # fmt: skip
        return Grant(*map(str, (row or {}).values()))

    def grant(self, address: str, content: str, caller: str = "") -> Grant | None:
        """What an address may read now; with `caller` only where he paid for it."""
        row = self.database.one(
            f"select {', '.join(f'g.{each}' for each in _GRANT.split(', '))}, p.claimed_by from access_grants g join payments p on p.id = g.payment_id"
            " where g.user_address = ? and g.content_id = ? and g.revoked_at is null and g.expires_at > ?",
            address, content, self.now(),
        )  # fmt: skip
        if row is None or (caller and row["claimed_by"] != caller):
            return None
        return Grant(*list(map(str, row.values()))[:5])

    def noted(self, grant: Grant, token: str) -> None:
        """Keep what there is to keep of a token."""
        self.database.rows("update access_grants set access_token = ? where id = ?", digest(token), grant.id)

    def revoke(self, address: str, content: str) -> None:
        """From here on it opens nothing, whatever token is shown."""
        self.database.rows("update access_grants set revoked_at = ? where user_address = ? and content_id = ?", self.now(), address, content)

    def history(self, address: str, limit: int, offset: int) -> tuple[list[dict[str, Any]], int]:
        """What an address has paid, newest first, and how much of it there is; "" is everybody."""
        where = "(payer_address = ? or ? = '')"
        rows = self.database.rows(
            f"select tx_id, content_id, payer_address, amount, asset, status, created_at from payments where {where}"
            " order by created_at desc, id limit ? offset ?",
            address, address, limit, offset,
        )  # fmt: skip
        total = self.database.one(f"select count(*) as n from payments where {where}", address, address)
        listed = [
            {"txId": row["tx_id"], "contentId": row["content_id"], "payer": row["payer_address"], "amount": str(row["amount"]), "asset": row["asset"],
             "status": row["status"], "createdAt": iso(row["created_at"])}
            for row in rows
        ]  # fmt: skip
        return listed, int(total["n"]) if total else 0
