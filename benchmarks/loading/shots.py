"""Paid requests made before the clock runs: for each seller of each dialect, as its own payers would make them.

A row's `made` gets a sandbox and says how many requests it is to make; each shows a payment of its own (a signed proof, a transaction
that is on the chain already), or a token with calls left, and is to be answered 200 (201 where something is created).
"""

from __future__ import annotations

import itertools
import json
import secrets
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
from loading import lily_shots as lily
from loading.calls import CALLER, Shot, called, solana_paid

from x402_agent.chains import builtin as chains
from x402_agent.chains.stacks import ALLOW, Transfer
from x402_agent.dialects import builtin as dialects
from x402_agent.dialects.x402 import X402
from x402_agent.model import NO_ANCHOR, QUOTA, Anchor, Ask, Hold
from x402_agent.sandbox.messages import Request
from x402_agent.sandbox.stacks.accounts import Account
from x402_agent.sandbox.stacks.facilitator import asset_id
from x402_agent.sandbox.token import raw_address
from x402_agent.steps import Reply
from x402_agent.wallet import KeySigner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from x402_agent.model import Offer
    from x402_agent.sandbox import Sandbox

__all__ = ["ROWS", "Row"]

LIFE = 100_000  # seconds for which an authorisation is signed, where the payer may choose
CALLS = 10_000  # that a token of KAMIYO's has: ten dollars
OPEN = 500  # invoices that are open at once
TENANT = 1_500  # verifications of one tenant: 2,000 are allowed a minute
_numbers = itertools.count(1)


class Row(NamedTuple):
    """One line of the table: which seller stands on which chain, and what is shown to it."""

    name: str
    chain: str
    seller: str
    made: Callable[[Any, int], Iterator[Shot]]


# -- x402 and what is spelt like it -----------------------------------------------------------------------------------------


def _offer(box: Sandbox, path: str, origin: str) -> tuple[Offer, Ask]:
    """What is asked for a path, as our own client reads it."""
    request = Request("GET", origin, path, client=CALLER)
    answer = box.app.handle(request)
    reply = Reply(402, httpx.Headers(list(answer.headers)), b"".join(answer.chunks))
    ask = Ask("GET", request.url, request.origin, request.origin.partition("//")[2], path)
    challenge = next(found for dialect in dialects() if (found := dialect.read(reply, ask)) and found.offers)
    return next(each for each in challenge.offers if each.flow != QUOTA), ask


def _holds(box: Sandbox, path: str, count: int, origin: str = "") -> Iterator[tuple[Hold, Any]]:
    """So many proofs of our own client, each with a nonce of its own; on Stacks each from an account of its own."""
    offer, ask = _offer(box, path, origin or box.origin)
    space, now, ground = offer.network.id.partition(":")[0], int(box.ground.now()), _ground(box)
    chain: Any = next(each for each in chains() if each.namespace == space)
    signer, anchor = KeySigner(box.payer_key, space), NO_ANCHOR
    if space != "stacks":
        _purse(box, 2 * offer.amount * count)
    for number in range(count):
        if space == "solana" and number % 100 == 0:
            anchor = Anchor(str(ground.chain.blockhash()[0]))
        elif space == "stacks":
            key = secrets.token_bytes(32)
            signer, anchor = KeySigner(key, space), Anchor("fee=2000", 0, 2000)
            account = Account(key).address
            ground.chain.endow("STX", account, 10_000)
            ground.chain.endow(asset_id(ground.asset), account, offer.amount)
        terms = chain.terms(offer, signer.address(space), now=now, nonce=secrets.token_bytes(32), max_lifetime=LIFE, anchor=anchor)
        yield Hold("load", ask, offer, terms), chain.prove(offer, terms, signer)


def _ground(box: Sandbox) -> Any:
    return box.ground


def _purse(box: Sandbox, amount: int) -> None:
    """So much more for the payer, and allowances for as much."""
    box.fund(box.payer_address, max(amount, 1_000_000))
    ground = _ground(box)
    if ground.name == "tron":
        from x402_agent.sandbox.tron.contracts import PAYMENT_PERMIT, PERMIT2

        for spender in (PAYMENT_PERMIT, PERMIT2):
            ground.contracts.approve(ground.payer, spender, 10**15)
        ground.chain.endow(raw_wallet(box.payer_address), 10**15)  # sun: transfers of the payer's own burn some


