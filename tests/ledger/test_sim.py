"""A lying world against the real ledger, judged by the truth and not by our books; broken ledgers must be caught.

Two ledgers on one file play two processes. Between any two steps one of them may die, the seller may settle any
authorisation that ever left, answers lie, the node is stale, the clock is off. A seed replays everything.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from x402_agent.errors import BudgetExceeded, LedgerError
from x402_agent.ledger import SqliteLedger, budget, lock, recovery, sqlite, states
from x402_agent.ledger.moves import known, move
from x402_agent.model import Ask, Hold, Limit, Offer, Terms
from x402_agent.steps import BUSY

PRICE, ROOM, LIFE, START = 10_000, 5, 30, 1_795_000_000
LIMITS = (Limit("all", "total", PRICE * ROOM), Limit("host:h", "total", PRICE * ROOM))


class Violation(Exception):
    pass


class World:
    def __init__(self, rng: random.Random, path: Path, desk) -> None:
        self.rng, self.path, self.desk = rng, path, desk
        self.t, self.skew, self.serial = START, 0, 0
        self.left: dict[str, dict] = {}  # nonce -> what the seller holds
        self.settled: set[str] = set()
        self.settled_at: dict[str, int] = {}
        self.told: set[str] = set()
        self.delivered: set[str] = set()  # nonces whose content reached a caller
        self.presenting: dict[int, str] = {}  # call -> nonce
        self.processes: dict[int, SqliteLedger] = {}

    def clock(self) -> float:
        return float(self.t + self.skew)

    def process(self, number: int) -> SqliteLedger:
        if number not in self.processes:
            self.processes[number] = SqliteLedger(self.path, clock=self.clock, journal="normal")
        return self.processes[number]

    def kill(self, number: int) -> None:
        if number in self.processes:
            ledger = self.processes.pop(number)
            self.desk.opened.append(ledger)
            self.desk.crash(ledger)

    # -- seller
    def receive(self, hold: Hold) -> None:
        nonce, ask = hold.terms.nonce, hold.ask
        reader = next(iter(self.processes.values()))._store.db
        row = reader.execute("SELECT state FROM x402_payments WHERE nonce = ?", (nonce,)).fetchone()
        dead = row is not None and row[0] == "DEAD" and self.t > hold.terms.valid_before
        if not dead and (row is None or row[0] not in states.COUNTED - {"RESERVED"}):
            raise Violation("I4 something left that no counted row names")
        if nonce not in self.left:
            self.left[nonce] = {"key": ask.key, "keyed": bool(ask.caller_key), "expires": hold.terms.valid_before}

    def committed(self, hold: Hold) -> None:
        """A new proof may leave from here on: no older one for this purchase may be loose."""
        for other, each in self.left.items():
            gone = other not in self.settled and self.t >= each["expires"]
            settled_away = other in self.delivered or other in self.presenting.values()
            if each["key"] == hold.ask.key and not gone and (hold.ask.caller_key or not settled_away):
                raise Violation("I3 a second proof while the first can settle")

    def tick(self) -> None:
        self.t += self.rng.choice((0, 0, 1, 1, 3, 10))
        if self.rng.random() < 0.03:
            self.skew = self.rng.choice((0, 0, 40, -40, 200))
        for nonce, each in self.left.items():
            if nonce not in self.settled and self.t < each["expires"] and self.rng.random() < 0.12:
                self.settled.add(nonce)
                self.settled_at[nonce] = self.t
        self.check()

    def check(self) -> None:
        alive = [n for n, each in self.left.items() if n in self.settled or self.t < each["expires"]]
        if len(alive) > ROOM:
            raise Violation("I1 settled and settleable exceed the budget")
        keyed = [self.left[n]["key"] for n in self.settled if self.left[n]["keyed"]]
        if len(keyed) != len(set(keyed)):
            raise Violation("I2 a keyed purchase settled twice")

    # -- node
    def fate(self, hold: Hold, *, honest: bool = False) -> str:
        if not honest and self.rng.random() < 0.3:
            return "unknown"
        block = self.t if honest else self.t - self.rng.choice((0, 0, 2, 25, 60))
        nonce = hold.terms.nonce
        if nonce in self.settled and self.settled_at[nonce] <= block:
            return "settled"
        return "dead" if block > hold.terms.valid_before else "unknown"


def pay(w: World, call: int, number: int, ask: Ask, offer: Offer) -> Iterator[None]:
    """flow.py in little: every yield is a place to die or to be overtaken."""
    ledger = w.process(number)
    for _ in range(3):
        hold = ledger.find(ask).run()
        yield
        if hold is BUSY:
            return
        if hold is not None:
            fate = w.fate(hold)
            if fate == "dead":
                ledger.close(hold, "DEAD", note="node").run()
                hold = None
            elif fate == "settled":
                ledger.close(hold, "CONFIRMED", note="node").run()
            yield
        if hold is None:
            w.serial += 1
            now = w.t  # expiry is checked by the seller's clock; ours may be off
            terms = Terms("0xme", f"0x{w.serial:064x}", now - 600, now + LIFE)
            hold = ledger.hold(ask, offer, terms, LIMITS, reserve=w.rng.random() < 0.4).run()
            yield
        proof = ledger.commit(hold, "d").run()
        if proof is None:
            continue
        if not proof.resumed:
            w.committed(proof)
        w.presenting[call] = proof.terms.nonce  # under way again: another call for it is another purchase
        yield
        yield from present(w, call, ledger, proof)
        return


def present(w: World, call: int, ledger: SqliteLedger, hold: Hold) -> Iterator[None]:
    try:
        w.receive(hold)
        yield
        answer = w.rng.choice(("200", "200", "402", "500", "lost", "paid500"))
        if answer == "200":
            w.delivered.add(hold.terms.nonce)
            ledger.close(hold, "CLAIMED", status=200).run()
        elif answer == "paid500":
            ledger.close(hold, "PAID_UNDELIVERED", status=500).run()
        else:
            ledger.close(hold, "UNKNOWN", refused=answer == "402", status=402 if answer == "402" else 0).run()
        yield
    finally:
        w.presenting.pop(call, None)


def run(seed: int, folder: Path, desk) -> str:
    """One history. -> "" or the violation."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    w = World(rng, folder / "ledger.db", desk)
    offer = desk.offer(PRICE)
    calls: dict[int, tuple[int, Iterator[None]]] = {}
    serial = 0
    w.process(0)
    try:
        for _ in range(90):
            w.tick()
            if len(calls) < 3 and rng.random() < 0.6:
                serial += 1
                number = rng.randrange(2)
                key = rng.choice(("", "k"))
                path = f"/{rng.randrange(5)}{key}"
                ask = Ask("GET", f"https://h{path}", "https://h", "h", path, caller_key=key and key + path)
                calls[serial] = (number, pay(w, serial, number, ask, offer))
            if calls:
                step(w, calls, rng)
            if rng.random() < 0.06:
                kill(w, calls, rng.randrange(2))
        end(w, calls)
    except Violation as found:
        return str(found)
    finally:
        for number in list(w.processes):
            w.kill(number)
    return ""


