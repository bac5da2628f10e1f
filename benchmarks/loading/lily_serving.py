"""Lily's seller for `load.py lily`: opens what its users pay by, times what it does inside, and holds its books against the answers.

Beside serving.py's orders: {"do": "open", "sessions": N, "users": N}, {"do": "times"}, {"do": "judge", "answers": FILE}. A user has his share of the
sessions, and credits; every fifth call of his is paid by these. The seller's own functions are timed from outside, so that nothing of it
is there for a benchmark's sake.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from loading.lily_shots import PRICE, by_credits, by_session, opened, payer, topped_up
from loading.serving import serve
from loading.shots import Row
from loading.summed import summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from loading.calls import Shot
    from loading.lily_shots import Payer

    from x402_agent.sandbox import Sandbox

__all__: list[str] = []

AMOUNT = 1_000_000  # millionths of a dollar in each session, and in each user's credits
FIFTH = 5


class Books:
    """Who has which sessions, and which request was paid by what."""

    def __init__(self) -> None:
        self._users: list[tuple[Payer, list[str]]] = []
        self._paid_by: list[str] = []  # by request: a session's token, or a wallet
        self._authorized: dict[str, int] = {}
        self.took: dict[str, list[float]] = defaultdict(list)

    def open(self, box: Sandbox, order: dict[str, Any]) -> dict[str, Any]:
        """All of it as its clients do it: paid on the chain, inserted at the database's door."""
        each = order["sessions"] // order["users"]
        for _ in range(order["users"]):
            who = payer(box, each + 2)
            topped_up(box, who, AMOUNT)
            self._users.append((who, [opened(box, who, AMOUNT) for _ in range(each)]))
            self._authorized |= dict.fromkeys([who.name, *self._users[-1][1]], AMOUNT)
        self._watched(box)
        return {"open": self._rows(box, "select count(*) as n from x402_payment_sessions where status = 'active'")[0]["n"]}

    def made(self, _box: Sandbox, count: int) -> Iterator[Shot]:
        """Request i is of user i modulo their number, who takes his sessions in turn."""
        for number in range(count):
            turn, place = divmod(number, len(self._users))
            who, tokens = self._users[place]
            if turn % FIFTH == FIFTH - 1:
                self._paid_by.append(who.name)
                yield by_credits(who)
            else:
                token = tokens[turn % len(tokens)]
                self._paid_by.append(token)
                yield by_session(who, token)

    def times(self, _box: Sandbox, _order: dict[str, Any]) -> dict[str, Any]:
        """What was timed, in milliseconds."""
        return {"times": {name: summary(took) for name, took in self.took.items()}}

    def judge(self, box: Sandbox, order: dict[str, Any]) -> dict[str, Any]:
        """How many answers the books lack or have too many, by session and wallet; what each answer said is left must be another step down."""
        left = {row["session_token"]: row["remaining_amount"] for row in self._rows(box, "select session_token, remaining_amount from x402_payment_sessions")}
        left |= {row["wallet_address"]: row["balance"] for row in self._rows(box, "select wallet_address, balance from x402_payment_credits")}
        answers = json.loads(Path(order["answers"]).read_text("utf-8"))
        told: dict[str, list[int]] = defaultdict(list)
        for number, status, remaining in answers:
            if status == "200":
                told[self._paid_by[number]].append(round(float(remaining) * 1_000_000))
        lost = double = wrong = 0
        for name, authorized in self._authorized.items():
            calls, gone = len(told[name]), authorized - left[name]
            lost += max(0, calls - gone // PRICE)
            double += max(0, gone // PRICE - calls)
            steps = [authorized - PRICE * step for step in range(1, calls + 1)]
            wrong += sorted(told[name], reverse=True) != steps
        logged = self._rows(box, "select count(*) as n, sum(amount) as m from x402_transactions where purpose in ('call', 'credit')")[0]
        sold = sum(map(len, told.values()))
        return {"lost": lost, "double": double, "wrong": wrong, "sold": sold, "logged": logged["n"], "exact": (logged["n"], logged["m"] or 0) == (sold, sold * PRICE)}

    def _rows(self, box: Sandbox, sql: str) -> list[dict[str, Any]]:
        seller: Any = box.seller
        with seller.store.pool.lent() as link:
            found: list[dict[str, Any]] = link.rows(sql)
        return found

    def _watched(self, box: Sandbox) -> None:
        """Put a clock around what the seller does with a payment."""
        seller: Any = box.seller
        store = seller.store
        writing = store.writing

        @contextmanager
        def timed() -> Iterator[Any]:
            began = time.perf_counter()
            with writing() as link:
                yield link
            self.took["write"].append(time.perf_counter() - began)

        store.writing = timed
        store.spend_session = self._clocked("session", store.spend_session)
        store.spend_credits = self._clocked("credits", store.spend_credits)
        seller.handle = self._clocked("all", seller.handle)

    def _clocked(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def clocked(*arguments: Any) -> Any:
            began = time.perf_counter()
            try:
                return work(*arguments)
            finally:
                self.took[name].append(time.perf_counter() - began)

        return clocked


if __name__ == "__main__":
    books = Books()
    serve(Row("lily", "solana", "lily", books.made), {"open": books.open, "times": books.times, "judge": books.judge})