def _presented(hold: Hold, proof: Any) -> dict[str, str]:
    """The header lines of a proof, as our dialect writes them."""
    try:
        next(X402().present(hold, proof))
    except StopIteration as told:
        return dict(told.value.headers)
    raise RuntimeError("presenting a signed proof asks nobody")


def _x402(path: str) -> Callable[[Sandbox, int], Iterator[Shot]]:
    """A header for each request of a path."""

    def made(box: Sandbox, count: int) -> Iterator[Shot]:
        for hold, proof in _holds(box, path, count):
            yield "GET", path, _presented(hold, proof), ""

    return made


def _tool(box: Sandbox, count: int) -> Iterator[Shot]:
    """A call of a tool of MCP, paid in `_meta`."""
    said: Any = called(box, "POST", "/mcp", _call(0, {"name": "joke"}))["result"]["structuredContent"]
    lines = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", "MCP-Protocol-Version": "2025-11-25"}
    for number, (_, proof) in enumerate(_holds(box, "/mcp/joke", count, "mcp://tool"), 1):
        payment = {"x402Version": 2, "resource": said["resource"], "accepted": said["accepts"][0], "payload": dict(proof.payload)}
        yield "POST", "/mcp", lines, json.dumps(_call(number, {"name": "joke", "arguments": {}, "_meta": {"x402/payment": payment}}))


def _call(number: int, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}


# -- KAMIYO -----------------------------------------------------------------------------------------------------------------


def _moved(box: Sandbox, amount: int) -> str:
    """A transfer to the seller, on its chain."""
    ground = _ground(box)
    if ground.name == "evm":
        return str(ground.token.transfer(ground.payer, raw_address(box.pay_to), amount).hash)
    return solana_paid(box, ground.payer, amount)


def _transactions(box: Sandbox, count: int, amount: int = 100_000) -> list[str]:
    """So many payments on the chain, as deep as anybody wants them."""
    _purse(box, 2 * amount * count)
    if box.ground.name == "solana":
        _ground(box).chain.endow(_ground(box).payer.pubkey(), 10**9 + 10_000 * count)
    made = [_moved(box, amount) for _ in range(count)]
    box.mine(64)
    return made


def _kamiyo_transactions(box: Sandbox, count: int) -> Iterator[Shot]:
    """A transaction for each request, seen by the seller for the first time."""
    for tx in _transactions(box, count):
        yield "GET", "/exploits", {"x-payment-tx": tx, "x-payment-chain": box.ground.networks[1]}, ""


