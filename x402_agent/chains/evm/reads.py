"""What a node can tell us: balances, allowances, nonces, fees, receipts, logs. Every answer is checked for its shape.

All are generators of steps and raise NodeError when no node gives an answer that fits. Sources: the Ethereum
JSON-RPC specification (execution-apis), ERC-20, EIP-1559, EIP-3009.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import NodeError
from .eip3009 import address_bytes
from .rpc import data, quantity

if TYPE_CHECKING:
    from ...steps import Steps
    from .rpc import Node

__all__ = [
    "APPROVAL",
    "TRANSFER",
    "TXID",
    "Fees",
    "Log",
    "Mined",
    "Transfer",
    "allowance",
    "authorization_state",
    "balance",
    "called",
    "code",
    "estimate",
    "fees",
    "final",
    "head",
    "height",
    "is_account",
    "native",
    "nonce",
    "permit2_nonce",
    "receipt",
    "send_raw",
    "sent",
    "settled",
    "transfer_logs",
]

TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"  # Transfer(address,address,uint256)
APPROVAL = "0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"  # Approval(address,address,uint256)
TXID = re.compile(r"0x[0-9a-fA-F]{64}").fullmatch
_LOGS = 256 * 1024
_DELEGATED = bytes.fromhex("ef0100")
_TIME = re.compile(rb'"timestamp"\s*:\s*"0x([0-9a-fA-F]{1,16})"').findall
_NUMBER = re.compile(rb'"number"\s*:\s*"(0x[0-9a-fA-F]{1,16})"').findall


class Fees(NamedTuple):
    """Wei per unit of gas: `max_fee` at most, of which `tip` to the block's maker; `tip` None: a legacy gas price."""

    max_fee: int
    tip: int | None


class Log(NamedTuple):
    """One event of a contract: addresses in lower case, topics as 0x + 64 hex digits in lower case."""

    address: str
    topics: tuple[str, ...]
    data: bytes


class Transfer(NamedTuple):
    """One ERC-20 Transfer: `value` in atomic units, addresses in lower case, `block` its number."""

    transaction: str
    block: int
    sender: str
    to: str
    value: int


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction's receipt. `fee` in wei, the fee for a rollup's data included; `ok` False when it reverted."""

    transaction: str
    block: int
    ok: bool
    fee: int
    logs: tuple[Log, ...]


def _word(address: str) -> str:
    return address_bytes(address).hex().rjust(64, "0")


def _word_of(value: object) -> int:
    return int.from_bytes(data(value, 32))


def _call(node: Node, to: str, call: str, block: str = "latest") -> Steps[int]:
    found: int = yield from node.read(_word_of, "eth_call", {"to": to, "data": call}, block)
    return found


def balance(node: Node, token: str, owner: str) -> Steps[int]:
    """ERC-20 balanceOf, in atomic units."""
    return (yield from _call(node, token, "0x70a08231" + _word(owner)))


def allowance(node: Node, token: str, owner: str, spender: str) -> Steps[int]:
    """ERC-20 allowance, in atomic units."""
    return (yield from _call(node, token, "0xdd62ed3e" + _word(owner) + _word(spender)))


def authorization_state(node: Node, token: str, payer: str, used: str, block: str = "latest") -> Steps[bool]:
    """Whether an EIP-3009 nonce (0x + 32 bytes hex) is used or cancelled at a block."""
    word: int = yield from _call(node, token, "0xe94a0102" + _word(payer) + used[2:], block)
    if word > 1:
        raise NodeError(f"{node!r} gave no truth value", rule="EIP-3009 authorizationState", hint="name another node: X402_AGENT_NODES")
    return word == 1


def permit2_nonce(node: Node, contract: str, payer: str, used: str, block: str = "latest") -> Steps[bool]:
    """Whether Permit2 (its address is `contract`) has seen this nonce (0x + 32 bytes hex) at a block.

    Source: Permit2 `SignatureTransfer.nonceBitmap`: one bit a nonce, 256 to the word.
    """
    word, bit = divmod(int(used, 16), 256)
    bits: int = yield from _call(node, contract, f"0x4fe02b44{_word(payer)}{word:064x}", block)
    return bool(bits >> bit & 1)


def native(node: Node, owner: str) -> Steps[int]:
    """The balance in the network's own coin, in wei."""
    found: int = yield from node.read(quantity, "eth_getBalance", owner, "latest")
    return found


