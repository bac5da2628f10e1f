"""What a node of TRON can tell us: permits used, allowances, balances, transactions, the solid block. Every answer is checked.

All are generators of steps and raise NodeError when no node gives an answer that fits. What is solid is final: two thirds of the
block makers have built on it. Sources: java-tron HTTP API (`wallet`, `walletsolidity`), TRC-20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..evm.reads import APPROVAL, TRANSFER, Log
from ..rpc import parsed
from .addresses import address_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...steps import Steps
    from .rpc import Node

__all__ = ["APPROVAL", "TRANSFER", "TXID", "Mined", "allowance", "balance", "exists", "head", "is_contract", "moved", "native", "number", "send_raw", "solid", "succeeded",
           "transaction", "used", "view", "word"]  # fmt: skip

TXID = re.compile(r"(?:0x)?([0-9a-fA-F]{64})").fullmatch
_WORD = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*").fullmatch
_LOGS = 256 * 1024


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block: `fee` in sun, burnt whether `ok` or not; addresses in its logs are 0x and lower case.

    `failed` is what the node says in so many words, which a success that lacks its words is not.
    """

    txid: str
    block: int
    ok: bool
    fee: int
    logs: tuple[Log, ...]
    failed: bool = False


def word(address: str) -> str:
    """An address as 32 bytes of hex, as calldata has it; raises ValueError."""
    return address_bytes(address).hex().rjust(64, "0")


