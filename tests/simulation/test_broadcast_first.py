"""Payments that are broadcast first and proved afterwards (b1 to b11): the real ledger in a world that kills, loses and reorganises.

No chain is paid on so yet. The driver below is what one will do with the ledger: bytes durable before they leave, the same bytes
after a crash, a new transaction only when the old one has failed for good.
"""

from __future__ import annotations

import random
import shutil
from functools import partial

import pytest

from ledger.conftest import Desk, step
from x402_agent.errors import BudgetExceeded
from x402_agent.ledger import SqliteLedger, moves, recovery, states
from x402_agent.ledger.moves import known, move
from x402_agent.model import Limit
from x402_agent.steps import Busy

PRICE, FEE = 10_000, 700
ROOM = 12 * (PRICE + FEE)
PATHS = ("/a", "/b", "/c")
LIMITS = (Limit("all", "total", ROOM),)


class Violation(AssertionError):
    """What must never happen did."""


class World:
    """One account's chain, a seller, and a payer's process that is killed again and again."""

    def __init__(self, seed, folder, *, hasty=False):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        self.rng, self.desk, self.hasty, self.honest = random.Random(seed), Desk(folder), hasty, False
        self.ledger = self.desk.open()
        self.where, self.path, self.delivered = {}, {}, set()  # by transaction: mempool, block, final or failed; its purchase
        self.seen = dict.fromkeys(("kills", "reorgs", "reverts", "paid", "lost"), 0)

    def chance(self, often):
        return not self.honest and self.rng.random() < often

    def kill(self):
        self.seen["kills"] += 1
        self.desk.crash(self.ledger)
        self.ledger = self.desk.open()
        self.ledger.recover()

    def to(self, hold, state):
        self.ledger._job(partial(step, hold.payment_id, state), write=True).run()

    def state(self, hold):
        return self.ledger.payment(hold.payment_id).state

    def broadcast(self, hold):
        """It may be lost on its way, whatever the node says (b2)."""
        mine = hold.terms.nonce
        if self.state(hold) not in states.IN_DOUBT:
            raise Violation("I3 it left before a durable row said that it may")
        for other, path in self.path.items():
            if path == hold.ask.path and other != mine and self.where.get(other) != "failed" and other not in self.delivered:
                raise Violation("I2 a second transaction while the first can settle")
        self.path[mine] = hold.ask.path
        if self.chance(0.3):
            self.seen["lost"] += 1
        elif not self.where.get(mine):
            self.where[mine] = "mempool"

    def tick(self):
        """Blocks come, go, and become final; what was only lost may still turn up."""
        for txid in self.path:
            now = self.where.get(txid, "")
            if now in ("", "mempool"):
                self.where[txid] = "block" if self.rng.random() < 0.4 and (now or self.chance(0.2)) else now
            elif now == "block":
                self.where[txid] = "mempool" if self.chance(0.25) else "failed" if self.chance(0.15) else "final" if self.rng.random() < 0.5 else now
                self.seen["reorgs"] += self.where[txid] == "mempool"
                self.seen["reverts"] += self.where[txid] == "failed"
        owed = sum(FEE if self.where.get(txid) == "failed" else PRICE + FEE for txid in self.path)
        if not owed <= self.desk.counted(self.ledger) <= ROOM:
            raise Violation(f"I1 {owed} may be gone, {self.desk.counted(self.ledger)} is counted")

    # -- the driver -------------------------------------------------------------------------------------------------

    def call(self, path):
        """One purchase; every yield is a place to die."""
        found = self.ledger.find(self.desk.ask(path)).run()
        if isinstance(found, Busy):
            return
        hold = found
        if hold is None:
            offer = self.desk.offer(PRICE, fee_cap=FEE)
            hold = self.ledger.hold(self.desk.ask(path), offer, self.desk.terms(), LIMITS, reserve=True).run()
            yield
            self.to(hold, "BUILT")
            yield
            if self.hasty:
                self.broadcast(hold)
                yield
            self.to(hold, "INFLIGHT")
            yield
        if self.state(hold) == "INFLIGHT":
            self.broadcast(hold)
            yield
        for _ in range(30):
            if (yield from self.look(hold)):
                return
            yield
        self.ledger.close(hold, "UNKNOWN").run()

    def look(self, hold):
        """What the chain shows moves the row; -> whether this call is over."""
        now, on_chain = self.state(hold), self.where.get(hold.terms.nonce, "")
        if on_chain == "failed" and now != "PROVING":
            self.to(hold, "REVERTED")
            return True
        if on_chain in ("block", "final") and now in ("INFLIGHT", "SEEN"):
            self.to(hold, "MINED")
        elif on_chain == "mempool" and now == "INFLIGHT":
            self.to(hold, "SEEN")
        elif on_chain in ("", "mempool") and now == "MINED":
            self.to(hold, "INFLIGHT")
        elif on_chain == "" and now == "INFLIGHT":
            self.broadcast(hold)
        elif on_chain == "final" and now == "MINED":
            self.to(hold, "PROVING")
        if self.state(hold) != "PROVING":
            return False
        yield
        if self.chance(0.4):  # b6: the answer is lost, and the same id is shown again by the next call
            self.ledger.close(hold, "UNKNOWN", status=500).run()
            return True
        self.delivered.add(hold.terms.nonce)
        self.seen["paid"] += 1
        self.ledger.close(hold, "CLAIMED", status=200).run()
        self.ledger.flush()
        return True

    def run(self, calls):
        for _ in range(calls):
            work = self.call(self.rng.choice(PATHS))
            try:
                for _ in work:
                    self.tick()
                    if self.chance(0.12):
                        work.close()
                        self.kill()
                        break
            except BudgetExceeded:
                continue

    def end(self):
        """Quiet, and an honest world: what is open ends, once, and recovering again changes nothing."""
        self.kill()
        self.honest = True
        for path in PATHS:
            for _ in range(20):
                if self.ledger.find(self.desk.ask(path)).run() is None:
                    break
                for _ in self.call(path):
                    self.tick()
        rows = {row.nonce: row.state for row in self.ledger.payments()}
        if set(self.path) - set(rows):
            raise Violation("a transaction is forgotten")
        for txid, state in rows.items():
            allowed = {"failed": {"REVERTED"}, "final": {"CLAIMED"}}.get(self.where.get(txid, ""), {"RELEASED"})
            if state not in allowed:
                raise Violation(f"I7 {state}, and the chain says {self.where.get(txid)}")
        self.ledger.recover()
        if rows != {row.nonce: row.state for row in self.ledger.payments()} or self.ledger.verify():
            raise Violation("I8 recovering again changed something")


