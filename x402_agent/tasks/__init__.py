"""What narrows a payment beside policy: budgets inside budgets (`task`), purses that are given away (`slips`), and the
context variable that carries both into threads (`threads`)."""

from __future__ import annotations

from .task import Confines, Task, ground, left, named, place, refusal, standing

__all__ = ["Confines", "Task", "ground", "left", "named", "place", "refusal", "standing"]
