"""The seller whole: a blog of five articles, an API, and what sells them."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from ..limits import Limiter
from ..messages import Answer, json_answer
from ..routes import Route
from ..seller import Seller, Visit
from ..tokens import Tokens
from .asking import Asking, path_of
from .books import X402PayBooks
from .content import ARTICLES, Catalogue
from .crowd import visitor
from .gate import Gate, shown
from .gateway import ROOT as FUNCTIONS
from .gateway import Gateway
from .generate import Generate
from .hooks import Hooks
from .service import ROOT, Service
from .sight import Sight, Unpaid
from .store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ground import Ground
    from ..messages import Request
    from ..stacks.ground import StacksGround
    from .content import Piece
    from .quirks import Quirks

__all__ = ["X402Pay"]

_AWAY: dict[bool, dict[str, str]] = {False: {}, True: {"message": "The database is away", "code": "INTERNAL_ERROR"}}
SHOWN = 1000  # characters of a path that are remembered


class X402Pay(Seller):
    """Sells content for transactions that are shown afterwards. `store` is its database, `key` what a payer's program is given."""

    name = "x402pay"
    dialect = "x402pay"
    books = X402PayBooks
    asks_node = True
    coins = {"STX": 50_000, "sBTC": 1_000_000_000}  # noqa: RUF012 - a class variable of the base
    scenario: Quirks
    routes: Mapping[str, Route] = {}

    def __init__(self, ground: Ground, scenario: Quirks, database: str = "") -> None:
        super().__init__(ground, scenario, database)
        self._stacks = cast("StacksGround", ground)
        self._lock = threading.RLock()
        self._shown: Counter[str] = Counter()
        books = X402PayBooks(database)
        with books.database.spoken():
            books.migrate()
            self._ahead = 0.0
            self.tokens = Tokens(ground.now)
            self.catalogue = Catalogue(books, ground.now)
            self.catalogue.open(ground.pay_to)
            self.hooks = Hooks(books, ground.now, self._lock, lambda: self.scenario)
            self.store = Store(books, ground.now, self.hooks.tell)
            self._tick()
        self.routes = {path_of(name): self._route(name) for name in ARTICLES}
        for piece in filter(None, map(self.catalogue.find, ARTICLES)):
            if piece.contract:
                self._stacks.publish(piece.id, piece.units("STX"))
        asking = Asking(self._stacks, self.store)
        self._asking = asking
        self.clock, self.payer, self.pay_to, self.network = ground.now, ground.payer_address, ground.pay_to, ground.networks[2]
        self.key, self.admin_key = (f"x4p_{secrets.token_urlsafe(32)}" for _ in range(2))
        self._gate = Gate(Sight(self._stacks), self.store, asking, self.tokens, self.catalogue)
        self.service = Service(self, self._gate, asking, Limiter(ground.now))
        self._gateway, self._generate = Gateway(self, self._gate, asking), Generate(self, self._gate, asking)

    def _route(self, name: str) -> Route:
        piece = self.catalogue.find(name)
        return Route(path_of(name), piece.units("STX") if piece else 0, lambda _: json_answer(200, {}), str(ARTICLES[name]["title"]))

    def close(self) -> None:
        """Tell nobody any more, and close the database."""
        with self._lock:
            self.hooks.close()
            self.store.books.close()

    def dialect_settings(self, origin: str) -> Mapping[str, Mapping[str, str]]:
        """Where its API is, a key for it, and whom to pay where a 402 does not say."""
        return {"x402pay": {"api": f"{origin}{ROOT}", "key": self.key, "recipient": self.pay_to}}

    def keys(self) -> dict[str, str]:
        """The key that may everything."""
        return {"admin_key": self.admin_key}

    def contract_of(self, piece: Piece) -> str:
        """The contract that sells a piece, "" where a plain transfer does."""
        return self._asking.wanted(piece, self.scenario).contract if piece.prices else ""

    def handle(self, request: Request) -> Answer:
        """Decide, settle and note."""
        with self._lock:
            try:
                self._tick()
                answer = self._answer(request)
            except self.store.database.away:
                answer = json_answer(500, {"error": "Payment verification failed", **_AWAY[request.path.startswith(f"{ROOT}/")]})  # nobody comes in
            except (ValueError, RecursionError):
                answer = json_answer(400, {"error": "Bad request", "message": "The request cannot be read", "code": "BAD_REQUEST"})
            status = 0 if answer.ending == "drop" else answer.status
            digest = shown(request)
            self.visits.append(Visit(request.method, request.path[:SHOWN], bool(digest), digest, status))
        return answer

    def _tick(self) -> None:
        """Tell the database how far our clock is ahead of the machine's."""
        ahead = self._stacks.now() - time.time()
        if abs(ahead - self._ahead) > 1:
            self._ahead = ahead
            self.store.database.rows("update x402_clock set ahead = ?", ahead)

    def _answer(self, request: Request) -> Answer:
        quirks = self.scenario
        if request.path.startswith(f"{ROOT}/"):
            return self.service.handle(request, quirks)
        if request.path.startswith(FUNCTIONS):
            return self._gateway.handle(request, quirks)
        if request.path == "/health":
            return json_answer(200, {"status": "healthy"})
        if request.path == "/articles":
            return self._blog(request)
        if (generated := self._generate.handle(request, quirks)) is not None:
            return generated
        name = request.path.rpartition("/")[2]
        piece = self.catalogue.sold(name) if path_of(name) == request.path else None
        if piece is None:
            return json_answer(404, {"error": "Not found"})
        if request.method == "POST" and quirks.spelling == "gateway":
            return self._gateway.paid(request, quirks)
        if request.method not in ("GET", "HEAD"):
            return json_answer(405, {"error": "Method not allowed"}, ("allow", "GET, HEAD"))
        return self._read(piece, request, quirks)

    def _blog(self, request: Request) -> Answer:
        """The list, with a preview of what costs something."""
        if request.method not in ("GET", "HEAD"):
            return json_answer(405, {"error": "Method not allowed"}, ("allow", "GET, HEAD"))
        pieces, _ = self.catalogue.all(1_000, 0)
        listed = [
            {"id": each.id, "title": each.about.get("title", ""), "preview": each.about.get("preview", ""), "free": each.free(self._stacks.now())}
            for each in pieces if each.about.get("contentType") != "api"
        ]  # fmt: skip
        return json_answer(200, {"articles": listed})

    def _read(self, piece: Piece, request: Request, quirks: Quirks) -> Answer:
        """Content, or what it costs."""
        if piece.free(self._stacks.now()):
            return _content(piece)
        if quirks.spelling == "bearer":
            return self._generate.read(piece, request, quirks) or _content(piece)
        who = visitor(request)
        try:
            paid = self._gate.opened(piece, request, who, quirks)
        except Unpaid as why:
            return json_answer(401, {"error": "Invalid payment proof", "details": str(why)}, ("cache-control", "no-store"))
        if paid is None:
            return self._asking.required(piece, who, request.headers.get("x-agent-id", "")[:100] or "anonymous", quirks)
        answer = self._after(piece, request, quirks) or _content(piece)
        return answer.plus(("Payment-Response", self._gateway.receipt(paid))) if paid.seen and quirks.spelling == "gateway" else answer

    def _after(self, piece: Piece, request: Request, quirks: Quirks) -> Answer | None:
        """What a scenario does with a valid payment; None: it delivers."""
        if quirks.after == "content":
            return None
        digest = f"{piece.id} {shown(request)}"
        self._shown[digest] += 1
        if quirks.times and self._shown[digest] > quirks.times:
            return None
        if quirks.after == "drop":
            return Answer(503, ending="drop")
        if quirks.after == "error":
            return json_answer(quirks.status, {"error": "Internal server error"})
        return self._asking.required(piece, visitor(request), "anonymous", quirks)


def _content(piece: Piece) -> Answer:
    """The goods."""
    if piece.about.get("contentType") == "api":
        return json_answer(200, {"data": [3, 1, 4, 1, 5], "contentId": piece.id}, ("cache-control", "private"))
    fields: dict[str, Any] = {"id": piece.id, "title": piece.about.get("title", ""), "content": piece.about.get("body", "")}
    return json_answer(200, fields, ("cache-control", "private"))
