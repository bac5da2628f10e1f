"""A signed transaction as the double looks at it: read once, everything at hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from ...chains.stacks import read as parse
from ...encodings import c32_address

if TYPE_CHECKING:
    from ...chains.stacks import Call, PostCondition, Transaction, Transfer

__all__ = ["Malformed", "Signed", "read"]


class Malformed(ValueError):
    """The bytes are not a transaction that can stand here."""


@dataclass(frozen=True, slots=True)
class Signed:
    """One transaction. `sponsor` is "" where nobody sponsors it; `fee`, in microSTX, is the sponsor's where somebody does."""

    raw: bytes = field(repr=False)
    parsed: Transaction = field(repr=False)
    txid: str
    sender: str
    payload: Transfer | Call
    conditions: tuple[PostCondition, ...]
    sponsor: str = ""
    forged: str = ""  # which of its signatures is not by whom it names

    @property
    def nonce(self) -> int:
        """The account nonce of the sender."""
        return self.parsed.origin.nonce

    @property
    def fee(self) -> int:
        """MicroSTX that whoever pays for it gives."""
        return (self.parsed.sponsor or self.parsed.origin).fee

    @property
    def slots(self) -> tuple[tuple[str, int], ...]:
        """Every account with the nonce that this transaction takes."""
        own = ((self.sender, self.nonce),)
        return (*own, (self.sponsor, self.parsed.sponsor.nonce)) if self.parsed.sponsor else own

    @property
    def complete(self) -> bool:
        """Whether a sponsor, where there is to be one, has signed."""
        return self.parsed.sponsor is None or any(self.parsed.sponsor.signature)


@lru_cache(maxsize=64)  # verified, settled and taken by the node within a moment
def read(raw: bytes) -> Signed:
    """Read raw bytes; raises Malformed. Several signers, and other payloads than transfers and calls, are not known."""
    try:
        parsed = parse(raw)
        payload, conditions = parsed.does, parsed.post_conditions
    except (ValueError, RecursionError) as cause:
        raise Malformed(str(cause)) from None
    sponsor = c32_address(26 if parsed.testnet else 22, parsed.sponsor.signer) if parsed.sponsor else ""
    try:
        parsed.verify()
        forged = ""
    except ValueError as cause:
        forged = str(cause)
    return Signed(raw, parsed, parsed.txid, parsed.sender, payload, conditions, sponsor, forged)
