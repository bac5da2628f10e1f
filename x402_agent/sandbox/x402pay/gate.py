"""What is shown as payment, judged: header `x-payment-proof`, then query `payment`, then cookie `payment`.

`0x…` is a transaction, held against the chain and `x-payment-nonce`; anything else is a token. Stricter than the deployed one: amount,
recipient, contract, function, content, sender, depth and single use are compared, and a payment is its first caller's.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs

from ..messages import decode64
from .sight import Unpaid

if TYPE_CHECKING:
    from ..messages import Request
    from ..tokens import Tokens
    from .asking import Asking
    from .content import Catalogue, Piece
    from .crowd import Visitor
    from .quirks import Quirks
    from .sight import Seen, Sight
    from .store import Challenge, Grant, Store

__all__ = ["Gate", "Paid", "proof", "shown"]


class Paid(NamedTuple):
    """Who may come in, by which grant; what was seen of its payment, None where a token was enough. `fresh`: it is new."""

    grant: Grant
    seen: Seen | None = None
    fresh: bool = False


def proof(request: Request) -> str:
    """What a request shows as payment, "" when nothing."""
    cookies = [each.strip().partition("=") for each in request.headers.get("cookie", "").split(";")]
    found = request.headers.get("x-payment-proof") or parse_qs(request.query).get("payment", [""])[0]
    bearer = request.headers.get("authorization", "")
    found = found or next((value for name, _, value in cookies if name == "payment"), "")
    return found or (bearer[7:].strip() if bearer[:7].lower() == "bearer " else "")


def shown(request: Request) -> str:
    """The sha256 of every proof in a request, "" when there is none."""
    found = proof(request) + request.headers.get("payment-signature", "")
    return hashlib.sha256(found.encode()).hexdigest() if found else ""


class Gate:
    """Decides; whoever calls holds the seller's lock."""

    def __init__(self, sight: Sight, store: Store, asking: Asking, tokens: Tokens, catalogue: Catalogue) -> None:
        self._sight, self._store, self._asking, self._tokens, self._catalogue = sight, store, asking, tokens, catalogue
        self._early: Counter[str] = Counter()  # by piece: nonces and challenges that a scenario ended before their time
        self._waits: Counter[str] = Counter()  # by transaction: how often a scenario called it pending
        self._spent: set[str] = set()

    def opened(self, piece: Piece, request: Request, visitor: Visitor, quirks: Quirks) -> Paid | None:
        """Who may read a piece with this request; None where nothing is shown. Raises Unpaid."""
        signature = request.headers.get("payment-signature", "")
        if signature and quirks.spelling == "gateway":
            token, tx = signed(signature)
            return self.answered(token, tx, visitor, quirks, piece.id)
        found = proof(request)
        if not found:
            agent = request.headers.get("x-agent-id", "")
            grant = self._store.grant(agent, piece.id, "" if quirks.anyone else visitor.client) if agent else None
            return Paid(grant) if grant else None
        if not found.startswith("0x"):
            return Paid(self.token(found, piece, quirks))
        paid = self.transaction(found, request.headers.get("x-payment-nonce", ""), piece, visitor, quirks)
        if quirks.spends:
            if found.lower() in self._spent:
                raise Unpaid("Transaction already used", "TRANSACTION_ALREADY_USED")
            self._spent.add(found.lower())
        return paid

    def token(self, token: str, piece: Piece, quirks: Quirks) -> Grant:
        """The grant that a token stands for; raises Unpaid."""
        claims = None if quirks.refuses_tokens else self._tokens.read(token, "content")
        if claims is None:
            raise Unpaid("Token is not valid, or has expired", "INVALID_TOKEN")
        if claims["contentId"] != piece.id and not quirks.opens_all:
            raise Unpaid("Token of other content", "INVALID_TOKEN")
        grant = self._store.grant(claims["sub"], claims["contentId"])
        if grant is None:
            raise Unpaid("Access was revoked, or has expired", "INVALID_TOKEN")
        return grant

    def transaction(self, tx: str, nonce: str, piece: Piece, visitor: Visitor, quirks: Quirks) -> Paid:
        """The payment in a transaction that is shown with a nonce; raises Unpaid."""
        self._store.check_nonce(nonce, piece.id, "" if quirks.anyone else visitor.client, tx.lower())
        if self._early[piece.id] < quirks.stale:
            self._early[piece.id] += 1
            self._store.end_nonce(nonce)
            raise Unpaid("Nonce expired", "NONCE_EXPIRED")
        paid = self.payment(tx, piece, visitor, quirks, plain=True)  # the API asks for a plain transfer, whatever sells a piece
        self._store.use_nonce(nonce, tx.lower())
        return paid

    def payment(self, tx: str, piece: Piece, visitor: Visitor, quirks: Quirks, sender: str = "", *, plain: bool = False) -> Paid:
        """The payment in a transaction, new or known; `plain`: by a transfer of STX, too, where a contract sells. Raises Unpaid."""
        known = self._store.again(tx.lower(), piece, visitor, quirks)
        if known is not None:
            return Paid(*known)
        view = self._sight.find(tx, quirks)
        if self._waits[view["tx_id"]] < quirks.pending:
            self._waits[view["tx_id"]] += 1
            raise Unpaid("Transaction is pending", "PAYMENT_PENDING", "pending")
        if quirks.blind:
            raise Unpaid("No payment found in this transaction")
        wanted = self._asking.wanted(piece, quirks)
        if plain and view["tx_type"] == "token_transfer":
            wanted = wanted._replace(contract="")
        seen = self._sight.anything(view, wanted) if quirks.anything else self._sight.paid(view, wanted)
        if sender and seen.sender != sender and not quirks.anyone:
            raise Unpaid("Payment was sent by somebody else", "WRONG_SENDER", "success")
        if len(seen.memo) == 32:
            self._store.check_nonce(seen.memo, piece.id, "" if quirks.anyone else visitor.client, seen.tx, memo=True)
        return Paid(self._store.book(seen, piece, wanted.asset.symbol, visitor, quirks), seen, fresh=True)

    def answered(self, token: str, tx: str, visitor: Visitor, quirks: Quirks, content: str = "") -> Paid:
        """The payment that answers a challenge of the gateway; raises Unpaid, `missing` where the gateway says 404."""
        challenge = self._store.challenged(token)
        if challenge is None or challenge.status != "pending" or (content and challenge.content_id != content):
            raise Unpaid("Invalid or expired challenge token", "INVALID_CHALLENGE", missing=True)
        if challenge.claimed_by != visitor.client and not quirks.anyone:
            raise Unpaid("Challenge of another request", "INVALID_CHALLENGE", missing=True)
        early = self._early[challenge.content_id] < quirks.stale
        if early or challenge.expires_at <= self._store.now():
            self._early[challenge.content_id] += early
            self._store.settle_challenge(challenge, "expired")
            raise Unpaid("Challenge expired", "CHALLENGE_EXPIRED")
        piece = self._piece(challenge)
        paid = self.payment(tx, piece, visitor, quirks, challenge.requester if challenge.requester.startswith("S") else "")
        self._store.settle_challenge(challenge, "paid", tx.lower())
        return paid

    def _piece(self, challenge: Challenge) -> Piece:
        found = self._catalogue.find(challenge.content_id)
        if found is None:
            raise Unpaid("Content not found", "CONTENT_NOT_FOUND", missing=True)
        return found


def signed(header: str) -> tuple[str, str]:
    """Token and txId of a Payment-Signature; raises Unpaid."""
    try:
        document = decode64(header)
    except ValueError:
        document = None
    payload = document.get("payload") if isinstance(document, dict) else None
    token, tx = (payload.get(each) for each in ("token", "txId")) if isinstance(payload, dict) else (None, None)
    if not isinstance(token, str) or not isinstance(tx, str) or not token or not tx or len(token) > 64:
        raise Unpaid("token and txId are required", "BAD_REQUEST")
    return token, tx
