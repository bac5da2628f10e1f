"""After the sale: what became of an open payment (`resuming`), the same proof shown once more and the goods that come of
it (`again`), what a seller's receipt is worth (`receipts`). Nothing is signed here."""

from __future__ import annotations

from .receipts import differs
from .resuming import Resumed, fate, refund, resume

__all__ = ["Resumed", "differs", "fate", "refund", "resume"]
