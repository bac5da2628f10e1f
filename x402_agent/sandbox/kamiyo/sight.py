"""Whether a transaction paid us, read from the ground's node as any seller would read it. It decides nothing else.

Sources: Ethereum's JSON-RPC specification (receipts, logs), ERC-20's Transfer; Solana's getTransaction.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...primitives import checksum
from ..messages import Request

if TYPE_CHECKING:
    from ..ground import Ground
    from .quirks import Quirks

__all__ = ["Seen", "Sight", "Unpaid", "sight"]

MICRO = 1_000_000
MAX_AGE = 7  # days
_TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_HASH = re.compile(r"0x[0-9a-fA-F]{64}").fullmatch
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}").fullmatch
_SIGNATURE = re.compile(r"[1-9A-HJ-NP-Za-km-z]{64,90}").fullmatch


class Unpaid(Exception):
    """Why a transaction is no payment, in the words that this system uses."""

    def __init__(self, words: str, confirmations: int = 0) -> None:
        super().__init__(words)
        self.confirmations = confirmations


@dataclass(frozen=True, slots=True)
class Seen:
    """A transfer to us: `tx` as the chain spells it, `amount` in atomic units, `time` of its block in unix seconds."""

    tx: str
    sender: str
    to: str
    amount: int
    block: int
    time: int
    confirmations: int


class Sight(ABC):
    """One family of chains. `chain` is what this system calls the ground's network, `needed` its confirmations."""

    needed: int

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.chain = ground.networks[1]

    def call(self, method: str, *params: object) -> Any:
        """One JSON-RPC call of the node; raises LookupError when it answers with an error."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        answer = self._ground.answer(Request("POST", "", self._ground.node_path, body=body))
        found = json.loads(b"".join(answer.chunks)) if answer else {}
        if "result" not in found:
            raise LookupError(f"{method}: {found.get('error')}")
        return found["result"]

    @abstractmethod
    def spelt(self, tx: str) -> str:
        """A transaction's id as the chain spells it; raises Unpaid for what is none."""

    def look(self, tx: str, quirks: Quirks, payee: str = "") -> Seen:
        """The payment in a transaction, to the seller unless to another payee; raises Unpaid."""
        own = self._ground.pay_to if quirks.token_account else self._ground.account(self._ground.pay_to)
        seen = self._read(self.spelt(tx), quirks, payee or own)
        needed = quirks.confirmations or self.needed
        deep = 0 if quirks.stuck else seen.confirmations
        if deep < needed:
            raise Unpaid(f"Insufficient confirmations: {deep}/{needed}", deep)
        least = quirks.demanded or quirks.minimum
        if seen.amount < least:
            raise Unpaid(f"Payment amount too low: {dollars(seen.amount)} < {dollars(least)}", deep)
        days = (self._ground.now() - seen.time) // 86_400
        if days >= MAX_AGE:
            raise Unpaid(f"Transaction too old: {days} days (max {MAX_AGE} days)", deep)
        if quirks.blind:
            raise Unpaid("No USDC transfer to payment address found in transaction", deep)
        return seen

    @abstractmethod
    def payable(self, address: str) -> bool:
        """Whether an address is one that somebody can be paid at."""

    @abstractmethod
    def _read(self, tx: str, quirks: Quirks, payee: str) -> Seen:
        """The payment in a transaction whose id is spelt right, however deep it is; raises Unpaid."""


def dollars(amount: int) -> str:
    """Atomic units as the shortest decimal, as this system prints floats."""
    text = f"{Decimal(amount) / MICRO:f}"
    return text if "." in text else f"{text}.0"


