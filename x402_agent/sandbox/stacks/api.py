"""The HTTP that Stacks clients speak to a node and to Hiro's API, answered by the double.

Source: the OpenAPI of hirosystems/stacks-blockchain-api and of stacks-core, as far as clients use it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ...chains.stacks import Reader, Transfer
from ...chains.stacks.payloads import read_payload
from ...encodings import unc32_address
from ..messages import Answer, Request, json_answer
from .chain import CHAIN_ID
from .pool import Rejected
from .signed import Malformed
from .values import Value
from .views import account_view, balances_view, nonces_view, transaction_view

if TYPE_CHECKING:
    from collections.abc import Callable

    from .chain import Chain

__all__ = ["Api"]

_RATES = (2, 4, 8)  # microSTX per byte: what a slow, a usual and a fast transaction pay
_NAMES = r"(S[0-9A-Z]{1,41})/([a-zA-Z0-9_-]{1,40})"


class Api:
    """`handle` answers a request, or says None for a path that is no node's. `estimates` off: NoEstimateAvailable."""

    def __init__(self, chain: Chain) -> None:
        self.estimates = True
        self._chain = chain
        routes: dict[str, Callable[..., Answer]] = {
            r"GET /extended/v1/address/([^/]+)/nonces": self._account(nonces_view),
            r"GET /extended/v1/address/([^/]+)/balances": self._account(balances_view),
            r"GET /extended/v1/address/([^/]+)/transactions": self._history,
            r"GET /v2/accounts/([^/]+)": self._account(account_view),
            r"GET /extended/v1/tx/([^/]+)": self._transaction,
            r"GET /extended/v1/status": lambda _: json_answer(200, {"status": "ready", "chain_tip": self._tip()}),
            r"GET /extended/v2/blocks/latest": lambda _: json_answer(200, self._newest()),
            r"GET /v2/info": lambda _: json_answer(200, self._info()),
            r"GET /v2/fees/transfer": lambda _: json_answer(200, 1),
            r"POST /v2/fees/transaction": self._fee,
            r"POST /v2/transactions": self._submit,
            rf"GET /v2/contracts/interface/{_NAMES}": self._interface,
            rf"POST /v2/contracts/call-read/{_NAMES}/([^/]+)": self._read,
        }
        self._routes = [(re.compile(pattern), answer) for pattern, answer in routes.items()]

    def handle(self, request: Request) -> Answer | None:
        """The answer of the node; None where the path is not one of a node's."""
        asked = f"{request.method} {request.path}"
        for pattern, answer in self._routes:
            found = pattern.fullmatch(asked)
            if found:
                try:
                    return answer(request, *found.groups())
                except (ValueError, LookupError, TypeError) as cause:
                    return json_answer(400, {"error": str(cause)[:300]})
        return None

    def _account(self, view: Callable[[Chain, str], Any]) -> Callable[[Request, str], Answer]:
        def answer(_request: Request, who: str) -> Answer:
            try:
                unc32_address(who.partition(".")[0])
            except ValueError:
                return json_answer(400, {"error": f"invalid STX address: {who[:64]}"})
            return json_answer(200, view(self._chain, who))

        return answer

    def _history(self, request: Request, who: str) -> Answer:
        """Newest first, `limit` (50 at most) from `offset` on."""
        query = {
            name: int(values[0]) for name, values in parse_qs(request.query).items() if name in ("limit", "offset")
        }
        limit, offset = min(max(query.get("limit", 20), 0), 50), max(query.get("offset", 0), 0)

        def page(chain: Chain, account: str) -> dict[str, Any]:
            found = [each for each in chain.history(account) if each.mined]
            rows = [transaction_view(chain, each) for each in found[offset : offset + limit]]
            return {"limit": limit, "offset": offset, "total": len(found), "results": rows}

        return self._account(page)(request, who)

    def _transaction(self, _request: Request, txid: str) -> Answer:
        if not re.fullmatch("(0x)?[0-9a-fA-F]{64}", txid):
            return json_answer(400, {"error": "invalid tx_id"})
        entry = self._chain.entry(txid)
        if entry is None:
            return json_answer(404, {"error": f"could not find transaction by ID {txid.lower()}"})
        return json_answer(200, transaction_view(self._chain, entry))

    def _tip(self) -> dict[str, Any]:
        head = self._chain.head()
        return {"block_height": head.height, "block_hash": head.hash, "burn_block_height": head.height // 10}

    def _newest(self) -> dict[str, Any]:
        head = self._chain.head()
        return {"canonical": True, "height": head.height, "hash": head.hash, "block_time": head.timestamp, "tx_count": 1}

    def _info(self) -> dict[str, Any]:
        head = self._chain.head()
        return {
            "peer_version": 4207599105,
            "burn_block_height": head.height // 10,
            "network_id": CHAIN_ID,
            "parent_network_id": 3669344250,
            "stacks_tip_height": head.height,
            "stacks_tip": head.hash[2:],
            "server_version": "x402-agent sandbox",
            "is_fully_synced": True,
        }

    def _fee(self, request: Request) -> Answer:
        body = request.json()
        payload = bytes.fromhex(str(body["transaction_payload"]).removeprefix("0x"))
        kind = read_payload(payload)
        if not self.estimates:
            data = {"message": "No estimate available for the provided payload."}
            named = {"reason": "NoEstimateAvailable", "reason_data": data}
            return json_answer(400, {"error": "Estimation could not be performed"} | named)
        size = body.get("estimated_len") or len(payload) + 120
        runtime = 0 if isinstance(kind, Transfer) else 5_000
        return json_answer(
            200,
            {
                "estimated_cost_scalar": size,
                "cost_scalar_change_by_byte": 0.00476837158203125,
                "estimated_cost": {
                    "read_count": 0,
                    "read_length": 0,
                    "runtime": runtime,
                    "write_count": 0,
                    "write_length": 0,
                },
                "estimations": [{"fee": size * rate, "fee_rate": float(rate)} for rate in _RATES],
            },
        )

    def _submit(self, request: Request) -> Answer:
        """Raw bytes, or `{"tx": hex}`."""
        raw = request.body
        if request.headers.get("content-type", "").startswith("application/json"):
            raw = bytes.fromhex(str(request.json()["tx"]).removeprefix("0x"))
        try:
            return json_answer(200, self._chain.submit(raw)[2:])
        except Malformed as cause:
            data = {"message": str(cause)}
            return json_answer(
                400, {"error": "transaction rejected", "reason": "Deserialization", "reason_data": data, "txid": ""}
            )
        except Rejected as rejected:
            return json_answer(400, rejected.view(self._chain.name(raw)))

    def _interface(self, _request: Request, address: str, name: str) -> Answer:
        found = self._chain.contract(f"{address}.{name}")
        if found is None:
            return Answer(404, (("content-type", "text/plain"),), (b"No contract interface data found",))
        return json_answer(200, found.interface())

    def _read(self, request: Request, address: str, name: str, function: str) -> Answer:
        body = request.json()
        args = [_value(each) for each in body["arguments"]]
        try:
            result = self._chain.ask(f"{address}.{name}", function, str(body["sender"]), args)
        except LookupError as cause:
            return json_answer(200, {"okay": False, "cause": f"Unchecked(NoSuchPublicFunction): {cause}"})
        return json_answer(200, {"okay": True, "result": "0x" + result.wire().hex()})


def _value(text: str) -> Value:
    reader = Reader(bytes.fromhex(text.removeprefix("0x")))
    value = reader.value()
    reader.end()
    return value
