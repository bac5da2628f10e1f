"""What a Solana node can tell us, each answer checked for its shape. All are generators of steps and raise NodeError.

Source: Solana's JSON-RPC methods; the layouts of SPL Token's Account and Mint.
"""

from __future__ import annotations

import re
from base64 import b64decode
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ...encodings import base58, unbase58
from ...errors import NodeError
from .message import address_bytes, associated, program_of

if TYPE_CHECKING:
    from ...model import Asset
    from ...steps import Steps
    from .rpc import Node

__all__ = ["CONFIRMED", "FINALIZED", "PAGE", "Account", "Finality", "Found", "Moved", "Seen", "Status", "accounts", "balance", "expired", "final",
           "first_slot", "found", "height", "history", "latest", "native", "priority", "rent", "send", "status", "tip",
           "token_account"]  # fmt: skip

CONFIRMED, FINALIZED, PROCESSED = "confirmed", "finalized", "processed"
PAGE = 200
FINAL = 1 << 20  # deeper than any network's row asks for
_WIDE = 512 * 1024
_AMOUNT = re.compile("[0-9]{1,20}").fullmatch


class Account(NamedTuple):
    """An account: the program that owns it, in base58, its bytes, and its lamports."""

    owner: str
    data: bytes
    lamports: int


class Holding(NamedTuple):
    """A token account: whose, of which mint, atomic units in it, and whether it is frozen."""

    owner: str
    mint: str
    amount: int
    frozen: bool


class Finality(NamedTuple):
    """The newest finalised block: its slot and its height."""

    slot: int
    height: int


class Seen(NamedTuple):
    """One transaction of an account's history: `time` in unix seconds, 0 where the node says none; `memo` is None likewise."""

    signature: str
    slot: int
    failed: bool
    memo: str | None
    time: int


class Moved(NamedTuple):
    """What a transaction did to one balance: whose, of which mint ("" for SOL), atomic units before and after, in which account ("" where
    its address stands in a table)."""

    owner: str
    mint: str
    before: int
    after: int
    account: str = ""


class Status(NamedTuple):
    """Where a transaction stands: how many blocks count for it, none while no two thirds have voted for its own, FINAL once
    nothing undoes it."""  # fmt: skip

    depth: int


class Found(NamedTuple):
    """A transaction: its slot, whether it failed, the message that was signed, and what it moved."""

    slot: int
    failed: bool
    message: bytes
    moved: tuple[Moved, ...]


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("no number")
    return value


def accounts(node: Node, *addresses: str) -> Steps[list[Account | None]]:
    """Accounts as a confirmed block has them, None for one that does not exist."""

    def read(answer: Any) -> list[Account | None]:
        rows = answer["value"]
        if len(rows) != len(addresses):
            raise ValueError("other accounts")
        return [None if row is None else _account(row) for row in rows]

    wanted = {"encoding": "base64", "commitment": CONFIRMED}
    made: list[Account | None] = yield from node.read(read, "getMultipleAccounts", list(addresses), wanted)
    return made


def _account(row: Any) -> Account:
    return Account(_address(row["owner"]), _bytes(row["data"]), _whole(row["lamports"]))


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no address")
    address_bytes(value)
    return value


def _bytes(value: Any) -> bytes:
    text, encoding = value
    if encoding != "base64":
        raise ValueError("not base64")
    return b64decode(text, validate=True)


def token_account(account: Account) -> Holding:
    """A token account of either token program; raises ValueError for anything else, and for one not yet made ready."""
    data = account.data
    if len(data) < 165 or data[108] not in (1, 2) or (len(data) > 165 and data[165] != 2):
        raise ValueError("no token account")
    return Holding(base58(data[32:64]), base58(data[:32]), int.from_bytes(data[64:72], "little"), data[108] == 2)


def rent(node: Node, size: int) -> Steps[int]:
    """Lamports that an account of so many bytes holds for good."""
    made: int = yield from node.read(_whole, "getMinimumBalanceForRentExemption", size)
    return made


