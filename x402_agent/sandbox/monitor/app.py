"""The seller whole: the monitor's HTTP API, the shop, and the worker that polls and calls back while nobody asks."""

from __future__ import annotations

import secrets
import threading
from contextlib import suppress
from itertools import count
from typing import TYPE_CHECKING

from ..messages import Answer, json_answer
from ..seller import Seller, Visit
from .asking import Wrong, invoice
from .books import MonitorBooks
from .callbacks import Callbacks
from .grid import Grid
from .shop import ROUTES, Shop, shown
from .store import MICRO, Store
from .watch import Watch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..ground import Ground
    from ..messages import Request
    from ..routes import Route
    from .quirks import Quirks
    from .store import Payment

__all__ = ["Monitor"]

SHOWN = 1000  # characters of a path that are remembered
PAUSE = 0.25  # seconds of the machine's between two looks at the sandbox's clock
_STATUS = "/payment_status/"


class Monitor(Seller):
    """Watches for USDT on TRON. `callback_key` signs callbacks where the scenario wants that; `store` is its database."""

    name = "monitor"
    sells = "jokes and reports by invoice: a monitor waits a minute for USDT, or POST /sandbox/warp"
    dialect = "tron-invoice"
    books = MonitorBooks
    asks_node = True
    slow = 70  # 19 blocks of three seconds, and a poll
    scenario: Quirks
    routes: Mapping[str, Route] = ROUTES

    def __init__(self, ground: Ground, scenario: Quirks, database: str = "") -> None:
        super().__init__(ground, scenario, database)
        self.callback_key = secrets.token_hex(32)
        ground.fuel()
        books = MonitorBooks(database)
        with books.database.spoken():
            self.store = Store(books, ground.now)
        self.grid = Grid(ground)
        self._watch = Watch(self.store, self.grid, ground.now)
        self._callbacks = Callbacks(self.store, self.callback_key.encode())
        self._shop = Shop(ground, self.store)
        self._born = ground.now()
        self._told = count()  # statuses, one number each: whatever thread asks
        self._stop = threading.Event()
        self._worker: threading.Thread | None = None
        self._starting = threading.Lock()

    def close(self) -> None:
        """End the worker, and close the database."""
        self._stop.set()
        with self._starting:
            if self._worker is not None:
                self._worker.join()
        self.store.books.close()

    def keys(self) -> dict[str, str]:
        """The key of signed callbacks."""
        return {"callback_key": self.callback_key}

    # -- the worker ---------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stop.wait(PAUSE):
            with suppress(*self.store.away):  # the next round finds it again
                self._watch.tick(self.scenario)
                self._callbacks.run(self.scenario, self._stop)

    def _wake(self) -> None:
        """From the first invoice on a worker is needed."""
        with self._starting:
            if self._worker is None and not self._stop.is_set():
                self._worker = threading.Thread(target=self._work, name="x402-monitor", daemon=True)
                self._worker.start()

    # -- requests -----------------------------------------------------------------------------------------------------

    def handle(self, request: Request) -> Answer:
        """Poll when it is time, and answer."""
        try:
            self._watch.tick(self.scenario)
            answer = self._answer(request, self.scenario)
        except self.store.away:
            health = request.path == "/health"
            answer = json_answer(503, self._unhealthy()) if health else json_answer(500, {"error": "Internal server error"})
        digest = shown(request)
        self.visits.append(Visit(request.method, request.path[:SHOWN], bool(digest), digest, answer.status))
        return answer

    def _answer(self, request: Request, quirks: Quirks) -> Answer:
        path, get = request.path, request.method in ("GET", "HEAD")
        route = self.routes.get(path)
        if path == "/create_payment":
            return self._create(request, quirks) if request.method == "POST" else _not_allowed("POST")
        if route is None and not path.startswith(_STATUS) and path not in ("/health", "/stats"):
            return json_answer(404, {"error": "Not found"})
        if not get:
            return _not_allowed("GET, HEAD")
        if route is not None:
            self._wake()
            return self._shop.answer(route, request, quirks)
        if path in ("/health", "/stats"):
            return self._health() if path == "/health" else self._stats()
        return self._status(path.removeprefix(_STATUS), quirks, next(self._told))

    def _create(self, request: Request, quirks: Quirks) -> Answer:
        try:
            body = request.json() if request.body else None
        except (ValueError, RecursionError):
            body = None
        try:
            new = invoice(body, float(self._ground.now()), quirks)
        except Wrong as why:
            return json_answer(400, {"error": str(why)})
        old = self.store.ordered(new.order)
        if old is not None and old.status != "pending" and quirks.reuse == "allowed":
            self.store.set_aside(old)
        if not self.store.add(new):
            pending = old is None or old.status == "pending"
            if not pending and quirks.reuse == "error":
                return json_answer(500, {"error": "Internal server error"})
            return json_answer(409, {"error": "order_id already exists" + (" with pending status" if pending else "")})
        self._wake()
        document = {"payment_id": new.id, "status": "watching", "message": "Payment monitoring started", "expires_at": new.expires}
        return json_answer(201, document)

    def _status(self, identity: str, quirks: Quirks, told: int) -> Answer:
        if quirks.down:
            return json_answer(503, {"error": "Service unavailable"}, ("retry-after", "5"))
        found = self.store.find(identity)
        if found is None or (quirks.forgets and self._ground.now() >= found.expires):
            return json_answer(404, {"error": "Payment ID not found"})
        return json_answer(200, _view(self._twisted(found, quirks, told), quirks.zone), ("cache-control", "no-store"))

    def _twisted(self, found: Payment, quirks: Quirks, told: int) -> Payment:
        """What a scenario makes of it; `told`: how often it told a status before."""
        if quirks.mixes:
            found = found._replace(id=found.id[::-1])
        if quirks.stranger and found.tx:
            found = found._replace(tx=found.tx[::-1])
        if quirks.flips and found.status == "completed" and told % 2:
            found = found._replace(status="pending", tx="", received=0, completed=0)
        return found

    # -- for operators ------------------------------------------------------------------------------------------------

    def _health(self) -> Answer:
        counts = self.store.counts()
        document = {
            "status": "healthy", "timestamp": float(self._ground.now()), "active_payments": counts.get("pending", 0),
            "total_payments": sum(counts.values()), "database": "connected",
        }  # fmt: skip
        return json_answer(200, document)

    def _unhealthy(self) -> dict[str, object]:
        return {"status": "unhealthy", "timestamp": float(self._ground.now()), "active_payments": 0, "total_payments": 0, "database": "disconnected"}

    def _stats(self) -> Answer:
        counts = self.store.counts()
        states = {f"{name}_payments": counts.get(name, 0) for name in ("pending", "completed", "expired", "failed")}
        document = {"total_payments": sum(counts.values()), **states, "api_requests": self.grid.asked, "uptime_seconds": self._ground.now() - self._born}
        return json_answer(200, document)


def _not_allowed(which: str) -> Answer:
    return json_answer(405, {"error": "Method not allowed"}, ("allow", which))


def _view(found: Payment, zone: int) -> dict[str, object]:
    """GET /payment_status/{id}; amounts are numbers there, as published."""
    return {
        "id": found.id,
        "wallet_address": found.wallet,
        "expected_amount_usdt": found.expected / MICRO,
        "order_id": found.order,
        "status": found.status,
        "transaction_hash": found.tx or None,
        "received_amount_usdt": found.received / MICRO if found.tx else None,
        "created_at": found.created + zone,
        "completed_at": found.completed + zone if found.completed else None,
    }