def step(w: World, calls: dict, rng: random.Random) -> None:
    chosen = rng.choice(list(calls))
    try:
        next(calls[chosen][1])
    except (StopIteration, BudgetExceeded, LedgerError):
        del calls[chosen]


def kill(w: World, calls: dict, number: int) -> None:
    """The process dies: its calls stop where they are, what it had not written is gone."""
    for each in [each for each, (owner, _) in calls.items() if owner == number]:
        w.presenting.pop(each, None)
        del calls[each]
    w.kill(number)
    w.process(number if w.rng.random() < 0.5 else 1 - number)


def end(w: World, calls: dict) -> None:
    """Quiet, honest node, everything expired: nothing unsettled is still counted (I7), and the books are whole."""
    calls.clear()
    for number in list(w.processes):
        w.kill(number)
    w.presenting.clear()
    w.t, w.skew = w.t + 1000, 0
    w.check()
    ledger = w.process(0)
    for _ in range(2):  # recovery is idempotent (I8)
        for hold in ledger.open_payments():
            fate = w.fate(hold, honest=True)
            if fate in ("dead", "settled") and hold.state != "CONFIRMED":
                ledger.close(hold, "DEAD" if fate == "dead" else "CONFIRMED", note="node").run()
        ledger.recover()
        ledger.flush()
    for payment in ledger.payments():
        if payment.outcome != "released" and payment.nonce not in w.settled and payment.state != "CLAIMED":
            raise Violation(f"I7 {payment.state} stays counted and never settled")
        if payment.outcome == "released" and payment.nonce in w.settled:
            raise Violation("I6 released and settled")
    if ledger.verify():
        raise Violation(f"I4 {ledger.verify()[0]}")


