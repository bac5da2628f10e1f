"""One 402 made of any bytes, all the way to the header that would leave: what both fuzzers call.

Nothing may come out but a Challenge, None or ChallengeInvalid, soon; and whatever is signed for it is made of our own
tables and limits, not of the seller's text.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from typing import TYPE_CHECKING

import httpx

from x402_agent.chains.evm import Evm
from x402_agent.dialects import strict
from x402_agent.dialects.x402 import X402
from x402_agent.errors import ChallengeInvalid, SigningFailed
from x402_agent.model import Ask, Challenge, Hold
from x402_agent.policy import Policy, choose
from x402_agent.primitives import recover
from x402_agent.steps import MAX_BODY, Reply
from x402_agent.wallet import KeySigner

if TYPE_CHECKING:
    from x402_agent.model import Offer

ASK = Ask("GET", "https://api.example.com/", "https://api.example.com", "api.example.com", "/")
HONEST = (
    b'{"x402Version":2,"error":"pay","resource":{"url":"https://api.example.com/"},"accepts":[{"scheme":"exact",'
    b'"network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":'
    b'"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}],'
    b'"extensions":{"payment-identifier":{"info":{"required":false},"schema":{}}}}'
)
OLDER = (
    b'{"x402Version":1,"error":"pay","accepts":[{"scheme":"exact","network":"base-sepolia","maxAmountRequired":"10000",'
    b'"asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C",'
    b'"resource":"https://api.example.com/","description":"","mimeType":"","maxTimeoutSeconds":60,"extra":null}]}'
)
WAYS = ("header", "raw header", "two headers", "body", "gzip", "deflate", "raw deflate", "half", "text coding")
NOW = 1_800_000_000
SECONDS = 8.0  # of the wall: quadratic work on 200 kB takes minutes
_X402, _EVM, _SIGNER = X402(), Evm(), KeySigner("0x" + "01" * 32)
_POLICY = Policy(networks=("testnet",))


def reply(way: str, data: bytes) -> Reply:
    """The 402 that carries these bytes in this way."""
    packed = base64.b64encode(data)
    headers: list[tuple[bytes, bytes]] = []
    body = b""
    if way == "header":
        headers = [(b"PAYMENT-REQUIRED", packed)]
    elif way == "raw header":
        headers = [(b"PAYMENT-REQUIRED", data)]
    elif way == "two headers":
        headers = [(b"PAYMENT-REQUIRED", packed), (b"Payment-Required", packed[::-1])]
    elif way in ("gzip", "deflate", "raw deflate"):
        squeezer = zlib.compressobj(wbits={"gzip": 31, "deflate": 15}.get(way, -15))
        body = squeezer.compress(data) + squeezer.flush()
        headers = [(b"content-encoding", way.rpartition(" ")[2].encode())]
    elif way == "text coding":
        headers, body = [(b"content-encoding", data[:20])], data
    else:
        body = data
    return Reply(402, httpx.Headers(headers), body[:MAX_BODY], complete=way != "half" and len(body) <= MAX_BODY)


def exchange(way: str, data: bytes) -> str:
    """Read, choose, sign, present, and read the same bytes as a receipt. -> what came of it, in a word."""
    start = time.monotonic()
    asked = reply(way, data)
    _X402.receipt(Reply(200, httpx.Headers([("payment-response", base64.b64encode(data).decode())])), None)  # type: ignore[arg-type]
    try:
        found = _X402.read(asked, ASK)
    except ChallengeInvalid as why:
        assert why.rule
        assert (why.what + why.rule).isprintable()
        word = "invalid"
    else:
        word = "untouched" if found is None else _paid(found)
    assert time.monotonic() - start < SECONDS
    return word


def decode(data: bytes) -> None:
    """The two smallest parsers alone."""
    for parser in (lambda: strict.parse(data), lambda: strict.decode64(data.decode("latin-1"))):
        try:
            parser()
        except ChallengeInvalid as why:
            assert why.what.isprintable()


def _paid(challenge: Challenge) -> str:
    account = _SIGNER.address("eip155")
    choice = choose(_POLICY, ASK, challenge, lambda offer: _EVM.refuses(offer, account), lambda offer: offer.method)
    if choice.offer is None:
        assert choice.error is not None
        assert str(choice.error).replace("\n", "").isprintable()
        return "refused"
    offer = choice.offer
    terms = _EVM.terms(offer, account, now=NOW, nonce=b"\x07" * 32, max_lifetime=600)
    try:
        proof = _EVM.prove(offer, terms, _SIGNER)
    except SigningFailed:
        return "unsigned"
    _harmless(offer, proof.payload)
    hold = Hold("0" * 16, ASK, offer, terms, (), "INFLIGHT", identifier="pay_" + "0" * 32)
    steps = _X402.present(hold, proof)
    try:
        next(steps)
    except StopIteration as done:
        ((_, value),) = done.value.headers.items()
        assert len(value) < 128 * 1024
        assert json.loads(base64.b64decode(value))["payload"] == proof.payload
    return "paid"


def _harmless(offer: Offer, payload: dict[str, object]) -> None:
    made = payload["authorization"]
    assert isinstance(made, dict)
    assert 0 < int(made["value"]) == offer.amount <= _POLICY.per_call
    assert NOW < int(made["validBefore"]) <= NOW + 600
    assert int(made["validAfter"]) == NOW - 600
    assert made["nonce"] == "0x" + "07" * 32
    assert offer.asset.network.testnet
    from x402_agent.chains.evm.eip3009 import digest

    window = int(made["validAfter"]), int(made["validBefore"])
    message = digest(offer.asset.id, made["from"], made["to"], offer.amount, window, b"\x07" * 32)
    assert recover(message, bytes.fromhex(str(payload["signature"])[2:])) == _SIGNER.address("eip155")
