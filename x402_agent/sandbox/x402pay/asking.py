"""What this seller asks for a piece of content: four spellings of one 402. It judges nothing.

PRD: `amount` in whole tokens as decimal text. OpenAPI, gateway: the smallest unit of the chain, as text. Bearer: whole tokens, a number.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ...encodings import c32_address, unc32_address
from ..messages import encode64, json_answer
from ..stacks.facilitator import token_named
from .sight import Unpaid, Wanted

if TYPE_CHECKING:
    from ...model import Asset
    from ..messages import Answer
    from ..stacks.ground import StacksGround
    from .content import Piece
    from .crowd import Visitor
    from .quirks import Quirks
    from .store import Store

__all__ = ["API", "GATEWAY", "VERIFY", "Asking", "path_of", "whole"]

API = {"premium-data": "/api/premium-data", "ai-generate": "/api/ai/generate"}  # what is no article
GATEWAY = "/functions/v1/x402-gateway"
VERIFY = "/api/x402/verify"
_CONTRACTS = {"two": "revenue-split-two", "four": "revenue-split", "payers": "revenue-split-payers"}


def path_of(content: str) -> str:
    """Where a piece of content is."""
    return API.get(content, f"/articles/{content}")


def whole(units: int, asset: Asset) -> str:
    """The smallest unit as a decimal text in whole tokens, of at least two places."""
    before, after = divmod(units, 10**asset.decimals)
    return f"{before}.{f'{after:0{asset.decimals}d}'.rstrip('0').ljust(2, '0')}"


class Asking:
    """It counts how often each piece was asked for, for the scenarios in which later 402s differ."""

    def __init__(self, ground: StacksGround, store: Store) -> None:
        self._ground, self._store = ground, store
        self._asked: dict[str, int] = {}

    def wanted(self, piece: Piece, quirks: Quirks) -> Wanted:
        """What really has to be paid for a piece: in the scenario's asset, where it is sold for that, by the contract where it is the seller's own. Raises Unpaid."""
        if not piece.prices:
            raise Unpaid("This content costs nothing", "FREE")
        symbol = quirks.asset if quirks.asset in piece.prices else next(iter(piece.prices))
        asset, amount = token_named(symbol), quirks.price or piece.units(symbol)
        kind = quirks.contract if quirks.contract != "own" else piece.contract if asset.native else ""
        sells = kind not in ("", "none") and piece.creator == self._ground.pay_to and quirks.spelling not in ("openapi", "bearer")
        contract = f"{self._ground.pay_to}.{_CONTRACTS[kind]}" if sells else ""
        if contract and asset.native:
            self._ground.publish(piece.id, amount)
        return Wanted(piece.id, amount, asset, self._ground.payer_address if quirks.to_self else piece.creator, contract)

    def required(self, piece: Piece, visitor: Visitor, requester: str, quirks: Quirks) -> Answer:
        """The 402."""
        wanted = self._said(self.wanted(piece, quirks), quirks)
        if quirks.spelling == "gateway":
            return self.gateway(piece, visitor, requester, wanted, quirks)
        if quirks.spelling == "bearer":
            return self.bearer(wanted)
        nonce = self._store.nonce(piece.id, visitor.client, quirks.nonce_life)
        named, symbol = {"contract": wanted.contract} if wanted.contract else {}, wanted.asset.symbol
        prd = {
            "recipient": wanted.recipient, "amount": whole(wanted.amount, wanted.asset), "asset": symbol, "chain": "stacks", **named,
            "nonce": nonce, "signature_required": True,
        }  # fmt: skip
        openapi = {"contentId": piece.id, "amount": str(wanted.amount), "asset": symbol, "recipient": wanted.recipient, "nonce": nonce}
        body: dict[str, Any] = {"error": "Payment Required", "payment": openapi if quirks.spelling == "openapi" else prd}
        return json_answer(402, body if quirks.spelling == "openapi" else body | {"access_after": "instant"}, ("cache-control", "no-store"))

    def initiated(self, piece: Piece, visitor: Visitor, quirks: Quirks) -> Answer:
        """The 402 of POST /payments/initiate: always in the API's own spelling, of which a contract is no part."""
        return self.required(piece, visitor, "", quirks.with_(spelling="openapi"))

    def bearer(self, wanted: Wanted) -> Answer:
        """The 402 of the Next app."""
        price = Decimal(whole(wanted.amount, wanted.asset))
        symbol = wanted.asset.symbol
        body = {
            "error": "Payment required", "code": "PAYMENT_REQUIRED", "paymentEndpoint": VERIFY, "requiredAmount": int(price) if price == int(price) else float(price),
            "currency": symbol, "message": f"This costs {price.normalize():f} {symbol}",
        }  # fmt: skip
        return json_answer(402, body, ("WWW-Authenticate", f'Bearer realm="x402Pay", payment_url="{VERIFY}"'), ("cache-control", "no-store"))

    def gateway(self, piece: Piece, visitor: Visitor, requester: str, wanted: Wanted, quirks: Quirks) -> Answer:
        """The 402 of the gateway: it looks like x402 version 2, and its proof is the id of a transaction."""
        symbol = wanted.asset.symbol
        terms = (wanted.amount, symbol, wanted.recipient, wanted.contract)
        token, expires = self._store.challenge(piece, requester, visitor, terms, quirks.challenge_life)
        network, amount = self._ground.networks[2], str(wanted.amount)
        named = {"contractAddress": wanted.contract} if wanted.contract else {}
        contract = {"contract": wanted.contract} if wanted.contract else {}
        title = str(piece.about.get("title", ""))
        document = {
            "x402Version": 2, "scheme": "exact", "network": network,
            "resource": {"url": f"/x402-gateway?contentId={piece.id}", "description": title},
            "accepts": [{"scheme": "exact", "network": network, "amount": amount, "asset": symbol, "payTo": wanted.recipient, "extra": named}],
            "extra": {"challengeToken": token, "expires": expires}, "contentId": piece.id, "title": title,
            "payment": {"address": wanted.recipient, "amount": amount, "asset": symbol, **contract, "token": token, "expires": expires},
            "instructions": {"1": "Pay on Stacks", "2": f"POST {GATEWAY} with token and txId"},
        }  # fmt: skip
        lines = [("Payment-Required", encode64(document)), ("X-Payment-Address", wanted.recipient), ("X-Payment-Amount", amount), ("X-Payment-Asset", symbol)]
        lines += [("X-Payment-Contract", wanted.contract)] if wanted.contract else []
        lines += [("X-Payment-Token", token), ("X-Payment-Expires", expires), ("cache-control", "no-store")]
        return json_answer(402, document, *lines)

    def _said(self, wanted: Wanted, quirks: Quirks) -> Wanted:
        """What is said of it, which a scenario may falsify."""
        count = self._asked[wanted.content] = self._asked.get(wanted.content, 0) + 1
        if quirks.dearer and count > 1:
            wanted = wanted._replace(amount=2 * wanted.amount)
        if quirks.flips and count > 1:
            wanted = wanted._replace(recipient=self._ground.facilitator.address)
        if quirks.mainnet:
            wanted = wanted._replace(recipient=_main(wanted.recipient), contract=_main(wanted.contract) if wanted.contract else "")
        return wanted


def _main(principal: str) -> str:
    """The same key's address, or its contract, on the main network."""
    address, dot, name = principal.partition(".")
    return c32_address(22, unc32_address(address)[1]) + dot + name
