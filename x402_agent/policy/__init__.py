"""What is allowed. Pure: judges frozen offers by rules a person wrote; limits over time are enforced by the ledger."""

from __future__ import annotations

from .approval import Approval, Reason, posted_to
from .bounds import Bounds
from .budget import Budget, dollars, expected, micros
from .choose import Choice, choose
from .evidence import Evidence
from .facts import Facts, Listed, Price, PriceSource
from .file import load
from .identity import is_loopback
from .live import Live
from .locked import locked
from .rules import DEFAULT, Policy

__all__ = [
    "DEFAULT", "Approval", "Bounds", "Budget", "Choice", "Evidence", "Facts", "Listed", "Live", "Policy", "Price", "PriceSource", "Reason", "choose", "dollars", "expected",
    "is_loopback", "load", "locked", "micros", "posted_to",
]  # fmt: skip
