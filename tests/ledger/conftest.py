"""Shared makers: asks, offers and terms, a clock that tests set, and a ledger that closes itself."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from x402_agent.assets import assets
from x402_agent.ledger import MOVES, SqliteLedger
from x402_agent.ledger.moves import known, move
from x402_agent.model import Ask, Hold, Limit, Offer, Terms

NOW = 1_795_000_000.0
PAYEE = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C"
PAYER = "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Desk:
    """Makes things to pay for; one ledger path, as many ledgers on it as a test opens."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "ledger.db"
        self.clock = Clock()
        self.opened: list[SqliteLedger] = []

    def open(self, **options: Any) -> SqliteLedger:
        made = SqliteLedger(self.path, clock=self.clock, **{"journal": "normal", **options})
        self.opened.append(made)
        return made

    def crash(self, ledger: SqliteLedger) -> None:
        """What a kill leaves behind: what was written, no more; its locks are gone."""
        store = ledger._store
        assert store is not None
        ledger._store = None
        ledger._writer._queue.clear()
        ledger._writer.stop()
        import os

        os.close(store.owners.fd)
        store.owners.fd = -1
        store.db.close()
        os.close(store.fd)
        os.close(store.line)
        self.opened.remove(ledger)

    def ask(self, path: str = "/report", *, host: str = "api.example.com", **options: Any) -> Ask:
        origin = f"https://{host}"
        return Ask(options.pop("method", "GET"), f"{origin}{path}", origin, host, path, **options)

    def offer(
        self, amount: int = 10_000, *, network: str = "base-sepolia", pay_to: str = PAYEE, **options: Any
    ) -> Offer:
        asset = next(each for each in assets() if each.network.name == network and each.symbol == "USDC")
        values: dict[str, Any] = {
            "resource": "r",
            "description": "d",
            "lifetime": 60,
            "wire": ("2", network, '{"a":1}', "", ""),
        }
        return Offer("x402", options.pop("scheme", "exact"), asset, amount, pay_to, **{**values, **options})

    def terms(self, lifetime: int = 60) -> Terms:
        now = int(self.clock.now)
        return Terms(PAYER, "0x" + secrets.token_hex(32), now - 600, now + lifetime)

    def pay(
        self,
        ledger: SqliteLedger,
        ask: Ask | None = None,
        offer: Offer | None = None,
        *,
        limits: tuple[Limit, ...] = (),
        reserve: bool = False,
        digest: str = "",
        lifetime: int = 60,
    ) -> Hold:
        """Up to and with the durable commit."""
        plan = ledger.hold(
            ask or self.ask(), offer or self.offer(), self.terms(lifetime), limits, reserve=reserve
        ).run()
        hold = ledger.commit(plan, digest).run()
        assert hold is not None
        return hold

    def counted(self, ledger: SqliteLedger, realm: str = "test") -> int:
        """Micro-dollars counted in all, for ever."""
        return ledger.spent([Limit("all", "total", 0)], realm=realm)[0].spent


def step(payment_id: str, state: str, store: Any) -> None:
    """One move, by the table alone."""
    move(store, known(store, payment_id), state)


def way(before: str, after: str) -> list[str]:
    """The shortest way of legal moves from a state to another one, without the first."""
    ways = [[before]]
    for each in ways:
        if each[-1] == after:
            return each[1:]
        ways += [[*each, to] for to in sorted(MOVES[each[-1]]) if to not in each]
    raise AssertionError(f"no moves lead from {before} to {after}")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    for ledger in made.opened:
        ledger.shut()


@pytest.fixture
def ledger(desk: Desk) -> SqliteLedger:
    return desk.open()


@pytest.fixture
def at_state(desk: Desk) -> Callable[[SqliteLedger, str], Hold]:
    """A payment brought to a state by legal moves."""
    number = itertools.count()

    def bring(ledger: SqliteLedger, state: str) -> Hold:
        hold = ledger.hold(desk.ask(f"/{state}/{next(number)}"), desk.offer(), desk.terms(), (), reserve=True).run()
        for after in way("RESERVED", state):
            if after == "INFLIGHT" and hold.state == "RESERVED":
                hold = ledger.commit(hold).run()
            else:
                ledger._job(partial(step, hold.payment_id, after), write=True).run()
        assert ledger.payment(hold.payment_id).state == state
        return hold

    return bring
