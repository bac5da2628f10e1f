"""The deployed functions: `x402-gateway`, `verify-payment` and `agent-detect`, strict where those are lax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ..messages import Answer, encode64, json_answer
from .asking import GATEWAY
from .crowd import noted, visitor
from .gate import signed
from .sight import Unpaid
from .store import iso

if TYPE_CHECKING:
    from ..messages import Request
    from .app import X402Pay
    from .asking import Asking
    from .gate import Gate, Paid
    from .quirks import Quirks

__all__ = ["ROOT", "Gateway"]

ROOT = "/functions/v1/"

class Gateway:
    """Whoever calls holds the seller's lock."""

    def __init__(self, seller: X402Pay, gate: Gate, asking: Asking) -> None:
        self._seller, self._gate, self._asking = seller, gate, asking

    def handle(self, request: Request, quirks: Quirks) -> Answer:
        """What happens to a request below ROOT."""
        if request.path == GATEWAY and request.method == "GET":
            return self._asked(request, quirks.with_(spelling="gateway"))
        if request.path == GATEWAY and request.method == "POST":
            return self.paid(request, quirks.with_(spelling="gateway"))
        if request.path == f"{ROOT}verify-payment" and request.method == "POST":
            return self._verified(request, quirks.with_(spelling="gateway"))
        if request.path == f"{ROOT}agent-detect" and request.method in ("GET", "POST"):
            return self._detected(request)
        return json_answer(404, {"error": "Function not found"})

    def _asked(self, request: Request, quirks: Quirks) -> Answer:
        """Access, or what it costs: for `address`, which nobody has to prove, so it opens nothing by itself."""
        query = parse_qs(request.query)
        name = query.get("contentId", [""])[0]
        if not name:
            return json_answer(400, {"error": "contentId query parameter required"})
        piece = self._seller.catalogue.sold(name)
        if piece is None:
            return json_answer(404, {"error": "Content not found"})
        requester = query.get("address", [""])[0] or request.headers.get("x-agent-id", "") or "anonymous"
        if len(requester) > 100 or not requester.isprintable():
            return json_answer(400, {"error": "address is not valid"})
        if piece.free(self._seller.clock()) or self._seller.store.grant(requester, piece.id):
            return json_answer(200, {"access": True, "contentId": piece.id}, ("cache-control", "no-store"))
        who = visitor(request)
        noted(self._seller.store.books, request, who, self._seller.store.now())
        return self._asking.required(piece, who, requester, quirks)

    def paid(self, request: Request, quirks: Quirks) -> Answer:
        """A challenge is answered by the id of a transaction."""
        try:
            header = request.headers.get("payment-signature", "")
            token, tx = signed(header or encode64({"payload": request.json()}))
            found = self._gate.answered(token, tx if tx.startswith("0x") else f"0x{tx}", visitor(request), quirks)
        except ValueError:
            return json_answer(400, {"error": "token and txId are required"})
        except Unpaid as why:
            return _refused(why)
        grant = found.grant
        body = {"success": True, "access": True, "contentId": grant.content, "paymentId": grant.payment, "txId": found.seen.tx if found.seen else tx}
        return json_answer(200, body | {"settlement": self.settlement(found)}, ("Payment-Response", self.receipt(found)), ("cache-control", "no-store"))

    def settlement(self, found: Paid) -> dict[str, Any]:
        """What a payment settled."""
        seen = found.seen
        told = {"txId": seen.tx, "status": "confirmed", "amount": str(seen.amount)} if seen else {"status": "confirmed"}
        return {**told, "asset": self._seller.scenario.asset, "payTo": self._seller.pay_to, "settledAt": iso(self._seller.store.now())}

    def receipt(self, found: Paid) -> str:
        """The same as the header Payment-Response carries it."""
        network = self._seller.network
        return encode64({"x402Version": 2, "scheme": "exact", "network": network, "settlement": self.settlement(found)})

    def _verified(self, request: Request, quirks: Quirks) -> Answer:
        """The other function: the caller says what he expects, and all of it is compared."""
        try:
            body = request.json()
        except ValueError:
            body = None
        fields = body if isinstance(body, dict) else {}
        tx, name, payer = (fields.get(each) for each in ("txId", "contentId", "payerAddress"))
        if not isinstance(tx, str) or not isinstance(name, str) or not isinstance(payer, str):
            return json_answer(400, {"error": "txId, contentId and payerAddress are required"})
        piece = self._seller.catalogue.sold(name)
        if piece is None:
            return json_answer(404, {"error": "Content not found"})
        if piece.free(self._seller.clock()):
            return json_answer(400, {"error": "This content costs nothing"})
        wanted = self._asking.wanted(piece, quirks)
        said = str(fields.get("expectedAmount")), fields.get("asset", "STX"), fields.get("contractAddress") or ""
        if said != (str(wanted.amount), wanted.asset.symbol, wanted.contract):
            return json_answer(400, {"error": "expectedAmount, asset or contractAddress are not those of this content"})
        try:
            if self._seller.store.known(tx.lower()):
                return json_answer(409, {"error": "Payment already processed"})
            found = self._gate.payment(tx, piece, visitor(request), quirks, payer)
        except Unpaid as why:
            return _refused(why)
        told = {"success": True, "payment_id": found.grant.payment, "access_granted": True, "amount": str(wanted.amount), "asset": wanted.asset.symbol}
        return json_answer(200, told | {"is_ai_agent": visitor(request).agent}, ("cache-control", "no-store"))

    def _detected(self, request: Request) -> Answer:
        who = visitor(request)
        noted(self._seller.store.books, request, who, self._seller.store.now())
        told = {"is_ai_agent": who.agent, "agent_id": who.name or None, "confidence": who.confidence / 100, "signals": list(who.signals)}
        return json_answer(200, told)


def _refused(why: Unpaid) -> Answer:
    """Why a transaction was not taken, in this function's words."""
    if why.missing:
        return json_answer(404, {"error": str(why)})
    if why.status and why.status != "success":
        return json_answer(400, {"error": "Transaction not successful", "tx_status": why.status})
    return json_answer(410 if why.code == "CHALLENGE_EXPIRED" else 400, {"error": str(why)})
