"""A JSON-RPC node over the pretend chain: enough that wallets, web3 libraries and facilitators work with it unchanged.

It answers for the newest state, whatever block is named: what was true of a used nonce stays true. Errors speak as
go-ethereum does. Source: Ethereum's JSON-RPC specification (execution-apis).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..primitives import checksum
from .envelopes import Malformed
from .evm import CHAIN_ID, GENESIS
from .jsonrpc import Wrong, answered
from .machines import GAS_LIMIT, intrinsic
from .pool import BASE_FEE, TIP, Rejected
from .reverts import revert_reason
from .token import raw_address
from .views import block_view, log_views, receipt_view, transaction_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from .evm import Block, Chain
    from .machines import Ran

__all__ = ["answer_rpc"]

RANGE = 100_000  # blocks that one eth_getLogs may look through
HISTORY = 1024
_TAGS = ("latest", "finalized", "safe", "pending")
_REVERT = bytes.fromhex("08c379a0")
_HALTS = {
    "OutOfGas": "out of gas",
    "InvalidFEOpcode": "invalid opcode: INVALID",
    "InvalidInstruction": "invalid opcode",
}


def answer_rpc(chain: Chain, body: object) -> object:
    """The answer to one JSON-RPC 2.0 call or a batch of them."""
    return answered(body, {name: partial(_guarded, method, chain) for name, method in _METHODS.items()})


def _guarded(method: Callable[[Chain, list[Any]], object], chain: Chain, params: list[Any]) -> object:
    try:
        return method(chain, params)
    except (Rejected, Malformed) as refused:
        raise Wrong(-32000, str(refused)) from None


# -- arguments ---------------------------------------------------------------------------------------------------------


def _quantity(value: object) -> int:
    if not isinstance(value, str) or not value.startswith("0x") or not value[2:].isalnum():
        raise ValueError("a quantity is 0x and hex digits")
    return int(value, 16)


def _data(value: object) -> bytes:
    if not isinstance(value, str) or not value.startswith("0x"):
        raise ValueError("data is 0x and hex digits")
    return bytes.fromhex(value[2:])


def _find(chain: Chain, which: object) -> Block | None:
    """A block by tag, number or hash (EIP-1898). Every block is final: this chain never reorganises."""
    if isinstance(which, dict):
        return _named(chain, which["blockHash"]) if "blockHash" in which else _find(chain, which["blockNumber"])
    if which in _TAGS:
        return chain.head()
    return chain.block(GENESIS if which == "earliest" else _quantity(which))


def _named(chain: Chain, name: object) -> Block | None:
    if not isinstance(name, str) or len(_data(name)) != 32:
        raise ValueError("a block hash is 32 bytes")
    return chain.block_named(name)


def _state(chain: Chain, params: list[Any], index: int) -> None:
    """Check the block whose state is asked for: it exists. Left out, it is the newest."""
    if len(params) > index and params[index] is not None and _find(chain, params[index]) is None:
        raise Wrong(-32000, "header not found")


# -- state and calls ---------------------------------------------------------------------------------------------------


def _code(chain: Chain, params: list[Any]) -> str:
    _state(chain, params, 1)
    return "0x" + chain.code(raw_address(params[0])).hex()


def _storage(chain: Chain, params: list[Any]) -> str:
    _state(chain, params, 2)
    return f"0x{chain.storage(raw_address(params[0]), _quantity(params[1])):064x}"


def _balance(chain: Chain, params: list[Any]) -> str:
    _state(chain, params, 1)
    return hex(chain.wei(raw_address(params[0])))


def _count(chain: Chain, params: list[Any]) -> str:
    _state(chain, params, 1)
    address = checksum("0x" + raw_address(params[0]).hex())
    return hex(chain.nonce(address, pending=params[1:2] == ["pending"]))


def _run(chain: Chain, call: dict[str, Any], gas: int) -> Ran:
    """Run the call of eth_call and eth_estimateGas; refusals that never reach the code are raised."""
    sent = call.get("input", call.get("data"))
    data = _data(sent) if sent is not None else b""
    caller = raw_address(call["from"]) if call.get("from") else bytes(20)
    value = _quantity(call.get("value") or "0x0")
    if not call.get("to"):
        raise Wrong(-32000, "contract creation is not supported by the sandbox")
    if chain.wei(caller) < value:
        raise Wrong(-32000, f"insufficient funds for transfer: address {checksum('0x' + caller.hex())}")
    if gas < intrinsic(data):
        raise Wrong(-32000, f"intrinsic gas too low: have {gas}, want {intrinsic(data)}")
    return chain.call(raw_address(call["to"]), data, caller, value=value, gas=gas)


def _failed(ran: Ran) -> Wrong:
    if ran.halt:
        return Wrong(-32000, _HALTS.get(ran.halt, ran.halt))
    words = f": {revert_reason(ran.output)}" if ran.output[:4] == _REVERT else ""
    return Wrong(3, f"execution reverted{words}", "0x" + ran.output.hex())


def _call(chain: Chain, params: list[Any]) -> str:
    _state(chain, params, 1)
    if any(params[2:]):
        raise Wrong(-32602, "state overrides are not supported by the sandbox")
    call = params[0]
    ran = _run(chain, call, min(_quantity(call["gas"]), GAS_LIMIT) if call.get("gas") else GAS_LIMIT)
    if not ran.ok:
        raise _failed(ran)
    return "0x" + ran.output.hex()


def _estimate(chain: Chain, params: list[Any]) -> str:
    """Gas with which the call goes through: what it used, and as much more as it had to hold in hand."""
    _state(chain, params, 1)
    call = params[0]
    most = min(_quantity(call["gas"]), GAS_LIMIT) if call.get("gas") else GAS_LIMIT
    fee = _quantity(call.get("maxFeePerGas") or call.get("gasPrice") or "0x0")
    if fee:
        owned = chain.wei(raw_address(call["from"])) - _quantity(call.get("value") or "0x0")
        most = min(most, max(0, owned) // fee)
    ran = _run(chain, call, most)
    if not ran.ok:
        raise Wrong(-32000, f"gas required exceeds allowance ({most})") if ran.halt == "OutOfGas" else _failed(ran)
    gas = ran.gas + ran.refund
    while gas < most and not _run(chain, call, gas).ok:
        gas = gas * 65 // 64 + 1
    return hex(min(gas, most))


# -- fees --------------------------------------------------------------------------------------------------------------


def _history(chain: Chain, params: list[Any]) -> dict[str, Any]:
    count = _quantity(params[0]) if isinstance(params[0], str) else int(params[0])
    newest = _find(chain, params[1])
    if newest is None:
        raise Wrong(-32000, "request beyond head block")
    count = max(0, min(count, HISTORY, newest.number - GENESIS + 1))
    blocks = [chain.block(newest.number - i) for i in reversed(range(count))]
    used = [[mined for tx in each.transactions if (mined := chain.transaction(tx))] for each in blocks if each]
    found: dict[str, Any] = {
        "oldestBlock": hex(newest.number - count + 1 if count else 0),
        "baseFeePerGas": [hex(BASE_FEE)] * (count + 1 if count else 0),
        "gasUsedRatio": [sum(each.gas for each in mined) / GAS_LIMIT for mined in used],
    }
    if len(params) > 2 and params[2]:
        tips = [max((each.price - BASE_FEE for each in mined), default=0) for mined in used]
        found["reward"] = [[hex(max(tip, 0))] * len(params[2]) for tip in tips]
    return found


# -- blocks, transactions, logs ----------------------------------------------------------------------------------------


def _transaction(chain: Chain, params: list[Any]) -> dict[str, Any] | None:
    tx = str(params[0])
    mined = chain.transaction(tx)
    envelope = chain.envelope(tx)
    return transaction_view(chain, envelope, mined) if envelope else None


def _receipt(chain: Chain, params: list[Any]) -> dict[str, Any] | None:
    found = chain.transaction(str(params[0]))
    return receipt_view(chain, found) if found else None


def _receipts(chain: Chain, params: list[Any]) -> list[dict[str, Any]] | None:
    block = _find(chain, params[0])
    mined = [found for tx in block.transactions if (found := chain.transaction(tx))] if block else []
    return [receipt_view(chain, each) for each in mined] if block else None


def _logs(chain: Chain, params: list[Any]) -> list[dict[str, Any]]:
    wanted = params[0]
    if "blockHash" in wanted:
        if "fromBlock" in wanted or "toBlock" in wanted:
            raise Wrong(-32602, "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
        named = _named(chain, wanted["blockHash"])
        if named is None:
            raise Wrong(-32000, "unknown block")
        first = last = named.number
    else:
        head = chain.head()
        first, last = ((_find(chain, wanted.get(side) or "latest") or head).number for side in ("fromBlock", "toBlock"))
        if _beyond(wanted, head) or first > last:
            raise Wrong(-32000, "invalid block range params")
    if last - first >= RANGE:
        raise Wrong(-32005, f"query exceeds the range of {RANGE} blocks")
    fits = _filter(wanted)
    blocks = (chain.block(number) for number in range(first, last + 1))
    mined = (chain.transaction(tx) for block in blocks if block for tx in block.transactions)
    return [view for each in mined if each for view in log_views(chain, each) if fits(view)]


def _beyond(wanted: dict[str, Any], head: Block) -> bool:
    first = wanted.get("fromBlock") or "latest"
    return first not in (*_TAGS, "earliest") and _quantity(first) > head.number


def _filter(wanted: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """Which logs are wanted: one of the addresses, and at each place one of the topics; null is any."""
    given = wanted.get("address") or []
    addresses = {"0x" + raw_address(each).hex() for each in ([given] if isinstance(given, str) else given)}
    places = [each if isinstance(each, list) else [each] for each in wanted.get("topics") or []]
    if len(places) > 4:
        raise Wrong(-32602, "exceed max topics")
    topics = [{None if topic is None else "0x" + _data(topic).hex() for topic in each} for each in places]

    def fits(log: dict[str, Any]) -> bool:
        if (addresses and log["address"] not in addresses) or len(topics) > len(log["topics"]):
            return False
        return all(
            not each or None in each or found in each for each, found in zip(topics, log["topics"], strict=False)
        )

    return fits


_METHODS: dict[str, Callable[[Chain, list[Any]], object]] = {
    "web3_clientVersion": lambda chain, _: f"x402_agent-sandbox/{chain.backend}",
    "net_version": lambda *_: str(CHAIN_ID),
    "net_listening": lambda *_: True,
    "eth_chainId": lambda *_: hex(CHAIN_ID),
    "eth_syncing": lambda *_: False,
    "eth_accounts": lambda *_: [],
    "eth_blockNumber": lambda chain, _: hex(chain.head().number),
    "eth_getBlockByNumber": lambda chain, p: block_view(chain, _find(chain, p[0]), full=bool(p[1:2] == [True])),
    "eth_getBlockByHash": lambda chain, p: block_view(chain, _named(chain, p[0]), full=bool(p[1:2] == [True])),
    "eth_getCode": _code,
    "eth_getStorageAt": _storage,
    "eth_getBalance": _balance,
    "eth_getTransactionCount": _count,
    "eth_call": _call,
    "eth_estimateGas": _estimate,
    "eth_gasPrice": lambda *_: hex(BASE_FEE + TIP),
    "eth_maxPriorityFeePerGas": lambda *_: hex(TIP),
    "eth_feeHistory": _history,
    "eth_sendRawTransaction": lambda chain, p: chain.submit(_data(p[0])),
    "eth_getTransactionByHash": _transaction,
    "eth_getTransactionReceipt": _receipt,
    "eth_getBlockReceipts": _receipts,
    "eth_getLogs": _logs,
}
