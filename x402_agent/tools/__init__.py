"""Verbs for agents: search, quote, buy, fetch, spending, why, balance, resume. What a model says is hostile, and so is what a seller wrote.

`tools` are the verbs (`portal`: without a loop), `wanted` what they take and `results` what they answer, `quoting` and `purchases` how the
first three are done, `offers` what may be bought, `consent` who says yes to it, `web` the one way out, `shelf` what was bought,
`fence` and `told` what a model reads of it, `finding` what it may know of sellers, `books` of money. The MCP server, the command line and the adapters of
frameworks call this and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .consent import Yes
from .fence import Fenced, fence
from .offers import Offered
from .results import (
    Account,
    Amount,
    Bought,
    Entry,
    Handle,
    Holdings,
    Payment,
    Problem,
    Quoted,
    Room,
    Service,
    Services,
    Settled,
    Spending,
    Why,
)
from .shelf import Begun, Kept, Shelf
from .told import problem
from .tools import Tools, Verbs

if TYPE_CHECKING:
    from ..approvals import asking

__all__ = [
    "Account",
    "Amount",
    "Begun",
    "Bought",
    "Entry",
    "Fenced",
    "Handle",
    "Holdings",
    "Kept",
    "Offered",
    "Payment",
    "Problem",
    "Quoted",
    "Room",
    "Service",
    "Services",
    "Settled",
    "Shelf",
    "Spending",
    "Tools",
    "Verbs",
    "Why",
    "Yes",
    "asking",
    "fence",
    "problem",
]


def __getattr__(name: str) -> Any:
    """`asking` comes from approvals, which brings policy along: a server that only lists these verbs needs neither."""
    if name != "asking":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ..approvals import asking

    return asking
