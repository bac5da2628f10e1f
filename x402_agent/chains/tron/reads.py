"""What a node of TRON can tell us: permits used, allowances, balances, transactions, the solid block. Every answer is checked.

All are generators of steps and raise NodeError when no node gives an answer that fits. What is solid is final: two thirds of the
block makers have built on it. Sources: java-tron HTTP API (`wallet`, `walletsolidity`), TRC-20.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..evm.reads import TRANSFER, Log
from ..rpc import parsed
from .addresses import address_bytes

if TYPE_CHECKING:
    from ...steps import Steps
    from .rpc import Node

__all__ = ["TXID", "Mined", "allowance", "balance", "moved", "native", "solid", "transaction", "used"]

TXID = re.compile(r"(?:0x)?([0-9a-fA-F]{64})").fullmatch
_WORD = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})*").fullmatch
_LOGS = 256 * 1024


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in a block: `fee` in sun, burnt whether `ok` or not; addresses in its logs are 0x and lower case."""

    txid: str
    block: int
    ok: bool
    fee: int
    logs: tuple[Log, ...]


def _word(address: str) -> str:
    return address_bytes(address).hex().rjust(64, "0")


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("no number")
    return value


def _view(node: Node, owner: str, contract: str, function: str, parameter: str, *, solid: bool = False) -> Steps[int]:
    """A call that changes nothing, whose answer is one word; a revert or an error is no answer."""

    def word(found: Any) -> int:
        said = found["result"]
        (only,) = found["constant_result"]
        ran = found.get("transaction", {}).get("ret", [{}])[0].get("ret", "SUCESS")  # as java-tron spells it
        if said.get("result") is not True or "message" in said or ran not in ("SUCESS", "SUCCESS") or not _WORD(only):
            raise ValueError("no word")
        return int(only, 16)

    where = "walletsolidity" if solid else "wallet"
    body = {"owner_address": owner, "contract_address": contract, "function_selector": function, "parameter": parameter,
            "visible": True}  # fmt: skip
    made: int = yield from node.read(word, f"{where}/triggerconstantcontract", body)
    return made


def used(node: Node, contract: str, payer: str, nonce: str, *, solid: bool = False) -> Steps[bool]:
    """Whether PaymentPermit or Permit2 has seen this nonce (0x + 32 bytes hex) of the payer, in the newest or the solid state.

    Source: `nonceBitmap(address,uint256)`: one bit a nonce, 256 to the word.
    """
    word, bit = divmod(int(nonce, 16), 256)
    bits: int = yield from _view(
        node, payer, contract, "nonceBitmap(address,uint256)", f"{_word(payer)}{word:064x}", solid=solid
    )
    return bool(bits >> bit & 1)


def balance(node: Node, token: str, owner: str) -> Steps[int]:
    """TRC-20 balanceOf, in atomic units."""
    return (yield from _view(node, owner, token, "balanceOf(address)", _word(owner)))


def allowance(node: Node, token: str, owner: str, spender: str) -> Steps[int]:
    """TRC-20 allowance, in atomic units."""
    return (yield from _view(node, owner, token, "allowance(address,address)", _word(owner) + _word(spender)))


def native(node: Node, owner: str) -> Steps[int]:
    """The balance in TRX, in sun; 0 for an account that does not exist yet."""
    found: int = yield from node.read(
        lambda account: _number(account.get("balance", 0)), "wallet/getaccount", {"address": owner, "visible": True}
    )
    return found


def solid(node: Node, state: str = "walletsolidity") -> Steps[tuple[int, int]]:
    """Number and time (unix seconds) of the newest solid block, of the newest of all in the state `wallet`.

    A busy block can be longer than an answer may be: then what stands before its transactions is read.
    """

    def head(content: bytes) -> tuple[int, int]:
        start, cut, _ = content.partition(b'"transactions"')
        found = parsed(start.rstrip(b" ,\n") + b"}" if cut else content)["block_header"]["raw_data"]
        return _number(found["number"]), _number(found["timestamp"]) // 1000

    made: tuple[int, int] = yield from node.read(head, f"{state}/getnowblock", {}, raw=True)
    return made


def transaction(node: Node, txid: str, *, solid: bool = False) -> Steps[Mined | None]:
    """What became of a transaction, None while it is in no block, or in no solid one."""

    def mined(found: Any) -> Mined | None:
        if found == {}:
            return None
        if str(found["id"]).lower() != txid:
            raise ValueError("another transaction")
        ok = found.get("result", "SUCESS") in ("SUCESS", "SUCCESS") and found["receipt"].get("result") == "SUCCESS"
        logs = tuple(map(_log, found.get("log", [])))
        return Mined(txid, _number(found["blockNumber"]), ok, _number(found.get("fee", 0)), logs)

    where = "walletsolidity" if solid else "wallet"
    made: Mined | None = yield from node.read(mined, f"{where}/gettransactioninfobyid", {"value": txid}, limit=_LOGS)
    return made


def _log(found: Any) -> Log:
    topics = found.get("topics") or []
    address, data = found["address"], found.get("data") or ""
    if not all(map(_WORD, topics)) or len(address) != 40 or not _HEX(address) or not _HEX(data):
        raise ValueError("no log")
    return Log("0x" + address.lower(), tuple("0x" + topic.lower() for topic in topics), bytes.fromhex(data))


def moved(mined: Mined, token: str, sender: str, to: str) -> list[int]:
    """The value of each Transfer of a token from one account to another, in atomic units.

    The logs decide, not what `transfer` returned: USDT's returns false where it has moved the money.
    """
    topics = (TRANSFER, "0x" + _word(sender), "0x" + _word(to))
    where = "0x" + address_bytes(token).hex()
    return [int.from_bytes(log.data) for log in mined.logs
            if log.address == where and log.topics == topics and len(log.data) == 32]  # fmt: skip
