"""A JSON-RPC node over the pretend Solana: enough that clients, wallets and facilitators work with it unchanged.

Everything is final at once, so every commitment sees the same. Source: Solana's JSON-RPC methods; errors speak as agave's.
"""

from __future__ import annotations

import base64
from functools import partial
from typing import TYPE_CHECKING, Any

from solders.hash import Hash
from solders.message import from_bytes_versioned
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

from ...encodings import unbase58
from ..jsonrpc import Wrong, answered
from .chain import FIRST_SLOT, GENESIS, Failed
from .token import address, holding
from .views import account_view, amount_view, history_view, transaction_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from solders.pubkey import Pubkey

    from .chain import Chain, Row, Tried

__all__ = ["answer_rpc"]

_LARGEST = 1232  # bytes of a transaction
_LONGEST = 1683  # letters of it in base58
_MANY = 100
_PAGE = 1000
_EPOCH = 432_000
_FEE = 5000  # lamports for each signature
_AIRDROP = 100 * 10**9


def answer_rpc(chain: Chain, body: object) -> object:
    """The answer to one JSON-RPC 2.0 call or a batch of them."""
    return answered(body, {name: partial(method, chain) for name, method in _METHODS.items()})


def _options(chain: Chain, params: list[Any], at: int = 1) -> dict[str, Any]:
    """The object at the end of `params`; a slot that has not come yet is refused."""
    found = params[at] if len(params) > at and params[at] is not None else {}
    if not isinstance(found, dict):
        raise Wrong(-32602, "Invalid params: not an object")
    found = {name: value for name, value in found.items() if value is not None}  # clients write null for what they leave out
    if found.get("commitment", "finalized") not in ("processed", "confirmed", "finalized"):
        raise Wrong(-32602, "Invalid params: unknown commitment")
    if found.get("minContextSlot", 0) > chain.slot():
        raise Wrong(-32016, "Minimum context slot has not been reached", {"contextSlot": chain.slot()})
    return found


def _at(chain: Chain, value: object) -> dict[str, Any]:
    return {"context": {"apiVersion": "2.3.0", "slot": chain.slot()}, "value": value}


def _decimals(chain: Chain, mint: Pubkey) -> int:
    account = chain.account(mint)
    return account.data[44] if account and len(account.data) >= 82 else 0


# -- the chain --------------------------------------------------------------------------------------------------------


def _number(read: Callable[[Chain], Any]) -> Callable[[Chain, list[Any]], object]:
    def method(chain: Chain, params: list[Any]) -> object:
        _options(chain, params, 0)
        return read(chain)

    return method


def _latest_blockhash(chain: Chain, params: list[Any]) -> object:
    _options(chain, params, 0)
    blockhash, last = chain.blockhash()
    return _at(chain, {"blockhash": str(blockhash), "lastValidBlockHeight": last})


def _blockhash_valid(chain: Chain, params: list[Any]) -> object:
    _options(chain, params)
    return _at(chain, chain.good(Hash.from_string(params[0])))


def _epoch(chain: Chain) -> object:
    slot = chain.slot()
    return {
        "absoluteSlot": slot, "blockHeight": chain.height(), "epoch": slot // _EPOCH, "slotIndex": slot % _EPOCH,
        "slotsInEpoch": _EPOCH, "transactionCount": None,
    }  # fmt: skip


def _block_time(chain: Chain, params: list[Any]) -> object:
    slot = params[0]
    if not FIRST_SLOT <= slot <= chain.slot():
        raise Wrong(-32004, f"Block not available for slot {slot}")
    return chain.now() - (chain.slot() - slot) * 2 // 5


# -- accounts ---------------------------------------------------------------------------------------------------------


def _account_info(chain: Chain, params: list[Any]) -> object:
    encoding = str(_options(chain, params).get("encoding", "binary"))
    return _at(chain, account_view(chain.account(address(params[0])), encoding, partial(_decimals, chain)))


def _accounts(chain: Chain, params: list[Any]) -> object:
    encoding = str(_options(chain, params).get("encoding", "base64"))
    if len(params[0]) > _MANY:
        raise Wrong(-32602, "Too many inputs provided; max 100")
    found = [chain.account(address(each)) for each in params[0]]
    return _at(chain, [account_view(each, encoding, partial(_decimals, chain)) for each in found])


def _balance(chain: Chain, params: list[Any]) -> object:
    _options(chain, params)
    account = chain.account(address(params[0]))
    return _at(chain, account.lamports if account else 0)


def _token_balance(chain: Chain, params: list[Any]) -> object:
    _options(chain, params)
    held = holding(chain.account(address(params[0])))
    if held is None:
        raise Wrong(-32602, "Invalid param: could not find account")
    return _at(chain, amount_view(held.amount, _decimals(chain, held.mint)))


def _airdrop(chain: Chain, params: list[Any]) -> object:
    if type(params[1]) is not int or not 0 < params[1] <= _AIRDROP:
        raise Wrong(-32602, "Invalid params: at most 100 SOL")
    return str(chain.endow(address(params[0]), params[1]).signature)


# -- transactions -----------------------------------------------------------------------------------------------------


def _raw(text: object, encoding: object) -> bytes:
    if not isinstance(text, str) or encoding not in ("base64", "base58"):
        raise Wrong(-32602, "Invalid params: base58 or base64")
    return base64.b64decode(text, validate=True) if encoding == "base64" else unbase58(text, _LONGEST)


