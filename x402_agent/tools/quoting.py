"""What a URL asks, unpaid, and what policy makes of it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from anyio import to_thread

from ..errors import LedgerError, NoAcceptableOffer, PaymentError, PolicyDenied
from . import told
from .fence import fence
from .offers import LIFE
from .results import Quoted
from .web import Asked

if TYPE_CHECKING:
    from ..payer import Payer, Quote
    from .offers import Offers
    from .purchases import Purchases
    from .wanted import Wanted

__all__ = ["quote"]

SAYS = 300  # bytes of a seller's description


async def quote(made: Purchases, offers: Offers, wanted: Wanted) -> Quoted:
    """One request without money. Raises what a client that pays raises, but for what policy says."""
    asked = Asked()
    try:
        async with made.web.sent(wanted, {}, asked) as reply:
            status = reply.status_code
    except PaymentError as why:
        return Quoted("denied" if isinstance(why, PolicyDenied) else "unknown", 402, wanted.origin, problem=told.problem(why, wanted.origin, made.payer))
    if not asked.quotes:
        return _unasked(status, wanted, made.payer)
    return await _judged(made, offers, wanted, asked)


def _unasked(status: int, wanted: Wanted, payer: Payer) -> Quoted:
    if status != 402:
        return Quoted("free", status, wanted.origin, why=f"answered {status} without asking for money")
    why = NoAcceptableOffer("402 without an offer that anything here understands")
    return Quoted("unknown", status, wanted.origin, problem=told.problem(why, wanted.origin, payer))


async def _judged(made: Purchases, offers: Offers, wanted: Wanted, asked: Asked) -> Quoted:
    payer, found = made.payer, asked.quotes[0]
    offer = found.chosen
    if offer is None:
        why = found.reason or NoAcceptableOffer("nothing on offer")
        word = "denied" if isinstance(why, PolicyDenied) else "unknown"
        return Quoted(word, found.status, wanted.origin, problem=told.problem(why, wanted.origin, payer))
    left, bought = await to_thread.run_sync(lambda: (_left(payer, found), made.lately(wanted)))
    reasons = tuple(f"{told.bare(each.what, payer)} [{told.bare(each.rule, payer)}]" for each in found.asks)
    offer_id = offers.add(wanted, asked.identity, offer, tuple(told.bare(each.rule, payer) for each in found.asks))
    return Quoted(
        "asks" if reasons else "allowed", found.status, wanted.origin, offer_id, int(LIFE), told.amount(offer.money, sandbox=payer.sandboxed),
        told.usd(offer), offer.pay_to, left, reasons, bought.payment_id if bought else "",
        fence(wanted.origin, offer.description, SAYS) if offer.description else None,
    )  # fmt: skip


def _left(payer: Payer, found: Quote) -> str:
    """What the tightest limit still allows, before this."""
    from ..ledger.budget import left_words

    offer = found.chosen
    if offer is None or not found.limits:
        return ""
    realm = "sandbox" if payer.sandboxed else "test" if offer.network.testnet else "real"
    with suppress(LedgerError):
        room = min(payer.ledger.spent(found.limits, realm=realm), key=lambda one: one.left)
        return told.bare(left_words(room.limit, offer, room.left), payer)
    return ""
