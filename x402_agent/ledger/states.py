"""The states of a payment and the only moves between them: one table, and nothing leaves it.

Gasless authorisations (EIP-3009, Permit2). A move that frees money needs a proof: RELEASED that nothing left this
machine, DEAD that the chain can never settle it any more. The clock alone frees nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..model import Outcome

__all__ = ["COUNTED", "IN_DOUBT", "MOVES", "STATES", "is_open", "legal", "outcome"]

MOVES: dict[str, frozenset[str]] = {
    "": frozenset({"RESERVED", "INFLIGHT"}),
    "RESERVED": frozenset({"INFLIGHT", "RELEASED"}),
    "INFLIGHT": frozenset({"CLAIMED", "UNKNOWN", "PAID_UNDELIVERED", "CONFIRMED", "DEAD", "QUARANTINE"}),
    "UNKNOWN": frozenset({"CLAIMED", "PAID_UNDELIVERED", "CONFIRMED", "DEAD", "QUARANTINE"}),
    "CLAIMED": frozenset({"PAID_UNDELIVERED", "CONFIRMED", "DEAD"}),
    "PAID_UNDELIVERED": frozenset({"CLAIMED", "DEAD"}),
    "QUARANTINE": frozenset({"CONFIRMED", "DEAD"}),
    "CONFIRMED": frozenset(),
    "DEAD": frozenset(),
    "RELEASED": frozenset(),
}
STATES = frozenset(MOVES) - {""}
COUNTED = STATES - {"DEAD", "RELEASED"}
IN_DOUBT = frozenset({"INFLIGHT", "UNKNOWN", "QUARANTINE"})


def legal(before: str, after: str) -> bool:
    """Whether a payment may move from `before` ("" = no row yet) to `after`. Staying is no move."""
    return after in MOVES.get(before, frozenset())


def is_open(state: str, *, delivered: bool) -> bool:
    """Whether the same Ask gets this very proof again: it may still settle, or it is paid and not delivered."""
    if state == "CONFIRMED":
        return not delivered
    return state in ("RESERVED", "INFLIGHT", "UNKNOWN", "QUARANTINE", "PAID_UNDELIVERED")


def outcome(state: str, *, refused: bool) -> Outcome:
    """The word that people read for a state; `refused` means that the last answer to the proof was a refusal."""
    if state in ("CLAIMED", "CONFIRMED", "PAID_UNDELIVERED"):
        return "spent"
    if state in ("RELEASED", "DEAD"):
        return "released"
    return "refused" if state == "UNKNOWN" and refused else "in_doubt"