def number(value: Any) -> int:
    """An int64 of a node's, not negative; raises ValueError."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("no number")
    return value


def _state(solid: bool) -> str:
    return "walletsolidity" if solid else "wallet"


def view(
    node: Node, owner: str, contract: str, function: str, parameter: str, convert: Callable[[Any], int | None] | None = None, *, solid: bool = False
) -> Steps[int]:
    """A call that changes nothing, whose answer is one word, or what `convert` makes of it; a revert or an error is no answer."""

    def read(found: Any) -> int:
        said = found["result"]
        (only,) = found["constant_result"]
        ran = found.get("transaction", {}).get("ret", [{}])[0].get("ret", "SUCESS")  # as java-tron spells it
        if said.get("result") is not True or "message" in said or ran not in ("SUCESS", "SUCCESS") or not _WORD(only):
            raise ValueError("no word")
        made = int(only, 16) if convert is None else convert(found)
        if made is None:
            raise ValueError("no answer")
        return made

    body = {"owner_address": owner, "contract_address": contract, "function_selector": function, "parameter": parameter,
            "visible": True}  # fmt: skip
    made: int = yield from node.read(read, f"{_state(solid)}/triggerconstantcontract", body)
    return made


def used(node: Node, contract: str, payer: str, nonce: str, *, solid: bool = False) -> Steps[bool]:
    """Whether PaymentPermit or Permit2 has seen this nonce (0x + 32 bytes hex) of the payer, in the newest or the solid state.

    Source: `nonceBitmap(address,uint256)`: one bit a nonce, 256 to the word.
    """
    place, bit = divmod(int(nonce, 16), 256)
    bits: int = yield from view(
        node, payer, contract, "nonceBitmap(address,uint256)", f"{word(payer)}{place:064x}", solid=solid
    )
    return bool(bits >> bit & 1)


def balance(node: Node, token: str, owner: str) -> Steps[int]:
    """TRC-20 balanceOf, in atomic units."""
    return (yield from view(node, owner, token, "balanceOf(address)", word(owner)))


def allowance(node: Node, token: str, owner: str, spender: str) -> Steps[int]:
    """TRC-20 allowance, in atomic units."""
    return (yield from view(node, owner, token, "allowance(address,address)", word(owner) + word(spender)))


def native(node: Node, owner: str) -> Steps[int]:
    """The balance in TRX, in sun; 0 for an account that does not exist yet."""
    found: int = yield from node.read(
        lambda account: number(account.get("balance", 0)), "wallet/getaccount", {"address": owner, "visible": True}
    )
    return found


def exists(node: Node, account: str) -> Steps[bool]:
    """Whether anybody has ever sent TRX to an account."""
    found: bool = yield from node.read(lambda told: bool(told), "wallet/getaccount", {"address": account, "visible": True})
    return found


def is_contract(node: Node, account: str) -> Steps[bool]:
    """Whether there is code at an address."""
    found: bool = yield from node.read(lambda told: bool(told), "wallet/getcontract", {"value": account, "visible": True})
    return found


def solid(node: Node, state: str = "walletsolidity") -> Steps[tuple[int, int]]:
    """Number and time (unix seconds) of the newest solid block, of the newest of all in the state `wallet`."""
    made: tuple[int, int] = yield from node.read(lambda content: _newest(content)[1:], f"{state}/getnowblock", {}, raw=True)
    return made[0], made[1] // 1000


def head(node: Node) -> Steps[tuple[bytes, int]]:
    """Id (32 bytes) and time (unix milliseconds) of the newest block."""

    def read(content: bytes) -> tuple[bytes, int]:
        name, height, stamp = _newest(content)
        raw = bytes.fromhex(name)
        if len(raw) != 32 or int.from_bytes(raw[:8]) != height:
            raise ValueError("no id of this block")
        return raw, stamp

    made: tuple[bytes, int] = yield from node.read(read, "wallet/getnowblock", {}, raw=True)
    return made


def _newest(content: bytes) -> tuple[str, int, int]:
    """Id, number and time of a block; of one that is longer than an answer may be what stands before its transactions is read."""
    start, cut, _ = content.partition(b'"transactions"')
    told = parsed(start.rstrip(b" ,\n") + b"}" if cut else content)
    found = told["block_header"]["raw_data"]
    return str(told.get("blockID")), number(found["number"]), number(found["timestamp"])


def send_raw(node: Node, wire: str) -> Steps[None]:
    """Hand over a whole transaction, in hex. What is answered proves nothing, so none of it is read (C5); NodeError for no answer."""
    yield from node.ask("wallet/broadcasthex", {"transaction": wire}, retries=0)


def succeeded(node: Node, txid: str, raw: bytes, *, solid: bool = False) -> Steps[bool]:
    """Whether a transaction in a block has exactly these bytes as its `raw_data` and did what it says: TRX leaves no log."""

    def read(found: Any) -> bool:
        (told,) = found["ret"]
        return (str(found["txID"]).lower(), str(found["raw_data_hex"]).lower(), told["contractRet"]) == (txid, raw.hex(), "SUCCESS")

    made: bool = yield from node.read(read, f"{_state(solid)}/gettransactionbyid", {"value": txid})
    return made


def transaction(node: Node, txid: str, *, solid: bool = False) -> Steps[Mined | None]:
    """What became of a transaction, None while it is in no block, or in no solid one."""

    def mined(found: Any) -> Mined | None:
        if found == {}:
            return None
        if str(found["id"]).lower() != txid:
            raise ValueError("another transaction")
        told, ran = found.get("result", "SUCESS"), found["receipt"].get("result")  # which a transfer of TRX has none of
        ok = told in ("SUCESS", "SUCCESS") and ran == "SUCCESS"
        failed = told == "FAILED" and ran not in (None, "SUCCESS", "DEFAULT")
        logs = tuple(map(_log, found.get("log", [])))
        return Mined(txid, number(found["blockNumber"]), ok, number(found.get("fee", 0)), logs, failed)

    made: Mined | None = yield from node.read(mined, f"{_state(solid)}/gettransactioninfobyid", {"value": txid}, limit=_LOGS)
    return made


def _log(found: Any) -> Log:
    topics = found.get("topics") or []
    address, data = found["address"], found.get("data") or ""
    if not all(map(_WORD, topics)) or len(address) != 40 or not _HEX(address) or not _HEX(data):
        raise ValueError("no log")
    return Log("0x" + address.lower(), tuple("0x" + topic.lower() for topic in topics), bytes.fromhex(data))


def moved(mined: Mined, token: str, sender: str, to: str, event: str = TRANSFER) -> list[int]:
    """The value of each Transfer of a token from one account to another (or of each Approval), in atomic units.

    The logs decide, not what `transfer` returned: USDT's returns false where it has moved the money.
    """
    topics = (event, "0x" + word(sender), "0x" + word(to))
    where = "0x" + address_bytes(token).hex()
    return [int.from_bytes(log.data) for log in mined.logs
            if log.address == where and log.topics == topics and len(log.data) == 32]  # fmt: skip