def history(seed, folder, **options):
    """-> (the violation or "", what was seen)."""
    world = World(seed, folder / "world", **options)
    try:
        world.run(14)
        world.end()
    except Violation as found:
        return str(found), world.seen
    finally:
        world.ledger.shut()
    return "", world.seen


@pytest.mark.parametrize("seeds", [12, pytest.param(400, marks=pytest.mark.full)])
def test_no_transaction_is_forgotten_or_made_twice(seeds, tmp_path):
    told = [history(seed, tmp_path) for seed in range(seeds)]
    assert [(seed, found) for seed, (found, _) in enumerate(told) if found] == []
    assert all(sum(seen[what] for _, seen in told) > 2 for what in told[0][1]), told


def forget_intent(monkeypatch):
    monkeypatch.setattr(SqliteLedger, "_find", lambda self, store, ask, besides="": None)


def fees_are_free(monkeypatch):
    monkeypatch.setattr("x402_agent.ledger.moves._given", lambda store, row, charged: row.micros)


def unknown_is_dead(monkeypatch):
    """Recovery takes what a dead process may have broadcast for never sent."""
    real = recovery.recover

    def recover(store):
        for (payment_id,) in store.db.execute("SELECT payment_id FROM x402_payments WHERE state IN ('INFLIGHT', 'SEEN')").fetchall():
            move(store, known(store, payment_id), "DEAD")
        return real(store)

    monkeypatch.setattr(recovery, "recover", recover)


def in_the_mempool_is_free(monkeypatch):
    monkeypatch.setattr(moves.states, "COUNTED", states.COUNTED - {"SEEN"})


@pytest.mark.parametrize("broken", [forget_intent, fees_are_free, unknown_is_dead, in_the_mempool_is_free], ids=lambda each: each.__name__)
def test_a_broken_ledger_is_caught(broken, monkeypatch, tmp_path):
    broken(monkeypatch)
    assert any(history(seed, tmp_path)[0] for seed in range(60))


def test_a_driver_that_sends_first_is_caught(tmp_path):
    assert any(history(seed, tmp_path, hasty=True)[0] for seed in range(20))
