"""What the ledger knows of sellers, for the catalogue: how each payment ended, whoever made it and however."""

from __future__ import annotations

import hashlib
import platform
from typing import TYPE_CHECKING, Any

from ..ledger.states import NO_GOODS

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..discovery import Came, Past
    from ..ledger import Payment

__all__ = ["past"]

_REFUSALS = 400


def past(name: str, ledger: Callable[[], Any]) -> Past:
    """The history of one ledger, of this name; `ledger` gives it, or what a signer tells of its own, or None while nothing was paid."""
    from ..discovery import Came, Past

    def since(at: float) -> list[Came]:
        found = ledger()
        return [] if found is None else [Came(each.payment_id, each.method, each.url, _word(each), each.micros, float(each.updated_at)) for each in found.changed(at)]

    return Past(hashlib.sha256(f"{platform.node()}\n{name}".encode()).hexdigest()[:16], since)


def _word(one: Payment) -> str:
    """`spent` for goods, `bad` for none, "" where there is nothing to hold against anybody: under way, or nothing was taken."""
    if one.state == "CLAIMED" or (one.state == "CONFIRMED" and one.delivered):
        return "spent" if one.status < _REFUSALS else "bad"
    return "bad" if one.state in NO_GOODS else ""
