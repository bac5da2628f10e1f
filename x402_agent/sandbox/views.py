"""Blocks, transactions, receipts and logs as a node writes them in JSON.

Sources: Ethereum's JSON-RPC specification (execution-apis); the yellow paper 4.3.1 for the bloom.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..primitives import keccak
from .envelopes import decode
from .machines import COINBASE, GAS_LIMIT
from .pool import BASE_FEE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .envelopes import Envelope
    from .evm import Block, Chain
    from .machines import Log
    from .transactions import Transaction

__all__ = ["block_view", "log_views", "receipt_view", "transaction_view"]

ZERO = "0x" + "00" * 32
_EMPTY_UNCLES = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"  # keccak(rlp([]))
_EMPTY_TRIE = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"  # keccak(rlp(b""))


def block_view(chain: Chain, block: Block | None, *, full: bool) -> dict[str, Any] | None:
    """A block: `full` lists whole transactions, else their ids. Its roots are not those of a real state."""
    if block is None:
        return None
    found = [mined for each in block.transactions if (mined := chain.transaction(each)) is not None]
    return {
        "number": hex(block.number),
        "hash": block.hash,
        "parentHash": block.parent,
        "nonce": "0x0000000000000000",
        "sha3Uncles": _EMPTY_UNCLES,
        "logsBloom": _bloom(log for each in found for log in each.logs),
        "transactionsRoot": _EMPTY_TRIE,
        "stateRoot": ZERO,
        "receiptsRoot": _EMPTY_TRIE,
        "miner": "0x" + COINBASE.hex(),
        "mixHash": ZERO,
        "difficulty": "0x0",
        "totalDifficulty": "0x0",
        "extraData": "0x",
        "size": hex(600 + sum(len(each.raw) for each in found)),
        "gasLimit": hex(GAS_LIMIT),
        "gasUsed": hex(sum(each.gas for each in found)),
        "timestamp": hex(block.timestamp),
        "transactions": [transaction_view(chain, decode(each.raw), each) for each in found]
        if full
        else list(block.transactions),
        "uncles": [],
        "baseFeePerGas": hex(BASE_FEE),
        "withdrawals": [],
        "withdrawalsRoot": _EMPTY_TRIE,
        "blobGasUsed": "0x0",
        "excessBlobGas": "0x0",
        "parentBeaconBlockRoot": ZERO,
    }


def transaction_view(chain: Chain, tx: Envelope, mined: Transaction | None) -> dict[str, Any]:
    """A transaction; where it was mined is null while it waits."""
    v, r, s = tx.signature
    block = chain.block(mined.block) if mined else None
    view: dict[str, Any] = {
        "hash": tx.hash,
        "type": hex(tx.kind),
        "nonce": hex(tx.nonce),
        "from": tx.sender.lower(),
        "to": "0x" + tx.to.hex(),
        "value": hex(tx.value),
        "input": "0x" + tx.data.hex(),
        "gas": hex(tx.gas),
        "gasPrice": hex(mined.price if mined else tx.max_fee),
        "v": hex(v),
        "r": hex(r),
        "s": hex(s),
        "blockHash": block.hash if block else None,
        "blockNumber": hex(block.number) if block else None,
        "transactionIndex": "0x0" if block else None,
    }
    if tx.chain_id:
        view["chainId"] = hex(tx.chain_id)
    if tx.kind:
        view["yParity"] = hex(v)
        view["accessList"] = [
            {"address": "0x" + address.hex(), "storageKeys": ["0x" + key.hex() for key in keys]}
            for address, keys in tx.access
        ]
    if tx.kind == 2:
        view |= {"maxFeePerGas": hex(tx.max_fee), "maxPriorityFeePerGas": hex(tx.tip)}
    return view


def receipt_view(chain: Chain, found: Transaction) -> dict[str, Any]:
    """What became of a mined transaction."""
    block = chain.block(found.block)
    kind = found.raw[0] if found.raw[0] < 0x80 else 0
    return {
        "transactionHash": found.hash,
        "transactionIndex": "0x0",
        "blockHash": block.hash if block else None,
        "blockNumber": hex(found.block),
        "from": found.sender.lower(),
        "to": found.to.lower(),
        "contractAddress": None,
        "status": hex(found.status),
        "type": hex(kind),
        "gasUsed": hex(found.gas),
        "cumulativeGasUsed": hex(found.gas),
        "effectiveGasPrice": hex(found.price),
        "logs": log_views(chain, found),
        "logsBloom": _bloom(found.logs),
    }


def log_views(chain: Chain, found: Transaction) -> list[dict[str, Any]]:
    """The events of a transaction: it is alone in its block, so they count from zero."""
    block = chain.block(found.block)
    return [
        {
            "address": "0x" + log.address.hex(),
            "topics": ["0x" + topic.hex() for topic in log.topics],
            "data": "0x" + log.data.hex(),
            "blockNumber": hex(found.block),
            "blockHash": block.hash if block else None,
            "blockTimestamp": hex(found.timestamp),
            "transactionHash": found.hash,
            "transactionIndex": "0x0",
            "logIndex": hex(index),
            "removed": False,
        }
        for index, log in enumerate(found.logs)
    ]


def _bloom(logs: Iterable[Log]) -> str:
    """2048 bits, three of them for each address and topic."""
    bits = 0
    for log in logs:
        for each in (log.address, *log.topics):
            digest = keccak(each)
            for i in (0, 2, 4):
                bits |= 1 << (int.from_bytes(digest[i : i + 2]) & 2047)
    return "0x" + bits.to_bytes(256, "big").hex()
