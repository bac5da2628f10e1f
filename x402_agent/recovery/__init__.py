"""After the sale: what became of an open payment (`resuming`), the same proof shown once more and the goods that come of
it (`again`, `delivery`, `outfile`), several sellers at once (`lanes`), what a receipt is worth (`receipts`). Nothing is signed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .lanes import side_by_side
from .receipts import differs
from .resuming import Resumed, fate, in_words, refund, resume

if TYPE_CHECKING:
    from .delivery import delivered

__all__ = ["Resumed", "delivered", "differs", "fate", "in_words", "refund", "resume", "side_by_side"]


def __getattr__(name: str) -> Any:
    if name != "delivered":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .delivery import delivered  # which leads conversations: the kit imports us

    return delivered
