"""Accounts of the double that sign: payer, seller, sponsor. Compressed keys, one signature (P2PKH), testnet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...chains.stacks import DENY, EMPTY_SPONSOR, Spending, Transaction, hash160
from ...encodings import c32_address
from ...primitives import EvmKey, public_key
from ...secret import Secret

if TYPE_CHECKING:
    from ...chains.stacks import Call, PostCondition, Transfer

__all__ = ["Account"]


class Account:
    """One private key, 32 bytes. Its repr shows the address."""

    def __init__(self, key: bytes) -> None:
        self._key = EvmKey(key)  # the same curve
        self._hash = hash160(public_key(Secret(key)))
        self.address = c32_address(26, self._hash)

    def sign(
        self,
        payload: Transfer | Call,
        nonce: int,
        fee: int,
        conditions: tuple[PostCondition, ...] = (),
        mode: int = DENY,
        *,
        sponsored: bool = False,
    ) -> Transaction:
        """A signed transaction; `fee` in microSTX, 0 where somebody else will sponsor it."""
        origin = Spending(self._hash, nonce, fee)
        slot = EMPTY_SPONSOR if sponsored else None
        own = tuple(each.wire() for each in conditions)
        return Transaction(True, origin, payload.wire(), own, slot, mode).signed(self._key.sign)

    def sponsor(self, tx: Transaction, nonce: int, fee: int) -> Transaction:
        """Sign as the one who pays the fee."""
        return tx.sponsored(Spending(self._hash, nonce, fee), self._key.sign)

    def __repr__(self) -> str:
        return f"Account({self.address})"
