"""A client that is knowingly broken: it signs whatever each 402 asks for, as long as it is asked. Only for test_control.py.

If the rows do not fail it, they do not test anything.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any

import httpx

from x402_agent.primitives import EvmKey, keccak

if TYPE_CHECKING:
    from hostile.arena import Arena, Case

KEY = EvmKey(b"\x01" * 32)
PATIENCE = 8  # times that it pays in one request
DOMAIN = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
TRANSFER = (
    b"TransferWithAuthorization(address from,address to,uint256 value,"
    b"uint256 validAfter,uint256 validBefore,bytes32 nonce)"
)


def word(value: int | str) -> bytes:
    number = int(value, 16) if isinstance(value, str) else value
    return number.to_bytes(32, "big")


def offer_of(reply: httpx.Response) -> dict[str, Any]:
    """The first entry, whatever it is."""
    if header := reply.headers.get("payment-required"):
        document = json.loads(base64.b64decode(header))
    else:
        document = json.loads(reply.read())
    found: dict[str, Any] = document["accepts"][0]
    return found


def sign(offer: dict[str, Any]) -> dict[str, Any]:
    """What the seller dictates: domain, amount, recipient, lifetime, nonce."""
    extra = offer.get("extra") or {}
    chain = int(extra.get("chainId") or re.sub(r"\D", "", offer["network"].rpartition(":")[2]) or 84532)
    token = extra.get("verifyingContract") or offer["asset"]
    now = int(time.time())
    nonce = extra.get("nonce") or "0x" + secrets.token_hex(32)
    value = int(offer.get("amount") or offer["maxAmountRequired"])
    ends = now + int(offer["maxTimeoutSeconds"])
    names = keccak(extra.get("name", "USDC").encode()), keccak(extra.get("version", "2").encode())
    domain = keccak(keccak(DOMAIN) + b"".join(names) + word(chain) + word(token))
    fields = [word(KEY.address), word(offer["payTo"]), word(value), word(now - 600), word(ends), word(nonce)]
    signature = KEY.sign(keccak(b"\x19\x01" + domain + keccak(keccak(TRANSFER) + b"".join(fields))))
    authorization = {
        "from": KEY.address, "to": offer["payTo"], "value": str(value), "validAfter": str(now - 600),
        "validBefore": str(ends), "nonce": nonce,
    }  # fmt: skip
    return {"signature": "0x" + signature.hex(), "authorization": authorization}


def call(arena: Arena, case: Case, url: str) -> Any:
    """`case.times` requests, each paid as often as it is asked; proofs travel along redirects."""
    request = {name: value for name, value in case.request.items() if name in ("headers", "timeout")}
    with httpx.Client(timeout=request.pop("timeout", 2.0), follow_redirects=True, **arena.client_options) as client:
        for _ in range(case.times):
            reply = client.get(url, **request)
            for _ in range(PATIENCE):
                if reply.status_code not in (402, 429, 503):
                    break
                if reply.status_code == 402:
                    proof = {"x402Version": 2, "payload": sign(offer_of(reply))}
                    packed = base64.b64encode(json.dumps(proof).encode()).decode()
                reply = client.get(reply.url, headers={"payment-signature": packed, **request.get("headers", {})})
    return reply
