"""Verbs for agents: quote, buy, fetch, spending. What a model may say is hostile, and so is what a seller wrote.

`tools` are the verbs, `purchases` their identity, `offers` what a quote may buy, `web` the one way out, `shelf` what was bought,
`fence` and `told` what a model reads of it, `books` what it may know of money. The MCP server, the command line and the adapters of
frameworks call this and nothing else.
"""

from __future__ import annotations

from .fence import Fenced, fence
from .offers import Offered
from .results import Account, Amount, Bought, Handle, Holdings, Payment, Problem, Quoted, Room, Settled, Spending, Why
from .shelf import Kept, Shelf
from .tools import Tools

__all__ = [
    "Account",
    "Amount",
    "Bought",
    "Fenced",
    "Handle",
    "Holdings",
    "Kept",
    "Offered",
    "Payment",
    "Problem",
    "Quoted",
    "Room",
    "Settled",
    "Shelf",
    "Spending",
    "Tools",
    "Why",
    "fence",
]
