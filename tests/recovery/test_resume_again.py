"""I8 on demand: `resume` once, many times, or killed at any question to the chain and any write: it always ends the same."""

from __future__ import annotations

import pytest

from x402_agent import Payer
from x402_agent.ledger import SqliteLedger
from x402_agent.model import Limit
from x402_agent.recovery import receipts, resuming

PATHS = ("/report", "/permit2", "/upto", "/either")


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture
def served(monkeypatch):
    """Payments by every way we pay, one of which lost its answer."""
    close = SqliteLedger.close
    with Payer.sandbox(serve=True) as payer:
        with payer.client() as http, monkeypatch.context() as patch:
            for path in PATHS:
                if path == "/either":
                    patch.setattr(SqliteLedger, "close", lambda self, hold, state, **facts: close(self, hold, "UNKNOWN", **facts))
                http.get(payer.sandbox.url(path))
        payer.ledger.flush()
        assert [p.state for p in payer.ledger.payments()][::-1] == ["CLAIMED", "CLAIMED", "CLAIMED", "UNKNOWN"]
        yield payer


def books(payer):
    payer.ledger.flush()
    assert payer.ledger.verify() == []
    counted = payer.ledger.spent([Limit("all", "total", 0)], realm="sandbox")[0].spent
    return [(p.url.rpartition("/")[2], p.state, p.micros, p.delivered) for p in payer.ledger.payments()], counted


ENDED = ([("either", "CONFIRMED", 10_000, False), ("upto", "CONFIRMED", 12_000, True), ("permit2", "CONFIRMED", 10_000, True),
          ("report", "CONFIRMED", 30_000, True)], 62_000)  # fmt: skip


@pytest.mark.parametrize("times", [1, 2, 4])
def test_as_often_as_one_likes(served, times):
    for _ in range(times):
        served.resume()
    assert books(served) == ENDED
    settled = len(served.sandbox.settlements)
    assert settled == len(PATHS), "nothing was paid twice"


POINTS = [(resuming, "drive"), (receipts, "drive"), (SqliteLedger, "close"), (SqliteLedger, "true_up"), (SqliteLedger, "commit")]


@pytest.mark.parametrize("owner,name", POINTS, ids=lambda each: each if isinstance(each, str) else each.__name__.rpartition(".")[2])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_every_question_and_every_write(served, monkeypatch, owner, name, after):
    real, kills = getattr(owner, name), 0
    for number in range(1, 30):
        calls = [0]

        def call(*args, real=real, calls=calls, number=number, **options):
            calls[0] += 1
            if calls[0] == number and not after:
                raise Killed
            made = real(*args, **options)
            if calls[0] == number:
                raise Killed
            return made

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, call)
            try:
                served.resume()
                break
            except Killed:
                kills += 1
    assert kills
    served.resume()
    assert books(served) == ENDED and len(served.sandbox.settlements) == len(PATHS)
