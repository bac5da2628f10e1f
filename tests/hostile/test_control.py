"""Mutation control: the same rows against a client known to be broken. A row that he passes may test nothing."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest

from hostile import naive, rows_http, rows_money, rows_weight
from hostile.arena import PAYS, Arena, Case, harm, play

MONEY = [*rows_money.CASES, *rows_http.LOOPS, *rows_http.ORIGINS, *rows_http.PARSING]
WEIGHT = [*rows_weight.CASES]


@pytest.fixture(autouse=True)
def usual_recursion_limit():
    """He parses whatever comes: with a limit that another library of this process raised, depth would kill the process."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(limit)


def harmed(cases: list[Case], folder: Path, monkeypatch: pytest.MonkeyPatch, patience: float) -> dict[str, list[str]]:
    """Which cases he comes to harm in, by the sellers' books alone: being told another error is no harm."""
    found: dict[str, list[str]] = {}
    for number, case in enumerate(cases):
        with monkeypatch.context() as patch:
            arena = Arena(folder / str(number), patch.setenv)
            watchdog = threading.Timer(patience, lambda arena=arena: [seller.stop.set() for seller in arena.sellers])
            watchdog.start()
            try:
                play(arena, case, naive.call)
                if complaints := harm(arena, case, patience=1):
                    found[case.id] = complaints
            finally:
                watchdog.cancel()
                arena.close()
    return found


def rows_of(found: dict[str, list[str]]) -> set[str]:
    return {name.partition("-")[0] for name in found}


HONEST = Case("H1", "honest", lambda arena: arena.seller.sells("/paid"), PAYS)
# Rows in which signing whatever is asked must hurt; the others are about answers, headers and content.
HURT_MONEY = set(
    "P1 P2 P4 P5 P6 P8 P9 P10 P11 P12 P13 P14 P16 P18 A1 A2 A3 A4 A5 A6 A7 A8 A10 A12 A14 D1 D2 D4 D5 D6 D11 D12 "
    "R1 R2 R3 R4 R7 R8 L1 L2 L3 L4 L5 L6 L8 L11 O1 O2 O3 O6 O8 W1 W5 W6 W11 W12 W15 W17".split()
)
HURT_WEIGHT = set("S2 S3 S4 T2 T3 T5 T6 T9 V6 V10".split())


def test_an_honest_seller_has_nothing_against_the_broken_client(tmp_path, monkeypatch):
    assert harmed([HONEST], tmp_path, monkeypatch, 5) == {}


def test_the_broken_client_comes_to_harm(tmp_path, monkeypatch):
    some = set("P1 P5 P13 A1 A3 A8 D1 D5 R1 R4 L1 L2 L8 L11 O1 W5 W15".split())
    cases = {case.row: case for case in MONEY if case.row in some}
    found = harmed(list(cases.values()), tmp_path, monkeypatch, 5)
    assert rows_of(found) == some, sorted(some - rows_of(found))


@pytest.mark.full
def test_the_broken_client_comes_to_harm_in_every_row_that_can_hurt(tmp_path, monkeypatch):
    money = harmed(MONEY, tmp_path, monkeypatch, 5)
    assert HURT_MONEY <= rows_of(money), sorted(HURT_MONEY - rows_of(money))
    (tmp_path / "weight").mkdir()
    weight = harmed(WEIGHT, tmp_path / "weight", monkeypatch, 4)
    assert HURT_WEIGHT <= rows_of(weight), sorted(HURT_WEIGHT - rows_of(weight))
    assert len(money) + len(weight) >= 120
