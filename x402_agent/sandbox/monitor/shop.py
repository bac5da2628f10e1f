"""What stands in front of the monitor: priced paths, a flat 402 that names an invoice, and the goods for who shows its transaction.

The monitor that this system publishes has no 402 of its own; this one is ours, and documented (docs/tron-invoices.md).
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..messages import Answer, json_answer
from ..routes import Route, joke, report
from ..tron.facilitator import ALIAS
from .store import MICRO, Payment, usdt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..ground import Ground
    from ..messages import Request
    from .quirks import Quirks
    from .store import Store

__all__ = ["IDENTITY", "ROUTES", "TRANSACTION", "Shop", "shown"]

IDENTITY, TRANSACTION = "x-payment-id", "x-payment-transaction"
TAIL = 9_999  # atomic units: the most that makes an amount unlike every other open one
TRIES = 8
DAY = 86_400
_TABLE = (
    Route("/joke", 50_000, joke, "a joke"),
    Route("/report", 100_000, report, "a report"),
    Route("/dear", 250_000, report, "a report above most limits"),
)
ROUTES = {each.path: each for each in _TABLE}


class Shop:
    """Sells by invoice: one for each request that shows none, an amount that no other open invoice of the wallet has."""

    def __init__(self, ground: Ground, store: Store) -> None:
        self._ground, self._store = ground, store
        self._lock = threading.Lock()

    def answer(self, route: Route, request: Request, quirks: Quirks) -> Answer:
        """The goods, or the invoice that is open, or a new one."""
        identity, tx = request.headers.get(IDENTITY, ""), request.headers.get(TRANSACTION, "").lower()
        paid = self._store.find(identity)
        if paid is None or self._store.path(paid.id) != route.path or paid.status not in ("pending", "completed"):
            return self._new(route, request, quirks, "payment required" if not identity else "no such invoice of this path")
        if paid.status == "pending":
            return self._asked(paid, request, quirks, "payment not seen yet")
        if not secrets.compare_digest(paid.tx.encode(), tx.encode()):
            return self._new(route, request, quirks, "another transaction paid this invoice")
        if self._ground.now() > paid.completed + DAY:
            return self._new(route, request, quirks, "this invoice was paid more than a day ago")
        if quirks.after == "challenge":
            return self._new(route, request, quirks, "payment required")
        if quirks.after == "error":
            return json_answer(500, {"error": "Internal server error"})
        return route.handler(request)

    def _new(self, route: Route, request: Request, quirks: Quirks, why: str) -> Answer:
        if request.method == "HEAD":
            return json_answer(402, {"error": why})  # nobody would see the invoice
        with self._lock:
            wallet = self._ground.pay_to
            amount = self._free(wallet, route, quirks)
            if not amount:
                return json_answer(503, {"error": "too many invoices are open"}, ("retry-after", "60"))
            order = f"shop-{route.path.strip('/')}-{secrets.token_hex(8)}"
            made = Payment(str(uuid.uuid4()), wallet, amount, "", order, "pending", created=float(self._ground.now()))
            self._store.add(made._replace(expected=_rounded(amount, quirks) + quirks.short), route.path)
        return self._asked(made, request, quirks, why)

    def _free(self, wallet: str, route: Route, quirks: Quirks) -> int:
        """An amount that no open invoice of the wallet has, 0 where there is none. Most are free: a few are tried before all are looked at."""
        fit: Sequence[int] = range(route.price + 1, route.price + TAIL + 1)
        if quirks.rounds != 6:
            fit = [each for each in fit if _rounded(each, quirks) != each]
        for _ in range(TRIES):
            amount = secrets.choice(fit)
            if not self._store.asked(wallet, amount):
                return amount
        used = self._store.amounts(wallet)
        free = [each for each in fit if each not in used]
        return secrets.choice(free) if free else 0

    def _asked(self, made: Payment, request: Request, quirks: Quirks, why: str) -> Answer:
        """The 402. Every name in it is documented."""
        amount = usdt(made.expected)
        expires: Any = made.created - 1 if quirks.late else made.expires
        if quirks.zone:
            expires = datetime.fromtimestamp(expires + quirks.zone, UTC).replace(tzinfo=None).isoformat()
        origin = "https://monitor.example" if quirks.elsewhere else request.origin
        document = {
            "error": why,
            "payment_id": made.id,
            "order_id": made.order,
            "wallet_address": _spoilt(made.wallet) if quirks.checksum else made.wallet,
            "amount": made.expected / MICRO if quirks.number else amount,
            "currency": "USDT_TRC20",
            "network": ALIAS,
            "expires_at": expires,
            "status_url": f"{origin}/payment_status/{made.id}",
        }
        return json_answer(402, document, ("cache-control", "no-store"))


def shown(request: Request) -> str:
    """The sha256 of what is shown as payment, "" where nothing is."""
    tx = request.headers.get(TRANSACTION, "")
    return hashlib.sha256(tx.encode()).hexdigest() if tx else ""


def _rounded(amount: int, quirks: Quirks) -> int:
    step = int(10 ** (6 - quirks.rounds))
    return amount // step * step


def _spoilt(address: str) -> str:
    """The same with another last letter: as long, in the same alphabet, with a wrong checksum."""
    return address[:-1] + ("2" if address[-1] != "2" else "3")
