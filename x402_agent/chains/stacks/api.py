"""What Stacks nodes and Hiro's API say of an account, a fee and a transaction, read strictly; a node's chain is asked first (C3).

Sources: the OpenAPI of stacks-core (`/v2`) and of stacks-blockchain-api (`/extended/v1`).
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from ...errors import NodeError
from ...secret import Secret, Veiled
from ...steps import MAX_BODY, Fetch, Fetched
from .. import rpc
from .clarity import Reader
from .payloads import Call, Transfer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ...model import Offer
    from ...steps import Steps

__all__ = ["Node", "Seen", "balances", "fee", "history", "newest", "next_nonce", "public", "rate", "spent_below", "submit", "tip", "transaction"]

_DIGITS = re.compile(r"[0-9]{1,39}").fullmatch
_HEX = re.compile(r"0x[0-9a-fA-F]{1,32}").fullmatch
_TXID = re.compile(r"0x[0-9a-f]{64}").fullmatch
_WORD = re.compile(r"[a-z_]{1,40}").fullmatch
_LARGE = 512 * 1024  # a page of history
_PAGE = 50


class Node(rpc.Node):
    """The nodes of one Stacks network; `/v2/info` names it. A method is "GET /path", or "POST /path" with a document.

    What is not there (404) is None. Hiro's key is given in the URL, as user (https://KEY@api.hiro.so), and travels in x-api-key.
    """

    __slots__ = ()
    asks = ("GET /v2/info",)
    named_in = MAX_BODY
    spec = "Stacks API"

    def named(self, answer: Any) -> str:
        """The chain id in decimal digits; raises ValueError."""
        return str(whole(answer.get("network_id")))

    def question(self, url: Secret, method: str, params: tuple[object, ...], retries: int, limit: int) -> Fetch:
        """A path below the URL, whose own query stays."""
        verb, _, path = method.partition(" ")
        content = json.dumps(params[0], separators=(",", ":")).encode() if params else b""
        parts = urlsplit(url.text)
        query = "&".join(filter(None, (parts.query, path.partition("?")[2])))
        where = (parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/") + path.partition("?")[0], query, "")
        key = Secret(unquote(parts.password or parts.username or ""))
        headers = Veiled({**rpc.HEADERS, **({"x-api-key": key.text} if len(key) else {})})
        return Fetch(verb, urlunsplit(where), content, headers, retries=retries, limit=limit, twice=True)

    def result(self, answer: dict[str, Any]) -> Any:
        """The answer itself."""
        return answer

    def _one(
        self, url: Secret, method: str, params: tuple[object, ...], retries: int, limit: int, raw: bool
    ) -> Steps[Any]:
        yield from self._know(url)
        got: Fetched = yield self.question(url, method, params, retries, limit)
        if got.status == 404:
            return None
        if got.status == 400 and method.startswith("POST"):
            raise rpc.Odd(f"HTTP 400: {rpc.parsed(got.content).get('reason')}")
        if got.status != 200 or len(got.content) >= limit:
            raise rpc.Odd(f"HTTP {got.status}" if got.status else "no answer")
        return got.content if raw else rpc.parsed(got.content)


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def whole(value: object) -> int:
    """A whole number of at most 128 bits, as JSON number or decimal digits; raises ValueError."""
    made = value if type(value) is int else int(value) if isinstance(value, str) and _DIGITS(value) else -1
    if not 0 <= made < 1 << 128:
        raise ValueError("not a whole number")
    return made


def next_nonce(node: Node, account: str) -> Steps[tuple[int, int]]:
    """The first account nonce that nothing has, mempool included, a missing one below it first; and how many are spent in blocks, -1 where
    that is not said. Raises NodeError."""  # fmt: skip

    def read(said: object) -> tuple[int, int]:
        found = _object(said)
        last = found.get("last_executed_tx_nonce", -2)
        missing = found.get("detected_missing_nonces")
        gaps = [whole(each) for each in missing] if isinstance(missing, list) else []
        return min([whole(found.get("possible_next_nonce")), *gaps]), 0 if last is None else -1 if last == -2 else whole(last) + 1

    try:
        found: tuple[int, int] = yield from node.read(read, f"GET /extended/v1/address/{account}/nonces")
    except NodeError:
        spent = yield from spent_below(node, account)  # a node without Hiro's API beside it
        found = spent, spent
    return found


def spent_below(node: Node, account: str) -> Steps[int]:
    """How many account nonces are spent in blocks: all below this number are. Raises NodeError."""
    said = yield from node.read(lambda said: whole(_object(said).get("nonce")), f"GET /v2/accounts/{account}?proof=0")
    found: int = said
    return found


def balances(node: Node, account: str, token: str) -> Steps[tuple[int | None, int | None]]:
    """What an account has: microSTX, and atomic units of `token` (`S….contract::name`, "" for none); None where nobody says it."""

    def read(said: object) -> tuple[int | None, int | None]:
        found = _object(said)
        tokens = _object(found.get("fungible_tokens"))
        return whole(_object(found.get("stx")).get("balance")), whole(
            _object(tokens.get(token, {"balance": 0})).get("balance")
        )

    try:
        both: tuple[int | None, int | None] = yield from node.read(
            read, f"GET /extended/v1/address/{account}/balances", limit=_LARGE
        )
    except NodeError:
        return None, None
    return both


def fee(node: Node, payload: bytes, size: int) -> Steps[int]:
    """How many microSTX a transaction of `size` bytes should offer: the middle estimate, else the rate per byte, else 1 a byte."""
    asked = {"transaction_payload": "0x" + payload.hex(), "estimated_len": size}
    try:
        middle: int = yield from node.read(
            lambda said: whole(_object(_object(said)["estimations"][1]).get("fee")), "POST /v2/fees/transaction", asked
        )
    except NodeError:
        try:
            middle = size * (yield from rate(node))
        except NodeError:
            middle = size
    return max(middle, size)


def rate(node: Node) -> Steps[int]:
    """MicroSTX for a byte of a transfer, as the node says it."""
    made: int = yield from node.read(lambda said: whole(said.decode().strip()), "GET /v2/fees/transfer", raw=True)
    return made


class Seen(NamedTuple):
    """A transaction as a node tells it: `status` success, abort or "" (not in a block that stands), `height` of its block.

    `word` is the node's own for its status; `moves` are (asset, sender, recipient, amount), "" for STX; `fee` in microSTX.
    """

    txid: str
    sender: str
    nonce: int
    does: Transfer | Call | None
    status: str
    height: int
    word: str = ""
    moves: tuple[tuple[str, str, str, int], ...] = ()
    fee: int = 0

    def moved(self, offer: Offer, account: str) -> bool:
        """Whether its events show the payment: to the payee all of it, through a called contract all or less, above nothing (C4)."""
        named = "" if offer.asset.native else f"{offer.asset.address}::{offer.asset.detail}"
        own = [move for move in self.moves if move[:2] == (named, account)]
        total = sum(each[3] for each in own)
        if "." in offer.pay_to:  # its post-condition, which the chain has kept, says whether less may move
            return 0 < total <= offer.amount
        return total == offer.amount and all(each[2] == offer.pay_to for each in own)


def _seen(said: object) -> Seen:
    """Raises ValueError, LookupError, TypeError for what is no transaction."""
    found = _object(said)
    if not _TXID(str(found["tx_id"])):
        raise ValueError("not an id")
    word = str(found.get("tx_status"))
    word = word if _WORD(word) else ""
    in_block = found.get("canonical") is True and found.get("is_unanchored") is not True
    status = "success" if word == "success" else "abort" if word.startswith("abort_") else ""
    return Seen(
        str(found["tx_id"]), str(found["sender_address"]), whole(found["nonce"]), _does(found), status if in_block else "",
        whole(found.get("block_height", 0)) if in_block and status else 0, word, tuple(_moves(found)),
        whole(found.get("fee_rate", 0)),
    )  # fmt: skip


def _moves(found: dict[str, Any]) -> Iterator[tuple[str, str, str, int]]:
    events = found.get("events")
    for each in events if isinstance(events, list) else []:
        kind, moved = _object(each).get("event_type"), _object(_object(each).get("asset") or {})
        if kind in ("stx_asset", "fungible_token_asset") and moved.get("asset_event_type") == "transfer":
            token = "" if kind == "stx_asset" else str(moved["asset_id"])
            yield token, str(moved["sender"]), str(moved["recipient"]), whole(moved["amount"])


def _does(found: dict[str, Any]) -> Transfer | Call | None:
    kind = found.get("tx_type")
    if kind == "token_transfer":
        own = _object(found["token_transfer"])
        memo = bytes.fromhex(str(own.get("memo") or "0x")[2:]).rstrip(b"\0")
        return Transfer(str(own["recipient_address"]), whole(own["amount"]), memo)
    if kind == "contract_call":
        own = _object(found["contract_call"])
        given = own.get("function_args")
        if not isinstance(given, list):
            return None  # a shortened view: what it does is not told
        values = tuple(Reader(bytes.fromhex(str(_object(each)["hex"])[2:])).value() for each in given)
        return Call(str(own["contract_id"]), str(own["function_name"]), values)
    return None


def transaction(node: Node, txid: str) -> Steps[Seen | None]:
    """What a transaction is and did, None when the node knows none by this id. Raises NodeError."""
    found: Seen | None = yield from node.read(
        lambda said: None if said is None else _seen(said), f"GET /extended/v1/tx/{txid}", limit=_LARGE
    )
    return found if found is None or found.txid.lower() == txid.lower() else None


def history(node: Node, account: str, nonce: int, pages: int = 4) -> Steps[Seen | None]:
    """The transaction that spent this nonce of an account, among its newest 200; None when it is not there. Raises NodeError."""

    def read(said: object) -> tuple[list[Seen], bool]:
        rows = _object(said)["results"]
        return [_seen(each) for each in rows if _object(each)["sender_address"] == account], len(rows) < _PAGE

    for page in range(pages):
        path = f"GET /extended/v1/address/{account}/transactions?limit={_PAGE}&offset={page * _PAGE}"
        rows, last = yield from node.read(read, path, limit=_LARGE)
        for each in rows:
            if each.nonce == nonce:
                found: Seen = each
                return found
        if last:
            break
    return None


def newest(node: Node) -> Steps[tuple[int, int]]:
    """The newest block and its time in unix seconds, 0 where no Hiro API beside the node says it. Raises NodeError."""
    height = yield from tip(node)
    try:
        at: int = yield from node.read(lambda said: whole(_object(said).get("block_time")), "GET /extended/v2/blocks/latest")
    except NodeError:
        at = 0
    return height, at


def tip(node: Node) -> Steps[int]:
    """The height of the newest block. Raises NodeError."""
    found: int = yield from node.read(lambda said: whole(_object(said).get("stacks_tip_height")), "GET /v2/info")
    return found


def submit(node: Node, raw: bytes) -> Steps[None]:
    """Hand signed bytes to a node. Raises NodeError, which proves nothing: they may be in the mempool all the same (C5)."""
    yield from node.ask("POST /v2/transactions", {"tx": raw.hex()}, retries=0, raw=True)


def public(node: Node, calls: Sequence[Call]) -> Steps[int | str]:
    """Which of these calls of one function the contract answers, by the node's word, else why none (wrong calls never reach a block). Raises NodeError."""
    call = calls[0]
    account, _, own = call.contract.partition(".")
    found = yield from node.read(lambda said: said and _object(said)["functions"], f"GET /v2/contracts/interface/{account}/{own}", limit=_LARGE)
    if found is None:
        return f"there is no contract {call.contract}"
    for each in found if isinstance(found, list) else []:
        if isinstance(each, dict) and (each.get("name"), each.get("access")) == (call.function, "public"):
            wanted = [_kind(arg) for arg in each.get("args") or ()]
            fits = (at for at, one in enumerate(calls) if _fits(one, wanted))
            return next(fits, f"{call.function} of {call.contract} takes other arguments")
    return f"{call.contract} has no public function {call.function}"


def _fits(call: Call, wanted: list[tuple[str, ...]]) -> bool:
    return len(wanted) == len(call.arguments) and all(got.kind in kinds for got, kinds in zip(call.arguments, wanted, strict=True))


_KINDS = {"uint128": "uint", "int128": "int", "bool": "bool", "principal": "principal", "buffer": "buffer", "string-ascii": "ascii",
          "string-utf8": "utf8", "list": "list", "tuple": "tuple"}  # fmt: skip


def _kind(arg: object) -> tuple[str, ...]:
    """The kinds of value that may stand for an argument; of a kind that we do not know, none."""
    told = arg.get("type") if isinstance(arg, dict) else None
    name = told if isinstance(told, str) else next(iter(told), "") if isinstance(told, dict) else ""
    return {"optional": ("none", "some"), "response": ("ok", "err")}.get(name) or (_KINDS.get(name, ""),)
