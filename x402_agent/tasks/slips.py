"""Slips: a purse for a child process or a sub-agent, by a token. It can only narrow, and dies with its parent.

    token = payer.slip("0.50", minutes=10, hosts=["api.example.com"])
    subprocess.run([...], env={**os.environ, "X402_AGENT_SLIP": token})       # there: Payer.from_env()

The limits of a slip lie inside those of all tasks and slips it was given from under, and inside policy. The token is a
bearer secret: the ledger keeps its sha256 alone.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from typing import TYPE_CHECKING

from ..model import Cap, Limit, Under, run_id
from ..policy import dollars, micros
from ..secret import Secret
from .task import Confines, Task, lasts, left, narrowed, over, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..ledger.slips import Slip
    from ..payer import Payer

__all__ = ["Token", "bounds_of", "give", "given", "lend", "own", "under"]

log = logging.getLogger("x402_agent")


class Token(str):
    """The text that opens a slip: for an environment, or `payer.under(token)`. Shown nowhere; pickled like any text,
    so that `multiprocessing` can hand it over."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Token(…)"

    __str__ = __repr__

    def __format__(self, _: str) -> str:
        return repr(self)


def give(
    payer: Payer, budget: str, *, minutes: float, hosts: Sequence[str], calls: int | None, per_call: str | None
) -> Token:
    """What `payer.slip` gives. Raises SettingsError, PolicyDenied, LedgerError."""

    def write(outer: Confines, seconds: float) -> Token:
        return lend(payer, outer, budget, seconds=seconds, hosts=hosts, calls=calls, per_call=per_call)[0]

    return given(payer, minutes, write)


def given(payer: Payer, minutes: float, write: Callable[[Confines, float], Token]) -> Token:
    """What `write` makes of the bounds here and now and the seconds that a slip may last. Raises SettingsError, PolicyDenied."""
    lasts(minutes, "minutes of a slip", "minutes", "minutes=10")
    outer, lineage = standing(payer)
    if (no := over(lineage)) is not None:
        raise no
    token = write(outer, min([minutes * 60, *(task.ends - time.monotonic() for task in lineage if task.ends is not None)]))
    for task in lineage:
        task.lends = True
    return token


def lend(
    payer: Payer, outer: Confines, budget: str, *, seconds: float, hosts: Sequence[str], calls: int | None,
    per_call: str | None, whose: str = "",
) -> tuple[Token, Confines]:  # fmt: skip
    """Write down a slip inside `outer`; its run's name begins with `whose`. -> its token, and what it stands for.

    Raises SettingsError, LedgerError.
    """
    most = micros(budget, "budget of a slip")
    number = run_id(payer.clock(), secrets.token_bytes(6))
    under = Under(runs=(whose + number,), slip=number)
    bounds = narrowed(f"slip {number}", "payer.slip({})", under, budget, calls, per_call, hosts).within(outer)
    room = left(payer, outer)
    if room is not None and room < most:
        log.warning("slip %s names %s USD, what is around it leaves %s", number, dollars(most), dollars(room))
    token = Token(f"slip-{secrets.token_urlsafe(32)}")
    payer.ledger.lend(number, Secret(token), bounds.under.runs, _json(bounds), most, int(payer.clock() + seconds)).run()
    return token, bounds


def under(payer: Payer, token: str) -> Task:
    """What `payer.under` gives. Raises SettingsError for no slip, PolicyDenied for a dead one, LedgerError."""
    slip = payer.ledger.slip_of(Secret(token))
    return Task(payer, slip.slip_id, bounds_of(slip), kind="slip")


def own(payer: Payer) -> Confines:
    """What the slip in X402_AGENT_SLIP, where there is one, says of every payment. Raises like `under`."""
    return bounds_of(payer.ledger.slip_of(payer.settings.slip))


def _json(bounds: Confines) -> str:
    limits = [[each.scope, each.window, each.most, each.rule, each.hint, each.unit] for each in bounds.limits]
    hosts = [[sorted(allowed), rule] for allowed, rule in bounds.hosts]
    return json.dumps({"under": bounds.under, "limits": limits, "caps": bounds.caps, "hosts": hosts})


def bounds_of(slip: Slip) -> Confines:
    """What a slip of the ledger stands for."""
    terms = json.loads(slip.terms)
    agent, group, task, runs, tool, category, slips = terms["under"]
    return Confines(
        Under(agent, group, task, tuple(runs), tool, category, slips),
        tuple(Limit(*each) for each in terms["limits"]),
        tuple(Cap(*each) for each in terms["caps"]),
        tuple((frozenset(allowed), rule) for allowed, rule in terms["hosts"]),
    )
