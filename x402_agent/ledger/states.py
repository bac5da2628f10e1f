"""The states of a payment and the only moves between them: one table, and nothing leaves it.

An authorisation (EIP-3009, Permit2) goes RESERVED, INFLIGHT, CLAIMED. A payment that is broadcast first and proved
afterwards goes RESERVED, INFLIGHT (may be broadcast), SEEN, MINED, PROVING (as deep as its seller wants, its id is being
shown), CLAIMED; BUILT, raw bytes durable, is a state of our own transactions. A move that frees money needs a proof: RELEASED that nothing left this machine, DEAD that the
chain can never settle it any more, REVERTED that it failed for good, and then the fee stays counted. The clock alone
frees nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Outcome

__all__ = ["COUNTED", "FREED", "IN_DOUBT", "MEANS", "MOVES", "NO_GOODS", "NO_PROOF", "ON_CHAIN", "SPENT", "STATES", "STILL", "UNDER_WAY", "UNSENT", "came", "is_open", "legal", "listed", "means", "outcome"]

MOVES: dict[str, frozenset[str]] = {
    "": frozenset({"RESERVED", "BUILT", "INFLIGHT"}),
    "RESERVED": frozenset({"BUILT", "INFLIGHT", "RELEASED"}),
    "BUILT": frozenset({"INFLIGHT", "RELEASED"}),
    "INFLIGHT": frozenset({"CLAIMED", "UNKNOWN", "PAID_UNDELIVERED", "SEEN", "MINED", "CONFIRMED", "REVERTED", "DEAD", "QUARANTINE"}),
    "SEEN": frozenset({"INFLIGHT", "MINED", "CONFIRMED", "REVERTED", "DEAD", "QUARANTINE"}),
    "MINED": frozenset({"INFLIGHT", "PROVING", "CONFIRMED", "REVERTED", "DEAD", "QUARANTINE"}),
    "PROVING": frozenset({"INFLIGHT", "CLAIMED", "PAID_UNDELIVERED", "CONFIRMED", "REVERTED", "DEAD", "QUARANTINE"}),
    "UNKNOWN": frozenset({"SEEN", "MINED", "CLAIMED", "PAID_UNDELIVERED", "CONFIRMED", "REVERTED", "DEAD", "QUARANTINE"}),
    "CLAIMED": frozenset({"PAID_UNDELIVERED", "CONFIRMED", "DEAD"}),
    "PAID_UNDELIVERED": frozenset({"CLAIMED", "DEAD"}),
    "QUARANTINE": frozenset({"CONFIRMED", "DEAD"}),
    "CONFIRMED": frozenset(),
    "REVERTED": frozenset(),
    "DEAD": frozenset(),
    "RELEASED": frozenset(),
}
STATES = frozenset(MOVES) - {""}
FREED = frozenset({"RELEASED", "DEAD"})
COUNTED = STATES - FREED  # REVERTED with its fee alone
UNSENT = frozenset({"RESERVED", "BUILT"})  # no byte has left this machine
ON_CHAIN = frozenset({"SEEN", "MINED", "PROVING"})  # what nodes have shown of a payment that pays first
UNDER_WAY = frozenset({"INFLIGHT"}) | ON_CHAIN  # while its owner is at it: somebody shows it, or waits for its blocks
IN_DOUBT = frozenset({"INFLIGHT", "SEEN", "MINED", "PROVING", "UNKNOWN", "QUARANTINE"})
SPENT = frozenset({"CLAIMED", "CONFIRMED", "PAID_UNDELIVERED"})
NO_GOODS = frozenset({"UNKNOWN", "QUARANTINE", "PAID_UNDELIVERED", "CONFIRMED"})  # while open: nobody is at it, nothing came
NO_PROOF = "-"  # in place of a proof's digest: a person ended its quarantine, and it is never shown again
STILL = 3600  # seconds that a proof of ours lives at most
_OPEN = UNSENT | IN_DOUBT | {"PAID_UNDELIVERED"}

MEANS = {
    "RESERVED": "its budget is set aside; nothing is signed",
    "BUILT": "a transaction is signed and written down; nothing was broadcast",
    "INFLIGHT": "it is under way, or its process ended: the proof may have left",
    "UNKNOWN": "the proof left and no good answer came; it may still settle, and stays counted",
    "SEEN": "broadcast, and taken by a node; it waits for a block, and only the same bytes go out again",
    "MINED": "in a block that is not deep enough yet; the seller has not been shown it",
    "PROVING": "paid on the chain, its transaction shown to the seller, and the goods have not come: only the same one is ever shown again",
    "CLAIMED": "claimed: the seller says that it is paid, and what was bought came",
    "CONFIRMED": "confirmed: it is on the chain",
    "PAID_UNDELIVERED": "undelivered: paid by the seller's own word, and what was bought did not come whole",
    "REVERTED": "it failed on the chain for good; its fee stays counted",
    "DEAD": "the chain can never settle it any more; nothing is counted",
    "RELEASED": "nothing left this machine; nothing is counted",
    "QUARANTINE": "its row could not be trusted; it stays counted until a person decides",
}


def listed(states: Iterable[str]) -> str:
    """States as SQL has a list of texts: `('DEAD', 'RELEASED')`."""
    return "(" + ", ".join(f"'{state}'" for state in sorted(states)) + ")"


def legal(before: str, after: str) -> bool:
    """Whether a payment may move from `before` ("" = no row yet) to `after`. Staying is no move."""
    return after in MOVES.get(before, frozenset())


def came(before: str, after: str, status: int) -> bool:
    """Whether a move says that what was bought is here, or (out of quarantine) that nobody waits for it any more."""
    return after == "CLAIMED" or (after == "CONFIRMED" and (before == "QUARANTINE" or 200 <= status < 400))


def is_open(state: str, *, delivered: bool) -> bool:
    """Whether the same Ask gets this very proof again: it may still settle, or it is paid and not delivered."""
    if state == "CONFIRMED":
        return not delivered
    return state in _OPEN


def outcome(state: str, *, refused: bool) -> Outcome:
    """The word that people read for a state; `refused` means that the last answer to the proof was a refusal."""
    if state in SPENT:
        return "spent"
    if state in FREED or state == "REVERTED":
        return "released"
    return "refused" if state == "UNKNOWN" and refused else "in_doubt"


def means(state: str, *, delivered: bool) -> str:
    """Where a payment stands, in a sentence."""
    if state == "CONFIRMED" and not delivered:
        return f"{MEANS[state]}, and what was bought did not come: undelivered"
    return MEANS[state]
