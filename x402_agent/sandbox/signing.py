"""How the pretend seller signs its offers and receipts: with the key that is paid, as EIP-712 or as JWS.

Source: x402 "Offer and Receipt Extension", sections 4 and 5; RFC 8812 (ES256K).
"""

from __future__ import annotations

import base64
import hashlib
import time
from typing import TYPE_CHECKING, Any

from ..dialects.strict import compact
from ..evidence.signed import digest
from .evm import NETWORK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..evidence.signed import Kind
    from ..primitives import EvmKey
    from .routes import Route

__all__ = ["EXTENSION", "offers", "receipt"]

EXTENSION = "offer-receipt"
LIFETIME = 300


def offers(route: Route, key: EvmKey, url: str, accepts: list[dict[str, Any]]) -> dict[str, Any]:
    """The extension of a 402: one signed offer for each entry of `accepts`."""
    made = []
    for index, entry in enumerate(accepts):
        terms = {
            "version": 1, "resourceUrl": url, "scheme": entry["scheme"], "network": NETWORK, "asset": entry["asset"],
            "payTo": entry["payTo"], "amount": entry.get("amount") or entry["maxAmountRequired"],
            "validUntil": int(time.time()) + LIFETIME,
        }  # fmt: skip
        made.append({**_signed(key, terms, "offer", route.signed), "acceptIndex": index})
    return {EXTENSION: {"info": {"offers": made}, "schema": {"type": "object"}}}


def receipt(route: Route, key: EvmKey, url: str, settled: Mapping[str, Any]) -> dict[str, Any]:
    """The extension of a SettleResponse: that this payer paid for this URL."""
    terms = {
        "version": 1, "network": NETWORK, "resourceUrl": url, "payer": settled["payer"], "issuedAt": int(time.time()),
        "transaction": settled["transaction"],
    }  # fmt: skip
    return {EXTENSION: {"info": {"receipt": _signed(key, terms, "receipt", route.signed)}}}


def _signed(key: EvmKey, terms: dict[str, Any], kind: Kind, how: str) -> dict[str, Any]:
    if how == "eip712":
        return {"format": "eip712", "payload": terms, "signature": "0x" + key.sign(digest(terms, kind)).hex()}
    header = {"alg": "ES256K", "kid": f"did:pkh:{NETWORK}:{key.address}"}
    text = f"{_text64(compact(header))}.{_text64(compact(terms))}"
    signature = key.sign(hashlib.sha256(text.encode()).digest())[:64]
    return {"format": "jws", "signature": f"{text}.{_base64url(signature)}"}


def _text64(text: str) -> str:
    return _base64url(text.encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
