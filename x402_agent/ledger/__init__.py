"""What happened: every payment is written down before it can happen. No journal, no signature."""

from __future__ import annotations

from .exports import Standing, Stats, cell
from .freezes import FREEZE_FILE, Freeze, Kind
from .goods import Sealed, Waiting
from .notes import note_path
from .repair import Mended, repair
from .reports import By, Event, Left, Total
from .rows import Payment
from .slips import Slip
from .sqlite import SqliteLedger
from .states import IN_DOUBT, MOVES, legal
from .tokens import Live, Token, Used, plain_path
from .transactions import Transaction
from .trial import trial
from .writer import Job

__all__ = [
    "FREEZE_FILE", "IN_DOUBT", "MOVES", "By", "Event", "Freeze", "Job", "Kind", "Left", "Live", "Mended", "Payment", "Sealed", "Slip", "SqliteLedger", "Standing", "Stats", "Token", "Total",
    "Transaction", "Used", "Waiting", "cell", "legal", "note_path", "plain_path", "repair", "trial",
]  # fmt: skip