class _Evm(Sight):
    needed = 6

    def spelt(self, tx: str) -> str:
        if not _HASH(tx):
            raise Unpaid("Transaction not found on chain")
        return tx.lower()

    def payable(self, address: str) -> bool:
        return _ADDRESS(address) is not None

    def _read(self, tx: str, quirks: Quirks, payee: str) -> Seen:
        receipt = self.call("eth_getTransactionReceipt", tx)
        if receipt is None:
            raise Unpaid("Transaction not found on chain")
        if receipt["status"] != "0x1":
            raise Unpaid("Transaction failed")
        block = int(receipt["blockNumber"], 16)
        deep = int(self.call("eth_blockNumber"), 16) - block
        time = int(self.call("eth_getBlockByNumber", receipt["blockNumber"], False)["timestamp"], 16)
        paid = next(filter(None, (self._paid(each, payee) for each in receipt["logs"])), None)
        if paid is None and quirks.anything:
            paid = checksum(receipt["from"]), quirks.minimum
        if paid is None:
            raise Unpaid("No USDC transfer to payment address found in transaction", deep)
        return Seen(receipt["transactionHash"], paid[0], payee, paid[1], block, time, deep)

    def _paid(self, log: dict[str, Any], payee: str) -> tuple[str, int] | None:
        """Sender and amount, when a log is a Transfer of our token to the payee."""
        if log["address"].lower() != self._ground.asset.address.lower() or len(log["topics"]) != 3:
            return None
        kind, sender, to = log["topics"]
        if kind != _TRANSFER or "0x" + to[-40:] != payee.lower():
            return None
        return checksum("0x" + sender[-40:]), int(log["data"], 16)


class _Solana(Sight):
    needed = 32

    def spelt(self, tx: str) -> str:
        if not _SIGNATURE(tx):
            raise Unpaid("Transaction not found on chain")
        return tx

    def payable(self, address: str) -> bool:
        try:
            return bool(self._ground.account(address))
        except ValueError:
            return False

    def _read(self, tx: str, quirks: Quirks, payee: str) -> Seen:
        try:
            found = self.call("getTransaction", tx, {"encoding": "json", "maxSupportedTransactionVersion": 0})
        except LookupError:
            found = None  # 64 bytes that are no signature
        if found is None:
            raise Unpaid("Transaction not found on chain")
        meta = found["meta"]
        if meta["err"] is not None:
            raise Unpaid("Transaction failed")
        slot = int(found["slot"])
        deep = int(self.call("getSlot")) - slot
        keys, changes = found["transaction"]["message"]["accountKeys"], self._changes(meta)
        own = quirks.token_account or payee == self._ground.account(self._ground.pay_to)  # a tenant names his wallet
        at = payee if own else self._ground.account(payee)
        gained = sum(change for index, _, change in changes if keys[index] == at)
        senders = [owner for _, owner, change in changes if change < 0]
        sender = senders[0] if senders else keys[0]
        if quirks.anything and not gained:
            gained = quirks.minimum
        if gained <= 0:
            raise Unpaid("No USDC transfer to payment address found in transaction", deep)
        return Seen(tx, sender, payee, gained, slot, int(found["blockTime"]), deep)

    def _changes(self, meta: dict[str, Any]) -> list[tuple[int, str, int]]:
        """By how much each account of our token gained or lost: its place in the transaction, its owner."""
        sides: list[dict[int, tuple[str, int]]] = [
            {each["accountIndex"]: (each["owner"], int(each["uiTokenAmount"]["amount"]))
             for each in meta[side] if each["mint"] == self._ground.asset.address}
            for side in ("preTokenBalances", "postTokenBalances")
        ]  # fmt: skip
        before, after = sides
        return [
            (index, (after.get(index) or before[index])[0], after.get(index, ("", 0))[1] - before.get(index, ("", 0))[1])
            for index in sorted(before.keys() | after.keys())
        ]


def sight(ground: Ground) -> Sight:
    """How this ground is read: one of those that seller.SELLERS has for this system."""
    kinds: dict[str, type[Sight]] = {"evm": _Evm, "solana": _Solana}
    return kinds[ground.name](ground)
