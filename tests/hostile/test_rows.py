"""Every row of docs/safety.md that a seller can play: on real sockets, with the real client, ledger and signatures."""

from __future__ import annotations

import pytest

from hostile import rows_http, rows_money, rows_weight
from hostile.arena import Arena, Case, harm, play, wrong
from hostile.calls import in_world, sync

CASES = [*rows_money.CASES, *rows_http.CASES, *rows_weight.CASES]


def every(*, full: bool = False) -> list[object]:
    return [pytest.param(case, id=case.id, marks=[pytest.mark.full] * (full or case.slow)) for case in CASES]


def judge(arena: Arena, case: Case) -> None:
    assert [*harm(arena, case), *wrong(arena, case)] == []
    if case.then is not None:
        case.then(arena, arena.reply)


@pytest.mark.parametrize("case", every())
def test_row(arena, case):
    play(arena, case, sync)
    judge(arena, case)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # trio: a stream left in the middle
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")  # leaves the HTTP library's own generators
@pytest.mark.parametrize(("library", "backend"), [("httpx", "trio"), ("httpx2", "asyncio")])
@pytest.mark.parametrize("case", every(full=True))
def test_row_async(arena, case, library, backend):
    play(arena, case, in_world(library, backend))
    judge(arena, case)
