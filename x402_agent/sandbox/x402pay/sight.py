"""Whether a transaction paid for a piece of content, read from the ground's node as any seller would read it.

Sources: hirosystems/stacks-blockchain-api (`/extended/v1/tx`), SIP-010, the two published forms of `revenue-split`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...chains.stacks import Reader
from ..messages import Request

if TYPE_CHECKING:
    from ...chains.stacks import Value
    from ...model import Asset
    from ..stacks.ground import StacksGround
    from .quirks import Quirks

__all__ = ["MAX_AGE", "PAY", "Seen", "Sight", "Unpaid", "Wanted"]

PAY = "pay-for-content"
MAX_AGE = 7 * 86_400  # seconds: what was sent before buys nothing
_HASH = re.compile(r"0x[0-9a-fA-F]{64}").fullmatch


class Unpaid(Exception):
    """Why a transaction is no payment. `pending`: it may become one; `status` as the node says it, `code` as the API does."""

    def __init__(self, words: str, code: str = "PAYMENT_INVALID", status: str = "", *, missing: bool = False) -> None:
        super().__init__(words)
        self.code, self.status, self.missing = code, status, missing

    @property
    def pending(self) -> bool:
        """Whether it may still become a payment."""
        return self.code == "PAYMENT_PENDING"


class Wanted(NamedTuple):
    """What must be paid for a piece of content: `amount` in the chain's smallest unit; `contract` is "" for a plain transfer."""

    content: str
    amount: int
    asset: Asset
    recipient: str
    contract: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A payment: `moved` is what reached the creator, the platform and both, `memo` what a plain transfer carried."""

    tx: str
    sender: str
    amount: int
    creator: int
    platform: int
    block: int
    memo: str = ""


class Sight:
    """Reads one ground."""

    def __init__(self, ground: StacksGround) -> None:
        self._ground = ground

    def _node(self, path: str) -> tuple[int, Any]:
        answer = self._ground.answer(Request("GET", "", self._ground.node_path + path))
        return (answer.status, json.loads(b"".join(answer.chunks))) if answer else (404, {})

    def find(self, tx: str, quirks: Quirks) -> dict[str, Any]:
        """A transaction that was mined and did what it was to do, deep enough and not too old; raises Unpaid."""
        if not _HASH(tx):
            raise Unpaid("txId is 0x and 64 hex digits", "INVALID_TX_ID")
        status, found = self._node(f"/extended/v1/tx/{tx.lower()}")
        if status != 200:
            raise Unpaid("Transaction not found on Stacks", "TRANSACTION_NOT_FOUND", missing=True)
        told = found["tx_status"]
        if told == "pending":
            raise Unpaid("Transaction is pending", "PAYMENT_PENDING", told)
        if told != "success":
            raise Unpaid(f"Transaction not successful: {told}", "TRANSACTION_FAILED", told)
        deep = self._node("/v2/info")[1]["stacks_tip_height"] - found["block_height"]
        if not found["canonical"] or deep < quirks.confirmations:
            raise Unpaid(f"Transaction is pending: {deep} of {quirks.confirmations} confirmations", "PAYMENT_PENDING", "pending")
        if self._ground.now() - found["block_time"] > MAX_AGE:
            raise Unpaid("Transaction is older than 7 days", "TRANSACTION_TOO_OLD", told)
        view: dict[str, Any] = found
        return view

    def paid(self, view: dict[str, Any], wanted: Wanted) -> Seen:
        """The payment in a transaction that was found; raises Unpaid."""
        moves = _moves(view)
        if wanted.contract:
            self._called(view, wanted)
            shares = [wanted.amount * percent // 100 for percent in (80, 20)]
            whom = [wanted.recipient, self._ground.facilitator.address]
        else:
            _sent(view, wanted)
            shares, whom = [wanted.amount, 0], [wanted.recipient, ""]
        kind = "STX" if wanted.asset.native else f"{wanted.asset.address}::{wanted.asset.detail}"
        got = [sum(units for asset, to, units in moves if (asset, to) == (kind, each)) for each in whom]
        if any(units < share for units, share in zip(got, shares, strict=True)):
            raise Unpaid(f"Amount insufficient: {sum(got)} moved, {wanted.amount} wanted", "AMOUNT_INSUFFICIENT", "success")
        memo = bytes.fromhex(view.get("token_transfer", {}).get("memo", "0x")[2:]).rstrip(b"\0").decode("latin-1")
        return Seen(view["tx_id"], view["sender_address"], max(wanted.amount, sum(got)), got[0], got[1], view["block_height"], memo)

    def anything(self, view: dict[str, Any], wanted: Wanted) -> Seen:
        """The same where nothing is compared: as the deployed gateway does."""
        return Seen(view["tx_id"], view["sender_address"], wanted.amount, wanted.amount, 0, view["block_height"])

    def _called(self, view: dict[str, Any], wanted: Wanted) -> None:
        call = view.get("contract_call", {})
        if call.get("contract_id") != wanted.contract:
            raise Unpaid("Wrong contract called", "WRONG_CONTRACT", "success")
        if call["function_name"] != PAY:
            raise Unpaid("Wrong contract function called", "WRONG_FUNCTION", "success")
        given = [_value(each["hex"]).value for each in call["function_args"]]
        if given[0] != wanted.content:
            raise Unpaid("Paid for other content", "WRONG_CONTENT", "success")
        if given[1] < wanted.amount or given[2:3] not in ([], [wanted.asset.symbol]):
            raise Unpaid(f"Amount insufficient: {given[1]} of {wanted.amount}", "AMOUNT_INSUFFICIENT", "success")


def _sent(view: dict[str, Any], wanted: Wanted) -> None:
    """A plain transfer of the right asset, whoever got it."""
    call = view.get("contract_call", {})
    right = view["tx_type"] == "token_transfer" if wanted.asset.native else (call.get("contract_id"), call.get("function_name")) == (wanted.asset.address, "transfer")
    if not right:
        raise Unpaid(f"Not a plain transfer of {wanted.asset.symbol}", "WRONG_ASSET", "success")


def _moves(view: dict[str, Any]) -> list[tuple[str, str, int]]:
    """What left the sender: asset, recipient, amount."""
    found = [each["asset"] for each in view["events"]]
    return [(each.get("asset_id", "STX"), each["recipient"], int(each["amount"])) for each in found if each["sender"] == view["sender_address"]]


def _value(text: str) -> Value:
    return Reader(bytes.fromhex(text[2:])).value()


