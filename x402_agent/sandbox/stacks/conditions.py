"""Whether what a transaction moved is what its post-conditions allow.

Source: SIP-005, "Post-Conditions": each names a principal, an asset and a comparison; in mode Deny what no condition
names must not move at all. Fees are no moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...chains.stacks import ALLOW
from .state import STX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ...chains.stacks import PostCondition
    from .state import Move

__all__ = ["met"]

_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda moved, said: moved == said,
    "gt": lambda moved, said: moved > said,
    "ge": lambda moved, said: moved >= said,
    "lt": lambda moved, said: moved < said,
    "le": lambda moved, said: moved <= said,
}


def met(origin: str, mode: int, conditions: Sequence[PostCondition], moves: Iterable[Move]) -> bool:
    """Whether the transaction of `origin` may stand."""
    sent: dict[tuple[str, str], int] = {}
    for move in moves:
        where = move.sender, move.asset
        sent[where] = sent.get(where, 0) + move.amount
    named = set()
    for each in conditions:
        where = each.who or origin, each.asset or STX
        if each.value is not None:  # a token that is one of a kind: here nobody has any, so none was sent
            if each.code == "sends":
                return False
            continue
        named.add(where)
        if not _COMPARE[each.code](sent.get(where, 0), each.amount):
            return False
    return mode == ALLOW or sent.keys() <= named
