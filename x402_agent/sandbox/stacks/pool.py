"""Which transactions a Stacks node takes into its mempool, in its own words, and which of them wait.

Sources: stacks-core's `MemPoolRejection` and the order of its checks; SIP-005 for what is checked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...chains.stacks import Call, Transfer
from .state import STX
from .values import fits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .contracts import Contract
    from .signed import Signed
    from .state import State

__all__ = ["CHAINED", "Pool", "Rejected", "admit"]

CHAINED = 25  # transactions of one account that may wait


class Rejected(Exception):
    """Why a node does not take a transaction: its own word, and what it adds."""

    def __init__(self, reason: str, data: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.data = data

    def view(self, txid: str) -> dict[str, Any]:
        """The JSON that goes with status 400."""
        answer = {"error": "transaction rejected", "reason": self.reason, "txid": txid.removeprefix("0x")}
        return answer | ({"reason_data": self.data} if self.data is not None else {})


def admit(
    tx: Signed, state: State, contracts: Mapping[str, Contract], nonce: Callable[[str], int], *, mainnet: bool
) -> None:
    """Raise Rejected unless a node would take it; `nonce` gives the next one of an account as mined."""
    if tx.parsed.testnet == mainnet:
        raise Rejected("BadTransactionVersion")
    if tx.forged or not tx.complete:
        raise Rejected(
            "SignatureValidation", {"message": "Signer hash does not equal hash of public key(s)", "txid": tx.txid[2:]}
        )
    if tx.fee < len(tx.raw):
        raise Rejected("FeeTooLow", {"expected": len(tx.raw), "actual": tx.fee})
    for place, (who, has) in enumerate(tx.slots):
        _check_nonce(who, has, nonce(who), origin=not place)
    _check_funds(tx, state)
    if isinstance(tx.payload, Transfer):
        _check_transfer(tx, tx.payload, mainnet=mainnet)
    else:
        _check_call(tx.payload, contracts)


def _check_nonce(who: str, has: int, expected: int, *, origin: bool) -> None:
    data = {"expected": expected, "actual": has, "is_origin": origin, "principal": who}
    if has < expected:
        raise Rejected("BadNonce", data)
    if has >= expected + CHAINED:
        raise Rejected("TooMuchChaining", data | {"message": "Nonce would exceed chaining limit in mempool"})


def _check_funds(tx: Signed, state: State) -> None:
    """The fee is whoever's pays it; an amount of STX is always the origin's."""
    amount = tx.payload.amount if isinstance(tx.payload, Transfer) else 0
    own = tx.fee + amount if not tx.sponsor else amount
    for who, needed in ((tx.sender, own), (tx.sponsor, tx.fee)):
        has = state.balance(STX, who)
        if who and has < needed:
            raise Rejected("NotEnoughFunds", {"expected": f"0x{needed:032x}", "actual": f"0x{has:032x}"})


def _check_transfer(tx: Signed, payload: Transfer, *, mainnet: bool) -> None:
    if payload.amount <= 0:
        raise Rejected("TransferAmountMustBePositive")
    if payload.recipient == tx.sender:
        raise Rejected("TransferRecipientCannotEqualSender", {"recipient": payload.recipient})
    if (payload.recipient[1] in "PM") != mainnet:
        raise Rejected("BadAddressVersionByte")


def _check_call(call: Call, contracts: Mapping[str, Contract]) -> None:
    contract = contracts.get(call.contract)
    if contract is None:
        raise Rejected("NoSuchContract")
    found = contract.functions.get(call.function)
    if found is None or found.access != "public":
        raise Rejected("NoSuchPublicFunction")
    wanted = [kind for _, kind in found.args]
    if len(wanted) != len(call.arguments) or not all(map(fits, wanted, call.arguments)):
        raise Rejected("BadFunctionArgument", {"message": "the arguments do not fit the function"})


class Pool:
    """Transactions that wait: a nonce before theirs is missing, or no block is made."""

    def __init__(self) -> None:
        self._slots: dict[tuple[str, int], Signed] = {}

    def add(self, tx: Signed) -> Signed | None:
        """Take a checked transaction; what it replaced, at a higher fee. Raises Rejected."""
        old = [self._slots[slot] for slot in tx.slots if slot in self._slots]
        if any(each.fee >= tx.fee for each in old):
            raise Rejected("ConflictingNonceInMempool")
        for each in old:
            self.remove(each)
        for slot in tx.slots:
            self._slots[slot] = tx
        return old[0] if old else None

    def remove(self, tx: Signed) -> None:
        """Forget it: mined, dropped or replaced."""
        for slot in tx.slots:
            if self._slots.get(slot) is tx:
                del self._slots[slot]

    def waiting(self) -> list[Signed]:
        """Every transaction that waits, lower nonces first."""
        return sorted({id(tx): tx for tx in self._slots.values()}.values(), key=lambda tx: tx.nonce)

    def nonces(self, who: str) -> list[int]:
        """The nonces of an account that wait, as origin or sponsor."""
        return sorted(nonce for owner, nonce in self._slots if owner == who)
