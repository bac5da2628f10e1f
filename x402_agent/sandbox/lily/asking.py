"""What this seller says where nothing was paid, or not enough: one body for all of it. It judges nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import Answer, json_answer

if TYPE_CHECKING:
    from .quirks import Quirks
    from .store import Terms

__all__ = ["MICRO", "Refused", "asked", "dollars", "number"]

MICRO = 1_000_000
_NO_STORE = ("cache-control", "no-store")
_REAL = ("SESSION_NOT_FOUND", "VALIDATION_FAILED", "UPDATE_FAILED", "UNKNOWN_ERROR", "PAYMENT_REQUIRED", "RATE_LIMITED")  # what the library says
_WORDS = ("Session expired", "Session not found", "Session is revoked", "Insufficient session balance")


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


def asked(terms: Terms, why: Refused, quirks: Quirks) -> Answer:
    """The body of every refusal, with the headers of the 402 where it is one."""
    lines = [_NO_STORE]
    if why.wait and not quirks.quiet:
        lines.append(("retry-after", str(why.wait)))
    if quirks.spelling == "guide":
        return _guides(terms, why, lines)
    body = {
        "success": False, "error": str(why), "errorCode": why.code, "paymentRequired": why.status == 402,
        "requiredAmount": number(terms.price), "currency": terms.currency, "details": _details(terms, why, quirks),
    }  # fmt: skip
    if quirks.spelling == "real":
        body = {"success": False, "error": str(why), "errorCode": why.code if why.code in _REAL else "VALIDATION_FAILED", "paymentRequired": why.status == 402}
    if why.status == 402:
        lines += [("X-402-Amount", dollars(terms.price)), ("X-402-Currency", terms.currency)]
    return json_answer(why.status, body, *lines)


def _details(terms: Terms, why: Refused, quirks: Quirks) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if why.balance is not None and not quirks.silent:
        found["currentBalance"] = number(why.balance)
    if why.session:
        found["sessionId"] = why.session
    if terms.currency == "SOL":
        found["conversionRate"] = number(terms.rate)
    return found


def _guides(terms: Terms, why: Refused, lines: list[tuple[str, str]]) -> Answer:
    """As the guide's server writes it: its own words for a session that opens nothing, three words for all the rest."""
    if why.code == "PAYMENT_REQUIRED":
        return json_answer(402, {"error": "Payment required", "amount": number(terms.price), "currency": terms.currency}, *lines)
    if str(why) in _WORDS:
        return json_answer(402, {"error": str(why), "paymentRequired": True}, *lines)
    return Answer(402, (("content-type", "text/plain"), *lines), (b"Payment validation failed",))
