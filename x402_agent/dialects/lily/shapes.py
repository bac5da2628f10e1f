"""The 402 of Lily in its spellings: the designed one, the guide's, its headers, its errors. It says a price, and never who is paid.

So a challenge has no offers yet: what it said waits in `pages`, and becomes offers by the service's own row or by settings (pages.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ChallengeInvalid
from ...model import Challenge
from ...secret import plain
from .. import strict
from ..x402.passed import show
from .desk import amount_in
from .header import number, plainly

if TYPE_CHECKING:
    from decimal import Decimal

    from ...model import Ask
    from ...steps import Reply
    from .desk import Desk

__all__ = ["GUIDE", "NAME", "asked", "challenge", "details_of"]

NAME = "lily"
GUIDE = "guide"  # who writes in its words knows sessions alone
_AMOUNT, _CURRENCY = "x-402-amount", "x-402-currency"
_GUIDE = frozenset({"error", "amount", "currency", "message", "success", "details", "paymentRequired", "conversion_rate"})
_OTHERS = frozenset({"accepts", "x402Version", "payment", "payment_options", "payment_methods", "payment_id", "paymentEndpoint", "extra", "challengeToken"})
_TEXT = b"Payment validation failed"
_COINS = ("USDC", "SOL", "USD")
_HINT = "x402-agent get --dry-run URL"
_UNSET = 'it says no payee, and no settings do. A line of settings.toml: dialects.lily."{}" = {{ rest_url = "https://…", key_env = "…", service_id = "…" }} (or pay_to = "…")'


def challenge(reply: Reply, ask: Ask, desk: Desk | None) -> Challenge | None:
    """The challenge in a 402, None when it is not Lily's; `desk` is what settings say of this origin. Raises ChallengeInvalid."""
    row = _body(reply)
    amount, currency = reply.header(_AMOUNT), reply.header(_CURRENCY)
    if (row is not None and row.fields.keys() & _OTHERS) or not (amount is not None or _ours(row, reply, known=desk is not None)):
        return None
    told = row or strict.Document({}, {}, [])
    price = _price(_prices(amount, told))
    coin = _coin([currency, told.fields.get("currency")])
    if desk is None:
        return Challenge(NAME, (), (_UNSET.format(ask.origin),))
    rate = amount_in(details_of(told), "conversionRate") or amount_in(told, "conversion_rate")
    guided = amount is None and not {"errorCode", "requiredAmount"} & told.fields.keys()
    return Challenge(NAME, (), pages=(plainly(price) if price else "", coin, plainly(rate) if rate else "", GUIDE if guided else ""))


def asked(reply: Reply) -> Decimal | None:
    """The price in a 402, None where it says none that is one."""
    try:
        return _price(_prices(reply.header(_AMOUNT), strict.parse(reply.content))) if reply.status == 402 else None
    except ChallengeInvalid:
        return None


def details_of(row: strict.Document) -> strict.Document:
    """The member `details` with its own members' text."""
    try:
        return strict.parse(row.raw.get("details", "{}").encode())
    except ChallengeInvalid:
        return strict.Document({}, {}, [])


def _body(reply: Reply) -> strict.Document | None:
    try:
        return strict.parse(reply.content)
    except ChallengeInvalid:
        if b'"paymentRequired"' in reply.start and b'"errorCode"' in reply.start:
            raise
        return None


def _ours(row: strict.Document | None, reply: Reply, *, known: bool) -> bool:
    """Whether it is written as Lily's servers write. What other systems could say, too, counts where settings name the origin alone."""
    if row is None:
        return known and reply.content.strip() == _TEXT
    fields: dict[str, Any] = row.fields
    if fields.get("paymentRequired") is True:
        return known or "errorCode" in fields or "requiredAmount" in fields
    return fields.get("error") == "Payment required" and {"amount", "currency"} <= fields.keys() <= _GUIDE


def _prices(amount: str | None, row: strict.Document) -> list[str | None]:
    return [amount, *(row.raw[name].strip('"') for name in ("requiredAmount", "amount") if row.fields.get(name) is not None)]


def _price(said: list[str | None]) -> Decimal | None:
    """What is asked, in dollars, where it is said; raises ChallengeInvalid."""
    found = {number(text) for text in said if text is not None}
    if None in found or len(found) > 1:
        row = "(R5)" if len(found) > 1 else "(P3, P4, P5)"
        raise ChallengeInvalid(f"the price {', '.join(show(each) for each in said if each is not None)} is not one plain number", rule=f"dollars as 0.01 {row}", hint=_HINT)
    price = found.pop() if found else None
    if price is not None and not 0 < price <= 10**6:
        raise ChallengeInvalid(f"the price {plainly(price)} is not above 0 and at most 1,000,000 dollars", rule="a price that can be one (P2, P8)", hint=_HINT)
    return price


def _coin(said: list[object]) -> str:
    """The currency, "" where none is said; raises ChallengeInvalid."""
    found = [each for each in said if each is not None]
    if any(each not in _COINS or each != found[0] for each in found):
        raise ChallengeInvalid(f"the currency {plain(', '.join(map(show, found)), 80)} is not one of {', '.join(_COINS)}", rule="one currency (A1)", hint=_HINT)
    return str(found[0]) if found else ""
