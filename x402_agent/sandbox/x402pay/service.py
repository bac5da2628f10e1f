"""The API below /v1: who calls, how often, and which desk answers. Errors are `{error, message, code}`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ..messages import Answer, json_answer
from .content import content_id
from .crowd import crowded, visitor
from .desk import Caller, Desk, Refusal
from .sight import Unpaid
from .studio import Studio, body_of, page

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..limits import Limiter
    from ..messages import Request
    from .app import X402Pay
    from .asking import Asking
    from .gate import Gate
    from .quirks import Quirks

__all__ = ["ROOT", "Service"]

ROOT = "/v1"


class Service:
    """One seller's API; whoever calls holds the seller's lock."""

    def __init__(self, seller: X402Pay, gate: Gate, asking: Asking, limits: Limiter) -> None:
        self._seller, self._gate, self._asking, self._limits = seller, gate, asking, limits
        self.desk = Desk(seller.store.books, seller.tokens, seller.clock)
        self.desk.key(seller.payer, ("read",), seller.key)
        self.desk.key(seller.pay_to, ("admin",), seller.admin_key)
        routes: dict[str, Callable[..., Answer]] = {
            r"POST /auth/login": self._login,
            r"POST /payments/initiate": self._initiate,
            r"POST /payments/verify": self._verify,
            r"GET /payments/history": self._history,
            **Studio(seller, self.desk, self._who).routes(),
        }
        self._routes = [(re.compile(pattern), answer) for pattern, answer in routes.items()]
        self._failed: dict[str, int] = {}

    def handle(self, request: Request, quirks: Quirks) -> Answer:
        """What happens to a request below ROOT."""
        asked = f"{request.method} {request.path.removeprefix(ROOT)}"
        try:
            if quirks.api_down:
                raise Refusal(503, "UNAVAILABLE", "The API is out of order")
            for pattern, answer in self._routes:
                found = pattern.fullmatch(asked)
                if found:
                    return self._limited(request, quirks) or answer(request, quirks, *found.groups())
            path = asked.partition(" ")[2]
            known = any(pattern.fullmatch(f"{method} {path}") for pattern, _ in self._routes for method in ("GET", "POST", "PUT", "DELETE"))
            raise Refusal(405 if known else 404, "METHOD_NOT_ALLOWED" if known else "NOT_FOUND", "No such route")
        except Refusal as refusal:
            return _failed(refusal.status, refusal.code, str(refusal))
        except Unpaid as why:
            return _failed(401, why.code, str(why))

    def _limited(self, request: Request, quirks: Quirks) -> Answer | None:
        key = request.headers.get("x-api-key", "")
        program = self.desk.program(key) if key else None
        who = f"key {program.key}" if program else f"address {request.client}"
        payments = request.path.startswith(f"{ROOT}/payments/")
        return crowded(who, self._limits, self._seller.clock, payments=payments, quiet=quirks.quiet)

    # -- who calls ------------------------------------------------------------------------------------------------------

    def _program(self, request: Request, scope: str) -> Caller:
        caller = self.desk.program(request.headers.get("x-api-key", ""))
        if caller is None:
            raise Refusal(401, "INVALID_API_KEY", "X-API-Key is missing or not valid")
        if not caller.may(scope):
            raise Refusal(403, "SCOPE_MISSING", f"This key may not {scope}")
        return caller

    def _session(self, request: Request) -> Caller:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        caller = self.desk.session(token.strip()) if kind.lower() == "bearer" else None
        if caller is None:
            raise Refusal(401, "INVALID_SESSION", "Authorization: Bearer with the token of a login is needed")
        return caller

    def _who(self, request: Request, scope: str) -> Caller:
        """A program by its key, or a person by a session."""
        if "x-api-key" in request.headers:
            return self._program(request, scope)
        caller = self._session(request)
        if not caller.may(scope):
            raise Refusal(403, "SCOPE_MISSING", f"A session may not {scope}")
        return caller

    def _login(self, request: Request, _quirks: Quirks) -> Answer:
        return json_answer(200, self.desk.login(body_of(request)), ("cache-control", "no-store"))

    # -- payments -------------------------------------------------------------------------------------------------------

    def _initiate(self, request: Request, quirks: Quirks) -> Answer:
        self._program(request, "read")
        piece = self._seller.catalogue.sold(str(body_of(request).get("contentId", "")))
        if piece is None or piece.free(self._seller.clock()):
            raise Refusal(404, "CONTENT_NOT_FOUND", "Nothing with this contentId is for sale")
        return self._asking.initiated(piece, visitor(request), quirks)

    def _verify(self, request: Request, quirks: Quirks) -> Answer:
        body = body_of(request)
        tx, name, nonce = (body.get(each) for each in ("txId", "contentId", "nonce"))
        if not isinstance(tx, str) or not isinstance(name, str) or not isinstance(nonce, str) or len(nonce) != 32 or not content_id(name):
            raise Refusal(400, "BAD_REQUEST", "txId, contentId and nonce are required")
        piece = self._seller.catalogue.sold(name)
        if piece is None or not piece.prices:
            raise Refusal(404, "CONTENT_NOT_FOUND", "Nothing with this contentId is for sale")
        paid = self._gate.transaction(tx, nonce, piece, visitor(request), quirks)
        count = self._failed[tx] = self._failed.get(tx, 0) + 1
        if quirks.verify_fails and (quirks.verify_fails < 0 or count <= quirks.verify_fails):
            raise Refusal(500, "INTERNAL_ERROR", "Payment verification failed")
        grant, seen = paid.grant, paid.seen
        token = self._seller.tokens.issue("content", grant.ends, sub=grant.address, contentId=grant.content, txId=tx.lower())
        self._seller.store.noted(grant, token)
        told = {"txId": tx.lower(), "contentId": piece.id, "status": "confirmed", "payer": grant.address}
        told |= {"amount": str(seen.amount), "blockHeight": str(seen.block)} if seen else {}
        return json_answer(200, {"accessToken": token, "transaction": told}, ("cache-control", "no-store"))

    def _history(self, request: Request, quirks: Quirks) -> Answer:
        if quirks.history_down:
            raise Refusal(503, "UNAVAILABLE", "The history is out of order")
        caller = self._session(request)
        limit, offset = page(request, 20)
        payments, total = self._seller.store.history("" if quirks.history_lies else caller.address, limit, offset)
        return json_answer(200, {"payments": payments, "total": total}, ("cache-control", "no-store"))


def _failed(status: int, code: str, words: str) -> Answer:
    return json_answer(status, {"error": _TITLES.get(status, "Error"), "message": words, "code": code}, ("cache-control", "no-store"))


_TITLES = {400: "Bad request", 401: "Unauthorized", 403: "Forbidden", 404: "Not found", 405: "Method not allowed", 500: "Internal server error", 503: "Service unavailable"}
