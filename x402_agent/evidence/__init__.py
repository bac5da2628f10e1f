"""What a seller signed: terms before, delivery after. Read from hostile text, judged without a network, kept for others."""

from __future__ import annotations

from .judge import judge, says
from .signed import Signed, read

__all__ = ["Signed", "judge", "read", "says"]
