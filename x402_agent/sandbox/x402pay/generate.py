"""The routes of the Next app: `GET /api/ai/generate` costs 1 STX, `POST /api/x402/verify` gives a token for a transaction.

Deployed, any 64 hex digits buy, and the token is made of what everybody can see. Here the chain is asked, and the token is sealed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ..messages import Answer, json_answer
from .asking import VERIFY
from .crowd import visitor
from .sight import Unpaid

if TYPE_CHECKING:
    from ..messages import Request
    from .app import X402Pay
    from .asking import Asking
    from .content import Piece
    from .gate import Gate
    from .quirks import Quirks

__all__ = ["PATH", "Generate"]

PATH, NAME = "/api/ai/generate", "ai-generate"
LIFE = 3_600  # seconds that a token opens
_HASH = re.compile(r"[0-9a-fA-F]{64}").fullmatch


class Generate:
    """`asked` remembers which piece each caller was asked to pay for: nothing in this spelling says it."""

    def __init__(self, seller: X402Pay, gate: Gate, asking: Asking) -> None:
        self._seller, self._gate, self._asking = seller, gate, asking
        self._key = secrets.token_bytes(32)
        self._asked: dict[str, str] = {}
        self._used: set[str] = set()

    def handle(self, request: Request, quirks: Quirks) -> Answer | None:
        """What happens to a request; None for a path that is another's."""
        if request.path == VERIFY:
            return self._verify(request, quirks) if request.method == "POST" else json_answer(405, {"error": "Method not allowed"}, ("allow", "POST"))
        if request.path != PATH:
            return None
        piece = self._seller.catalogue.sold(NAME)
        if piece is None or request.method not in ("GET", "HEAD"):
            return json_answer(405, {"error": "Method not allowed"}, ("allow", "GET, HEAD"))
        return self.read(piece, request, quirks) or json_answer(200, {"result": "A thought, made for you alone."}, ("cache-control", "private"))

    def read(self, piece: Piece, request: Request, quirks: Quirks) -> Answer | None:
        """The 402 of a piece, or a 401; None: it is paid."""
        bearer = request.headers.get("authorization", "")
        token = bearer[7:].strip() if bearer[:7].lower() == "bearer " else parse_qs(request.query).get("token", [""])[0]
        if token:
            if self._opens(token, piece, quirks):
                return None
            return json_answer(401, {"error": "Token is not valid, or has expired", "code": "INVALID_TOKEN"}, ("cache-control", "no-store"))
        if len(self._asked) > 10_000:
            self._asked.clear()
        self._asked[request.client] = piece.id
        return self._asking.required(piece, visitor(request), "anonymous", quirks.with_(spelling="bearer"))

    def _verify(self, request: Request, quirks: Quirks) -> Answer:
        try:
            body: Any = request.json()
        except ValueError:
            body = None
        fields = body if isinstance(body, dict) else {}
        tx, address, amount = (fields.get(each) for each in ("txHash", "walletAddress", "amount"))
        if not isinstance(tx, str) or not _HASH(tx) or not isinstance(address, str) or not address.isalnum() or type(amount) not in (int, float):
            return json_answer(400, {"error": "txHash (64 hex digits), walletAddress and amount are required"})
        piece = self._seller.catalogue.sold(self._asked.get(request.client, NAME))
        if piece is None:
            return json_answer(404, {"error": "Content not found"})
        if quirks.simulated:
            if tx in self._used:
                return json_answer(400, {"error": "Transaction hash already used"})
            self._used.add(tx)
        else:
            try:
                self._gate.payment(f"0x{tx}", piece, visitor(request), quirks.with_(spelling="bearer"), address)
            except Unpaid as why:
                if why.code == "TRANSACTION_ALREADY_USED":
                    return json_answer(400, {"error": "Transaction hash already used"})
                return json_answer(402, {"error": "Payment verification failed", "details": str(why)})
        text = f"{tx.lower()}:{address}:{int(self._seller.clock() * 1000)}"
        text += "" if quirks.simulated else f":{self._seal(text, piece)}"
        return json_answer(200, {"success": True, "accessToken": base64.b64encode(text.encode()).decode()}, ("cache-control", "no-store"))

    def _seal(self, text: str, piece: Piece) -> str:
        return hmac.new(self._key, f"{piece.id} {text}".encode(), hashlib.sha256).hexdigest()

    def _opens(self, token: str, piece: Piece, quirks: Quirks) -> bool:
        try:
            parts = base64.b64decode(token, validate=True).decode("ascii").split(":")
            fresh = 0 <= self._seller.clock() - int(parts[2][:16]) / 1000 < LIFE
        except (ValueError, IndexError):
            return False
        if quirks.simulated:
            return fresh
        return fresh and len(parts) == 4 and hmac.compare_digest(self._seal(":".join(parts[:3]), piece).encode(), parts[3].encode())
