"""TronGrid's own API over the pretend TRON: transfers of an account, events of a contract, page by page.

Lists are newest first unless `order_by=block_timestamp,asc`; times are milliseconds. Source: TronGrid's v1 reference.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from ...primitives import keccak
from .chain import show
from .contracts import raw_address, usdt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..machines import Log
    from .chain import Chain, Mined

__all__ = ["answer_grid"]

_LIMIT, _MOST = 20, 200
_time = attrgetter("timestamp")
_EVENTS = {
    keccak(f"{name}(address,address,uint256)".encode()): (name, names)
    for name, names in {"Transfer": ("from", "to", "value"), "Approval": ("owner", "spender", "value")}.items()
}
_TRANSFERS = re.compile(r"/v1/accounts/([^/]+)/transactions/trc20").fullmatch
_CONTRACT = re.compile(r"/v1/contracts/([^/]+)/events").fullmatch


class _Event(NamedTuple):
    mined: Mined
    log: Log
    place: int
    name: str
    fields: tuple[str, str, str]

    @property
    def sides(self) -> tuple[bytes, bytes]:
        return self.log.topics[1][-20:], self.log.topics[2][-20:]

    @property
    def value(self) -> str:
        return str(int.from_bytes(self.log.data))


def answer_grid(chain: Chain, path: str, query: Mapping[str, str]) -> tuple[int, dict[str, Any]] | None:
    """Status and body for a call of /v1/..., None where there is no such call."""
    transfers, contract = _TRANSFERS(path), _CONTRACT(path)
    match = transfers or contract
    if match is None:
        return None
    try:
        address = raw_address(match[1])
        rows = _transfers(chain, address, query) if transfers else _events(chain, address, query)
        return 200, _page(chain, path, query, rows, _transfer if transfers else _event)
    except ValueError as cause:
        return 400, {"success": False, "error": str(cause)[:200], "statusCode": 400}


def _within(chain: Chain, first: int, last: int) -> Iterator[_Event]:
    """Events of both times and between, oldest first; a chain may be long, and what is asked about is mostly its end."""
    history = chain.history()  # in the order of its blocks, so of their times
    here = slice(bisect_left(history, first, key=_time), bisect_right(history, last, key=_time))
    for mined in history[here]:
        for index, log in enumerate(mined.logs):
            known = _EVENTS.get(log.topics[0]) if len(log.topics) == 3 else None
            if known:
                yield _Event(mined, log, index, known[0], known[1])


def _flag(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "false").lower() == "true"


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    given = query.get(name, str(default))
    if not (given.isascii() and given.isdigit()):
        raise ValueError(f"{name} must be a number")
    return int(given)


def _timely(chain: Chain, query: Mapping[str, str], prefix: str) -> list[_Event]:
    """Events within the times that are asked for, in the order asked for; solid ones alone with only_confirmed."""
    first = _number(query, f"min_{prefix}timestamp", 0)
    last = _number(query, f"max_{prefix}timestamp", 1 << 62)
    solid = chain.solid().number
    kept = [
        each
        for each in _within(chain, first, last)
        if not (_flag(query, "only_confirmed") and each.mined.block > solid)
        and not (_flag(query, "only_unconfirmed") and each.mined.block <= solid)
    ]
    order = query.get("order_by", "block_timestamp,desc")
    if order not in ("block_timestamp,desc", "block_timestamp,asc"):
        raise ValueError("order_by must be block_timestamp,desc or block_timestamp,asc")
    return kept if order.endswith("asc") else kept[::-1]


def _transfers(chain: Chain, address: bytes, query: Mapping[str, str]) -> list[_Event]:
    token = query.get("contract_address")
    wanted = raw_address(token) if token else None
    made = []
    for each in _timely(chain, query, ""):
        sender, to = each.sides
        here = (sender == address and not _flag(query, "only_to")) or (to == address and not _flag(query, "only_from"))
        if each.name == "Transfer" and here and wanted in (None, each.log.address):
            made.append(each)
    return made


def _transfer(event: _Event) -> dict[str, Any]:
    asset, token = usdt(), show(event.log.address)
    known = token == asset.address
    info = {"symbol": asset.symbol, "address": token, "decimals": asset.decimals, "name": "Tether USD"}
    return {
        "transaction_id": event.mined.envelope.txid,
        "token_info": info if known else {"address": token},
        "block_timestamp": event.mined.timestamp,
        "from": show(event.sides[0]),
        "to": show(event.sides[1]),
        "type": "Transfer",
        "value": event.value,
    }


def _events(chain: Chain, contract: bytes, query: Mapping[str, str]) -> list[_Event]:
    name = query.get("event_name")
    found = (each for each in _timely(chain, query, "block_") if each.log.address == contract)
    return [each for each in found if name in (None, each.name)]


def _event(event: _Event) -> dict[str, Any]:
    values = ["0x" + event.sides[0].hex(), "0x" + event.sides[1].hex(), event.value]
    kinds = ("address", "address", "uint256")
    first, second, third = event.fields
    return {
        "block_number": event.mined.block,
        "block_timestamp": event.mined.timestamp,
        "caller_contract_address": show(event.log.address),
        "contract_address": show(event.log.address),
        "event_index": event.place,
        "event_name": event.name,
        "event": f"{event.name}(address indexed {first}, address indexed {second}, uint256 {third})",
        "result": {str(i): value for i, value in enumerate(values)} | dict(zip(event.fields, values, strict=True)),
        "result_type": dict(zip(event.fields, kinds, strict=True)),
        "transaction_id": event.mined.envelope.txid,
    }


def _page(chain: Chain, path: str, query: Mapping[str, str], rows: list[_Event], view: Callable[[_Event], dict[str, Any]]) -> dict[str, Any]:
    """A page of at most `limit` rows; `fingerprint` names the row after which the next one begins."""
    limit = _number(query, "limit", _LIMIT)
    if not 0 < limit <= _MOST:
        raise ValueError(f"limit must be 1 to {_MOST}")
    mark = query.get("fingerprint")
    start = _after(rows, mark) if mark else 0
    page = rows[start : start + limit]
    meta: dict[str, Any] = {"at": chain.now() * 1000, "page_size": len(page)}
    if start + limit < len(rows):
        meta["fingerprint"] = _mark(rows, start + limit - 1)
        meta["links"] = {"next": f"{path}?{urlencode({**query, 'fingerprint': meta['fingerprint']})}"}
    return {"data": [view(each) for each in page], "success": True, "meta": meta}


def _mark(rows: list[_Event], at: int) -> str:
    """A name for a row that newer rows do not change: its transaction, and which of that transaction's rows, which stand together, it is."""
    txid, first = rows[at].mined.envelope.txid, at
    while first and rows[first - 1].mined.envelope.txid == txid:
        first -= 1
    return f"{txid}-{at - first}"


def _after(rows: list[_Event], mark: str) -> int:
    """Where the rows behind a mark begin; raises ValueError for one that is none."""
    txid, _, which = mark.partition("-")
    first = next((at for at, each in enumerate(rows) if each.mined.envelope.txid == txid), None)
    if first is None or not (which.isascii() and which.isdigit() and len(which) < 9):
        raise ValueError("invalid fingerprint")
    at = first + int(which)
    if at >= len(rows) or rows[at].mined.envelope.txid != txid:
        raise ValueError("invalid fingerprint")
    return at + 1
