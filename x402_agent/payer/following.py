"""A transaction of ours on its way into a block: how far it has come is written down and told, and its nodes get no more time than blocks do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..errors import PaymentInDoubt
from ..steps import ON_CHAIN, Call, Progress, Sleep, Walk

if TYPE_CHECKING:
    from ..model import Hold, Proof
    from ..steps import Steps
    from .kit import Kit

__all__ = ["followed"]


def followed(kit: Kit, hold: Hold, steps: Steps[Proof | None]) -> Steps[Proof | None]:
    """The same steps. -> the proof to show, if another. Raises PaymentInDoubt between two looks after ON_CHAIN seconds by the clock: chains count what
    they wait for blocks, and a node that never answers would stretch that to hours."""  # fmt: skip
    walk, end = Walk(steps), time.monotonic() + ON_CHAIN
    for step in walk:
        try:
            if isinstance(step, Progress):
                yield from _told(kit, hold, step)
            elif isinstance(step, Sleep) and time.monotonic() > end:
                raise PaymentInDoubt(f"{kit.sent} is not seen deep enough after {ON_CHAIN:.0f} s: nodes are slow to answer",
                                     rule="the same bytes go out again, never others (C5)")  # fmt: skip
            else:
                walk.got = yield step
        except BaseException as why:
            walk.failed = why
    shown: Proof | None = walk.result
    if shown is not None:
        kit.sent = str(shown.payload["transaction"])
    yield from _told(kit, hold, Progress("PROVING", "its id may be shown"))
    return shown


def _told(kit: Kit, hold: Hold, step: Progress) -> Steps[None]:
    yield Call(kit.payer.ledger.progress(hold, step.state, step.words, step.fee).run, ours=True)
    if kit.payer.trace is not None:
        kit.payer.trace(hold.ask, step, hold)
