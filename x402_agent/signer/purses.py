"""Slips: a purse for an agent's child or sub-agent. It lies inside what the agent may pay, and ends with the connection
that asked for it, so with the process that gave it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PolicyDenied, SettingsError
from ..secret import Secret, plain
from ..tasks import Confines, slips
from .nouns import bounds_in, bounds_out, own_scope, slips_in

if TYPE_CHECKING:
    from ..ledger import Slip
    from .frames import Fields
    from .session import Session

__all__ = ["OPS", "standing"]

MOST = 64  # of one connection, which is one payer's
_MONTH = 31 * 86400  # seconds
_LASTS = 60.0  # seconds of patience beyond the longest slip


def _lend(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    if len(session.purses) >= MOST:
        raise PolicyDenied(f"{MOST} slips were given already", rule="so many of one payer of a signer's", hint="a new payer")
    agent = session.agent
    within = told.inner("within")
    outer = bounds_in(within, agent.name, agent.group).within(standing(session, slips_in(within)))
    seconds = told.whole("seconds", _MONTH, 1)
    token, bounds = slips.lend(
        session.payer, outer, told.text("budget", 64), seconds=seconds, whose=f"{agent.name}.",
        hosts=[plain(each, 300) for each in told.texts("names", 64, 300)],
        calls=told.whole("calls", 1 << 53) if told.has("calls") else None,
        per_call=told.text("per_call", 64) or None,
    )  # fmt: skip
    session.purses.append(bounds.under.runs[-1])
    session.patience = max(session.patience, seconds + _LASTS)
    return {"token": str.__str__(token), "slip": bounds.under.slip}


def _purse(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    """What a token opens, if it is this agent's; another's is no slip."""
    slip = session.payer.ledger.slip_of(Secret(told.text("token", 256)))
    bounds = slips.bounds_of(slip)
    if bounds.under.agent != session.agent.name:
        raise SettingsError("this token is no slip of this agent's", rule="X402_AGENT_SLIP, or payer.under(token)",
                            hint="whoever gave it gives another one: payer.slip(…)")  # fmt: skip
    return {"slip": slip.slip_id, **bounds_out(bounds, session.agent.name)}


def _end(session: Session, told: Fields, _: bytes) -> dict[str, Any]:
    """A task is over, and with it what was lent from under it."""
    run = told.text("run", 64)
    session.payer.ledger.end_slips(own_scope(f"run:{run}", session.agent.name).partition(":")[2]).run()
    return {}


def standing(session: Session, numbers: tuple[str, ...]) -> Confines:
    """What the slips that an agent names stand for: by the ledger's rows, whatever the agent says beside. Raises PolicyDenied.

    Whether they live is judged inside the transaction that holds the money.
    """
    found = Confines()
    for number in numbers:
        slip = _known(session, number)
        bounds = None if slip is None else slips.bounds_of(slip)
        if bounds is None or bounds.under.agent != session.agent.name:
            raise PolicyDenied("there is no such slip of this agent's", rule="a slip is its agent's", hint="whoever gave it gives another one: payer.slip(…)")
        found = bounds.within(found)
    return found


def _known(session: Session, number: str) -> Slip | None:
    """Its terms never change: they are read once."""
    known = session.service.slips
    if number not in known:
        if len(known) >= 1024:
            known.clear()
        slip = session.payer.ledger.slip(number)
        if slip is None:
            return None
        known[number] = slip
    return known[number]


OPS = {"lend": _lend, "purse": _purse, "end": _end}
