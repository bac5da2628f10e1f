"""What is allowed. Pure: judges frozen offers by rules a person wrote; limits over time are enforced by the ledger."""

from __future__ import annotations

from .budget import Budget, dollars, micros
from .choose import Choice, choose
from .file import load, write_budget
from .rules import DEFAULT, HostRule, Policy

__all__ = ["DEFAULT", "Budget", "Choice", "HostRule", "Policy", "choose", "dollars", "load", "micros", "write_budget"]
