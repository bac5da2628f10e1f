"""Where the rooms are put together: a Payer, the kit through which one conversation sees it, what it knows of earlier
payments (`facts`), what a person's yes is worth (`consent`), and which proof may go on the first send (`prepay`), who pays
in the sandbox that runs on this machine (`running`). Nobody below imports this room."""

from __future__ import annotations

from .kit import Quote
from .payer import Payer, attach
from .plan import Plan
from .running import sandbox_payer, sandboxed

__all__ = ["Payer", "Plan", "Quote", "attach", "sandbox_payer", "sandboxed"]
