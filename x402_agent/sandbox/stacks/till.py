"""Where signed transactions become money: checked against what was asked, sponsored, sent, and remembered.

Stricter than published facilitators: contract, sender, recipient, amount, network and memo must be those that were
asked for, and a transaction pays for one thing: shown again for the same it gets the same answer, for another none.
Sources: the answers of x402-stacks, its Go facilitator and the sponsor relay, as clients read them.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from ...chains.stacks import EMPTY_SPONSOR, Transfer
from ..ground import Settlement
from ..refusals import Refused
from .pool import Rejected
from .signed import Malformed, read
from .state import STX

if TYPE_CHECKING:
    from .accounts import Account
    from .chain import Chain, Entry
    from .signed import Signed

__all__ = ["Held", "Taken", "Till", "Wanted", "check", "decode", "moved"]

RATE = 2  # microSTX per byte that the sponsor gives
PATIENCE = 900  # seconds that a transaction whose turn has not come is kept


class Wanted(NamedTuple):
    """What must be paid: `asset` is `STX` or `ADDR.contract::token`. `memo`, `sender`: "" where anything will do.

    `purpose` is what it is paid for: the same transaction never pays for another. `at_least`: more than `amount` will do.
    """

    asset: str
    pay_to: str
    amount: int
    purpose: str
    memo: str = ""
    sender: str = ""
    at_least: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """A payment that stands: what became of it, and its row among the settlements."""

    entry: Entry
    row: Settlement


class Held(Refused):
    """Not a failure: a sponsored transaction whose account nonce has not come; it is kept, and sent when it has."""

    def __init__(self, payer: str, missing: list[int], expires: int) -> None:
        super().__init__("transaction_held", "its account nonce has not come; it is kept", payer)
        self.missing = missing
        self.expires = expires


def decode(text: object) -> Signed:
    """A transaction in hex, with or without 0x; raises Refused."""
    if not isinstance(text, str):
        raise Refused("invalid_payload", "there is no transaction in the payload")
    try:
        return read(bytes.fromhex(text.removeprefix("0x")))
    except (Malformed, ValueError) as cause:
        raise Refused("invalid_payload", str(cause)[:200]) from None


def moved(tx: Signed) -> tuple[str, str, int, bytes]:
    """Contract or STX, recipient, amount and memo that it says; raises Refused."""
    payload = tx.payload
    if isinstance(payload, Transfer):
        return STX, payload.recipient, payload.amount, payload.memo
    kinds = [each.kind for each in payload.arguments]
    if payload.function != "transfer" or kinds[:3] != ["uint", "principal", "principal"] or len(kinds) != 4:
        raise Refused("invalid_function", "not SIP-010's transfer", tx.sender)
    amount, sender, recipient, memo = (each.value for each in payload.arguments)
    if sender != tx.sender:
        raise Refused("sender_mismatch", "it moves somebody else's tokens", tx.sender)
    return payload.contract, recipient, amount, memo.value if memo is not None else b""


def check(tx: Signed, wanted: Wanted) -> None:
    """Everything that its bytes say; raises Refused."""
    if not tx.parsed.testnet:
        raise Refused("network_mismatch", "signed for another network", tx.sender)
    if tx.forged:
        raise Refused("invalid_signature", tx.forged, tx.sender)
    asset, recipient, amount, memo = moved(tx)
    if asset != wanted.asset.partition("::")[0]:
        raise Refused("asset_mismatch", "another contract than was asked for", tx.sender)
    if recipient != wanted.pay_to:
        raise Refused("recipient_mismatch", "", tx.sender)
    if wanted.sender and tx.sender != wanted.sender:
        raise Refused("sender_mismatch", "", tx.sender)
    if amount < wanted.amount:
        raise Refused("amount_insufficient", f"{amount} instead of {wanted.amount}", tx.sender)
    if amount > wanted.amount and not wanted.at_least:
        raise Refused("amount_mismatch", f"{amount} instead of {wanted.amount}", tx.sender)
    if wanted.memo and memo.rstrip(b"\0") != wanted.memo.encode()[:34]:
        raise Refused("memo_mismatch", "the memo is not the nonce of the challenge", tx.sender)


class Till:
    """Takes payments for one seller. `rows` grows by each that moved money. Thread-safe."""

    def __init__(self, chain: Chain, operator: Account, rows: list[Settlement]) -> None:
        self._chain = chain
        self._operator = operator
        self._rows = rows
        self._lock = threading.RLock()
        self._taken: dict[str, tuple[Wanted, Taken]] = {}
        self._sponsored: dict[str, bytes] = {}
        self._held: dict[tuple[str, int], tuple[Signed, Wanted, int]] = {}

    def rehearse(self, tx: Signed, wanted: Wanted) -> None:
        """Whether it would stand now; raises Refused, Held where it would be kept until its turn."""
        with self._lock:
            known = self._known(tx, wanted)
            if known is None:
                check(tx, wanted)
                self._would_stand(tx, self._full(tx))

    def take(self, tx: Signed, wanted: Wanted) -> Taken:
        """Move the money, once; raises Refused, Held where it is kept until its turn."""
        with self._lock:
            known = self._known(tx, wanted)
            if known is not None:
                return known
            check(tx, wanted)
            if not tx.complete and (missing := self._missing(tx)):
                expires = self._chain.now() + PATIENCE
                self._held.setdefault((tx.sender, tx.nonce), (tx, wanted, expires))
                raise Held(tx.sender, missing, expires)
            full = self._full(tx)
            self._would_stand(tx, full)
            self._sponsored[_identity(tx)] = full.raw
            made = self._send(full, wanted)
            self._taken[_identity(tx)] = wanted, made
            self._release(tx.sender)
            return made

    def held(self, tx: Signed) -> Held | None:
        """Whether it is kept until its turn."""
        with self._lock:
            _, wanted, expires = self._held.get((tx.sender, tx.nonce), (tx, None, 0))
            return Held(tx.sender, self._missing(tx), expires) if wanted else None

    def _known(self, tx: Signed, wanted: Wanted) -> Taken | None:
        known = self._taken.get(_identity(tx))
        if known is None:
            return None
        if known[0] != wanted:
            raise Refused("transaction_already_used", "it has paid for something else", tx.sender)
        return known[1]

    def _missing(self, tx: Signed) -> list[int]:
        """Account nonces before its own that nobody has used or sent."""
        waiting = self._chain.waiting(tx.sender)
        return [each for each in range(self._chain.nonce(tx.sender), tx.nonce) if each not in waiting]

    def _full(self, tx: Signed) -> Signed:
        """The same with our signature in the sponsor's slot, if that is empty."""
        if tx.complete:
            return tx
        before = self._sponsored.get(_identity(tx))
        if before is not None:
            return read(before)
        own = self._operator.address
        nonce = max([self._chain.nonce(own) - 1, *self._chain.waiting(own)]) + 1
        return read(self._operator.sponsor(tx.parsed, nonce, RATE * len(tx.raw)).wire())

    def _would_stand(self, tx: Signed, full: Signed) -> None:
        entry = self._chain.entry(full.txid)
        if entry is not None and not entry.status.startswith("dropped"):
            return
        try:
            would = self._chain.rehearse(full)
        except Rejected as rejected:
            raise Refused("broadcast_failed", rejected.reason, tx.sender) from None
        if would.status != "success":
            raise Refused("transaction_failed", would.status, tx.sender)

    def _send(self, full: Signed, wanted: Wanted) -> Taken:
        entry = self._chain.entry(full.txid)
        if entry is None or entry.status.startswith("dropped"):
            try:
                entry = self._chain.entry(self._chain.submit(full.raw))
            except Rejected as rejected:
                raise Refused("broadcast_failed", rejected.reason, full.sender) from None
        if entry is None or entry.block is None:
            raise Refused("transaction_pending", full.txid, full.sender)
        if entry.status != "success":
            raise Refused("transaction_failed", entry.status, full.sender)
        amount = sum(each.amount for each in entry.moves if each.recipient == wanted.pay_to)
        row = Settlement(full.txid, full.sender, wanted.pay_to, amount, str(full.nonce), entry.block.height)
        self._rows.append(row)
        return Taken(entry, row)

    def _release(self, sender: str) -> None:
        """Send what was kept until now."""
        tx, wanted, expires = self._held.pop((sender, self._chain.nonce(sender)), (None, None, 0))
        if tx is None or wanted is None or self._chain.now() >= expires:
            return
        try:
            self.take(tx, wanted)
        except Refused:  # its money did not come with its turn: nothing was moved
            return


def _identity(tx: Signed) -> str:
    """What the origin signed, whoever pays the fee."""
    if tx.parsed.sponsor is None:
        return tx.txid
    return hashlib.sha256(replace(tx.parsed, sponsor=EMPTY_SPONSOR).wire()).hexdigest()
