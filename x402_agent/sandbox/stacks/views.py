"""What Hiro's API and a Stacks node say of accounts and transactions, in their JSON.

Source: the OpenAPI of hirosystems/stacks-blockchain-api (extended/v1) and of stacks-core (v2), as far as clients read it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...chains.stacks import DENY, Transfer
from .state import STX
from .values import say, type_name

if TYPE_CHECKING:
    from ...chains.stacks import Call, PostCondition
    from .chain import Chain, Entry
    from .state import Move

__all__ = ["account_view", "balances_view", "nonces_view", "transaction_view"]

_WORDS = {
    "eq": "sent_equal_to",
    "gt": "sent_greater_than",
    "ge": "sent_greater_than_or_equal_to",
    "lt": "sent_less_than",
    "le": "sent_less_than_or_equal_to",
    "sends": "sent",
    "keeps": "not_sent",
}
_ANCHORS = {1: "on_chain_only", 2: "off_chain_only", 3: "any"}


def account_view(chain: Chain, who: str) -> dict[str, Any]:
    """`/v2/accounts`: balance in microSTX as 0x-hex of 16 bytes, the next nonce as mined."""
    return {
        "balance": f"0x{chain.balance(STX, who):032x}",
        "locked": f"0x{0:032x}",
        "unlock_height": 0,
        "nonce": chain.nonce(who),
    }


def nonces_view(chain: Chain, who: str) -> dict[str, Any]:
    """`/extended/v1/address/{a}/nonces`: what is mined, what waits, and which nonces in between are missing."""
    mined, waiting = chain.nonce(who), chain.waiting(who)
    top = max(waiting, default=mined - 1)
    return {
        "last_mempool_tx_nonce": waiting[-1] if waiting else None,
        "last_executed_tx_nonce": mined - 1 if mined else None,
        "possible_next_nonce": top + 1,
        "detected_missing_nonces": [each for each in range(top, mined - 1, -1) if each not in waiting],
        "detected_mempool_nonces": waiting[::-1],
    }


def balances_view(chain: Chain, who: str) -> dict[str, Any]:
    """`/extended/v1/address/{a}/balances`: atomic units as decimal strings."""
    history = chain.history(who)

    def row(asset: str, amount: int) -> dict[str, str]:
        moves = [move for entry in history for move in entry.moves if move.asset == asset]
        sent = sum(each.amount for each in moves if each.sender == who)
        received = sum(each.amount for each in moves if each.recipient == who)
        return {"balance": str(amount), "total_sent": str(sent), "total_received": str(received)}

    owned = chain.owned(who)
    fees = sum(each.tx.fee for each in history if each.mined and (each.tx.sponsor or each.tx.sender) == who)
    stx = row(STX, owned.pop(STX, 0)) | {
        "total_fees_sent": str(fees),
        "total_miner_rewards_received": "0",
        "lock_tx_id": "",
        "locked": "0",
        "lock_height": 0,
        "burnchain_lock_height": 0,
        "burnchain_unlock_height": 0,
    }
    tokens = {asset: row(asset, amount) for asset, amount in owned.items()}
    return {"stx": stx, "fungible_tokens": tokens, "non_fungible_tokens": {}}


def transaction_view(chain: Chain, entry: Entry) -> dict[str, Any]:
    """`/extended/v1/tx/{id}`: the transaction, and what became of it."""
    tx, origin = entry.tx, entry.tx.parsed.origin
    view: dict[str, Any] = {
        "tx_id": tx.txid,
        "nonce": tx.nonce,
        "fee_rate": str(tx.fee),
        "sender_address": tx.sender,
        "sponsored": bool(tx.sponsor),
        "post_condition_mode": "deny" if tx.parsed.mode == DENY else "allow",
        "post_conditions": [_condition(each) for each in tx.conditions],
        "anchor_mode": _ANCHORS[tx.parsed.anchor],
        "tx_status": entry.status,
    }
    if tx.parsed.sponsor:
        view |= {"sponsor_address": tx.sponsor, "sponsor_nonce": tx.parsed.sponsor.nonce, "fee_rate": str(tx.fee)}
    view |= _transfer(tx.payload) if isinstance(tx.payload, Transfer) else _call(chain, tx.payload)
    if entry.block is None:
        return view | {"receipt_time": entry.seen, "origin_encoding": origin.encoding}
    events = [_event(index, tx.txid, move) for index, move in enumerate(entry.moves)]
    return view | {
        "is_unanchored": False,
        "canonical": True,
        "microblock_canonical": True,
        "block_hash": entry.block.hash,
        "block_height": entry.block.height,
        "block_time": entry.block.timestamp,
        "burn_block_time": entry.block.timestamp,
        "tx_index": 0,
        "tx_result": {"hex": "0x" + entry.result.wire().hex(), "repr": say(entry.result)},
        "event_count": len(events),
        "events": events,
    }


def _transfer(payload: Transfer) -> dict[str, Any]:
    memo = "0x" + payload.memo.ljust(34, b"\0").hex()
    own = {"recipient_address": payload.recipient, "amount": str(payload.amount), "memo": memo}
    return {"tx_type": "token_transfer", "token_transfer": own}


def _call(chain: Chain, call: Call) -> dict[str, Any]:
    found = chain.contract(call.contract)
    wanted = found.functions[call.function].args if found else ()
    names = " ".join(f"({name} {type_name(kind)})" for name, kind in wanted)
    args = [
        {"hex": "0x" + value.wire().hex(), "repr": say(value), "name": name, "type": type_name(kind)}
        for (name, kind), value in zip(wanted, call.arguments, strict=False)
    ]
    own = {
        "contract_id": call.contract,
        "function_name": call.function,
        "function_signature": f"(define-public ({call.function}{' ' if names else ''}{names}))",
        "function_args": args,
    }
    return {"tx_type": "contract_call", "contract_call": own}


def _condition(each: PostCondition) -> dict[str, Any]:
    account, dot, name = each.who.partition(".")
    who: dict[str, str] = {"type_id": "principal_origin"}
    if each.who:
        who = {"type_id": "principal_contract" if dot else "principal_standard", "address": account}
        who |= {"contract_name": name} if dot else {}
    view: dict[str, Any] = {"condition_code": _WORDS[each.code], "principal": who}
    if not each.asset:
        return view | {"type": "stx", "amount": str(each.amount)}
    contract, _, token = each.asset.partition("::")
    account, _, name = contract.partition(".")
    asset = {"asset_name": token, "contract_address": account, "contract_name": name}
    if each.value is None:
        return view | {"type": "fungible", "amount": str(each.amount), "asset": asset}
    value = {"hex": "0x" + each.value.wire().hex(), "repr": say(each.value)}
    return view | {"type": "non_fungible", "asset": asset, "asset_value": value}


def _event(index: int, txid: str, move: Move) -> dict[str, Any]:
    own = {
        "asset_event_type": "transfer",
        "sender": move.sender,
        "recipient": move.recipient,
        "amount": str(move.amount),
    }
    if move.asset != STX:
        own["asset_id"] = move.asset
    kind = "stx_asset" if move.asset == STX else "fungible_token_asset"
    return {"event_index": index, "event_type": kind, "tx_id": txid, "asset": own}
