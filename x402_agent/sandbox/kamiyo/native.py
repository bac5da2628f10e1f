"""`/x402/*`: a transaction is verified, becomes a payment with a quota, and a token opens it."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

from ..messages import json_answer
from .sight import MICRO, Unpaid, dollars

if TYPE_CHECKING:
    from ..messages import Answer, Request
    from .quirks import Quirks
    from .sight import Seen, Sight
    from .store import Bought, Store

__all__ = ["Native"]

RISK = 0.1
MOST = 2**31 - 1  # what its column holds


class Native:
    """Payments on chain. A payment is whose caller's showed it first: nothing in this protocol proves who sent it."""

    def __init__(self, sight: Sight, store: Store, admin_key: str) -> None:
        self._sight, self._store, self._admin_key = sight, store, admin_key
        self.chain = sight.chain

    def bought(self, tx: str, caller: str, quirks: Quirks, expected: int = 0) -> tuple[Bought, Seen | None]:
        """The payment that a transaction is, new or known, for its caller alone; raises Unpaid."""
        spelt = self._sight.spelt(tx)
        known = self._store.by_tx(spelt)
        if known is None:
            seen = self._sight.look(tx, quirks)
            allocated = min(seen.amount * quirks.quota // MICRO, MOST)
            made = self._store.sold(seen, self.chain, allocated=allocated, used=0, life=quirks.life, caller=caller)
            known = made or self._store.by_tx(spelt)
        else:
            seen = None
        if known is None or not (quirks.anyone or known.claimed_by == caller):
            raise Unpaid("Payment already claimed")
        if expected and known.amount < expected and not quirks.careless:
            raise Unpaid(f"Payment amount too low: {dollars(known.amount)} < {dollars(expected)}")
        return known, seen

    def verify(self, request: Request, quirks: Quirks) -> Answer:
        """POST /x402/verify-payment."""
        body = request.json()
        if not isinstance(body, dict) or not isinstance(tx := body.get("tx_hash"), str) or not tx:
            return json_answer(422, {"detail": "tx_hash is required"})
        chain, expected = body.get("chain", self.chain), body.get("expected_amount") or 0
        if type(expected) not in (int, float) or not 0 <= expected <= MICRO:
            return json_answer(422, {"detail": "expected_amount is a number of dollars"})
        sender = body.get("from_address")
        try:
            if chain != self.chain:
                raise Unpaid(f"Unsupported chain: {str(chain)[:40]}")
            bought, seen = self.bought(tx, request.client, quirks, round(expected * MICRO))
            if sender is not None and str(sender).lower() != bought.from_address.lower():
                raise Unpaid("Payment was not sent from this address")
        except Unpaid as why:
            return json_answer(200, _invalid(tx, str(chain)[:40], str(why), why.confirmations))
        if quirks.broken:
            return json_answer(500, {"detail": "Internal server error"})
        usable = bought.status == "verified" and bought.expires_at > self._store.now()
        deep = seen.confirmations if seen else self._sight.needed
        document = {
            "is_valid": usable, "tx_hash": bought.tx_hash, "chain": bought.chain, "amount_usdc": bought.amount / MICRO,
            "from_address": bought.from_address, "to_address": bought.to_address, "block_number": bought.block,
            "confirmations": deep, "risk_score": RISK, "error_message": None if usable else f"Payment {self._state(bought)}",
            "payment_id": bought.id,
        }  # fmt: skip
        return json_answer(200, document)

    def token(self, request: Request, identity: str, quirks: Quirks) -> Answer:
        """POST /x402/generate-token/{payment_id}."""
        bought = self._own(request, identity, quirks)
        if bought is None or self._state(bought) != "verified":
            return json_answer(400, {"detail": f"Payment not verified: {identity[:20]}"})
        document = {
            "payment_token": self._store.token(bought), "payment_id": bought.id,
            "expires_at": bought.expires_at.replace(" ", "T"), "requests_remaining": bought.remaining,
        }  # fmt: skip
        return json_answer(200, document, ("cache-control", "no-store"))

    def payment(self, request: Request, identity: str, quirks: Quirks) -> Answer:
        """GET /x402/payment/{id}."""
        if quirks.broken:
            return json_answer(500, {"detail": "Internal server error"})
        bought = self._own(request, identity, quirks)
        if bought is None:
            return json_answer(404, {"detail": "Payment not found"})
        document = {
            "payment_id": bought.id, "status": self._state(bought), "chain": bought.chain, "amount_usdc": bought.amount / MICRO,
            "requests_allocated": bought.allocated, "requests_used": bought.used, "requests_remaining": bought.remaining,
            "expires_at": bought.expires_at.replace(" ", "T"),
        }  # fmt: skip
        return json_answer(200, document)

    def stats(self, request: Request, address: str, quirks: Quirks) -> Answer:
        """GET /x402/stats?from_address=."""
        if quirks.broken:
            return json_answer(500, {"detail": "Internal server error"})
        if not address or not address.isprintable():
            return json_answer(422, {"detail": "from_address is required"})
        return json_answer(200, self._store.stats(address[:255]))

    def cleanup(self, request: Request) -> Answer:
        """POST /x402/cleanup."""
        if not hmac.compare_digest(request.headers.get("x-admin-key", "").encode(), self._admin_key.encode()):
            return json_answer(403, {"detail": "Admin key required"})
        return json_answer(200, {"expired_payments": self._store.books.cleanup()})

    def _own(self, request: Request, identity: str, quirks: Quirks) -> Bought | None:
        """The payment with this id, when it is the caller's."""
        found = self._store.payment(int(identity)) if identity.isascii() and identity.isdigit() and len(identity) < 10 else None
        return found if found and (quirks.anyone or found.claimed_by == request.client) else None

    def _state(self, bought: Bought) -> str:
        over = bought.status == "verified" and bought.expires_at <= self._store.now()
        return "expired" if over else bought.status


def _invalid(tx: str, chain: str, words: str, confirmations: int) -> dict[str, Any]:
    return {
        "is_valid": False, "tx_hash": tx[:255], "chain": chain, "amount_usdc": 0.0, "from_address": "", "to_address": "",
        "block_number": 0, "confirmations": confirmations, "risk_score": 1.0, "error_message": words, "payment_id": None,
    }  # fmt: skip
