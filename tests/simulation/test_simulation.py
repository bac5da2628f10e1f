"""The real conversation and ledger in the lying world; and every way we know to break them must be caught by it."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from simulation.world import World, history, install
from x402_agent import flow
from x402_agent.chains.evm import fate
from x402_agent.chains.evm.chain import Evm
from x402_agent.ledger import SqliteLedger, lock, moves, recovery, sqlite, states
from x402_agent.ledger.moves import known, move
from x402_agent.ledger.store import Store
from x402_agent.ledger.writer import Job
from x402_agent.model import Hold, Terms
from x402_agent.policy import Policy
from x402_agent.steps import Close, Sign

SEEDS = int(os.environ.get("SIMULATION_SEEDS", "40"))


@pytest.fixture
def world(monkeypatch, tmp_path):
    """Runs one seed in a world of its own."""
    current: list[World] = []
    install(monkeypatch, current)
    return lambda seed: history(seed, tmp_path / "world", current)


@pytest.mark.parametrize("seeds", [SEEDS, pytest.param(1000, marks=pytest.mark.full)])
def test_nothing_is_paid_twice_or_forgotten(seeds, world):
    assert [(seed, found) for seed in range(seeds) if (found := world(seed)[0])] == []


def test_the_world_is_not_vacuous(world):
    """What must happen often enough for its silence to mean something."""
    seen, states_seen = Counter(), Counter()
    for seed in range(25):
        _, made = world(seed)
        seen += Counter(made.count)
        seen["left"] += len(made.cheques)
        seen["settled"] += sum(each.settled_at is not None for each in made.cheques.values())
        states_seen += Counter(row["state"] for row in made.rows())
    assert seen["left"] > 60 and seen["settled"] > 30
    assert seen["kills"] > 60 and seen["cuts"] > 20 and seen["faults"] > 5 and seen["cancels"] > 20
    assert {"CONFIRMED", "DEAD", "RELEASED"} <= set(states_seen)


# -- broken payers: each must be caught -------------------------------------------------------------------------------


def no_limits(monkeypatch):
    """Nothing is counted against a budget."""
    monkeypatch.setattr(Policy, "limits", lambda self, ask, offer: ())


def forget_intent(monkeypatch):
    """Every call is a new purchase."""
    monkeypatch.setattr(SqliteLedger, "_find", lambda self, store, ask, besides="": None)


def look_only_once(monkeypatch):
    """Commit trusts what Find said."""
    real = SqliteLedger._first

    def first(self, store, hold, digest):
        with monkeypatch.context() as patch:
            patch.setattr(type(store.cache), "alone", lambda cache, key: True)
            return real(self, store, hold, digest)

    monkeypatch.setattr(SqliteLedger, "_first", first)


def stale_memory(monkeypatch):
    """What memory knows is believed though others have written."""
    real = Store._begin_generation

    def begin(self):
        if self.journal.seq > 0:
            self.cache.generation = self.generation()
        known = real(self)
        self.journal.load()
        return known

    monkeypatch.setattr(Store, "_begin_generation", begin)


def never_look(monkeypatch):
    """The conversation signs anew instead of asking for the open proof, and Commit does not look again."""
    def _open_hold(ask, kit, **known):
        yield from ()
        return None, False

    monkeypatch.setattr(flow, "_open_hold", _open_hold)
    forget_intent(monkeypatch)


def release_on_error(monkeypatch):
    """An unanswered payment is taken for a failed one."""
    real = SqliteLedger._settle
    monkeypatch.setattr(
        SqliteLedger, "_settle",
        lambda self, store, row, state, answer: real(self, store, row, "DEAD" if state == "UNKNOWN" else state, answer),
    )  # fmt: skip


def trust_refusal(monkeypatch):
    """A 402 after the proof is taken for "not paid"."""
    real = flow.judge
    monkeypatch.setattr(
        flow, "judge", lambda status, claim, *, fresh: ("DEAD", True) if status == 402 else real(status, claim, fresh=fresh)
    )


def record_after_send(monkeypatch):
    """The proof leaves first, the row comes later."""

    def prove_hold(hold):
        return hold, (yield Sign(hold))

    monkeypatch.setattr(flow, "prove_hold", prove_hold)


def lazy_fsync(monkeypatch):
    """Commit does not reach the disk."""
    real = Job.__init__
    monkeypatch.setattr(Job, "__init__", lambda self, writer, work, *, write, full: real(self, writer, work, write=write, full=False))


def inflight_is_unsent(monkeypatch):
    """Recovery takes what a dead process may have sent for never sent."""
    _recovery(monkeypatch, "state = 'INFLIGHT'", lambda store, owner: not store.owners.alive(owner))


def local_clock(monkeypatch):
    """Expired by our own clock is taken for dead."""
    _recovery(monkeypatch, "state IN ('INFLIGHT', 'UNKNOWN') AND valid_before < {now}", lambda store, owner: True)


def _recovery(monkeypatch, where, gone):
    real = recovery.recover

    def recover(store):
        query = f"SELECT payment_id, owner FROM x402_payments WHERE {where.format(now=store.clock())}"
        for payment_id, owner in store.db.execute(query).fetchall():
            if gone(store, owner):
                move(store, known(store, payment_id), "DEAD")
        return real(store)

    monkeypatch.setattr(recovery, "recover", recover)


def stale_node(monkeypatch):
    """Unused at the newest block that a node knows is taken for dead, however old that block is."""

    def final(asked):
        yield from ()
        return "latest", 1 << 40

    monkeypatch.setattr(fate, "final", final)


def no_compare_and_swap(monkeypatch):
    """Recovery thinks every owner dead, and Commit does not look what became of its RESERVED row."""
    monkeypatch.setattr(lock.Owners, "alive", lambda self, name: False)
    monkeypatch.setattr(
        SqliteLedger, "_first", lambda self, store, hold, digest, real=SqliteLedger._first: (
            sqlite._as(hold, "INFLIGHT") if hold.state == "RESERVED" else real(self, store, hold, digest)
        ),
    )  # fmt: skip


def unknown_is_free(monkeypatch):
    """Money in doubt is not counted."""
    monkeypatch.setattr(moves.states, "COUNTED", states.COUNTED - {"UNKNOWN"})


def no_pin(monkeypatch):
    """Whoever asks for the money gets it."""
    monkeypatch.setattr(SqliteLedger, "_pinned", lambda self, store, hold: True)
    monkeypatch.setattr(SqliteLedger, "_pin", lambda self, store, origin, network: "")


def sign_another_offer(monkeypatch):
    """One offer is judged and written down, another one is signed."""
    real = Evm.prove

    def prove(self, offer, terms, signer):
        from dataclasses import replace

        return real(self, replace(offer, amount=offer.amount * 2), terms, signer)

    monkeypatch.setattr(Evm, "prove", prove)


def obey_their_lifetime(monkeypatch):
    """An authorisation lives as long as the seller likes."""
    real = Evm.terms

    def terms(self, offer, payer, *, now, nonce, max_lifetime, **known):
        made = real(self, offer, payer, now=now, nonce=nonce, max_lifetime=max_lifetime, **known)
        return Terms(made.payer, made.nonce, made.valid_after, now + offer.lifetime)

    monkeypatch.setattr(Evm, "terms", terms)
    monkeypatch.setattr("x402_agent.chains.doors.MAX_LIFETIME", 1 << 40)


def cancelled_is_unsent(monkeypatch):
    """A cancelled call says that nothing left, and is believed."""
    real = flow._present

    def _present(hold, proof, kit, **known):
        try:
            return (yield from real(hold, proof, kit, **known))
        except Exception:
            raise
        except BaseException:
            yield Close(hold, "DEAD")
            raise

    monkeypatch.setattr(flow, "_present", _present)


def fresh_nonce_on_retry(monkeypatch):
    """An open payment is found, and signed anew with another nonce."""
    real = SqliteLedger._find

    def _find(self, store, ask, besides=""):
        found = real(self, store, ask, besides)
        return None if isinstance(found, Hold) else found

    monkeypatch.setattr(SqliteLedger, "_find", _find)


# Each with a history that is known to show it; where the world has changed, the next one is looked for.
BROKEN = {
    no_limits: 5, forget_intent: 6, look_only_once: 11, stale_memory: 2, never_look: 14, release_on_error: 2,
    trust_refusal: 2, record_after_send: 0, lazy_fsync: 0, inflight_is_unsent: 1, local_clock: 1, stale_node: 49,
    no_compare_and_swap: 1, unknown_is_free: 1, no_pin: 15, sign_another_offer: 0, obey_their_lifetime: 1,
    cancelled_is_unsent: 6, fresh_nonce_on_retry: 6,
}  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.__name__)
def test_a_broken_payer_is_caught(broken, world, monkeypatch):
    broken(monkeypatch)
    assert any(world(seed)[0] for seed in (BROKEN[broken], *range(600)))
