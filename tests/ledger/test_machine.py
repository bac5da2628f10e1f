"""A state machine over the real ledger against a plain model of the truth (I1, I2, I4, I6, I8 of money-safety 2.4)."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from x402_agent.errors import BudgetExceeded, LedgerError, PaymentInDoubt, PolicyDenied
from x402_agent.ledger import SqliteLedger, budget, charges, moves, states
from x402_agent.model import Limit
from x402_agent.steps import Busy

PRICE = 10_000
CAP = 6 * PRICE
PATHS = st.sampled_from(["/a", "/b", "/c"])
KEYS = st.sampled_from(["", "", "k1", "k2"])
ENDS = st.sampled_from(sorted(states.STATES))


class Machine(RuleBasedStateMachine):
    """Two ledgers on one file; `truth` holds every payment that a caller was told about, with its state."""

    holds = Bundle("holds")
    make: Any = None  # the Desk of conftest.py

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.desk = self.make(Path(self.folder.name))
        self.ledgers = [self.desk.open(), self.desk.open()]
        self.truth: dict[str, str] = {}
        self.charged: set[str] = set()
        self.keys: dict[str, str] = {}

    def teardown(self) -> None:
        if hasattr(self, "desk"):
            for ledger in self.desk.opened:
                ledger.shut()
            self.folder.cleanup()

    def limits(self) -> tuple[Limit, ...]:
        return (Limit("all", "total", CAP), Limit("host:api.example.com", "day", CAP))

    @rule(
        target=holds, which=st.integers(0, 1), path=PATHS, key=KEYS, reserve=st.booleans(), price=st.integers(1, 3),
        scheme=st.sampled_from(["exact", "upto"]),
    )  # fmt: skip
    def buy(self, which, path, key, reserve, price, scheme):
        ledger, ask = self.ledgers[which], self.desk.ask(path, caller_key=key)
        try:
            found = ledger.find(ask).run()
            if isinstance(found, Busy):
                assert key
                return multiple()
            if found is None:
                found = ledger.hold(ask, self.desk.offer(PRICE * price, scheme=scheme), self.desk.terms(), self.limits(),
                                    reserve=reserve).run()  # fmt: skip
                if found.state == "RESERVED":
                    self.truth[found.payment_id] = "RESERVED"
            made = ledger.commit(found).run()
        except BudgetExceeded:
            return multiple()
        except PaymentInDoubt as why:
            assert self.truth[why.payment_id] == "QUARANTINE"
            return multiple()
        except PolicyDenied:
            assert self.keys[key] != path  # the only denial here: a key for another request
            return multiple()
        if made is None:
            return multiple()
        assert made.terms == found.terms  # one Ask, one proof
        if not made.resumed:
            self.truth[made.payment_id] = "INFLIGHT"
            if key:
                assert key not in self.keys or self.keys[key] == path
                self.keys[key] = path
        return (which, made)

    @rule(pair=holds, state=ENDS, refused=st.booleans(), other=st.booleans())
    def close(self, pair, state, refused, other):
        which, hold = pair
        ledger = self.ledgers[1 - which if other else which]
        before = self.truth[hold.payment_id]
        ledger.close(hold, state, refused=refused, status=200 if state == "CLAIMED" else 500).run()
        ledger.flush()
        if states.legal(before, state) and state != "RELEASED":
            self.truth[hold.payment_id] = state
            if state == "REVERTED":  # the price was charged 0, for ever
                self.charged.add(hold.payment_id)

    @rule(pair=holds, charged=st.integers(0, 4), other=st.booleans())
    def true_up(self, pair, charged, other):
        which, hold = pair
        ledger, offer = self.ledgers[1 - which if other else which], hold.offer
        state, amount, before = self.truth[hold.payment_id], charged * PRICE // 2, self.desk.counted(ledger)
        fits = offer.scheme == "upto" and state in states.SPENT and amount <= offer.amount
        again = hold.payment_id in self.charged
        try:
            given = ledger.true_up(hold.payment_id, amount)
        except LedgerError:
            assert not fits and not again
            return
        assert given == (0 if again else offer.amount - amount) == before - self.desk.counted(ledger)
        if not again:
            assert fits
            self.charged.add(hold.payment_id)
            if state == "CLAIMED":
                self.truth[hold.payment_id] = "CONFIRMED"

    @rule(which=st.integers(0, 1))
    def die(self, which):
        self.desk.crash(self.ledgers[which])
        self.ledgers[which] = self.desk.open()
        for payment_id, state in self.truth.items():
            if state in states.UNSENT and self.ledgers[which].payment(payment_id).state == "RELEASED":
                self.truth[payment_id] = "RELEASED"

    @rule(which=st.integers(0, 1), times=st.integers(1, 3))
    def recover(self, which, times):
        before = [(p.payment_id, p.state) for p in self.ledgers[which].payments()]
        for _ in range(times):
            self.ledgers[which].recover()
        assert [(p.payment_id, p.state) for p in self.ledgers[which].payments()] == before  # nobody died meanwhile

    @rule(seconds=st.sampled_from([1, 70, 3600, 86400, 200_000]))
    def wait(self, seconds):
        self.desk.clock.now += seconds

    @invariant()
    def books_tell_the_truth(self):
        if not hasattr(self, "ledgers"):
            return
        for ledger in self.ledgers:
            rows = {p.payment_id: p for p in ledger.payments()}
            assert {each: rows[each].state for each in self.truth} == self.truth
            assert set(rows) == set(self.truth)
            counted = sum(p.micros for p in rows.values() if p.state in states.COUNTED)
            assert counted == self.desk.counted(ledger) <= CAP

    @invariant()
    def one_proof_per_purchase_may_settle(self):
        if not hasattr(self, "ledgers"):
            return
        db = self.ledgers[0]._store.db
        keyed = db.execute(
            "SELECT ask_key, COUNT(*) FROM x402_payments WHERE caller_key <> '' AND state NOT IN ('RELEASED', 'DEAD', 'REVERTED') "
            "AND valid_before + 86400 > ? AND state NOT IN ('RESERVED', 'BUILT') GROUP BY ask_key",
            (self.desk.clock.now,),
        ).fetchall()
        assert all(count == 1 for _, count in keyed)

    @invariant()
    def the_chain_holds(self):
        if hasattr(self, "ledgers"):
            assert self.ledgers[1].verify() == []


def check(desk, examples: int) -> None:
    Machine.make = type(desk)
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=examples < 100,
            database=None,
            print_blob=False,
            phases=[Phase.generate],
        ),
    )


@pytest.mark.parametrize("examples", [25, pytest.param(600, marks=pytest.mark.full)])
def test_the_ledger_against_the_model(desk, examples):
    check(desk, examples)


def forget_intent(monkeypatch):
    monkeypatch.setattr(SqliteLedger, "_find", lambda self, store, ask, besides="": None)


def no_limit(monkeypatch):
    monkeypatch.setattr(budget, "check", lambda store, scopes, ask, offer, limits, now: offer.money.micros)


def free_unknown(monkeypatch):
    monkeypatch.setattr(moves.states, "COUNTED", states.COUNTED - {"UNKNOWN"})


def believe_any_charge(monkeypatch):
    monkeypatch.setattr(charges, "_check", lambda row, charged: None)


@pytest.mark.parametrize("broken", [forget_intent, no_limit, free_unknown, believe_any_charge], ids=lambda each: each.__name__)
def test_the_model_catches_a_broken_ledger(desk, monkeypatch, broken):
    broken(monkeypatch)
    with pytest.raises((AssertionError, ExceptionGroup)):
        check(desk, 1000)  # stops at the first failure, long before
