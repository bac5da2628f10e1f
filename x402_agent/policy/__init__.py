"""What is allowed. Pure: judges frozen offers by rules a person wrote; limits over time are enforced by the ledger."""

from __future__ import annotations

from .approval import Approval, Reason
from .budget import Budget, dollars, left_words, micros
from .choose import Choice, choose, is_loopback
from .file import load, write_budget
from .rules import DEFAULT, HostRule, Policy

__all__ = ["DEFAULT", "Approval", "Budget", "Choice", "HostRule", "Policy", "Reason", "choose", "dollars", "is_loopback", "left_words", "load", "micros", "write_budget"]
