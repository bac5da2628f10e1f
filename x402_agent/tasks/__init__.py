"""What narrows a payment beside policy: budgets inside budgets (`task`), purses that are given away (`slips`), and the
context variable that carries both into threads (`threads`)."""

from __future__ import annotations

from .task import Bounds, Task, ground, left, named, place, refusal, standing

__all__ = ["Bounds", "Task", "ground", "left", "named", "place", "refusal", "standing"]