@pytest.mark.parametrize("seeds", [60, pytest.param(3000, marks=pytest.mark.full)])
def test_the_ledger_survives_the_lying_world(seeds, tmp_path, desk):
    bad = [(seed, found) for seed in range(seeds) if (found := run(seed, tmp_path / "sim", desk))]
    assert bad == []


def test_the_world_is_not_vacuous(tmp_path, desk, monkeypatch):
    seen = []
    real = World.kill
    monkeypatch.setattr(World, "kill", lambda w, n: (seen.append((len(w.left), len(w.settled))), real(w, n))[1])
    for seed in range(10):
        run(seed, tmp_path / "sim", desk)
    assert max(left for left, _ in seen) >= 4
    assert max(settled for _, settled in seen) >= 3


# -- broken ledgers: each must be caught ----------------------------------------------------------------------------


def no_check(monkeypatch):
    """check-then-record, the limit forgotten."""
    monkeypatch.setattr(budget, "check", lambda store, scopes, ask, offer, limits, now: offer.money.micros)


def forget_intent(monkeypatch):
    """Every call is a new purchase."""
    monkeypatch.setattr(SqliteLedger, "_find", lambda self, store, ask, besides="": None)


def look_only_once(monkeypatch):
    """Commit trusts what Find said."""
    real = SqliteLedger._first

    def first(self, store, hold, digest):
        monkeypatch.setattr(type(store.cache), "alone", lambda cache, key: True)
        try:
            return real(self, store, hold, digest)
        finally:
            monkeypatch.undo()
            look_only_once(monkeypatch)

    monkeypatch.setattr(SqliteLedger, "_first", first)


def release_on_error(monkeypatch):
    """An unanswered payment is taken for a failed one."""
    real = SqliteLedger._settle
    monkeypatch.setattr(
        SqliteLedger, "_settle",
        lambda self, store, row, state, answer: real(self, store, row, "DEAD" if state == "UNKNOWN" else state, answer),
    )  # fmt: skip


def inflight_is_unsent(monkeypatch):
    """Recovery takes INFLIGHT of a dead owner for never sent."""
    real = recovery.recover

    def recover(store):
        for payment_id, owner in store.db.execute(
            "SELECT payment_id, owner FROM x402_payments WHERE state = 'INFLIGHT'"
        ).fetchall():
            if not store.owners.alive(owner):
                move(store, known(store, payment_id), "DEAD")
        return real(store)

    monkeypatch.setattr(recovery, "recover", recover)


def local_clock(monkeypatch):
    """Expired by our own clock is taken for dead."""
    real = recovery.recover

    def recover(store):
        for (payment_id,) in store.db.execute(
            "SELECT payment_id FROM x402_payments WHERE state IN ('INFLIGHT', 'UNKNOWN') AND valid_before < ?",
            (store.clock(),),
        ).fetchall():
            move(store, known(store, payment_id), "DEAD")
        return real(store)

    monkeypatch.setattr(recovery, "recover", recover)


def no_compare_and_swap(monkeypatch):
    """Recovery thinks every owner dead, and Commit does not look what became of its RESERVED row."""
    monkeypatch.setattr(lock.Owners, "alive", lambda self, name: False)
    monkeypatch.setattr(
        SqliteLedger, "_first", lambda self, store, hold, digest, real=SqliteLedger._first: (
            sqlite._as(hold, "INFLIGHT") if hold.state == "RESERVED" else real(self, store, hold, digest)
        ),
    )  # fmt: skip


def record_after_send(monkeypatch):
    """Commit only plans; the row comes later."""
    monkeypatch.setattr(SqliteLedger, "_first", lambda self, store, hold, digest: sqlite._as(hold, "INFLIGHT"))


def stale_memory(monkeypatch):
    """What memory knows is believed though others have written."""
    real = sqlite.Store._begin_generation
    monkeypatch.setattr(
        sqlite.Store, "_begin_generation",
        lambda self: (setattr(self.cache, "generation", self.generation()) if self.journal.seq > 0 else None, real(self),
                      self.journal.load())[1],
    )  # fmt: skip


BROKEN = [no_check, forget_intent, look_only_once, release_on_error, inflight_is_unsent, local_clock,
          no_compare_and_swap, record_after_send, stale_memory]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.__name__)
def test_a_broken_ledger_is_caught(broken, tmp_path, desk, monkeypatch):
    broken(monkeypatch)
    assert any(run(seed, tmp_path / "sim", desk) for seed in range(400))
