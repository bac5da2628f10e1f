"""An invoice that came without a 402: the conversation of a paid request to its status page, which answers with its status."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..dialects import strict
from ..dialects.tron_invoice.invoice import BY_CALL, NAME, Invoice, offers, read
from ..dialects.tron_invoice.status import Said, said
from ..dialects.x402.passed import Passed
from ..errors import ChallengeInvalid, NoAcceptableOffer, PaymentInDoubt
from ..model import Challenge, Receipt
from ..secret import plain
from ..steps import Fetch
from ..transport.fetch import drive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..model import Ask
    from ..steps import Steps
    from .kit import Kit
    from .payer import Payer

__all__ = ["Paid", "fields", "invoice", "pay", "pay_async", "standing"]

_WANTED = "ask its seller for one in USDT on TRON as docs/tron-invoices.md shows it: amount and addresses as text"
_NAMES = ("payment_id", "wallet_address", "amount", "expires_at", "status_url", "network", "order_id", "currency")


@dataclass(frozen=True, slots=True)
class Paid:
    """An invoice that was paid: its id, the transaction that paid it, and its status by its monitor's last word ("" where that was none)."""

    payment_id: str
    transaction: str
    status: str
    receipt: Receipt


def fields(data: bytes) -> dict[str, Any]:
    """What a JSON document says of an invoice, without what else stands in it. Raises ChallengeInvalid."""
    try:
        found = strict.parse(data).fields
    except ChallengeInvalid as why:
        raise ChallengeInvalid(f"the invoice cannot be read: {why.what}", rule=why.rule, hint=_WANTED) from None
    return {name: found[name] for name in _NAMES if name in found}


def standing(told: Mapping[str, Any]) -> Said:
    """What the invoice's status page says just now, held against the invoice. Raises as `invoice`."""
    asked = invoice(told)
    offer = offers(asked, asked.status_url, BY_CALL)[0]

    def ask() -> Steps[Said]:
        return said((yield Fetch("GET", asked.status_url, retries=2)), offer)

    return drive(ask())


def invoice(told: Mapping[str, Any]) -> Invoice:
    """What a caller says of an invoice; raises ChallengeInvalid for what is broken, NoAcceptableOffer for what is none of ours."""
    try:
        return read(told)
    except Passed as why:
        if why.broken:
            raise ChallengeInvalid("the invoice cannot be read", rule=why.reason, hint=_WANTED) from None
        raise NoAcceptableOffer(f"this invoice is not paid: {why.reason}", rule="USDT on TRON", hint=_WANTED) from None


def pay(payer: Payer, told: Mapping[str, Any], most: str | None, timeout: float) -> Paid:
    """See Payer.invoice."""
    asked = invoice(told)
    with payer.led(payer.client(timeout=timeout, follow_redirects=False), _lead(payer, asked)) as http:
        try:
            reply = http.get(asked.status_url, extensions=_options(most))
        except PaymentInDoubt as why:
            return _over(payer, asked, why)
        return _paid(asked, reply)


async def pay_async(payer: Payer, told: Mapping[str, Any], most: str | None, timeout: float) -> Paid:
    """See Payer.invoice_async."""
    asked = invoice(told)
    async with payer.led(payer.async_client(timeout=timeout, follow_redirects=False), _lead(payer, asked)) as http:
        try:
            reply = await http.get(asked.status_url, extensions=_options(most))
        except PaymentInDoubt as why:
            return _over(payer, asked, why)
        return _paid(asked, reply)


def _options(most: str | None) -> dict[str, Any]:
    return {} if most is None else {"payment": {"max": most}}


def _lead(payer: Payer, asked: Invoice) -> Callable[[Ask], Kit]:
    def lead(ask: Ask) -> Kit:
        ask.again = False  # paid once: what became of it is shown
        kit = payer.talk(ask)
        kit.billed, kit.asked = Challenge(NAME, offers(asked, ask.url, BY_CALL)), payer.clock()
        return kit

    return lead


def _over(payer: Payer, asked: Invoice, why: PaymentInDoubt) -> Paid:
    """What was completed once, and its monitor has forgotten or denies now; raises `why` for what never was."""
    row = payer.ledger.payment(why.payment_id) if why.payment_id else None
    if row is None or not row.delivered:
        raise why
    offer = next((each for each in offers(asked, asked.status_url, BY_CALL) if each.asset.id == row.asset_id), None)
    return Paid(asked.payment_id, row.transaction, "", Receipt("spent", offer, row.payment_id, row.transaction, again=True, reason=why))


def _paid(asked: Invoice, reply: Any) -> Paid:
    """Raises PaymentInDoubt for an answer that does not say that it was taken."""
    receipt: Receipt = reply.extensions["payment"]
    if receipt.outcome != "spent":
        raise PaymentInDoubt(f"invoice {asked.payment_id} was paid by {receipt.transaction}; its status page answered {reply.status_code}",
                             rule="an invoice is paid once", hint=f"x402-agent resume {receipt.payment_id[:8]}", payment_id=receipt.payment_id)  # fmt: skip
    try:
        status = strict.parse(reply.content).fields.get("status")
    except ChallengeInvalid:
        status = None
    return Paid(asked.payment_id, receipt.transaction, plain(status, 40) if isinstance(status, str) else "", receipt)