def latest(node: Node) -> Steps[tuple[bytes, int, int]]:
    """A confirmed block's hash (32 bytes), the last block height at which it is valid, and the slot that told it."""

    def read(answer: Any) -> tuple[bytes, int, int]:
        value = answer["value"]
        last, slot = _whole(value["lastValidBlockHeight"]), _whole(answer["context"]["slot"])
        if not last or not slot:
            raise ValueError("no height")
        return address_bytes(_address(value["blockhash"])), last, slot

    made: tuple[bytes, int, int] = yield from node.read(read, "getLatestBlockhash", {"commitment": CONFIRMED})
    return made


def final(node: Node) -> Steps[Finality]:
    """The newest finalised block."""

    def read(answer: Any) -> Finality:
        return Finality(_whole(answer["absoluteSlot"]), _whole(answer["blockHeight"]))

    made: Finality = yield from node.read(read, "getEpochInfo", {"commitment": FINALIZED})
    return made


def expired(node: Node, blockhash: str, commitment: str, at_least: int) -> Steps[bool]:
    """Whether no block after this commitment's newest takes the blockhash; the node has come to slot `at_least`."""

    def read(answer: Any) -> bool:
        if type(answer["value"]) is not bool or _whole(answer["context"]["slot"]) < at_least:
            raise ValueError("no word on a blockhash")
        return not answer["value"]

    wanted = {"commitment": commitment, "minContextSlot": at_least}
    made: bool = yield from node.read(read, "isBlockhashValid", blockhash, wanted)
    return made


def first_slot(node: Node) -> Steps[int]:
    """The oldest slot that this node still knows: what was before it is missing from its histories."""
    made: int = yield from node.read(_whole, "getFirstAvailableBlock")
    return made


def history(node: Node, address: str, before: str, at_least: int) -> Steps[list[Seen]]:
    """At most PAGE transactions that name an account, newest first, from confirmed blocks; `before` a signature or ""."""

    def read(answer: Any) -> list[Seen]:
        seen = [_seen(row) for row in answer]
        if len(seen) > PAGE or any(a.slot < b.slot for a, b in pairwise(seen)):
            raise ValueError("no history")
        return seen

    wanted = {"limit": PAGE, "commitment": CONFIRMED, "minContextSlot": at_least}
    wanted |= {"before": before} if before else {}
    made: list[Seen] = yield from node.read(read, "getSignaturesForAddress", address, wanted, limit=_WIDE)
    return made


def _seen(row: Any) -> Seen:
    memo = row.get("memo")
    if memo is not None and not isinstance(memo, str):
        raise ValueError("no memo")
    time = _whole(row.get("blockTime") or 0)
    return Seen(_signature(row["signature"]), _whole(row["slot"]), row["err"] is not None, memo, time)


def _signature(value: object) -> str:
    if not isinstance(value, str) or len(unbase58(value)) != 64:
        raise ValueError("no signature")
    return value


def found(node: Node, signature: str, commitment: str = CONFIRMED) -> Steps[Found | None]:
    """The transaction of this signature (64 bytes in base58), None where there is none at this commitment."""

    def read(answer: Any) -> Found | None:
        if answer is None:
            return None
        raw, meta = _bytes(answer["transaction"]), answer["meta"]
        count = raw[0]
        if not 0 < count < 0x80 or raw[1:65] != unbase58(signature):  # more signatures than that fit into no transaction
            raise ValueError("another transaction")
        message = raw[1 + 64 * count :]
        keys = _keys(message)
        moved = _moved(keys, meta.get("preTokenBalances") or (), meta.get("postTokenBalances") or ())
        coins = _coins(keys, meta.get("preBalances") or (), meta.get("postBalances") or ())
        return Found(_whole(answer["slot"]), meta["err"] is not None, message, moved + coins)

    wanted = {"encoding": "base64", "commitment": commitment, "maxSupportedTransactionVersion": 0}
    made: Found | None = yield from node.read(read, "getTransaction", signature, wanted, limit=_WIDE)
    return made


def _keys(message: bytes) -> list[str]:
    """The accounts that stand in the message itself; those out of tables follow them."""
    start = 5 if message[:1] == b"\x80" else 4  # version, header, and how many there are, fewer than 128
    count = message[start - 1] if len(message) >= start else 0
    return [base58(message[at : at + 32]) for at in range(start, start + 32 * count, 32)]