def _kamiyo_tokens(box: Sandbox, count: int) -> Iterator[Shot]:
    """Tokens, each with calls left for its share of the requests."""
    held = max(4, -(-count // CALLS))
    tokens = []
    for tx in _transactions(box, held, CALLS * 1_000):
        box.warp(61)  # five verifications are allowed a minute
        bought = called(box, "POST", "/x402/verify-payment", {"tx_hash": tx, "chain": box.ground.networks[1]})
        tokens.append(called(box, "POST", f"/x402/generate-token/{bought['payment_id']}")["payment_token"])
    for number in range(count):
        yield "GET", "/exploits", {"x-payment-token": tokens[number % held]}, ""


def _verifications(box: Sandbox, count: int) -> Iterator[Shot]:
    """The verification service: a transaction for each request, tenants enough for its limits."""
    seller: Any = box.seller
    chain, key = box.ground.networks[1], ""
    for number, tx in enumerate(_transactions(box, count)):
        if number % TENANT == 0:
            key = seller.saas.tenants.create(f"t{next(_numbers)}@example.test", "enterprise")[1]
        yield "POST", "/api/v1/x402/verify", _json(Authorization=f"Bearer {key}"), json.dumps({"tx_hash": tx, "chain": chain})


def _json(**lines: str) -> dict[str, str]:
    return {"Content-Type": "application/json", **lines}


# -- x402Pay ----------------------------------------------------------------------------------------------------------------

ARTICLE = "/articles/paying-by-transfer"


def _stacks_paid(box: Sandbox, count: int) -> Iterator[tuple[str, str]]:
    """For each a nonce of its own 402, and the transfer that pays it."""
    ground = _ground(box)
    ground.chain.endow("STX", ground.payer_address, 200_000 * count)
    nonce = ground.chain.nonce(ground.payer_address)
    for number in range(count):
        asked = called(box, "GET", ARTICLE)["payment"]
        signed = ground.payer.sign(Transfer(box.pay_to, 100_000, asked["nonce"].encode()), nonce + number, 2_000, mode=ALLOW)
        yield asked["nonce"], ground.chain.submit(signed.wire())


def _x402pay_transactions(box: Sandbox, count: int) -> Iterator[Shot]:
    """A transfer of STX for each request."""
    for nonce, tx in _stacks_paid(box, count):
        yield "GET", ARTICLE, {"x-payment-proof": tx, "x-payment-nonce": nonce}, ""


def _x402pay_tokens(box: Sandbox, count: int) -> Iterator[Shot]:
    """One token that opens an article for a time."""
    seller: Any = box.seller
    (nonce, tx) = next(_stacks_paid(box, 1))
    body = {"txId": tx, "contentId": ARTICLE.rpartition("/")[2], "nonce": nonce}
    token = called(box, "POST", "/v1/payments/verify", body, authorization=f"Bearer {seller.key}")["accessToken"]
    for _ in range(count):
        yield "GET", ARTICLE, {"x-payment-proof": token}, ""


# -- the monitor ------------------------------------------------------------------------------------------------------------


def _invoices(box: Sandbox, count: int) -> Iterator[Shot]:
    """Invoices that were paid and noticed, shown once each."""
    ground = _ground(box)
    _purse(box, 200_000 * count)
    while count > 0:
        asked = [called(box, "GET", "/joke") for _ in range(min(OPEN, count))]
        wallet = raw_wallet(box.pay_to)
        paid = [ground.contracts.transfer(ground.payer, wallet, _micros(each["amount"])).envelope.txid for each in asked]
        box.warp(70)  # until blocks are solid, and a poll comes due
        while any(called(box, "GET", f"/payment_status/{each['payment_id']}")["status"] != "completed" for each in asked):
            box.warp(11)
        for each, tx in zip(asked, paid, strict=True):
            yield "GET", "/joke", {"X-Payment-Id": each["payment_id"], "X-Payment-Transaction": tx}, ""
        count -= len(asked)


def raw_wallet(address: str) -> bytes:
    """A T… address as contracts know it."""
    from x402_agent.sandbox.tron.contracts import raw_address as raw

    return raw(address)


def _micros(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole) * 1_000_000 + int(part.ljust(6, "0"))


def _orders(box: Sandbox, count: int) -> Iterator[Shot]:
    """A merchant's new invoices: nothing is paid, each is a row and a line of the log."""
    for _ in range(count):
        body = {"wallet_address": box.pay_to, "expected_amount_usdt": 12.34, "callback_url": "http://127.0.0.1:9/none", "order_id": f"o{next(_numbers)}"}
        yield "POST", "/create_payment", _json(), json.dumps(body)


ROWS = (
    Row("shop, EVM, v2", "evm", "shop", _x402("/joke")),
    Row("shop, EVM, v1", "evm", "shop", _x402("/v1/joke")),
    Row("shop, Solana, v2", "solana", "shop", _x402("/joke")),
    Row("shop, Solana, v1", "solana", "shop", _x402("/v1/joke")),
    Row("shop, Stacks", "stacks", "shop", _x402("/joke")),
    Row("shop, TRON, exact_permit", "tron", "shop", _x402("/joke")),
    Row("shop, TRON, Permit2", "tron", "shop", _x402("/permit2")),
    Row("kamiyo, EVM, authorisation", "evm", "kamiyo", _x402("/exploits")),
    Row("kamiyo, EVM, transaction", "evm", "kamiyo", _kamiyo_transactions),
    Row("kamiyo, EVM, token", "evm", "kamiyo", _kamiyo_tokens),
    Row("kamiyo, Solana, transaction", "solana", "kamiyo", _kamiyo_transactions),
    Row("kamiyo, Solana, token", "solana", "kamiyo", _kamiyo_tokens),
    Row("kamiyo, EVM, verification service", "evm", "kamiyo", _verifications),
    Row("kamiyo, Solana, verification service", "solana", "kamiyo", _verifications),
    Row("x402pay, transaction", "stacks", "x402pay", _x402pay_transactions),
    Row("x402pay, token", "stacks", "x402pay", _x402pay_tokens),
    Row("monitor, paid invoice", "tron", "monitor", _invoices),
    Row("monitor, new invoice", "tron", "monitor", _orders),
    Row("lily, session", "solana", "lily", lily.sessions),
    Row("lily, proof", "solana", "lily", lily.proofs),
    Row("lily, credits", "solana", "lily", lily.credits),
    Row("mcp, EVM", "evm", "mcp", _tool),
    Row("catalogue, EVM", "evm", "catalogue", _x402("/joke")),
)
