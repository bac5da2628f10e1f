"""Sellers on Stacks that speak older words than x402 v2: the first body of x402-stacks, and the foundation's draft.

`/v1/stx`, `/v1/sbtc`, `/v1/usdcx`: a bare 402 body, the transaction itself in X-PAYMENT. `/draft/stx`, `/draft/usdcx`:
`accepts` of version 1 with `extra.nonce`, the payload's `signedTransaction`. Each challenge has a nonce that the memo
must be, for five minutes, once. Sources: npm x402-stacks 1.1.1; the draft `scheme_exact_stacks.md`.
"""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from ..messages import decode64, encode64, json_answer
from ..refusals import Refused
from .chain import NETWORK
from .facilitator import asset_id, token_named
from .till import Wanted, decode

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...model import Asset
    from ..messages import Answer, Request
    from .signed import Signed
    from .till import Till

__all__ = ["Classic"]

LIFETIME = 300  # seconds that a challenge may be answered
_PRICES = {"stx": ("STX", 10_000), "sbtc": ("sBTC", 20), "usdcx": ("USDCx", 10_000)}
_GOODS = {"joke": "A joke in older words is still a joke."}


class _Asked(NamedTuple):
    path: str
    expires: int
    paid: str = ""  # the id of the transaction that did


class Classic:
    """`now` gives the chain's time, unix seconds. Thread-safe."""

    def __init__(self, till: Till, pay_to: str, now: Callable[[], int]) -> None:
        self._till = till
        self._pay_to = pay_to
        self._now = now
        self._lock = threading.Lock()
        self._asked: dict[str, _Asked] = {}

    def answer(self, request: Request) -> Answer | None:
        """The 402, the goods, or None for a path that is not one of these."""
        kind, _, name = request.path.removeprefix("/").partition("/")
        if kind not in ("v1", "draft") or name not in _PRICES:
            return None
        symbol, price = _PRICES[name]
        token, header = token_named(symbol), request.headers.get("x-payment")
        ask = self._body if kind == "v1" else self._draft
        if header is None:
            return json_answer(402, ask(request, token, price))
        try:
            tx = self._first(request, header, symbol) if kind == "v1" else _drafted(header)
            nonce = _memo(tx)
            wanted = Wanted(asset_id(token), self._pay_to, price, f"{request.path} {nonce}", nonce)
            with self._lock:
                self._check(request.path, nonce, tx.txid)
                taken = self._till.take(tx, wanted)
                self._asked[nonce] = self._asked[nonce]._replace(paid=tx.txid)
        except Refused as refused:
            pending = refused.code == "transaction_pending"
            said = {
                "error": refused.code,
                "details": refused.words,
                "paymentStatus": "pending" if pending else "failed",
            }
            return json_answer(402, ask(request, token, price) | said)
        row = taken.row
        receipt: dict[str, Any] = {"txId": row.tx, "status": "success", "blockHeight": row.block}
        if kind == "draft":
            receipt = {"success": True, "tx_id": row.tx, "sender_address": row.payer, "status": "confirmed"}
            receipt |= {"block_height": row.block, "network": NETWORK}
        return json_answer(200, _GOODS, ("X-PAYMENT-RESPONSE", encode64(receipt)))

    def _check(self, path: str, nonce: str, txid: str) -> None:
        """Whether the challenge may be answered; what has answered it may do so for ever."""
        asked = self._asked.get(nonce)
        if asked is None or asked.path != path:
            raise Refused("unknown_nonce", "the memo is no nonce of a challenge")
        if asked.paid not in ("", txid):
            raise Refused("challenge_used")
        if not asked.paid and asked.expires < self._now():
            raise Refused("challenge_expired")

    def _challenge(self, request: Request) -> tuple[str, str]:
        nonce, expires = secrets.token_hex(16), self._now() + LIFETIME
        with self._lock:
            self._asked[nonce] = _Asked(request.path, expires)
        return nonce, datetime.fromtimestamp(expires, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def _body(self, request: Request, token: Asset, price: int) -> dict[str, Any]:
        nonce, expires = self._challenge(request)
        body = {"maxAmountRequired": str(price), "resource": request.path, "payTo": self._pay_to}
        return body | {"network": "testnet", "nonce": nonce, "expiresAt": expires} | _contract(token)

    def _draft(self, request: Request, token: Asset, price: int) -> dict[str, Any]:
        nonce, expires = self._challenge(request)
        entry = {
            "scheme": "exact",
            "network": NETWORK,
            "maxAmountRequired": str(price),
            "asset": token.id.partition("/")[2],
            "payTo": self._pay_to,
            "resource": request.url,
            "description": "a joke",
            "mimeType": "application/json",
            "maxTimeoutSeconds": LIFETIME,
            "extra": {"nonce": nonce, "expiresAt": expires, "tokenType": token.symbol, **_contract(token)},
        }
        return {"x402Version": 1, "error": "payment required", "accepts": [entry]}

    @staticmethod
    def _first(request: Request, header: str, symbol: str) -> Signed:
        if request.headers.get("x-payment-token-type", "STX").lower() != symbol.lower():
            raise Refused("token_type_mismatch", f"this costs {symbol}")
        return decode(header)


def _drafted(header: str) -> Signed:
    """The transaction of the draft's payload."""
    try:
        sent = decode64(header)
    except ValueError:
        raise Refused("invalid_payload", "X-PAYMENT is not base64 of JSON") from None
    inner = sent.get("payload") if isinstance(sent, dict) else None
    if not isinstance(inner, dict) or (sent.get("scheme"), sent.get("network")) != ("exact", NETWORK):
        raise Refused("invalid_payload", "not scheme exact on this network, or no payload")
    return decode(inner.get("signedTransaction"))


def _memo(tx: Signed) -> str:
    found = getattr(tx.payload, "memo", None)
    if found is None:
        last = (tx.payload.arguments or (None,))[-1]  # type: ignore[union-attr]
        found = last.value.value if last is not None and last.kind == "some" else b""
    return bytes(found).rstrip(b"\0").decode("utf-8", "replace") if isinstance(found, bytes) else ""


def _contract(token: Asset) -> dict[str, Any]:
    """`tokenType` and `tokenContract`, nothing for STX."""
    if token.native:
        return {}
    address, _, name = token.address.partition(".")
    return {"tokenType": token.symbol, "tokenContract": {"address": address, "name": name}}