def _moved(keys: list[str], before: Any, after: Any) -> tuple[Moved, ...]:
    at_first = {_whole(row["accountIndex"]): _balance(row) for row in before}
    rows = [(_whole(row["accountIndex"]), _balance(row)) for row in after]
    return tuple(Moved(owner, mint, at_first.get(index, ("", "", 0))[2], amount, keys[index] if index < len(keys) else "")
                 for index, (owner, mint, amount) in rows)  # fmt: skip


def _coins(keys: list[str], before: Any, after: Any) -> tuple[Moved, ...]:
    """Lamports of the accounts in the message; those out of tables are nobody's here."""
    return tuple(Moved(key, "", _whole(was), _whole(now), key) for key, was, now in zip(keys, before, after, strict=False))


def _balance(row: Any) -> tuple[str, str, int]:
    amount = row["uiTokenAmount"]["amount"]
    if not isinstance(amount, str) or not _AMOUNT(amount):
        raise ValueError("no amount")
    return _address(row.get("owner")), _address(row["mint"]), int(amount)


def status(node: Node, signature: str) -> Steps[Status | None]:
    """Where the transaction of this signature stands, None where the node knows none."""

    def read(answer: Any) -> Status | None:
        (row,) = answer["value"]
        if row is None:
            return None
        level, after = row.get("confirmationStatus"), row.get("confirmations")
        if level not in (PROCESSED, CONFIRMED, FINALIZED):
            raise ValueError("no status")
        depth = {PROCESSED: 0, FINALIZED: FINAL}.get(level, 1 + _whole(after or 0))
        return Status(depth)

    wanted = {"searchTransactionHistory": True}
    made: Status | None = yield from node.read(read, "getSignatureStatuses", [signature], wanted)
    return made


def send(node: Node, raw: str) -> Steps[None]:
    """Hand over a signed transaction, in base64. What the node says to it proves nothing; an error is one to show."""
    yield from node.ask("sendTransaction", raw, {"encoding": "base64", "preflightCommitment": CONFIRMED}, retries=0)


def priority(node: Node, *addresses: str) -> Steps[int]:
    """What others lately paid to write these accounts, in micro-lamports for a compute unit: three quarters paid no more."""

    def read(answer: Any) -> int:
        paid = sorted(_whole(row["prioritizationFee"]) for row in answer)
        return paid[len(paid) * 3 // 4] if paid else 0

    made: int = yield from node.read(read, "getRecentPrioritizationFees", list(addresses))
    return made


def balance(node: Node, asset: Asset, owner: str) -> Steps[int]:
    """Atomic units of a token in the owner's associated account, 0 where there is none; of SOL in his own."""
    if asset.native:
        return (yield from native(node, owner))
    program = program_of(asset)
    (account,) = yield from accounts(node, associated(owner, asset.address, program))
    try:
        holding = token_account(account) if account is not None and account.owner == program else None
    except ValueError:
        holding = None
    return holding.amount if holding is not None and (holding.mint, holding.owner) == (asset.address, owner) else 0


def native(node: Node, owner: str) -> Steps[int]:
    """Lamports of an account."""
    made: int = yield from node.read(lambda answer: _whole(answer["value"]), "getBalance", owner, {"commitment": CONFIRMED})
    return made


def tip(node: Node) -> Steps[tuple[int, int]]:
    """The newest confirmed block's height, and the time of its slot in unix seconds, 0 where the node does not know it."""
    slot, height = yield from node.read(
        lambda answer: (_whole(answer["absoluteSlot"]), _whole(answer["blockHeight"])), "getEpochInfo", {"commitment": CONFIRMED}
    )
    try:
        at: int = yield from node.read(_whole, "getBlockTime", slot)
    except NodeError:
        at = 0  # the newest slots may have none yet
    return height, at


def height(node: Node) -> Steps[int]:
    """The height of the newest confirmed block."""
    made: int = yield from node.read(_whole, "getBlockHeight", {"commitment": CONFIRMED})
    return made
