"""What the pretend Solana shows of accounts and transactions, as nodes write them. Source: Solana's JSON-RPC methods."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from ...encodings import base58
from ..jsonrpc import Wrong
from .token import TOKEN, TOKEN_2022, holding

if TYPE_CHECKING:
    from collections.abc import Callable

    from solders.account import Account
    from solders.pubkey import Pubkey

    from .chain import Row

__all__ = ["account_view", "amount_view", "history_view", "transaction_view"]

_PROGRAMS = {TOKEN: "spl-token", TOKEN_2022: "spl-token-2022"}
_SHORT = 128  # bytes that nodes write as base58
_MINT = 82


def amount_view(amount: int, decimals: int) -> dict[str, Any]:
    """Atomic units as nodes write them."""
    text = f"{amount:0{decimals + 1}d}"
    shown = (f"{text[:-decimals]}.{text[-decimals:]}".rstrip("0").rstrip(".")) if decimals else text
    return {"amount": str(amount), "decimals": decimals, "uiAmount": amount / 10**decimals, "uiAmountString": shown}


def account_view(account: Account | None, encoding: str, decimals: Callable[[Pubkey], int]) -> dict[str, Any] | None:
    """An account: base64, base58 (short ones) or jsonParsed, which falls back to base64; raises Wrong."""
    if account is None:
        return None
    data = bytes(account.data)
    parsed = _parsed(account, decimals) if encoding == "jsonParsed" else None
    if parsed is not None:
        shown: Any = parsed
    elif encoding in ("base64", "jsonParsed"):
        shown = [base64.b64encode(data).decode(), "base64"]
    elif encoding not in ("base58", "binary"):
        raise Wrong(-32602, f"Invalid params: unknown encoding {encoding[:20]}")
    elif len(data) > _SHORT:
        raise Wrong(-32600, "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding.")
    else:
        shown = [base58(data), "base58"] if encoding == "base58" else base58(data)
    return {
        "data": shown, "executable": account.executable, "lamports": account.lamports, "owner": str(account.owner),
        "rentEpoch": account.rent_epoch, "space": len(data),
    }  # fmt: skip


def _parsed(account: Account, decimals: Callable[[Pubkey], int]) -> dict[str, Any] | None:
    program, data = _PROGRAMS.get(account.owner), bytes(account.data)
    if program is None:
        return None
    held = holding(account)
    if held is not None:
        kind = "account"
        info: dict[str, Any] = {
            "isNative": False, "mint": str(held.mint), "owner": str(held.owner), "state": "frozen" if data[108] == 2 else "initialized",
            "tokenAmount": amount_view(held.amount, decimals(held.mint)),
        }  # fmt: skip
    elif len(data) == _MINT and data[45] == 1:
        kind = "mint"
        authorities = [base58(data[at + 4 : at + 36]) if data[at] else None for at in (0, 46)]
        info = {
            "decimals": data[44], "freezeAuthority": authorities[1], "isInitialized": True, "mintAuthority": authorities[0],
            "supply": str(int.from_bytes(data[36:44], "little")),
        }  # fmt: skip
    else:
        return None
    return {"parsed": {"info": info, "type": kind}, "program": program, "space": len(data)}


def history_view(row: Row) -> dict[str, Any]:
    """A row of getSignaturesForAddress."""
    return {
        "blockTime": row.time, "confirmationStatus": "finalized", "err": row.tried.err, "memo": row.memo,
        "signature": str(row.signature), "slot": row.slot,
    }  # fmt: skip


def transaction_view(row: Row, encoding: str, decimals: Callable[[Pubkey], int]) -> dict[str, Any]:
    """A row of getTransaction: base64, base58 or json; raises Wrong."""
    raw = bytes(row.tx)
    if encoding == "json":
        shown: Any = _message(row)
    elif encoding in ("base64", "base58"):
        shown = [base58(raw) if encoding == "base58" else base64.b64encode(raw).decode(), encoding]
    else:
        raise Wrong(-32602, f"Invalid params: the sandbox does not know the encoding {encoding[:20]}")
    tried = row.tried
    meta = {
        "err": tried.err, "status": {"Ok": None} if tried.err is None else {"Err": tried.err}, "fee": tried.fee,
        "preBalances": [each.lamports if each else 0 for each in row.before],
        "postBalances": [each.lamports if each else 0 for each in row.after],
        "preTokenBalances": _balances(row.before, decimals), "postTokenBalances": _balances(row.after, decimals),
        "innerInstructions": [], "logMessages": tried.logs, "rewards": [], "loadedAddresses": {"writable": [], "readonly": []},
        "computeUnitsConsumed": tried.units,
    }  # fmt: skip
    return {"blockTime": row.time, "meta": meta, "slot": row.slot, "transaction": shown, "version": row.version}


def _message(row: Row) -> dict[str, Any]:
    message = row.tx.message
    header = message.header
    steps = [
        {"accounts": list(each.accounts), "data": base58(bytes(each.data)), "programIdIndex": each.program_id_index, "stackHeight": 1}
        for each in message.instructions
    ]
    shown = {
        "accountKeys": [str(each) for each in message.account_keys],
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "instructions": steps,
        "recentBlockhash": str(message.recent_blockhash),
    }
    if row.version == 0:
        shown["addressTableLookups"] = []
    return {"message": shown, "signatures": [str(each) for each in row.tx.signatures]}


def _balances(accounts: tuple[Account | None, ...], decimals: Callable[[Pubkey], int]) -> list[dict[str, Any]]:
    made = []
    for index, account in enumerate(accounts):
        held = holding(account)
        if account is None or held is None:
            continue
        made.append({
            "accountIndex": index, "mint": str(held.mint), "owner": str(held.owner), "programId": str(account.owner),
            "uiTokenAmount": amount_view(held.amount, decimals(held.mint)),
        })  # fmt: skip
    return made