def _transaction(params: list[Any], options: dict[str, Any]) -> VersionedTransaction:
    raw = _raw(params[0], options.get("encoding", "base58"))
    if len(raw) > _LARGEST:
        raise Wrong(-32602, f"decoded solana_transaction::versioned::VersionedTransaction too large: {len(raw)} bytes (max: encoded/raw 1644/1232)")
    try:
        tx = VersionedTransaction.from_bytes(raw)
        tx.sanitize()
    except (ValueError, SanitizeError):
        raise Wrong(-32602, "failed to deserialize solana_transaction::versioned::VersionedTransaction") from None
    return tx


def _send(chain: Chain, params: list[Any]) -> object:
    options = _options(chain, params)
    tx = _transaction(params, options)
    preflight = not options.get("skipPreflight", False)
    try:
        digest = chain.admit(tx)
        tried = chain.simulate(tx) if preflight else None
        if tried is not None and tried.err is not None:
            raise Failed(tried.err, tried.logs, tried.units)
        chain.execute(tx, digest)
    except Failed as failed:
        if failed.err == "SignatureFailure":
            raise Wrong(-32003, "Transaction signature verification failure") from None
        if preflight:
            shown = _simulation(failed.err, failed.logs, failed.units)
            raise Wrong(-32002, f"Transaction simulation failed: {failed}", shown) from None
    return str(tx.signatures[0])  # what was not looked at first, and got into no block, is never heard of again


def _simulate(chain: Chain, params: list[Any]) -> object:
    options = _options(chain, params)
    tx = _transaction(params, options)
    fresh = bool(options.get("replaceRecentBlockhash"))
    try:
        chain.admit(tx, signed=bool(options.get("sigVerify")), blockhash=not fresh)
        tried: Tried | Failed = chain.simulate(tx)
    except Failed as failed:
        tried = failed
    found = _simulation(tried.err, tried.logs, tried.units)
    if fresh:
        blockhash, last = chain.blockhash()
        found["replacementBlockhash"] = {"blockhash": str(blockhash), "lastValidBlockHeight": last}
    return _at(chain, found)


def _simulation(err: object, logs: list[str], units: int) -> dict[str, Any]:
    return {"accounts": None, "err": err, "innerInstructions": None, "logs": logs, "returnData": None, "unitsConsumed": units}


def _fee(chain: Chain, params: list[Any]) -> object:
    _options(chain, params)
    message = from_bytes_versioned(base64.b64decode(params[0], validate=True))
    good = chain.good(message.recent_blockhash)
    return _at(chain, _FEE * message.header.num_required_signatures if good else None)


def _shown(chain: Chain, signature: str) -> Row | None:
    row = chain.row(Signature.from_string(signature))
    return row if row is None or row.time + chain.lag <= chain.now() else None


def _found(chain: Chain, params: list[Any]) -> object:
    options = params[1] if len(params) > 1 else {}
    options = {"encoding": options} if isinstance(options, str) else _options(chain, params)
    row = _shown(chain, params[0])
    if row is None:
        return None
    if row.version == 0 and options.get("maxSupportedTransactionVersion") is None:
        raise Wrong(-32015, "Transaction version (0) is not supported by the requesting client. Please try the request again with the "
                            'following configuration parameter: "maxSupportedTransactionVersion": 0')  # fmt: skip
    return transaction_view(row, str(options.get("encoding", "json")), partial(_decimals, chain))


def _history(chain: Chain, params: list[Any]) -> object:
    options = _options(chain, params)
    limit = options.get("limit", _PAGE)
    if type(limit) is not int or not 0 < limit <= _PAGE:
        raise Wrong(-32602, "Invalid limit; max 1000")
    rows = [each for each in chain.rows(address(params[0])) if each.time + chain.lag <= chain.now()]
    names = [str(each.signature) for each in rows]
    start = names.index(options["before"]) + 1 if options.get("before") in names else 0
    end = names.index(options["until"]) if options.get("until") in names else len(rows)
    return [history_view(each) for each in rows[start:end][:limit]]


def _statuses(chain: Chain, params: list[Any]) -> object:
    return _at(chain, [_status(_shown(chain, each)) for each in params[0]])


def _status(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    outcome = {"Ok": None} if row.tried.err is None else {"Err": row.tried.err}
    return {"confirmationStatus": "finalized", "confirmations": None, "err": row.tried.err, "slot": row.slot, "status": outcome}


_METHODS: dict[str, Callable[[Chain, list[Any]], object]] = {
    "getHealth": lambda *_: "ok",
    "getVersion": lambda *_: {"solana-core": "2.3.0", "feature-set": 1},
    "getGenesisHash": lambda *_: GENESIS,
    "getSlot": _number(lambda chain: chain.slot()),
    "getBlockHeight": _number(lambda chain: chain.height()),
    "getEpochInfo": _number(_epoch),
    "getFirstAvailableBlock": lambda *_: FIRST_SLOT,
    "getBlockTime": _block_time,
    "getLatestBlockhash": _latest_blockhash,
    "isBlockhashValid": _blockhash_valid,
    "getAccountInfo": _account_info,
    "getMultipleAccounts": _accounts,
    "getBalance": _balance,
    "getTokenAccountBalance": _token_balance,
    "getMinimumBalanceForRentExemption": lambda chain, params: chain.rent(params[0]),
    "getRecentPrioritizationFees": lambda *_: [],
    "getFeeForMessage": _fee,
    "requestAirdrop": _airdrop,
    "sendTransaction": _send,
    "simulateTransaction": _simulate,
    "getTransaction": _found,
    "getSignaturesForAddress": _history,
    "getSignatureStatuses": _statuses,
}
