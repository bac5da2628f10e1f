"""TronGrid's API as a monitor asks it: what is solid, and which USDT came to an address. Every row is read strictly."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlencode

from ..messages import Request

if TYPE_CHECKING:
    from ..ground import Ground

__all__ = ["PAGE", "Grid", "Transfer", "Unanswered", "Walk"]

PAGE = 200  # rows: TronGrid's most
_HASH = re.compile(r"[0-9a-f]{64}").fullmatch
_DIGITS = re.compile(r"[0-9]{1,78}").fullmatch


class Unanswered(Exception):
    """TronGrid gave no answer that can be used."""


class Transfer(NamedTuple):
    """USDT that came: `place` tells the transfers of one transaction apart, `amount` in atomic units, `stamp` of the block in milliseconds."""

    tx: str
    place: int
    sender: str
    to: str
    amount: int
    stamp: int


class Grid:
    """Over a ground's TronGrid. `asked` counts requests."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.token = ground.asset.address
        self.asked = 0

    def solid(self) -> int:
        """The time of the newest block that nothing can undo, in milliseconds; raises Unanswered."""
        found = self._ask("POST", "/walletsolidity/getnowblock")
        try:
            return int(found["block_header"]["raw_data"]["timestamp"])
        except (LookupError, TypeError, ValueError):
            raise Unanswered("no solid block") from None

    def page(self, wallet: str, since: int, fingerprint: str, *, limit: int = PAGE) -> tuple[list[dict[str, Any]], str]:
        """Solid transfers of USDT to a wallet since a time (milliseconds), oldest first, and where the next page begins; raises Unanswered."""
        query = {
            "only_confirmed": "true", "only_to": "true", "contract_address": self.token, "min_timestamp": str(since),
            "order_by": "block_timestamp,asc", "limit": str(limit), **({"fingerprint": fingerprint} if fingerprint else {}),
        }  # fmt: skip
        found = self._ask("GET", f"/v1/accounts/{wallet}/transactions/trc20", urlencode(query))
        rows, meta = found.get("data"), found.get("meta")
        if not isinstance(rows, list) or not isinstance(meta, dict):
            raise Unanswered("no page")
        return rows, str(meta.get("fingerprint") or "")

    def _ask(self, method: str, path: str, query: str = "") -> dict[str, Any]:
        self.asked += 1
        try:
            answer = self._ground.answer(Request(method, "http://trongrid", f"{self._ground.node_path}{path}", query=query))
            found = json.loads(b"".join(answer.chunks)) if answer and answer.status == 200 else None
        except (ValueError, LookupError, TypeError) as cause:
            raise Unanswered(str(cause)[:200]) from None
        if not isinstance(found, dict):
            raise Unanswered(f"{path}: {answer.status if answer else 404}")
        return found


class Walk:
    """The pages of one wallet's transfers, one after another, in as many polls as it takes."""

    def __init__(self, grid: Grid, wallet: str, since: int, upto: int) -> None:
        self._grid, self._wallet, self._since = grid, wallet, since
        self.upto = upto  # what became solid later is the next walk's
        self.seen = 0
        self.done = False
        self._fingerprint = ""
        self._rows: Counter[str] = Counter()

    def step(self) -> list[Transfer]:
        """The transfers of the next page; raises Unanswered, and begins anew then."""
        rows, self._fingerprint = self._grid.page(self._wallet, self._since, self._fingerprint)
        self.done = not self._fingerprint or not rows
        self.seen += len(rows)
        return [each for each in map(self._read, rows) if each is not None]

    def _read(self, row: Any) -> Transfer | None:
        """A row that is a transfer of USDT to the wallet; None for whatever else stands there."""
        try:
            tx, token, value, stamp = row["transaction_id"], row["token_info"]["address"], row["value"], row["block_timestamp"]
            sender, to, kind = row["from"], row["to"], row["type"]
        except (LookupError, TypeError):
            return None
        if not (isinstance(tx, str) and _HASH(tx) and isinstance(value, str) and _DIGITS(value) and type(stamp) is int):
            return None
        place = self._rows[tx]
        self._rows[tx] += 1
        if (kind, to, token) != ("Transfer", self._wallet, self._grid.token) or not isinstance(sender, str):
            return None
        return Transfer(tx, place, sender, to, int(value), stamp)
