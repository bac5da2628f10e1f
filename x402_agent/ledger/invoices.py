"""An invoice is paid once, whoever asks and however it came; and two that a monitor could not tell apart are not open at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import PolicyDenied
from . import states

if TYPE_CHECKING:
    from ..model import Hold
    from .store import Store

__all__ = ["once"]

# Made on first use, since every payment pays for an index and few ledgers know an invoice.
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS x402_offers_invoices ON x402_offers (json_extract(wire, '$[1]')) WHERE flow = 'invoice'",
    "CREATE INDEX IF NOT EXISTS x402_payments_offer ON x402_payments (offer_digest)",
    "CREATE INDEX IF NOT EXISTS x402_payments_sums ON x402_payments (to_address, amount) WHERE is_open = 1",
)
_PAID = (
    "SELECT p.payment_id, p.agent, p.state, p.owner FROM x402_offers o JOIN x402_payments p ON p.offer_digest = o.offer_digest "
    f"WHERE o.flow = 'invoice' AND json_extract(o.wire, '$[1]') = ? AND p.state NOT IN {states.listed(states.FREED | {'REVERTED'})}"
)
_ALIKE = (
    "SELECT p.payment_id, p.agent, p.state, p.owner FROM x402_payments p JOIN x402_offers o ON o.offer_digest = p.offer_digest "
    "WHERE p.is_open = 1 AND p.to_address = ? AND p.amount = ? AND p.asset = ? AND o.flow = 'invoice'"
)


def once(store: Store, plan: Hold) -> None:
    """Raises PolicyDenied for an invoice that was paid or is being paid, and beside one of the same amount at the same wallet."""
    offer = plan.offer
    if len(offer.wire) < 3 or not offer.wire[1]:  # an agent of a signer may send anything
        raise PolicyDenied("an invoice is paid by its name, and this one has none", rule="an invoice is paid once, whoever asks")
    for index in _INDEXES:
        store.db.execute(index)
    if paid := _standing(store, _PAID, (offer.wire[1],)):
        raise PolicyDenied(f"invoice {offer.wire[2]} of {plan.ask.host} was paid for before", rule="an invoice is paid once, whoever asks",
                           **_named(plan, *paid))  # fmt: skip
    if alike := _standing(store, _ALIKE, (offer.pay_to, str(offer.amount), offer.asset.id)):
        raise PolicyDenied(f"another invoice of exactly {offer.money} to {offer.pay_to} is paid and not completed",
                           rule="two transfers that a monitor cannot tell apart are not made", **_named(plan, *alike))  # fmt: skip


def _standing(store: Store, query: str, values: tuple[str, ...]) -> tuple[str, str] | None:
    """The first payment that a query finds, but for what a process set aside that ended before anything left. -> its id, its agents."""
    for payment_id, agents, state, owner in store.db.execute(query, values):
        if state not in states.UNSENT or owner == store.owner or store.owners.alive(owner):
            return payment_id, agents
    return None


def _named(plan: Hold, payment_id: str, agents: str) -> dict[str, str]:
    """Which payment that is, where it is the same agent's."""
    if agents.partition(",")[0] != plan.ask.under.agent.partition(",")[0]:
        return {"hint": "x402-agent log --in-doubt, as whoever keeps the ledger"}
    return {"hint": f"x402-agent why {payment_id[:8]}", "payment_id": payment_id}
