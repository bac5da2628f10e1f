"""Which transactions a node takes, which wait, and which are next. It runs nothing; refusals speak as go-ethereum does.

Sources: go-ethereum's core and txpool errors, EIP-155, EIP-1559, EIP-3607.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .machines import GAS_LIMIT, intrinsic

if TYPE_CHECKING:
    from .envelopes import Envelope

__all__ = ["BASE_FEE", "TIP", "Pool", "Rejected", "check", "intrinsic_gas"]

BASE_FEE = 1_000_000  # wei per gas, in every block: about what Base charges
TIP = 1_000_000  # wei per gas: what the node suggests
_SLOTS = 64  # waiting transactions of one account


class Rejected(Exception):
    """Why a node does not take a transaction."""


def intrinsic_gas(tx: Envelope) -> int:
    """Gas before the first instruction, the access list included."""
    slots = sum(len(keys) for _, keys in tx.access)
    return intrinsic(tx.data, creates=not tx.to, addresses=len(tx.access), slots=slots)


def check(tx: Envelope, chain_id: int, nonce: int, wei: int, *, has_code: bool) -> None:
    """Raise Rejected unless the transaction may enter: `nonce` is its account's next one, `wei` what it owns."""
    if not tx.chain_id:
        raise Rejected("only replay-protected (EIP-155) transactions allowed over RPC")
    if tx.chain_id != chain_id:
        raise Rejected(f"invalid chain id for signer: have {tx.chain_id} want {chain_id}")
    if not tx.to:
        raise Rejected("contract creation is not supported by the sandbox")
    if tx.gas > GAS_LIMIT:
        raise Rejected("exceeds block gas limit")
    if tx.tip > tx.max_fee:
        raise Rejected(
            f"max priority fee per gas higher than max fee per gas: maxPriorityFeePerGas: {tx.tip}, maxFeePerGas: {tx.max_fee}"
        )
    if tx.gas < intrinsic_gas(tx):
        raise Rejected(f"intrinsic gas too low: gas {tx.gas}, minimum needed {intrinsic_gas(tx)}")
    if has_code:
        raise Rejected(f"sender not an eoa: address {tx.sender}")
    if tx.nonce < nonce:
        raise Rejected(f"nonce too low: next nonce {nonce}, tx nonce {tx.nonce}")
    cost = tx.gas * tx.max_fee + tx.value
    if wei < cost:
        raise Rejected(
            f"insufficient funds for gas * price + value: balance {wei}, tx cost {cost}, overshot {cost - wei}"
        )


class Pool:
    """Transactions that cannot be mined yet: a nonce before theirs is missing, or they offer less than the base fee."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[int, Envelope]] = {}

    def add(self, tx: Envelope) -> None:
        """Take a checked transaction, in the place of one with the same nonce that pays a tenth less; raises Rejected."""
        line = self._waiting.setdefault(tx.sender, {})
        old = line.get(tx.nonce)
        if old is not None:
            if old.hash == tx.hash:
                raise Rejected("already known")
            if tx.max_fee * 10 < old.max_fee * 11 or tx.tip * 10 < old.tip * 11:
                raise Rejected("replacement transaction underpriced")
        elif len(line) >= _SLOTS:
            raise Rejected("txpool is full")
        line[tx.nonce] = tx

    def next(self, sender: str, nonce: int) -> Envelope | None:
        """Take out what may be mined now: the account's next nonce, when it pays the base fee."""
        line = self._waiting.get(sender, {})
        ready = line.get(nonce)
        if ready is None or ready.max_fee < BASE_FEE:
            return None
        del line[nonce]
        return ready

    def drop(self, sender: str, below: int) -> None:
        """Forget what can never be mined: nonces below the account's next one."""
        line = self._waiting.get(sender, {})
        for nonce in [each for each in line if each < below]:
            del line[nonce]

    def after(self, sender: str, nonce: int) -> int:
        """The first nonce that neither the chain nor a waiting line without gaps has."""
        line = self._waiting.get(sender, {})
        while nonce in line:
            nonce += 1
        return nonce

    def find(self, tx: str) -> Envelope | None:
        """A waiting transaction by its id."""
        return next((each for line in self._waiting.values() for each in line.values() if each.hash == tx), None)
