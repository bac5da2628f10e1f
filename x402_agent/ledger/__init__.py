"""What happened: every payment is written down before it can happen. No journal, no signature."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .exports import Standing, Stats, cell
from .freezes import FREEZE_FILE, Freeze, Kind
from .goods import Sealed, Waiting
from .notes import note_path
from .reports import By, Event, Left, Total
from .rows import Payment
from .slips import Slip
from .sqlite import SqliteLedger
from .states import IN_DOUBT, MOVES, legal
from .tokens import Live, Token, Used, plain_path
from .transactions import Transaction
from .writer import Job

if TYPE_CHECKING:
    from .proving import trial
    from .quarantine import Verdict, end_quarantine, verdict
    from .repairing import Mended, repair

__all__ = [
    "FREEZE_FILE", "IN_DOUBT", "MOVES", "By", "Event", "Freeze", "Job", "Kind", "Left", "Live", "Mended", "Payment", "Sealed", "Slip", "SqliteLedger", "Standing", "Stats", "Token", "Total",
    "Transaction", "Used", "Verdict", "Waiting", "cell", "end_quarantine", "legal", "note_path", "plain_path", "repair", "trial", "verdict",
]  # fmt: skip
_RARE = {"Mended": "repairing", "repair": "repairing", "trial": "proving", "Verdict": "quarantine", "end_quarantine": "quarantine",
         "verdict": "quarantine"}  # fmt: skip  # a person's commands: nobody who pays loads them


def __getattr__(name: str) -> Any:
    if name not in _RARE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_RARE[name]}", __name__), name)
