"""What is made of each event, in its transaction: who is told (`hooks`), and what an operator ought to see (`alerts`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .asking import dollars
from .hooks import EVENTS

if TYPE_CHECKING:
    from ...database import Database
    from .alerts import Alerts
    from .hooks import Hooks
    from .store import Terms

__all__ = ["Watch"]

_OURS = ("RATE_LIMITED", "PAYMENT_REQUIRED")  # nothing that was paid has failed


class Watch:
    """`told` is what the store calls."""

    def __init__(self, hooks: Hooks, alerts: Alerts) -> None:
        self._hooks, self._alerts = hooks, alerts

    def told(self, link: Database, event: str, terms: Terms, wallet: str, facts: dict[str, Any]) -> None:
        """An event of the store's; amounts in `facts` are millionths of a dollar."""
        service = (terms.service, terms.kind)
        purpose, amount, session = facts.get("purpose", ""), facts.get("amount", 0), facts.get("sessionId", "")
        if event in EVENTS and purpose != "credit" and facts.get("code") not in _OURS:
            self._hooks.tell(link, service, event, {"wallet": wallet, **facts, **({"amount": dollars(amount)} if amount else {})})
        if event == "call.sold":
            self._alerts.used(link, session, service, facts["client"])
        if event == "call.sold" or purpose in ("proof", "credit"):
            self._alerts.spent(link, wallet, service, amount)
        if event == "credits.spent":
            self._alerts.credit(link, wallet, service, facts["balance"], terms.price)
        if event == "payment.failed" and wallet and facts["code"] not in _OURS:
            self._alerts.failed(link, wallet, service)
            if session:
                self._alerts.refused(link, session, service)