def nonce(node: Node, owner: str, block: str = "pending") -> Steps[int]:
    """How many transactions this account has sent: the next account nonce."""
    found: int = yield from node.read(quantity, "eth_getTransactionCount", owner, block)
    return found


def height(node: Node) -> Steps[int]:
    """The number of the newest block."""
    found: int = yield from node.read(quantity, "eth_blockNumber")
    return found


def code(node: Node, address: str) -> Steps[bool]:
    """Whether there is a contract at this address."""
    found: bytes = yield from node.read(data, "eth_getCode", address, "latest")
    return bool(found)


def fees(node: Node) -> Steps[Fees]:
    """What a block takes now: twice the base fee and a median tip (EIP-1559), else the legacy gas price."""

    def modern(found: Any) -> Fees:
        base = quantity(found["baseFeePerGas"][-1])
        tips = sorted(quantity(each[0]) for each in found.get("reward") or () if each)
        tip = (tips[len(tips) // 2] if tips else 0) or base // 20  # empty blocks show none, and none would wait for ever
        return Fees(2 * base + tip, tip)

    try:
        made: Fees = yield from node.read(modern, "eth_feeHistory", "0x5", "latest", [50])
    except NodeError:
        price: int = yield from node.read(quantity, "eth_gasPrice")
        return Fees(price, None)
    return made


def is_account(node: Node, address: str) -> Steps[bool]:
    """Whether no contract's code answers for this address: none, or that of an account with a key (EIP-7702: 0xef0100 and an address)."""
    found: bytes = yield from node.read(data, "eth_getCode", address, "latest")
    return not found or (len(found) == 23 and found[:3] == _DELEGATED)


def estimate(node: Node, sender: str, to: str, call: bytes, value: int = 0) -> Steps[int]:
    """The gas that a call with `value` wei would use now; raises NodeError with the node's words when it would revert."""
    what = {"from": sender, "to": to, "data": "0x" + call.hex(), **({"value": hex(value)} if value else {})}
    found: int = yield from node.read(quantity, "eth_estimateGas", what)
    return found


def send_raw(node: Node, raw: bytes) -> Steps[None]:
    """Broadcast signed bytes. Raises NodeError, which proves nothing: they may be in the mempool all the same (C5)."""
    yield from node.ask("eth_sendRawTransaction", "0x" + raw.hex(), retries=0)


def receipt(node: Node, txid: str) -> Steps[Mined | None]:
    """The receipt of a transaction, None while it is in no block."""

    def mined(found: Any) -> Mined | None:
        if found is None:
            return None
        status, used = quantity(found["status"]), quantity(found["gasUsed"])
        if str(found["transactionHash"]).lower() != txid.lower() or status > 1:
            raise ValueError("another receipt")
        fee = used * quantity(found.get("effectiveGasPrice", "0x0")) + quantity(found.get("l1Fee") or "0x0")
        return Mined(txid, quantity(found["blockNumber"]), status == 1, fee, tuple(map(_log, found["logs"])))

    made: Mined | None = yield from node.read(mined, "eth_getTransactionReceipt", txid)
    return made


def settled(node: Node, txid: str) -> Steps[tuple[Mined, str] | None]:
    """The receipt of a transaction that succeeded at or below the finalised block, and that block's number as hex text.

    None while it is not so, or not known to be (V9). Raises NodeError.
    """
    mined = yield from receipt(node, txid)
    block = yield from final(node)
    if mined is None or not mined.ok or block is None or mined.block > int(block[0], 16):
        return None
    return mined, block[0]


def called(node: Node, txid: str) -> Steps[tuple[str, bytes]]:
    """Whom a transaction called, in lower case ("" when it made a contract), and with which bytes. Raises NodeError."""

    def sent(found: Any) -> tuple[str, bytes]:
        if str(found["hash"]).lower() != txid.lower():
            raise ValueError("another transaction")
        return "" if found["to"] is None else "0x" + data(found["to"], 20).hex(), data(found["input"])

    made: tuple[str, bytes] = yield from node.read(sent, "eth_getTransactionByHash", txid)
    return made


def sent(node: Node, txid: str) -> Steps[tuple[str, int, str, int, bytes]]:
    """Who sent a transaction under which account nonce, whom it called, with how many wei and which bytes; addresses in lower
    case. Raises NodeError."""  # fmt: skip

    def read(found: Any) -> tuple[str, int, str, int, bytes]:
        if str(found["hash"]).lower() != txid.lower():
            raise ValueError("another transaction")
        to = "" if found["to"] is None else "0x" + data(found["to"], 20).hex()
        return "0x" + data(found["from"], 20).hex(), quantity(found["nonce"]), to, quantity(found["value"]), data(found["input"])

    made: tuple[str, int, str, int, bytes] = yield from node.read(read, "eth_getTransactionByHash", txid)
    return made


def _log(found: Any) -> Log:
    topics = tuple("0x" + data(topic, 32).hex() for topic in found["topics"])
    return Log("0x" + data(found["address"], 20).hex(), topics, data(found["data"]))


def transfer_logs(
    node: Node, token: str, *, sender: str = "", to: str = "", first: int, last: int | str = "latest"
) -> Steps[list[Transfer]]:
    """ERC-20 Transfers of a token from `sender` and to `to` ("" is anybody) in blocks `first` to `last`.

    Raises NodeError too when there are more than fit into 256 KiB: ask for fewer blocks.
    """
    topics = [TRANSFER, "0x" + _word(sender) if sender else None, "0x" + _word(to) if to else None]
    end = last if isinstance(last, str) else hex(last)
    where = {"address": token, "topics": topics, "fromBlock": hex(first), "toBlock": end}
    found: list[Transfer] = yield from node.read(
        lambda logs: [_transfer(each, token, topics) for each in logs], "eth_getLogs", where, limit=_LOGS
    )
    return found


def _transfer(found: Any, token: str, wanted: list[str | None]) -> Transfer:
    log = _log(found)
    if log.address != token.lower() or len(log.topics) != 3 or len(log.data) != 32 or found.get("removed"):
        raise ValueError("no Transfer of this token")
    if any(topic is not None and topic != have for topic, have in zip(wanted, log.topics, strict=True)):
        raise ValueError("a Transfer that was not asked for")
    txid = "0x" + data(found["transactionHash"], 32).hex()
    sender, to = ("0x" + topic[-40:] for topic in log.topics[1:])
    return Transfer(txid, quantity(found["blockNumber"]), sender, to, int.from_bytes(log.data))


def final(node: Node) -> Steps[tuple[str, int] | None]:
    """Number (hex text) and time (unix seconds) of the finalised block, None when a node does not say."""
    try:
        return (yield from head(node, "finalized"))
    except NodeError:
        return None


def head(node: Node, block: str) -> Steps[tuple[str, int] | None]:
    """Number (hex text) and time (unix seconds) of the block of this name, None for an answer without them. Raises NodeError.

    Read by pattern, not as JSON: a busy block's list of transactions can be longer than an answer may be.
    """
    content: bytes = yield from node.ask("eth_getBlockByNumber", block, False, raw=True)
    times, numbers = set(_TIME(content)), set(_NUMBER(content))
    if len(times) != 1 or len(numbers) != 1:
        return None
    number: bytes = numbers.pop()
    return number.decode("ascii"), int(times.pop(), 16)
