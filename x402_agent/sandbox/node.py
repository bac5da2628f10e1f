"""The few JSON-RPC methods with which a payer asks a node what became of a payment. Read only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .evm import CHAIN_ID
from .token import raw_address

if TYPE_CHECKING:
    from .evm import Block, Chain
    from .transactions import Transaction

__all__ = ["answer_rpc"]


class _Wrong(Exception):
    """A JSON-RPC error: code and message."""

    def __init__(self, code: int, message: str, data: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.data = data


def answer_rpc(chain: Chain, body: object) -> object:
    """The answer to one JSON-RPC 2.0 call or a batch of them."""
    if isinstance(body, list) and body:
        return [_one(chain, each) for each in body[:100]]
    return _one(chain, body)


def _one(chain: Chain, call: object) -> dict[str, Any]:
    identity = call.get("id") if isinstance(call, dict) else None
    try:
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            raise _Wrong(-32600, "invalid request")
        params = call.get("params", [])
        if not isinstance(params, list):
            raise _Wrong(-32602, "params is an array")
        return {"jsonrpc": "2.0", "id": identity, "result": _result(chain, call["method"], params)}
    except _Wrong as wrong:
        error: dict[str, Any] = {"code": wrong.code, "message": str(wrong)}
        return {"jsonrpc": "2.0", "id": identity, "error": error | ({"data": wrong.data} if wrong.data else {})}
    except (ValueError, LookupError, TypeError, AttributeError) as cause:
        return {"jsonrpc": "2.0", "id": identity, "error": {"code": -32602, "message": f"invalid params: {cause}"}}


def _result(chain: Chain, method: str, params: list[Any]) -> object:
    if method == "eth_chainId":
        return hex(CHAIN_ID)
    if method == "eth_blockNumber":
        return hex(chain.head().number)
    if method == "eth_getBlockByNumber":
        return _block(_find(chain, params[0]))
    if method == "eth_call":
        return _call(chain, params[0])
    if method == "eth_getTransactionReceipt":
        found = chain.transaction(str(params[0]))
        return _receipt(chain, found) if found else None
    if method == "eth_getCode":
        return "0x" + chain.code(raw_address(params[0])).hex()
    if method == "eth_getBalance":
        return hex(chain.wei(raw_address(params[0])))
    raise _Wrong(-32601, f"the method {method[:60]} does not exist here")


def _find(chain: Chain, which: object) -> Block | None:
    """A block by tag or number. Every block is final: this chain never reorganises."""
    if which in ("latest", "finalized", "safe", "pending"):
        return chain.head()
    if not isinstance(which, str) or not which.startswith("0x"):
        raise ValueError("a block is a tag or a hex number")
    return chain.block(int(which, 16))


def _block(block: Block | None) -> dict[str, Any] | None:
    if block is None:
        return None
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent,
        "timestamp": hex(block.timestamp),
        "transactions": list(block.transactions),
        "baseFeePerGas": "0x0",
        "gasLimit": hex(60_000_000),
    }


def _call(chain: Chain, call: dict[str, Any]) -> str:
    """The newest state, whatever block is named: what was true of a used nonce stays true."""
    data = bytes.fromhex(str(call.get("data") or call.get("input") or "0x")[2:])
    caller = raw_address(call["from"]) if "from" in call else bytes(20)
    ran = chain.call(raw_address(call["to"]), data, caller)
    if not ran.ok:
        raise _Wrong(3, "execution reverted", "0x" + ran.output.hex())
    return "0x" + ran.output.hex()


def _receipt(chain: Chain, found: Transaction) -> dict[str, Any]:
    block = chain.block(found.block)
    where = {"transactionHash": found.hash, "transactionIndex": "0x0", "blockNumber": hex(found.block)}
    where["blockHash"] = block.hash if block else ""
    logs = [
        {
            **where,
            "logIndex": hex(index),
            "address": "0x" + log.address.hex(),
            "topics": ["0x" + topic.hex() for topic in log.topics],
            "data": "0x" + log.data.hex(),
            "removed": False,
        }
        for index, log in enumerate(found.logs)
    ]
    return {
        **where,
        "from": found.sender.lower(),
        "to": found.to.lower(),
        "status": hex(found.status),
        "type": "0x2",
        "logs": logs,
    }
