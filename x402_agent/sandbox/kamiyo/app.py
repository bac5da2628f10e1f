"""The seller whole: priced paths behind the gate, `/x402/*`, `/.well-known/x402`, CSRF, limits."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ..limits import Limiter, Redis
from ..messages import Answer, json_answer
from ..routes import Route
from ..seller import Seller, Visit
from .asking import Asking
from .books import KamiyoBooks
from .gate import Gate, Pass, receipted, shown
from .native import Native
from .saas import ROOT, Saas
from .sight import sight
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..ground import Ground
    from ..limits import Verdict
    from ..messages import Request
    from .quirks import Quirks

__all__ = ["Kamiyo"]

CSRF_LIFE = 7200
SHOWN = 1000  # characters of a path that are remembered
_LIMITS = {  # calls a minute for each address
    "GET /x402/supported-chains": 20, "GET /x402/pricing": 30, "POST /x402/verify-payment": 5,
    "POST /x402/generate-token": 10, "GET /x402/payment": 30, "GET /x402/stats": 15, "POST /x402/cleanup": 1,
}  # fmt: skip
_SITE = ((10, 60, "minute"), (100, 3600, "hour"), (500, 86_400, "day"))
_NAMES = ("Multichain bridge drained", "Oracle price pushed aside", "Governance vote borrowed")


def _exploits(_request: Request) -> Answer:
    return json_answer(200, {"exploits": [{"id": i, "title": title, "loss_usd": 10**i} for i, title in enumerate(_NAMES, 5)]})


def _alert(_request: Request) -> Answer:
    return json_answer(200, {"alert": {"id": 7, "title": _NAMES[-1]}})


def _risk(request: Request) -> Answer:
    return json_answer(200, {"path": request.path, "risk_score": 0.42})


def _free(_request: Request) -> Answer:
    return json_answer(200, {"status": "healthy"})


_TABLE = (
    ("/health", 0, _free, "costs nothing"),
    ("/exploits", 10_000, _exploits, "Recent exploits"),
    ("/exploits/latest-alert", 10_000, _alert, "The newest alert"),
    ("/protocols/risk-score", 20_000, _risk, "How risky a protocol is"),
    ("/wallets/risk-check", 5_000, _risk, "How risky a wallet is"),
)


class Kamiyo(Seller):
    """Sells by authorisation and by transfer, and verifies for others (`saas`). `admin_key` opens what only its operator may; `store` is its database."""

    name = "kamiyo"
    sells = "answers one by one, or by one transfer a day of calls (--expect-calls 200)"
    dialect = "kamiyo"
    books = KamiyoBooks
    asks_node = True
    pages = frozenset({"/.well-known/x402"})
    scenario: Quirks
    routes: Mapping[str, Route] = {}

    def __init__(self, ground: Ground, scenario: Quirks, database: str = "") -> None:
        super().__init__(ground, scenario, database)
        ways = ("eip3009",) if ground.name == "evm" else ()
        self.routes = {path: Route(path, price, good, about, "v1", ways=ways) for path, price, good, about in _TABLE}
        self.admin_key = secrets.token_urlsafe(32)
        self._sight = sight(ground)
        ground.fuel()
        books = KamiyoBooks(database)
        with books.database.spoken():
            self.store = Store(books, ground.now, time.time)
        self._lock = threading.RLock()
        self._limits = Limiter(ground.now)
        self._native = Native(self._sight, self.store, self.admin_key)
        self.saas = Saas(ground, self._sight, self.store.books, self.admin_key)
        self._redis: Redis | None = None
        self._asking = Asking(ground, self._sight.chain)
        self._gate = Gate(ground, self.store, self._native, self._asking)
        self._csrf = secrets.token_bytes(32)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self.store.books.close()
            if self._redis is not None:
                self._redis.close()

    def lists(self, route: Route) -> bool:
        """Where its gateway takes x402: on the EVM."""
        return bool(route.ways)

    def keys(self) -> dict[str, str]:
        """The admin key."""
        return {"admin_key": self.admin_key}

    def count_in(self, url: str) -> None:
        """Count the verification service's calls in Redis; raises SettingsError."""
        self._redis = Redis(url)
        self.saas.count_in(self._redis)

    def handle(self, request: Request) -> Answer:
        """Decide, settle and note."""
        detail = "error" if request.path.startswith(ROOT) else "detail"
        with self._lock:
            try:
                self.store.tick()
                answer = self._answer(request)
            except self.store.database.away:
                answer = json_answer(500, {detail: "Internal server error"})  # its database is away: nobody comes in
            except (ValueError, RecursionError):
                answer = json_answer(422, {detail: "Invalid JSON body"})
            status = 0 if answer.ending == "drop" else answer.status
            digest = shown(request)
            self.visits.append(Visit(request.method, request.path[:SHOWN], bool(digest), digest, status))
        return answer

    def _answer(self, request: Request) -> Answer:
        quirks = self.scenario
        refused = self._crowd(request, quirks) or self._forged(request, quirks)
        if refused is not None:
            return refused
        if request.path == "/.well-known/x402" and request.method in ("GET", "POST", "HEAD"):
            return self._asking.well_known(self.routes["/exploits"], request, quirks)
        if request.path == "/api/csrf-token" and request.method == "GET":
            return self._token(quirks)
        if request.path.startswith(ROOT):
            return self.saas.handle(request, quirks)
        if request.path.startswith("/x402/"):
            return self._route(request, quirks)
        route = self.routes.get(request.path)
        if route is None:
            return json_answer(404, {"detail": "Not Found"})
        if request.method not in ("GET", "HEAD"):
            return json_answer(405, {"detail": "Method Not Allowed"}, ("allow", "GET, HEAD"))
        return self._priced(route, request, quirks) if route.price else route.handler(request)

    # -- priced paths ---------------------------------------------------------------------------------------------------

    def _priced(self, route: Route, request: Request, quirks: Quirks) -> Answer:
        began = time.perf_counter()
        try:
            found = self._gate.judge(route, request, quirks)
        except Exception:
            if not quirks.lets_through:
                raise
            found = Pass(None)
        if found is None:
            return self._asking.required(route, request, quirks)
        if self._gate.misbehaves(found, quirks):
            return self._after(route, request, quirks)
        answer = route.handler(request)
        if found.payment is not None:
            took = int((time.perf_counter() - began) * 1000)
            agent = request.headers.get("user-agent", "")
            with suppress(*self.store.database.away):  # a line of statistics is no reason to keep what was paid
                self.store.used(found.payment, route.path, request.method, answer.status, took, request.client, agent)
        return receipted(answer, found)

    def _after(self, route: Route, request: Request, quirks: Quirks) -> Answer:
        if quirks.after == "drop":
            return Answer(503, ending="drop")
        if quirks.after == "error":
            return json_answer(quirks.status, {"detail": "Internal server error"})
        return self._asking.required(route, request, quirks)

    # -- /x402/* --------------------------------------------------------------------------------------------------------

    def _route(self, request: Request, quirks: Quirks) -> Answer:
        _, _, name, *rest = request.path.split("/")
        tail = rest[0] if len(rest) == 1 else ""
        query = parse_qs(request.query)
        answers: dict[str, Callable[[], Any]] = {
            "GET /x402/supported-chains": lambda: json_answer(200, self._asking.chains(quirks)),
            "GET /x402/pricing": lambda: json_answer(200, self._asking.pricing(self.routes, quirks)),
            "POST /x402/verify-payment": lambda: self._native.verify(request, quirks),
            "POST /x402/generate-token": lambda: self._native.token(request, tail, quirks),
            "GET /x402/payment": lambda: self._native.payment(request, tail, quirks),
            "GET /x402/stats": lambda: self._native.stats(request, query.get("from_address", [""])[0], quirks),
            "POST /x402/cleanup": lambda: self._native.cleanup(request),
        }
        which = f"{request.method} /x402/{name}"
        if which not in answers or bool(rest) != (name in ("generate-token", "payment")) or len(rest) > 1:
            return json_answer(404, {"detail": "Not Found"})
        verdict = self._limits.call(f"{request.client} {which}", _LIMITS[which], 60)
        if not verdict.allowed:
            wait = self._wait(verdict) if quirks.patience else ()
            return json_answer(429, {"error": f"Rate limit exceeded: {verdict.limit} per 1 minute"}, *wait)
        answer: Answer = answers[which]()
        return answer

    def _wait(self, verdict: Verdict) -> tuple[tuple[str, str], ...]:
        return (("Retry-After", str(max(1, verdict.ends - int(self._ground.now())))),)

    def _crowd(self, request: Request, quirks: Quirks) -> Answer | None:
        """The limits of the whole site, for who is not logged in."""
        for limit, seconds, window in _SITE if quirks.crowded else ():
            verdict = self._limits.call(f"{request.client} site", limit, seconds)
            if not verdict.allowed:
                wait = self._wait(verdict)
                body = {"error": "rate_limit_exceeded", "window": window, "retry_after_seconds": int(wait[0][1])}
                lines = (("X-RateLimit-Limit", str(limit)), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", str(verdict.ends)))
                return json_answer(429, body, *wait, *lines)
        return None

    # -- CSRF -----------------------------------------------------------------------------------------------------------

    def _token(self, quirks: Quirks) -> Answer:
        token = self._sealed(f"{self._ground.now() + CSRF_LIFE}.{secrets.token_urlsafe(16)}")
        cookie = f"csrftoken={token}; Path=/; Max-Age={CSRF_LIFE}; SameSite=Strict"
        lines = () if quirks.csrf == "broken" else (("set-cookie", cookie),)
        return json_answer(200, {"csrf_token": token, "expires_in": CSRF_LIFE}, *lines)

    def _sealed(self, word: str) -> str:
        """A word that only we could have given out: nothing is kept of it, however many are asked for."""
        return f"{word}.{hmac.new(self._csrf, word.encode(), 'sha256').hexdigest()}"

    def _forged(self, request: Request, quirks: Quirks) -> Answer | None:
        """A POST without token and cookie, where this scenario wants them."""
        if not quirks.csrf or request.method != "POST" or request.path == "/.well-known/x402":
            return None
        token = request.headers.get("x-csrf-token", "")
        cookies = [each.strip().partition("=") for each in request.headers.get("cookie", "").split(";")]
        cookie = next((value for name, _, value in cookies if name == "csrftoken"), "")
        word = token.rpartition(".")[0]
        end = word.partition(".")[0]
        known = hmac.compare_digest(self._sealed(word).encode(), token.encode()) and int(end) > self._ground.now()
        if known and hmac.compare_digest(cookie.encode(), token.encode()):
            return None
        return json_answer(403, {"error": "csrf_token_invalid", "detail": "CSRF token missing or invalid"})
