"""What is shown as payment, judged, and the call sold for it: a session, else a proof, else credits.

Stricter than the deployed ones: amount, recipient, payer, age, wallet, resource, currency, time and single use are compared; what a call costs is
taken in the transaction in which its answer is made, so a service that fails costs nothing.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from ...encodings import unbase58
from ...primitives import verify_ed25519
from ..messages import Answer, json_answer
from .asking import Refused, asked, dollars
from .header import NAME, Shown, read
from .sight import Seen, Unpaid
from .store import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...database import Database
    from ..limits import Limiter
    from ..messages import Request
    from ..routes import Route
    from .quirks import Quirks
    from .sight import Sight
    from .store import Store, Terms

__all__ = ["SKEW", "Gate", "resource_of", "shown_digest", "signed_by", "worth"]

SKEW = 300  # seconds that a header's time may be ahead, and one that is signed for credits behind
_LIVES = 86_400  # seconds in which a proof may be shown again, and a session that was opened late with its payment's time
_TRIES = 600  # refusals a minute for one address
_MOMENT = 0.1  # seconds between reading and writing, where a scenario does both
REMAINING = "X-402-Remaining"


class _Sale(NamedTuple):
    answer: Answer
    left: int | None  # millionths in the session or the credits, None for a proof


class _Unsold(Exception):
    """The goods failed: what was taken for them goes back with the transaction."""

    def __init__(self, answer: Answer) -> None:
        super().__init__("the service failed")
        self.answer = answer


def resource_of(terms: Terms, path: str) -> str:
    """What a path is in the words of `resource_pattern`."""
    return f"agent/{terms.service}{path}"


def shown_digest(request: Request) -> str:
    """The sha256 of what a request shows as payment, "" when nothing."""
    found = request.headers.get(NAME, "")
    return hashlib.sha256(found.encode()).hexdigest() if found else ""


def signed_by(shown: Shown) -> bool:
    """Whether the wallet signed the header."""
    try:
        key, signature = unbase58(shown.wallet, 44), unbase58(shown.signature, 90)
    except ValueError:
        return False
    return bool(shown.signed) and len(key) == 32 and len(signature) == 64 and verify_ed25519(key, shown.signed.encode(), signature)


def worth(seen: Seen, terms: Terms, claimed: int = 0) -> int:
    """Millionths of a dollar that a payment is; where it is SOL, and within a hundredth of what is claimed, that."""
    if seen.currency == "USDC":
        return seen.amount
    found = (seen.amount * terms.rate + 5 * 10**8) // 10**9
    return max(found, claimed) if 100 * seen.amount >= 99 * terms.lamports(claimed) else found


class Gate:
    """`clock` is the seller's, in unix seconds."""

    def __init__(self, store: Store, sight: Sight, limiter: Limiter, clock: Callable[[], float]) -> None:
        self._store, self._sight, self._limiter, self._clock = store, sight, limiter, clock
        self._spoilt: Counter[str] = Counter()  # by proof, session or wallet: how often a scenario kept the price and did not deliver
        self._crowd = 0

    def sell(self, route: Route, request: Request, quirks: Quirks) -> Answer:
        """The goods, or why not."""
        with self._store.pool.lent() as link:
            terms = self._store.terms(link)
        if terms is None or not terms.active:
            return json_answer(404, {"success": False, "error": "Service not configured", "errorCode": "SERVICE_NOT_CONFIGURED", "paymentRequired": False})
        if quirks.dearer:
            terms = terms._replace(price=2 * terms.price)
        call = self._call(terms, request)
        shown = read(request.headers.get(NAME, ""))
        try:
            self._origin(terms, request)
            if shown is None:
                raise Refused("PAYMENT_REQUIRED", "Payment required")
            sale = self._sold(route, request, shown, terms, call, quirks)
        except _Unsold as failed:
            return failed.answer
        except Refused as why:
            return self._refused(why, terms, shown, call, request, quirks)
        if (spoilt := self._after(shown, terms, quirks)) is not None:
            return spoilt
        lines = [("cache-control", "private")]
        told = sale.left is not None and not quirks.silent
        return sale.answer.plus(*lines, *([(REMAINING, dollars(sale.left or 0))] if told else []))

    def _after(self, shown: Shown, terms: Terms, quirks: Quirks) -> Answer | None:
        """What a scenario makes of a call that was paid, and whose price it keeps; None: it delivers."""
        if quirks.after == "content":
            return None
        name = shown.proof or shown.session or shown.wallet
        self._spoilt[name] += 1
        if quirks.times and self._spoilt[name] > quirks.times:
            return None
        if quirks.after == "drop":
            return Answer(503, ending="drop")
        if quirks.after == "challenge":
            return asked(terms, Refused("PAYMENT_REQUIRED", "Payment required"), quirks)
        return asked(terms, Refused("NETWORK_ERROR", "The service cannot be reached", quirks.status), quirks)

    def _call(self, terms: Terms, request: Request) -> Call:
        name = resource_of(terms, request.path)
        asked_for = f"{request.method} {request.path}?{request.query}\n".encode() + request.body
        method = request.method if request.method != "HEAD" else "GET"
        return Call(name, method, hashlib.sha256(asked_for).hexdigest(), (name, resource_of(terms, "/*")), request.client)

    def _origin(self, terms: Terms, request: Request) -> None:
        """A browser's page may ask where the service says so."""
        origin = request.headers.get("origin")
        allowed = json.loads(terms.origins)
        if origin and allowed and "*" not in allowed and origin not in allowed:
            raise Refused("VALIDATION_FAILED", "This origin is not allowed", 403)

    def _refused(self, why: Refused, terms: Terms, shown: Shown | None, call: Call, request: Request, quirks: Quirks) -> Answer:
        """Noted, where something was shown; who tries too often waits."""
        if shown is not None:
            verdict = self._limiter.call(f"tries {request.client}", _TRIES, 60)
            if not verdict.allowed:
                return asked(terms, Refused("RATE_LIMITED", "Too many attempts", 429, wait=max(1, verdict.ends - int(self._clock()))), quirks)
            with self._store.writing() as link:
                self._store.log(link, shown.wallet, terms, terms.price, "refused", call, session=why.session or None, code=why.code)
        return asked(terms, why, quirks)

    # -- what pays ------------------------------------------------------------------------------------------------------

    def _sold(self, route: Route, request: Request, shown: Shown, terms: Terms, call: Call, quirks: Quirks) -> _Sale:
        self._judge(shown, terms, quirks)
        self._unwilling(shown, quirks)
        seen = self._seen(shown, terms, call, quirks) if shown.proof and not shown.session else None
        if shown.session and not quirks.atomic:
            return _Sale(route.handler(request), self._loosely(shown, terms, call))
        with self._store.writing() as link:
            left = self._taken(link, shown, terms, call, seen, quirks)
            self._often(shown.wallet, quirks)
            answer = route.handler(request)
            if answer.status >= 500:
                raise _Unsold(answer)
        return _Sale(answer, left)

    def _unwilling(self, shown: Shown, quirks: Quirks) -> None:
        """What a scenario has against a payment with which nothing is wrong."""
        if quirks.spelling == "guide" and not shown.session:
            raise Refused("VALIDATION_FAILED", "Payment validation failed")
        if quirks.forbids and shown.session:
            raise Refused("VALIDATION_FAILED", "Invalid session", 403)
        if self._crowd < quirks.limited:
            self._crowd += 1
            raise Refused("RATE_LIMITED", "Too many requests", 429, wait=1)

    def _loosely(self, shown: Shown, terms: Terms, call: Call) -> int:
        """As the real library deducts: read, reckoned and written, and others come in between."""
        with self._store.writing() as link:
            left = self._store.spend_session(link, shown.session, shown.wallet, terms._replace(price=0), call) - terms.price
        if left < 0:
            raise Refused("INSUFFICIENT_BALANCE", "Insufficient session balance", balance=left + terms.price)
        time.sleep(_MOMENT)
        with self._store.writing() as link:
            link.rows(
                "update x402_payment_sessions set remaining_amount = ?, status = case when ? <= 0 then 'depleted' else status end where session_token = ?",
                left, left, shown.session,
            )  # fmt: skip
        return left

    def _judge(self, shown: Shown, terms: Terms, quirks: Quirks) -> None:
        """What every header has to be."""
        if shown.wrong:
            raise Refused("VALIDATION_FAILED", f"Payment validation failed: {shown.wrong}")
        if shown.currency != terms.currency:
            raise Refused("VALIDATION_FAILED", f"This service takes {terms.currency}")
        if shown.amount < terms.price:
            raise Refused("VALIDATION_FAILED", "The amount in the header is below the price")
        lives = _LIVES if shown.proof or shown.session else SKEW
        now = (self._clock(), time.time())  # a sandbox whose clock was moved on is ahead of its payers'
        unit = 1 if quirks.in_seconds else 1000
        if not (min(now) - lives) * unit <= shown.timestamp <= (max(now) + SKEW) * unit:
            raise Refused("VALIDATION_FAILED", "The time in the header is not of now, in milliseconds")

    def _seen(self, shown: Shown, terms: Terms, call: Call, quirks: Quirks) -> Seen | None:
        """What a proof paid, None where it is known for this very call; raises Refused."""
        if quirks.anything and self._sight.mentions(shown.proof, terms.payee):
            return None
        with self._store.pool.lent() as link:
            if self._store.claimed(link, shown.proof, shown.wallet, call):
                return None
        try:
            seen = self._sight.look(shown.proof, shown.wallet, terms.payee, terms.currency)
        except Unpaid as why:
            raise Refused("VALIDATION_FAILED", str(why)) from None
        if worth(seen, terms, terms.price) < terms.price and not quirks.any_price:
            raise Refused("VALIDATION_FAILED", f"The payment is too small: {dollars(worth(seen, terms))} of {dollars(terms.price)}", balance=worth(seen, terms))
        return seen

    def _taken(self, link: Database, shown: Shown, terms: Terms, call: Call, seen: Seen | None, quirks: Quirks) -> int | None:
        """Take the price from whatever is shown; what is left there, None for a proof. Raises Refused."""
        store, taken = self._store, terms._replace(price=terms.price * quirks.deducts)
        if shown.session:
            store.authorize(link, shown.wallet, terms)
            return store.spend_session(link, shown.session, shown.wallet, taken, call)
        if shown.proof:
            if seen is None or not store.claim(link, shown.proof, shown.wallet, terms, worth(seen, terms, terms.price), "proof", call):
                store.claimed(link, shown.proof, shown.wallet, call)
            else:
                store.authorize(link, shown.wallet, terms)
            return None
        if not shown.signature or not signed_by(shown):
            raise Refused("VALIDATION_FAILED", "Credits are spent by a header that their wallet has signed" if not shown.signature else "The signature is not this wallet's")
        if not store.claim(link, shown.signature, shown.wallet, terms, terms.price, "credit", call):
            store.claimed(link, shown.signature, shown.wallet, call)
            return store.credits(link, shown.wallet, terms)
        store.authorize(link, shown.wallet, terms)
        return store.spend_credits(link, shown.wallet, taken)

    def _often(self, wallet: str, quirks: Quirks) -> None:
        """Only who has paid is counted by his wallet: nobody uses up another's."""
        verdict = self._limiter.call(f"wallet {wallet}", quirks.calls, 60)
        if not verdict.allowed:
            raise Refused("RATE_LIMITED", "Too many calls of this wallet", 429, wait=max(1, verdict.ends - int(self._clock())))
