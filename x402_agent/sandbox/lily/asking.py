"""What this seller says where nothing was paid, or not enough: one body for all of it. It judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import json_answer

if TYPE_CHECKING:
    from ..messages import Answer
    from .store import Terms

__all__ = ["MICRO", "Refused", "asked", "dollars", "number"]

MICRO = 1_000_000
_NO_STORE = ("cache-control", "no-store")


class Refused(Exception):
    """Why nothing is sold. `code` and `status` as published; `details` are currentBalance (millionths) and sessionId where they are known."""

    def __init__(self, code: str, words: str, status: int = 402, *, wait: int = 0, balance: int | None = None, session: str = "") -> None:
        super().__init__(words)
        self.code, self.status, self.wait, self.balance, self.session = code, status, wait, balance, session


def dollars(amount: int) -> str:
    """Millionths as a plain decimal of two places or more."""
    before, after = divmod(amount, MICRO)
    return f"{before}.{f'{after:06d}'.rstrip('0').ljust(2, '0')}"


def number(amount: int) -> float:
    """Millionths as JSON has them."""
    return amount / MICRO


def asked(terms: Terms, why: Refused) -> Answer:
    """The body of every refusal, with the headers of the 402 where it is one."""
    details: dict[str, Any] = {}
    if why.balance is not None:
        details["currentBalance"] = number(why.balance)
    if why.session:
        details["sessionId"] = why.session
    if terms.currency == "SOL":
        details["conversionRate"] = number(terms.rate)
    body = {
        "success": False, "error": str(why), "errorCode": why.code, "paymentRequired": why.status == 402,
        "requiredAmount": number(terms.price), "currency": terms.currency, "details": details,
    }  # fmt: skip
    lines = [_NO_STORE]
    if why.status == 402:
        lines += [("X-402-Amount", dollars(terms.price)), ("X-402-Currency", terms.currency)]
    if why.wait:
        lines.append(("retry-after", str(why.wait)))
    return json_answer(why.status, body, *lines)
